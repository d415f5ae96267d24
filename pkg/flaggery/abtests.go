package flaggery

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"github.com/flaggery/flaggery/pkg/api"
)

// AddABTest makes a test, which begins and ends by itself. Fails with
// abtest_exists, feature_not_found, feature_archived, variant_not_found, or
// abtest_overlap, whose detail names the other test.
func (a *Admin) AddABTest(ctx context.Context, create api.CreateABTest, opts ...WriteOption) (Result[api.ABTest], error) {
	return write[api.ABTest](ctx, &a.client, http.MethodPost, at("abtests"), create, opts)
}

// ABTests yields the tests in a state, or all if it is empty, by name.
func (a *Admin) ABTests(ctx context.Context, state api.TestState) iter.Seq2[api.ABTest, error] {
	query := url.Values{}
	if state != "" {
		query.Set("state", string(state))
	}
	return list[api.ABTest](ctx, &a.client, at("abtests"), query, largeItems)
}

// ABTest reads one test. Fails with abtest_not_found.
func (a *Admin) ABTest(ctx context.Context, name string) (Result[api.ABTest], error) {
	return read[api.ABTest](ctx, &a.client, at("abtests", name), nil)
}

// StopABTest ends a live test now. Fails with abtest_not_found.
func (a *Admin) StopABTest(ctx context.Context, name string, opts ...WriteOption) (Result[api.ABTest], error) {
	return write[api.ABTest](ctx, &a.client, http.MethodPost, at("abtests", name, "stop"), nil, opts)
}

// DeleteABTest removes a test that is not live. Fails with abtest_not_found or
// abtest_live.
func (a *Admin) DeleteABTest(ctx context.Context, name string, opts ...WriteOption) (Receipt, error) {
	return remove(ctx, &a.client, at("abtests", name), opts)
}
