package writer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/state"
)

// checkout is a document of a repository, without an opinion on who gets the feature.
func checkout() *state.Document {
	return &state.Document{
		Version: 1, Owner: "checkout-repo",
		Features: map[string]*state.Feature{"checkout": {
			Description: state.Of("New checkout"),
			Contact:     state.Of("team-checkout"),
			Variants:    map[string]*state.Variant{"A": {Payload: state.Of(json.RawMessage(`{"steps":3}`))}, "B": {}, model.DisablingVariant: {}},
			Default:     state.Of(model.DisablingVariant),
			Rollout:     state.Of(state.Rollout{Variant: "A"}),
		}},
		Groups: map[string]*state.Group{"friends": {Priority: state.Of(10), Overrides: map[string]*string{"checkout": ptr("B")}}},
	}
}

func (w *fixture) apply(doc *state.Document, how ApplyOptions, opts ...Option) Result[api.AppliedState] {
	w.t.Helper()
	return must[api.AppliedState](w.t)(w.ApplyState(w.t.Context(), doc, how, opts...))
}

func changesOf(r Result[api.AppliedState]) (changes []string) {
	for _, k := range r.Value.Changes {
		changes = append(changes, k.Action+" "+k.Resource)
	}
	return changes
}

func unmanagedOf(r Result[api.AppliedState]) (unmanaged []string) {
	for _, u := range r.Value.Unmanaged {
		unmanaged = append(unmanaged, strings.TrimSpace(text(u.Prune)+" "+u.Resource))
	}
	return unmanaged
}

func TestApplyState(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "42"))
	revision := must[api.Feature](t)(w.Feature(ctx, "foobar")).Revision

	tried := w.apply(checkout(), ApplyOptions{}, DryRun())
	if !tried.DryRun || tried.Revision != revision || len(tried.Changes) == 0 {
		t.Errorf("a dry run: %+v", tried)
	}
	made := w.apply(checkout(), ApplyOptions{}, By("ci"))
	if made.Revision != revision+1 || made.Value.Affected == nil || made.Value.Affected.Subjects != 100 {
		t.Errorf("applied as revision %d after %d, affected %+v", made.Revision, revision, made.Value.Affected)
	}
	want := []string{
		"create features/checkout", "create features/checkout/variants/A", "create features/checkout/variants/B",
		"create features/checkout/variants/__DISABLE__", "create features/checkout/default_variant", "create features/checkout/rollout",
		"update groups/friends", "create groups/friends/overrides/checkout",
	}
	if diff := gocmp.Diff(want, changesOf(made)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	again := w.apply(checkout(), ApplyOptions{})
	if again.Revision != made.Revision || len(again.Value.Changes) > 0 || *again.Value.Affected != (api.Affected{}) {
		t.Errorf("applied again: revision %d, %v", again.Revision, changesOf(again))
	}

	// Who gets it is operated by people.
	must[api.Rollout](t)(w.SetRolloutProportion(ctx, "checkout", 0.3))
	rollout := must[api.Rollout](t)(w.Rollout(ctx, "checkout")).Value
	doc := checkout()
	doc.Features["checkout"].Description = state.Null[string]()
	if got := changesOf(w.apply(doc, ApplyOptions{})); !slices.Equal(got, []string{"update features/checkout"}) {
		t.Errorf("changed %v", got)
	}
	if diff := gocmp.Diff(rollout, must[api.Rollout](t)(w.Rollout(ctx, "checkout")).Value); diff != "" {
		t.Errorf("a document without a proportion changed the rollout:\n%s", diff)
	}

	// One revision is reverted as a whole.
	must[api.Reverted](t)(w.Revert(ctx, w.apply(checkout(), ApplyOptions{}).Revision))
	if f := must[api.Feature](t)(w.Feature(ctx, "checkout")).Value; f.Description != "" || text(f.Owner) != "checkout-repo" {
		t.Errorf("reverted to %+v", f)
	}

	// null is none, and absent is not managed.
	doc = checkout()
	doc.Features["checkout"].Variants = map[string]*state.Variant{"B": nil}
	doc.Groups["friends"].Overrides = map[string]*string{"checkout": nil}
	result := w.apply(doc, ApplyOptions{})
	if got := changesOf(result); !slices.Equal(got, []string{
		"update features/checkout", "delete groups/friends/overrides/checkout", "delete features/checkout/variants/B",
	}) {
		t.Errorf("changed %v", got)
	}
	if got := unmanagedOf(result); !slices.Equal(got, []string{"features/checkout/variants/A", "features/checkout/variants/__DISABLE__"}) {
		t.Errorf("unmanaged are %v", got)
	}

	// The priority of a group counts for features that the document does not name.
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "foes", Priority: 20}))
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "foes", "42"))
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "A"))
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "foes", "foobar", "B"))
	foes := &state.Document{Version: 1, Groups: map[string]*state.Group{"foes": {Priority: state.Of(5)}}}
	if result = w.apply(foes, ApplyOptions{}); result.Value.Affected.Subjects != 1 {
		t.Errorf("another priority affects %+v", result.Value.Affected)
	}
}

