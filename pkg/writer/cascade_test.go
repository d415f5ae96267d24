package writer

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// seedUsed makes a feature with all that can name its variants: a default, a rollout,
// an override and a test of an hour, which also names a feature of its own.
func (w *fixture) seedUsed(name string, from time.Duration) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{
		Name: name, Description: "d", Tags: []string{"x"}, DisablingVariant: true, DefaultVariant: ptr(model.DisablingVariant),
		Variants: []api.NewVariant{{Name: "A", Payload: json.RawMessage(`{"b": 1.0, "a": [ ]}`)}, {Name: "B"}},
		Rollout:  &api.CreateRollout{Variant: "A", Proportion: 0.5},
	}))
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", name, "B"))
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "beside-" + name, Variants: []api.NewVariant{{Name: "B"}}}))
	test := w.test("of-"+name, from, from+time.Hour)
	test.Groups[0].Variants = map[string]string{name: "A", "beside-" + name: "B"}
	test.Groups[1].Variants = map[string]string{name: "B", "beside-" + name: "B"}
	must[api.ABTest](t)(w.AddABTest(ctx, test))
}

func TestDeleteWholeFeature(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "42"))
	w.seedUsed("used", -time.Hour)
	test := func() api.ABTest { return must[api.ABTest](t)(w.ABTest(ctx, "of-used")).Value }
	// A drift of weights, after which another assignment would take other buckets.
	for i := range 40 {
		must[api.Subject](t)(w.SetSubjectWeight(ctx, strconv.Itoa(i), int64(1+i*i)))
	}
	before, whole, named := w.requested(), must[api.Feature](t)(w.Feature(ctx, "used")).Value, test()

	_, err := w.DeleteFeature(ctx, "used")
	wantError(t, err, model.FeatureHasVariants)
	next := w.test("next", time.Hour, 2*time.Hour)
	next.Groups[0].Variants, next.Groups[1].Variants = map[string]string{"used": "A"}, map[string]string{"used": "B"}
	must[api.ABTest](t)(w.AddABTest(ctx, next))
	_, err = w.DeleteWholeFeature(ctx, "used")
	wantError(t, err, model.ABTestLive, "next", "scheduled", "delete it first")
	w.now = w.now.Add(time.Hour)
	_, err = w.DeleteWholeFeature(ctx, "used")
	wantError(t, err, model.ABTestLive, "next", "live", "stop it first")
	w.now = w.now.Add(-time.Hour)
	must[api.ABTest](t)(w.DeleteABTest(ctx, "next"))
	_, err = w.DeleteWholeFeature(ctx, "used", IfMatch(1))
	wantError(t, err, model.PreconditionFailed)
	_, err = w.DeleteWholeFeature(ctx, "none")
	wantError(t, err, model.FeatureNotFound)

	dry := must[api.Feature](t)(w.DeleteWholeFeature(ctx, "used", DryRun()))
	if want := []string{
		"groups/friends/overrides/used", "features/used/rollout", "features/used/default_variant",
		"features/used/variants/A", "features/used/variants/B", "features/used/variants/__DISABLE__", "features/used",
	}; !slices.Equal(dry.Removes, want) || dry.Affected.Subjects != 100 || dry.Drawn {
		t.Errorf("the dry run removes %q of %+v, want %q of all", dry.Removes, dry.Affected, want)
	}
	if after := w.requested(); !slices.Equal(after, before) {
		t.Error("the dry run, or what was refused, changed something")
	}

	w.now = w.now.Add(time.Minute)
	gone := must[api.Feature](t)(w.DeleteWholeFeature(ctx, "used"))
	if diff := cmp.Diff(whole, gone.Value); gone.Revision != dry.Revision+1 || diff != "" {
		t.Errorf("deleted at revision %d, want %d (-want +got):\n%s", gone.Revision, dry.Revision+1, diff)
	}
	if flags := must[map[string]string](t)(w.SubjectVariants(ctx, "42")).Value; len(flags) != 1 {
		t.Errorf("subject 42 gets %v", flags)
	}
	// The test shows what it named, and names what is left.
	got := test()
	if !slices.Equal(got.DeletedFeatures, []string{"used"}) || got.Revision != gone.Revision {
		t.Errorf("the test of what was deleted is %+v", got)
	}
	for i, g := range got.Groups {
		if diff := cmp.Diff(named.Groups[i].Variants, g.Variants); diff != "" {
			t.Errorf("variants of group %s (-before +after):\n%s", g.Name, diff)
		}
	}
	for _, feature := range []string{"used", "beside-used"} {
		if found := must[api.Page[api.ABTest]](t)(w.ABTests(ctx, ABTestFilter{Feature: feature}, Page{})).Value.Items; len(found) != 1 {
			t.Errorf("%d tests are about %s", len(found), feature)
		}
	}
	_, err = w.DeleteVariant(ctx, "beside-used", "B")
	wantError(t, err, model.VariantInUse, "of-used")
	// The past is explained by what held then.
	past := must[api.Explanation](t)(w.Explain(ctx, "42", w.now.Add(-time.Second))).Value.Features["used"]
	if past.Variant == nil || *past.Variant != "B" || len(past.Steps) != 4 {
		t.Errorf("before the deletion, subject 42 got %+v", past)
	}

	back := must[api.Reverted](t)(w.Revert(ctx, gone.Revision))
	if after := w.requested(); !slices.Equal(after, before) {
		t.Errorf("reverted by %+v", back.Value)
	}
	if back.Drawn {
		t.Error("the revert drew")
	}
	if f := must[api.Feature](t)(w.Feature(ctx, "used")).Value; string(f.Variants[0].Payload.(json.RawMessage)) != `{"b": 1.0, "a": [ ]}` {
		t.Errorf("the payload came back as %s", f.Variants[0].Payload)
	}
}

