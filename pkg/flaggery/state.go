package flaggery

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
)

// StateFilter selects a part of the configuration and its form. The zero value selects
// everything, as YAML.
type StateFilter struct {
	Owner     string
	Features  []string // globs
	Promotion bool     // for another installation: without proportions, tests, off and archived features
	Format    string   // "yaml", "json" or "openfeature-manifest"
}

// State reads the configuration as a document.
func (a *Admin) State(ctx context.Context, filter StateFilter) (Result[[]byte], error) {
	query := url.Values{}
	if filter.Owner != "" {
		query.Set("owner", filter.Owner)
	}
	if len(filter.Features) > 0 {
		query.Set("features", strings.Join(filter.Features, ","))
	}
	if filter.Promotion {
		query.Set("for", "promotion")
	}
	if filter.Format != "" {
		query.Set("format", filter.Format)
	}
	return text(ctx, &a.client, at("state"), query)
}

// StateSchema reads the JSON Schema of documents.
func (a *Admin) StateSchema(ctx context.Context) (Result[[]byte], error) {
	return text(ctx, &a.client, at("state", "schema"), nil)
}

// ApplyState makes the configuration as a document in YAML or JSON says, in one
// revision, or in none if it is so already. [Prune] and [Force] require role admin.
// Fails with managed_elsewhere, abtest_live, abtest_overlap, variant_in_use,
// feature_archived, edges_too_old or body_too_large.
func (a *Admin) ApplyState(ctx context.Context, document []byte, opts ...WriteOption) (result Result[api.AppliedState], err error) {
	r := newWrite(http.MethodPut, at("state"), opts)
	r.header.Set("Content-Type", api.MediaYAML)
	r.body = document
	r.wait += 90 * time.Second // a large document takes longer than other writes
	answer, err := a.do(ctx, r)
	if err != nil {
		return result, err
	}
	return decodeWrite[api.AppliedState](answer)
}

// text reads an answer as it is.
func text(ctx context.Context, c *client, path string, query url.Values) (result Result[[]byte], err error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: path, query: query, retry: true})
	if err != nil {
		return result, err
	}
	return Result[[]byte]{Receipt: a.receipt(), Value: a.body}, nil
}