func TestOwners(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	w.apply(checkout(), ApplyOptions{})
	other := checkout()
	other.Owner = "other-repo"
	for _, doc := range []*state.Document{other, {Version: 1, Features: checkout().Features}} {
		_, err := w.ApplyState(ctx, doc, ApplyOptions{})
		wantError(t, err, model.ManagedElsewhere, `features/checkout is managed by "checkout-repo"`, "force")
	}
	if got := changesOf(w.apply(other, ApplyOptions{Force: true})); !slices.Equal(got, []string{"update features/checkout", "update groups/friends"}) {
		t.Errorf("taking over changed %v", got)
	}
	if f := must[api.Feature](t)(w.Feature(ctx, "checkout")).Value; text(f.Owner) != "other-repo" {
		t.Errorf("owner is %v", f.Owner)
	}

	// Those of a part may be one.
	if doc := must[*state.Document](t)(w.State(ctx, StateFilter{Features: []string{"checkout"}})).Value; doc.Owner != "other-repo" || doc.Features["checkout"].Owner.Given {
		t.Errorf("the part about one feature is %+v", doc)
	}

	// A document with several owners.
	doc := must[*state.Document](t)(w.State(ctx, StateFilter{})).Value
	if doc.Owner != "" || doc.Features["checkout"].Owner.Or("") != "other-repo" || doc.Features["foobar"].Owner.Or("x") != "" {
		t.Errorf("exported %+v", doc)
	}
	if got := changesOf(w.apply(doc, ApplyOptions{})); len(got) > 0 {
		t.Errorf("an export changed %v", got)
	}
	doc = must[*state.Document](t)(w.State(ctx, StateFilter{Owner: "other-repo"})).Value
	if doc.Owner != "other-repo" || len(doc.Features) != 1 || doc.Features["checkout"].Owner.Given {
		t.Errorf("exported %+v", doc)
	}

	// What its owner manages, a document may hand over.
	doc.Features["checkout"].Owner = state.Of("third-repo")
	doc.Groups["friends"].Owner = state.Null[string]()
	if got := changesOf(w.apply(doc, ApplyOptions{})); !slices.Equal(got, []string{"update features/checkout", "update groups/friends"}) {
		t.Errorf("handing over changed %v", got)
	}
	_, err := w.ApplyState(ctx, doc, ApplyOptions{})
	if err != nil { // it names the new owners
		t.Error(err)
	}
}

