package flaggery

import (
	"context"
	"iter"
	"net/url"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
)

// AuditFilter narrows what [Admin.Audit] yields. The zero value takes everything.
type AuditFilter struct {
	Actor    string
	Resource string // its path in the contract: "features/foobar/rollout"
	Since    time.Time
}

// Audit yields who changed what, newest first.
func (a *Admin) Audit(ctx context.Context, filter AuditFilter) iter.Seq2[api.AuditEntry, error] {
	query := url.Values{}
	if filter.Actor != "" {
		query.Set("actor", filter.Actor)
	}
	if filter.Resource != "" {
		query.Set("resource", filter.Resource)
	}
	if !filter.Since.IsZero() {
		query.Set("since", filter.Since.Format(time.RFC3339Nano))
	}
	return list[api.AuditEntry](ctx, &a.client, at("audit"), query, largeItems)
}

// Edges tells which edges are connected, and which revision each serves.
func (a *Admin) Edges(ctx context.Context) (Result[[]api.Edge], error) {
	page, err := read[api.Page[api.Edge]](ctx, &a.client, at("edges"), nil)
	return Result[[]api.Edge]{page.Receipt, page.Value.Items}, err
}
