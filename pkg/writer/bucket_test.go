package writer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestNewBucketsJoin(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Rollout](t)(w.AddRollout(ctx, "foobar", "A"))
	must[api.Rollout](t)(w.SetRolloutProportion(ctx, "foobar", 0.3))
	for _, c := range []struct {
		name       string
		proportion float64
	}{{"none", 0}, {"all", 1}} {
		must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: c.name}))
		must[api.Variant](t)(w.AddVariant(ctx, c.name, api.CreateVariant{Name: "on"}))
		must[api.Rollout](t)(w.AddRollout(ctx, c.name, "on"))
		must[api.Rollout](t)(w.SetRolloutProportion(ctx, c.name, c.proportion))
	}
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("past", -time.Hour, time.Hour)))
	must[api.ABTest](t)(w.StopABTest(ctx, "past"))
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("now", 0, time.Hour)))
	before := must[api.Rollout](t)(w.Rollout(ctx, "foobar"))
	idle := must[api.Feature](t)(w.Feature(ctx, "none"))

	added := must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 100))
	if ids := added.Value.BucketIDs; len(ids) != 100 || ids[0] != 11 || ids[99] != 110 {
		t.Errorf("added %v", ids)
	}
	rollout := must[api.Rollout](t)(w.Rollout(ctx, "foobar"))
	if n := len(rollout.Value.Buckets) - len(before.Value.Buckets); n < 29 || n > 31 {
		t.Errorf("%d of 100 new buckets joined a rollout at 0.3", n)
	}
	if rollout.Version != added.Revision {
		t.Errorf("version %d of a rollout that changed in revision %d", rollout.Version, added.Revision)
	}
	if r := must[api.Rollout](t)(w.Rollout(ctx, "all")).Value; len(r.Buckets) != 110 {
		t.Errorf("%d of 110 buckets are in a rollout at 1", len(r.Buckets))
	}
	if f := must[api.Feature](t)(w.Feature(ctx, "none")); len(f.Value.Rollout.Buckets) != 0 || f.Version != idle.Version {
		t.Errorf("a rollout at 0: %+v", f.Value.Rollout)
	}
	for _, name := range []string{"past", "now"} {
		test := must[api.ABTest](t)(w.ABTest(ctx, name)).Value
		if n := len(test.Groups[1].Buckets); n < 20 || n > 24 {
			t.Errorf("test %s: %d of 110 buckets are in a group of 0.2", name, n)
		}
		all := slices.Sorted(slices.Values(append(test.Groups[0].Buckets, test.Groups[1].Buckets...)))
		for i := range 110 {
			if all[i] != model.BucketID(i+1) {
				t.Fatalf("test %s has the buckets %v", name, all)
			}
		}
	}

	for _, amount := range []int{-1, 0, model.MaxBuckets + 1, model.MaxBuckets - 100} {
		_, err := w.IncreaseBuckets(ctx, amount)
		wantError(t, err, model.ValidationFailed, "body.amount")
	}
	for _, page := range []Page{{Limit: -1}, {Limit: 1001}, {After: "x"}, {After: "0"}, {After: "100001"}} {
		_, err := w.Buckets(ctx, page)
		wantError(t, err, model.ValidationFailed, "query.")
	}
	p := must[api.Page[api.Bucket]](t)(w.Buckets(ctx, Page{Limit: 5, After: "105"})).Value
	if len(p.Items) != 5 || p.Items[0].ID != 106 || p.Next != "" {
		t.Errorf("last page %+v", p)
	}
	if p := must[api.Page[api.Bucket]](t)(w.Buckets(ctx, Page{})).Value; len(p.Items) != 100 || p.Next != fmt.Sprint(100) {
		t.Errorf("first page has %d items and goes on at %q", len(p.Items), p.Next)
	}
}
