package flaggery

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
)

// AuditFilter selects changes. The zero value selects all.
type AuditFilter struct {
	Actor    string
	Resource string    // its path in the contract: "features/foobar/rollout"
	Since    time.Time // included
	Until    time.Time // excluded
	Request  string    // the id of an HTTP request
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
	if filter.Request != "" {
		query.Set("request_id", filter.Request)
	}
	if !filter.Since.IsZero() {
		query.Set("since", filter.Since.Format(time.RFC3339Nano))
	}
	if !filter.Until.IsZero() {
		query.Set("until", filter.Until.Format(time.RFC3339Nano))
	}
	return list[api.AuditEntry](ctx, &a.client, at("audit"), query, largeItems)
}

// Revert reverts all that a revision changed, as a new revision. Fails with
// revision_not_found, with edges_too_old as the change itself does, or with
// not_revertible, whose detail is the reason.
func (a *Admin) Revert(ctx context.Context, revision int64, opts ...WriteOption) (Result[api.Reverted], error) {
	return write[api.Reverted](ctx, &a.client, http.MethodPost, at("audit", strconv.FormatInt(revision, 10), "revert"), nil, opts)
}

// Edges yields the edges by name: those that are connected, and those that lost their
// connection within the last 10 minutes.
func (a *Admin) Edges(ctx context.Context) iter.Seq2[api.Edge, error] {
	return list[api.Edge](ctx, &a.client, at("edges"), nil, smallItems)
}

// List yields the items of any list as the admin sent them, with fields that this
// release does not know. path are the segments below /v1: "groups", "friends",
// "subjects".
func (a *Admin) List(ctx context.Context, query url.Values, path ...string) iter.Seq2[json.RawMessage, error] {
	return list[json.RawMessage](ctx, &a.client, at(path...), query, smallItems)
}

// Call sends any request, such as "/v1/features?view=summary", with a body in JSON or
// none. The answer is the Body of the receipt.
func (a *Admin) Call(ctx context.Context, method, target string, body []byte) (Receipt, error) {
	u, err := url.Parse(target)
	if err != nil || !strings.HasPrefix(u.Path, "/") || u.Host != "" {
		return Receipt{}, fmt.Errorf("path %q: must be like /v1/features", target)
	}
	query := u.Query()
	r := request{method: method, path: u.EscapedPath(), query: query, body: body, retry: method == http.MethodGet}
	r.wait, _ = time.ParseDuration(query.Get("wait")) // the admin says what is wrong with it
	answer, err := a.do(ctx, r)
	return answer.receipt(), err
}

// Me returns the caller's name and role. Every role may call it.
func (a *Admin) Me(ctx context.Context) (Result[api.Me], error) {
	return read[api.Me](ctx, &a.client, at("me"), nil)
}

// Search finds features, tests and groups by a part of their name, and subjects by the
// beginning of their id. It returns at most 20 matches.
func (a *Admin) Search(ctx context.Context, text string) (Result[[]api.Found], error) {
	return read[[]api.Found](ctx, &a.client, at("search"), url.Values{"q": {text}})
}

// About describes the installation and counts what it has.
func (a *Admin) About(ctx context.Context) (Result[api.About], error) {
	return read[api.About](ctx, &a.client, at("about"), nil)
}