func TestPrune(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	doc := checkout()
	doc.Features["old"] = &state.Feature{Variants: map[string]*state.Variant{"A": {}}}
	doc.Groups["team"] = &state.Group{}
	doc.ABTests = map[string]*state.ABTest{}
	for name, end := range map[string]time.Duration{"short": time.Hour, "long": 3 * time.Hour} {
		start := w.now.Add(end - time.Hour)
		doc.ABTests[name] = &state.ABTest{Start: start, End: w.now.Add(end), Groups: []state.TestGroup{
			{Name: "a", Variants: map[string]string{"checkout": "A"}}, {Name: "b", Variants: map[string]string{"checkout": "B"}},
		}}
	}
	w.apply(doc, ApplyOptions{})
	if got := w.apply(doc, ApplyOptions{}); len(got.Value.Changes)+len(got.Value.Unmanaged) > 0 {
		t.Errorf("applied again: %v", changesOf(got))
	}
	w.now = w.now.Add(90 * time.Minute)

	result := w.apply(checkout(), ApplyOptions{})
	if got := unmanagedOf(result); len(result.Value.Changes) > 0 ||
		!slices.Equal(got, []string{"archive features/old", "delete groups/team", "abtests/long", "delete abtests/short"}) {
		t.Errorf("unmanaged are %v", got)
	}
	result = w.apply(checkout(), ApplyOptions{Prune: true})
	if got := changesOf(result); !slices.Equal(got, []string{"delete abtests/short", "delete groups/team", "archive features/old"}) {
		t.Errorf("pruned %v", got)
	}
	if got := unmanagedOf(result); !slices.Equal(got, []string{"abtests/long"}) {
		t.Errorf("unmanaged are %v", got)
	}
	if got := unmanagedOf(w.apply(checkout(), ApplyOptions{})); !slices.Equal(got, []string{"abtests/long"}) {
		t.Errorf("unmanaged are %v", got)
	}

	// Its document names an archived feature again.
	back := checkout()
	back.Features["old"] = &state.Feature{}
	_, err := w.ApplyState(ctx, back, ApplyOptions{})
	wantError(t, err, model.ValidationFailed, "old", "archived")
	back.Features["old"].Archived = state.Of(true)
	if got := changesOf(w.apply(back, ApplyOptions{})); len(got) > 0 {
		t.Errorf("changed %v", got)
	}
	back.Features["old"].Archived = state.Of(false)
	if got := changesOf(w.apply(back, ApplyOptions{})); !slices.Equal(got, []string{"restore features/old"}) {
		t.Errorf("changed %v", got)
	}
	_, err = w.ApplyState(ctx, &state.Document{Version: 1}, ApplyOptions{Prune: true})
	wantError(t, err, model.ValidationFailed, "owner")

	// A group is what an archived feature gets back, so it stays.
	back.Groups["team"] = &state.Group{Overrides: map[string]*string{"old": ptr("A")}}
	w.apply(back, ApplyOptions{})
	must[api.Feature](t)(w.ArchiveFeature(ctx, "old"))
	result = w.apply(checkout(), ApplyOptions{Prune: true})
	if got := unmanagedOf(result); len(result.Value.Changes) > 0 || !slices.Equal(got, []string{"groups/team", "abtests/long"}) {
		t.Errorf("unmanaged are %v", got)
	}
}

// What is pruned makes room for what is added.
func TestPruneOfATestThatIsReplaced(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	doc := func(name string, start, end time.Duration) *state.Document {
		return &state.Document{Version: 1, Owner: "o", ABTests: map[string]*state.ABTest{name: {Start: w.now.Add(start), End: w.now.Add(end), Groups: []state.TestGroup{
			{Name: "a", Variants: map[string]string{"foobar": "A"}}, {Name: "b", Variants: map[string]string{"foobar": "B"}},
		}}}}
	}
	w.apply(doc("one", 0, time.Hour), ApplyOptions{})
	w.now = w.now.Add(time.Minute)
	must[api.ABTest](t)(w.StopABTest(ctx, "one"))
	next := doc("two", -time.Second, time.Hour)
	_, err := w.ApplyState(ctx, next, ApplyOptions{})
	wantError(t, err, model.ABTestOverlap, "one")
	if got := changesOf(w.apply(next, ApplyOptions{Prune: true})); !slices.Equal(got, []string{"create abtests/two", "delete abtests/one"}) {
		t.Errorf("changed %v", got)
	}
}

