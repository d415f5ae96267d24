package writer

import (
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// Each step changes something, and time passes until its feature is in the stage. A
// settled one is so since a time before then.
func TestStage(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	const day = 24 * time.Hour
	done := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "others"}))
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "stale"}))
	patch := func(p api.PatchFeature) func() { return func() { done(w.PatchFeature(ctx, "stale", p)) } }
	proportion := func(p float64) func() {
		return func() { done(w.PatchRollout(ctx, "stale", api.PatchRollout{Proportion: &p})) }
	}
	override := func(variant string) func() {
		return func() { done(w.AddGroupOverride(ctx, "others", "stale", variant)) }
	}
	test := func(from, until time.Duration) func() {
		return func() {
			r, err := w.AddABTest(ctx, api.CreateABTest{Name: "t", Start: w.now.Add(from), End: w.now.Add(until), Groups: []api.CreateTestGroup{
				{Name: "g", Variants: map[string]string{"stale": "A"}}, {Name: "h", Variants: map[string]string{"stale": "B"}},
			}})
			done(r, err)
		}
	}
	for _, step := range []struct {
		what    string
		make    func()
		pass    time.Duration
		stage   model.FeatureStage
		settled time.Duration // ago
	}{
		{"created", func() {}, 0, model.StageNew, 0},
		{"gives nothing", func() {}, 20 * day, model.StageNew, 0},
		{"created whole", func() {
			must[api.Feature](t)(w.DeleteFeature(ctx, "stale"))
			must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{
				Name: "stale", Variants: []api.NewVariant{{Name: "A"}, {Name: "B"}}, DefaultVariant: ptr("A"), Rollout: &api.CreateRollout{Variant: "B"},
			}))
		}, 14*day - time.Second, model.StageNew, 0},
		{"its default for 14 days", func() {}, time.Second, model.StageSettled, 14 * day},
		{"described", patch(api.PatchFeature{Description: ptr("text"), Contact: ptr("team")}), 0, model.StageSettled, 14 * day},
		{"another bucket", func() { must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 1)) }, 0, model.StageSettled, 14 * day},
		{"another payload", func() { done(w.PatchVariant(ctx, "stale", "A", api.PatchVariant{Payload: 1})) }, day, model.StageSettled, 15 * day},
		{"permanent", patch(api.PatchFeature{Permanent: ptr(true), Expires: ptr("2027-01-01")}), 0, model.StageNew, 0},
		{"expired", patch(api.PatchFeature{Permanent: ptr(false)}), 0, model.StageExpired, 0},
		{"off and expired", patch(api.PatchFeature{Off: ptr(true)}), 0, model.StageExpired, 0},
		{"off", patch(api.PatchFeature{Expires: ptr("")}), 20 * day, model.StageOff, 0},
		{"on", patch(api.PatchFeature{Off: ptr(false)}), 0, model.StageRolling, 0},
		{"for 14 days", func() {}, 14 * day, model.StageSettled, 14 * day},
		{"half", proportion(0.5), 20 * day, model.StageRolling, 0},
		{"half, default without", func() { done(w.DeleteDefaultVariant(ctx, "stale")) }, 20 * day, model.StageRolling, 0},
		{"half, default of the same", func() { done(w.SetDefaultVariant(ctx, "stale", "B")) }, 15 * day, model.StageSettled, 15 * day},
		{"everyone", func() { done(w.SetDefaultVariant(ctx, "stale", "A")); proportion(1)() }, day, model.StageRolling, 0},
		{"everyone for 14 days", func() {}, 13 * day, model.StageSettled, 14 * day},
		{"an override", override("A"), 20 * day, model.StageRolling, 0},
		{"an override of the same", override("B"), 14 * day, model.StageSettled, 14 * day},
		{"no override", func() { done(w.DeleteGroupOverride(ctx, "others", "stale")) }, 0, model.StageRolling, 0},
		{"override of a deleted group", func() {
			override("A")()
			must[api.Group](t)(w.DeleteGroup(ctx, "others"))
		}, 14 * day, model.StageSettled, 14 * day},
		{"scheduled test", test(day, 3*day), 0, model.StageRolling, 0},
		{"live test", func() {}, 2 * day, model.StageTesting, 0},
		{"ended test", func() {}, day, model.StageRolling, 0},
		{"ended 14 days ago", func() {}, 15 * day, model.StageSettled, 15 * day},
		{"deleted test", func() { must[api.ABTest](t)(w.DeleteABTest(ctx, "t")) }, 0, model.StageRolling, 0},
		{"archived", func() { must[api.Feature](t)(w.ArchiveFeature(ctx, "stale")) }, 20 * day, model.StageArchived, 0},
		{"archived and expired", patch(api.PatchFeature{Expires: ptr("2027-01-01")}), 0, model.StageArchived, 0},
		{"restored", func() {
			must[api.Feature](t)(w.RestoreFeature(ctx, "stale"))
			patch(api.PatchFeature{Expires: ptr("")})()
		}, 14 * day, model.StageSettled, 14 * day},
		{"no rollout", func() { must[api.Rollout](t)(w.DeleteRollout(ctx, "stale")) }, 0, model.StageRolling, 0},
	} {
		step.make()
		w.now = w.now.Add(step.pass)
		listed := must[api.Page[api.FeatureSummary]](t)(w.FeatureSummaries(ctx, FeatureFilter{Query: "stale", Stage: step.stage}, Page{})).Value.Items
		if len(listed) != 1 {
			t.Fatalf("%s: %d features are %s", step.what, len(listed), step.stage)
		}
		f := listed[0]
		if step.settled == 0 {
			if f.SettledOn != nil {
				t.Errorf("%s: %s since %s", step.what, f.Stage, f.SettledOn)
			}
		} else if want := w.now.Add(-step.settled); f.SettledOn == nil || !f.SettledOn.Equal(want) {
			t.Errorf("%s: settled on %v, want %s", step.what, f.SettledOn, want)
		}
		if f.Stage != step.stage {
			t.Errorf("%s: %s, want %s", step.what, f.Stage, step.stage)
		}
	}
}

// A feature expires with the day in UTC.
func TestExpiry(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "f", Expires: "2027-01-02"}))
	for _, step := range []struct {
		at    time.Time
		stage model.FeatureStage
	}{
		{time.Date(2027, 1, 1, 23, 59, 59, 999999000, time.UTC), model.StageNew},
		{time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC), model.StageExpired},
	} {
		w.now = step.at
		f := must[api.Page[api.FeatureSummary]](t)(w.FeatureSummaries(ctx, FeatureFilter{}, Page{})).Value.Items[0]
		if f.Stage != step.stage || *f.Expires != "2027-01-02" {
			t.Errorf("%s: stage %s, expires %s", step.at, f.Stage, *f.Expires)
		}
	}
}
