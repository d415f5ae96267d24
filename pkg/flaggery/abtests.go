package flaggery

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
)

// AddABTest creates a test, which starts and ends by itself. Fails with
// abtest_exists, feature_not_found, feature_archived, variant_not_found, or
// abtest_overlap, whose detail names the other test.
func (a *Admin) AddABTest(ctx context.Context, create api.CreateABTest, opts ...WriteOption) (Result[api.ABTest], error) {
	return write[api.ABTest](ctx, &a.client, http.MethodPost, at("abtests"), create, opts)
}

// ABTests yields the tests in a state, or all if it is empty, by name.
func (a *Admin) ABTests(ctx context.Context, state api.TestState) iter.Seq2[api.ABTest, error] {
	return a.FindABTests(ctx, ABTestFilter{State: state})
}

// ABTestFilter selects tests. The zero value selects all.
type ABTestFilter struct {
	State   api.TestState
	Feature string    // a feature of the test, even if it was deleted
	From    time.Time // only tests that end after this
	Until   time.Time // only tests that start before this
}

// FindABTests yields tests by name.
func (a *Admin) FindABTests(ctx context.Context, filter ABTestFilter) iter.Seq2[api.ABTest, error] {
	query := url.Values{}
	if filter.State != "" {
		query.Set("state", string(filter.State))
	}
	if filter.Feature != "" {
		query.Set("feature", filter.Feature)
	}
	if !filter.From.IsZero() {
		query.Set("from", filter.From.Format(time.RFC3339Nano))
	}
	if !filter.Until.IsZero() {
		query.Set("until", filter.Until.Format(time.RFC3339Nano))
	}
	return list[api.ABTest](ctx, &a.client, at("abtests"), query, largeItems)
}

// ABTest reads one test. Fails with abtest_not_found.
func (a *Admin) ABTest(ctx context.Context, name string) (Result[api.ABTest], error) {
	return read[api.ABTest](ctx, &a.client, at("abtests", name), nil)
}

// PatchABTest changes the given fields: the start until the test starts, and the end until
// it has ended, to now or later. Fails with abtest_not_found or abtest_overlap.
func (a *Admin) PatchABTest(ctx context.Context, name string, patch api.PatchABTest, opts ...WriteOption) (Result[api.ABTest], error) {
	return write[api.ABTest](ctx, &a.client, http.MethodPatch, at("abtests", name), patch, opts)
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