func TestApplyTests(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	document := func(share float64, start, end time.Duration) *state.Document {
		test := w.test("t", start, end)
		form := &state.ABTest{Start: test.Start, End: test.End}
		for i, g := range test.Groups {
			form.Groups = append(form.Groups, state.TestGroup{Name: g.Name, Proportion: ptr([]float64{1 - share, share}[i]), Variants: g.Variants})
		}
		return &state.Document{Version: 1, Owner: "o", ABTests: map[string]*state.ABTest{"t": form}}
	}
	for _, step := range []struct {
		share      float64
		start, end time.Duration
		want       []string
	}{
		{0.5, time.Hour, 2 * time.Hour, []string{"create abtests/t"}},
		{0.5, time.Hour, 2 * time.Hour, nil},
		{0.5, time.Hour, 3 * time.Hour, []string{"update abtests/t"}}, // the period alone
		{0.2, time.Hour, 3 * time.Hour, []string{"update abtests/t"}}, // drawn again, as it has not started
	} {
		if tried := w.apply(document(step.share, step.start, step.end), ApplyOptions{}, DryRun()); len(tried.Removes) > 0 {
			t.Errorf("the dry run removes %v", tried.Removes)
		}
		if got := changesOf(w.apply(document(step.share, step.start, step.end), ApplyOptions{})); !slices.Equal(got, step.want) {
			t.Errorf("changed %v, want %v", got, step.want)
		}
	}
	described := document(0.2, time.Hour, 3*time.Hour)
	for _, text := range []state.Field[string]{state.Of("which is better"), state.Null[string]()} {
		described.ABTests["t"].Description = text
		w.apply(described, ApplyOptions{})
		if got := must[api.ABTest](t)(w.ABTest(ctx, "t")).Value.Description; got != text.Or("") {
			t.Errorf("the description is %q, want %q", got, text.Or(""))
		}
	}
	live, changed, ended := document(0.2, time.Hour, 4*time.Hour), document(0.5, time.Hour, 4*time.Hour), document(0.7, time.Hour, 5*time.Hour)
	moved, over := document(0.2, 30*time.Minute, 4*time.Hour), document(0.2, time.Hour, 80*time.Minute)
	w.now = w.now.Add(90 * time.Minute)
	if got := changesOf(w.apply(live, ApplyOptions{})); !slices.Equal(got, []string{"update abtests/t"}) {
		t.Errorf("changed %v", got)
	}
	_, err := w.ApplyState(ctx, changed, ApplyOptions{})
	wantError(t, err, model.ABTestLive, `"t"`)
	_, err = w.ApplyState(ctx, moved, ApplyOptions{})
	wantError(t, err, model.ValidationFailed, "body.abtests.t.start")
	_, err = w.ApplyState(ctx, over, ApplyOptions{}) // somebody extended it
	wantError(t, err, model.ABTestLive, `"t"`, "write its end")
	w.now = w.now.Add(3 * time.Hour)
	if got := changesOf(w.apply(ended, ApplyOptions{})); len(got) > 0 {
		t.Errorf("changed %v of an ended test", got)
	}
	_, err = w.ApplyState(ctx, document(0.2, time.Hour, 2*time.Hour), ApplyOptions{}) // another one
	wantError(t, err, model.ABTestExists, `"t"`, "another name")
	if doc := must[*state.Document](t)(w.State(ctx, StateFilter{})).Value; len(doc.ABTests) > 0 {
		t.Errorf("exported %v", doc.ABTests)
	}
}