// A feature of the same name is another one.
func TestDeleteWholeFeatureAndMakeAnother(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	w.seedUsed("used", -time.Hour)
	first := must[api.Feature](t)(w.DeleteWholeFeature(ctx, "used"))
	another := must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "used", Variants: []api.NewVariant{{Name: "A"}, {Name: "B"}}}))
	_, err := w.Revert(ctx, first.Revision)
	wantError(t, err, model.NotRevertible, `there is a feature "used" already`)
	test := w.test("again", -time.Hour, 0) // at the time of the first one's test
	test.Groups[0].Variants, test.Groups[1].Variants = map[string]string{"used": "A"}, map[string]string{"used": "B"}
	must[api.ABTest](t)(w.AddABTest(ctx, test))
	second := must[api.Feature](t)(w.DeleteWholeFeature(ctx, "used", IfMatch(another.Version)))
	must[api.Reverted](t)(w.Revert(ctx, second.Revision)) // takes nothing of the first one's
	for name, deleted := range map[string][]string{"of-used": {"used"}, "again": nil} {
		if got := must[api.ABTest](t)(w.ABTest(ctx, name)).Value.DeletedFeatures; !slices.Equal(got, deleted) {
			t.Errorf("the deleted features of test %s are %q, want %q", name, got, deleted)
		}
	}
	// Without the history of its rollout it cannot come back as it was.
	if _, err := w.sql.Exec(`DELETE FROM version WHERE kind = 'rollout'`); err != nil {
		t.Fatal(err)
	}
	must[api.Feature](t)(w.DeleteWholeFeature(ctx, "used"))
	_, err = w.Revert(ctx, first.Revision)
	wantError(t, err, model.NotRevertible, "history", "rollout")
}

// Buckets added meanwhile join a rollout that comes back, and its own stay.
func TestRevertJoinsNewBuckets(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Rollout](t)(w.AddRollout(ctx, "foobar", "A"))
	must[api.Rollout](t)(w.SetRolloutProportion(ctx, "foobar", 1))
	gone := must[api.Rollout](t)(w.DeleteRollout(ctx, "foobar"))
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 3))
	must[api.Reverted](t)(w.Revert(ctx, gone.Revision))
	if got := must[api.Rollout](t)(w.Rollout(ctx, "foobar")).Value.Buckets; len(got) != 13 {
		t.Errorf("a rollout to everybody came back with the buckets %v of 13", got)
	}
}