// Tests are checked for overlaps as the document leaves them, not in the order in which
// they are changed.
func TestApplyTestsThatSwap(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	day := func(n int) time.Time { return w.now.AddDate(0, 0, n) }
	test := func(from, to int) *state.ABTest {
		return &state.ABTest{Start: day(from), End: day(to), Groups: []state.TestGroup{
			{Name: "a", Variants: map[string]string{"foobar": "A"}}, {Name: "b", Variants: map[string]string{"foobar": "B"}},
		}}
	}
	doc := func(first, second *state.ABTest) *state.Document {
		return &state.Document{Version: 1, ABTests: map[string]*state.ABTest{"first": first, "second": second}}
	}
	w.apply(doc(test(10, 17), test(17, 24)), ApplyOptions{})
	for _, step := range []struct {
		what  string
		tests *state.Document
	}{
		{"a week later", doc(test(17, 24), test(24, 31))},
		{"swapped", doc(test(24, 31), test(17, 24))},
	} {
		result := w.apply(step.tests, ApplyOptions{})
		if got := changesOf(result); !slices.Equal(got, []string{"update abtests/first", "update abtests/second"}) {
			t.Errorf("%s: changed %v", step.what, got)
		}
		before := must[api.ABTest](t)(w.ABTest(ctx, "first")).Value.Start
		must[api.Reverted](t)(w.Revert(ctx, must[api.Reverted](t)(w.Revert(ctx, result.Revision)).Revision)) // there and back
		if after := must[api.ABTest](t)(w.ABTest(ctx, "first")).Value.Start; after != before {
			t.Errorf("%s, and reverted twice: the first test starts %v, want %v", step.what, after, before)
		}
	}
	_, err := w.ApplyState(ctx, doc(test(30, 40), test(39, 50)), ApplyOptions{})
	wantError(t, err, model.ABTestOverlap, "second", "foobar")
	w.apply(&state.Document{Version: 1, ABTests: map[string]*state.ABTest{"first": test(50, 60)}}, ApplyOptions{})
	_, err = w.ApplyState(ctx, &state.Document{Version: 1, ABTests: map[string]*state.ABTest{"third": test(55, 57)}}, ApplyOptions{})
	wantError(t, err, model.ABTestOverlap, "first", "foobar")
}

func TestApplyStateNamesEveryFault(t *testing.T) {
	w := newFixture(t)
	w.seed()
	doc := checkout()
	doc.Features["checkout"].Default = state.Of("C")
	doc.Features["checkout"].Variants["A"] = nil
	doc.Features["foobar"] = &state.Feature{Default: state.Of("D")}
	doc.Groups["friends"].Overrides["nothing"] = ptr("A")
	before := w.column(`SELECT revision FROM state`)
	_, err := w.ApplyState(t.Context(), doc, ApplyOptions{})
	wantError(t, err, model.ValidationFailed, "features.checkout.default", "features.checkout.rollout.variant", "features.foobar.default", "groups.friends.overrides.nothing")
	if after := w.column(`SELECT revision FROM state`); !slices.Equal(before, after) {
		t.Errorf("revision %v became %v", before, after)
	}
}

func TestStateIfMatch(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	w.apply(checkout(), ApplyOptions{})
	version := func() int64 {
		return must[*state.Document](t)(w.State(ctx, StateFilter{Owner: "checkout-repo"})).Version
	}
	first := version()
	must[api.Feature](t)(w.PatchFeature(ctx, "foobar", api.PatchFeature{Description: ptr("another's")}))
	doc := checkout()
	doc.Features["checkout"].Contact = state.Null[string]()
	w.apply(doc, ApplyOptions{}, IfMatch(first))
	if version() == first {
		t.Error("the version is the same after a change")
	}
	_, err := w.ApplyState(ctx, checkout(), ApplyOptions{}, IfMatch(first))
	wantError(t, err, model.PreconditionFailed)
}

func TestStateForPromotion(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	w.apply(checkout(), ApplyOptions{})
	must[api.Rollout](t)(w.SetRolloutProportion(ctx, "checkout", 0.3))
	must[api.Feature](t)(w.PatchFeature(ctx, "checkout", api.PatchFeature{Off: ptr(true)}))
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("t", time.Hour, 2*time.Hour)))
	production := newFixtureFor(t)
	production.apply(must[*state.Document](t)(w.State(ctx, StateFilter{Promotion: true})).Value, ApplyOptions{})
	f := must[api.Feature](t)(production.Feature(ctx, "checkout")).Value
	if f.Off || f.Rollout == nil || f.Rollout.Proportion != 0 || len(f.Variants) != 3 {
		t.Errorf("promoted %+v", f)
	}
	if doc := must[*state.Document](t)(production.State(ctx, StateFilter{})).Value; len(doc.ABTests) > 0 || len(doc.Features) != 2 {
		t.Errorf("production has %+v", doc)
	}
	must[api.Rollout](t)(production.SetRolloutProportion(ctx, "checkout", 0.1))
	must[api.Rollout](t)(w.DeleteRollout(ctx, "checkout"))
	production.apply(must[*state.Document](t)(w.State(ctx, StateFilter{Promotion: true})).Value, ApplyOptions{})
	if r := must[api.Feature](t)(production.Feature(ctx, "checkout")).Value.Rollout; r == nil || r.Proportion != 0.1 {
		t.Errorf("the rollout of production is %+v", r)
	}
	// An override of a feature that is archived, and another's.
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "A"))
	must[api.ABTest](t)(w.DeleteABTest(ctx, "t"))
	must[api.Feature](t)(w.ArchiveFeature(ctx, "foobar"))
	owned := must[*state.Document](t)(w.State(ctx, StateFilter{Promotion: true, Owner: "checkout-repo"})).Value
	if got := owned.Groups["friends"].Overrides; len(got) != 1 || got["checkout"] == nil {
		t.Errorf("promoted overrides are %v", got)
	}
	doc := must[*state.Document](t)(w.State(ctx, StateFilter{Features: []string{"check*"}})).Value
	if len(doc.Features) != 1 || len(doc.Groups) != 1 || len(doc.ABTests) != 0 {
		t.Errorf("a part has %+v", doc)
	}
}

// Random documents on random configurations: what is applied is as the answer says, and
// as the document says, and nothing is left to do. What is exported makes the same
// configuration from nothing.
func TestApplyRandomDocuments(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newFixtureFor(t)
		w.seed()
		d := documents{w, rt}
		for range 12 {
			d.edit()
			d.apply(d.draw())
		}
		exported := must[*state.Document](t)(w.State(t.Context(), StateFilter{}))
		empty := newFixtureFor(t)
		empty.apply(exported.Value, ApplyOptions{})
		if diff := gocmp.Diff(jsonOf(exported.Value), jsonOf(must[*state.Document](t)(empty.State(t.Context(), StateFilter{})).Value)); diff != "" {
			rt.Fatalf("export → apply → export (-before +after):\n%s", diff)
		}
	})
}

func jsonOf(doc *state.Document) string {
	text, err := doc.JSON()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

type documents struct {
	*fixture
	rapid *rapid.T
}

func (d *documents) pick(label string, of ...string) string {
	return rapid.SampledFrom(of).Draw(d.rapid, label)
}

func (d *documents) chance(percent int, label string) bool {
	return rapid.IntRange(1, 100).Draw(d.rapid, label) <= percent
}

func (d *documents) name() string    { return d.pick("feature", "foobar", "x", "y", "z.1") }
func (d *documents) variant() string { return d.pick("variant", "A", "B", model.DisablingVariant) }

// edit is a change by hand.
func (d *documents) edit() {
	ctx, name := d.t.Context(), d.name()
	var err error
	switch d.pick("edit", "proportion", "description", "off", "default", "archive", "restore", "override", "nothing") {
	case "proportion":
		_, err = d.SetRolloutProportion(ctx, name, 0.3)
	case "description":
		_, err = d.PatchFeature(ctx, name, api.PatchFeature{Description: ptr("by hand")})
	case "off":
		_, err = d.PatchFeature(ctx, name, api.PatchFeature{Off: ptr(true)})
	case "default":
		_, err = d.SetDefaultVariant(ctx, name, d.variant())
	case "archive":
		_, err = d.ArchiveFeature(ctx, name)
	case "restore":
		_, err = d.RestoreFeature(ctx, name)
	case "override":
		_, err = d.AddGroupOverride(ctx, "friends", name, d.variant())
	}
	if err != nil && model.CodeOf(err) == "" {
		d.rapid.Fatal(err)
	}
}

func drawField[T any](d *documents, label string, values ...T) state.Field[T] {
	switch {
	case d.chance(50, label+" absent"):
		return state.Field[T]{}
	case d.chance(20, label+" null"):
		return state.Null[T]()
	}
	return state.Of(rapid.SampledFrom(values).Draw(d.rapid, label))
}

func (d *documents) draw() *state.Document {
	doc := &state.Document{Version: 1, Owner: d.pick("owner", "one", "one", "two", ""), Features: map[string]*state.Feature{}, Groups: map[string]*state.Group{}}
	for range rapid.IntRange(0, 3).Draw(d.rapid, "features") {
		f := &state.Feature{
			Description: drawField(d, "description", "a", "b"), Tags: drawField(d, "tags", []string{}, []string{"x"}),
			Contact: drawField(d, "contact", "team"), Expires: drawField(d, "expires", "2030-01-31"), Permanent: drawField(d, "permanent", true, false),
			Off: drawField(d, "off", true, false), Archived: drawField(d, "archived", true, false, false),
			Default: drawField(d, "default", "A", "B"), Rollout: state.Field[state.Rollout]{},
		}
		if d.chance(70, "variants") {
			f.Variants = map[string]*state.Variant{"A": {Payload: drawField(d, "payload", json.RawMessage(`{"a":[1.0]}`), json.RawMessage(`1`))}, "B": {}}
			if d.chance(20, "no variant") {
				f.Variants[d.variant()] = nil
			}
		}
		if d.chance(50, "rollout") {
			f.Rollout = state.Of(state.Rollout{Variant: d.variant(), Proportion: drawField(d, "proportion", 0.0, 0.2, 1)})
			if p := &f.Rollout.Value.Proportion; p.Given && p.Value == nil {
				*p = state.Field[float64]{}
			}
		}
		doc.Features[d.name()] = f
	}
	for range rapid.IntRange(0, 2).Draw(d.rapid, "groups") {
		g := &state.Group{Priority: drawField(d, "priority", 1, 2), Overrides: map[string]*string{}}
		for range rapid.IntRange(0, 2).Draw(d.rapid, "overrides") {
			g.Overrides[d.name()] = ptr(d.variant())
			if d.chance(20, "no override") {
				g.Overrides[d.name()] = nil
			}
		}
		doc.Groups[d.pick("group", "friends", "team")] = g
	}
	return doc
}

// apply checks a document, whether it is applied or refused.
func (d *documents) apply(doc *state.Document) {
	ctx := d.t.Context()
	how := ApplyOptions{Prune: doc.Owner != "" && d.chance(30, "prune"), Force: d.chance(50, "force")}
	before := jsonOf(must[*state.Document](d.t)(d.State(ctx, StateFilter{})).Value)
	tried, errTried := d.ApplyState(ctx, doc, how, DryRun())
	if after := jsonOf(must[*state.Document](d.t)(d.State(ctx, StateFilter{})).Value); after != before {
		d.rapid.Fatalf("a dry run changed %s to %s", before, after)
	}
	made, err := d.ApplyState(ctx, doc, how)
	if model.CodeOf(err) != model.CodeOf(errTried) || err != nil && model.CodeOf(err) == "" {
		d.rapid.Fatalf("a dry run: %v, the write: %v", errTried, err)
	}
	if err != nil {
		if after := jsonOf(must[*state.Document](d.t)(d.State(ctx, StateFilter{})).Value); after != before {
			d.rapid.Fatalf("a refused document changed %s to %s", before, after)
		}
		return
	}
	if diff := gocmp.Diff(changesOf(tried), changesOf(made)); diff != "" {
		d.rapid.Fatalf("a dry run and the write (-tried +made):\n%s", diff)
	}
	for _, k := range made.Value.Changes {
		if diff := gocmp.Diff(d.content(k.Resource), contentOf(k.After)); diff != "" {
			d.rapid.Fatalf("%s is not as the answer says (-is +said):\n%s", k.Resource, diff)
		}
	}
	d.agrees(doc)
	again, err := d.ApplyState(ctx, doc, how)
	if err != nil || len(again.Value.Changes) > 0 || again.Revision != made.Revision {
		d.rapid.Fatalf("applied again: %v, %v", changesOf(again), err)
	}
}

func contentOf(value any) (content any) {
	text, err := model.EncodeJSON(value)
	if err == nil && value != nil {
		err = json.Unmarshal(text, &content)
	}
	if err != nil {
		return err
	}
	return content
}

// content reads a resource; nil for none.
func (d *documents) content(path string) any {
	r, err := parseResource(path)
	if err != nil {
		d.rapid.Fatal(err)
	}
	ctx := d.t.Context()
	var value any
	switch r.kind {
	case featureResource:
		value = found(d.Feature(ctx, r.names[0]))
	case rolloutResource:
		value = found(d.Rollout(ctx, r.names[0]))
	case groupResource:
		value = found(d.Group(ctx, r.names[0]))
	case overrideResource:
		if g, err := d.Group(ctx, r.names[0]); err == nil && g.Value.Overrides[r.names[1]] != "" {
			value = api.VariantReference{Variant: g.Value.Overrides[r.names[1]]}
		}
	case defaultVariantResource:
		if f, err := d.Feature(ctx, r.names[0]); err == nil && f.Value.DefaultVariant != nil {
			value = api.VariantReference{Variant: *f.Value.DefaultVariant}
		}
	case variantResource:
		f, _ := d.Feature(ctx, r.names[0])
		for _, v := range f.Value.Variants {
			if v.Name == r.names[1] {
				value = v
			}
		}
	}
	return contentOf(value)
}

func found[T any](r Result[T], err error) any {
	if err != nil {
		return nil
	}
	return r.Value
}

// agrees checks that the configuration is as the document says.
func (d *documents) agrees(doc *state.Document) {
	now := must[*state.Document](d.t)(d.State(d.t.Context(), StateFilter{})).Value
	for name, want := range doc.Features {
		got := now.Features[name]
		if got == nil {
			d.rapid.Fatalf("there is no feature %s", name)
		}
		same := want.Description.Or(got.Description.Or("")) == got.Description.Or("") &&
			slices.Equal(want.Tags.Or(got.Tags.Or(nil)), got.Tags.Or(nil)) &&
			want.Off.Or(got.Off.Or(false)) == got.Off.Or(false) &&
			want.Archived.Or(got.Archived.Or(false)) == got.Archived.Or(false) &&
			want.Default.Or(got.Default.Or("")) == got.Default.Or("") &&
			want.Expires.Or(got.Expires.Or("")) == got.Expires.Or("")
		for variant, v := range want.Variants {
			same = same && (v != nil) == (got.Variants[variant] != nil)
		}
		if r := want.Rollout; r.Given {
			same = same && (r.Value == nil) == (got.Rollout.Value == nil)
		}
		if !same {
			d.rapid.Fatalf("feature %s is %s, the document says %s", name, contentOf(got), contentOf(want))
		}
	}
	for name, want := range doc.Groups {
		got := now.Groups[name]
		if got == nil || want.Priority.Or(got.Priority.Or(0)) != got.Priority.Or(0) {
			d.rapid.Fatalf("group %s is %v", name, contentOf(got))
		}
		for feature, variant := range want.Overrides {
			if text(variant) != text(got.Overrides[feature]) {
				d.rapid.Fatalf("group %s overrides %s with %s", name, feature, text(got.Overrides[feature]))
			}
		}
	}
}

// A document has more audit rows than a statement of PostgreSQL has parameters.
func TestApplyManyFeatures(t *testing.T) {
	w := newFixture(t)
	doc := &state.Document{Version: state.Version, Features: map[string]*state.Feature{}}
	for i := range 3000 {
		doc.Features[fmt.Sprint("feature-", i)] = &state.Feature{Variants: map[string]*state.Variant{"A": {}}, Default: state.Of("A")}
	}
	if made := w.apply(doc, ApplyOptions{}); made.Revision != 1 || len(made.Value.Changes) != 9000 {
		t.Errorf("revision %d with %d changes", made.Revision, len(made.Value.Changes))
	}
	if rows := w.one(`SELECT count(*) || ' ' || min(position) || ' ' || max(position) FROM audit`); rows != "9000 0 8999" {
		t.Errorf("audit rows and positions: %s", rows)
	}
}
