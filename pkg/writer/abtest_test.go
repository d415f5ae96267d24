package writer

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

var nan = math.NaN()

func TestABTestsComeAndGo(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	states := func() (names string) {
		for _, state := range []model.TestState{model.Scheduled, model.Live, model.Ended} {
			names += "|"
			for _, test := range must[api.Page[api.ABTest]](t)(w.ABTests(ctx, ABTestFilter{State: state}, Page{})).Value.Items {
				if test.State != state {
					t.Errorf("test %s is %s among those that are %s", test.Name, test.State, state)
				}
				names += test.Name
			}
		}
		return names
	}
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("a", time.Hour, 2*time.Hour)))
	test := must[api.ABTest](t)(w.AddABTest(ctx, w.test("b", 2*time.Hour, 3*time.Hour))).Value
	if test.State != model.Scheduled || test.Groups[0].EffectiveWeight+test.Groups[1].EffectiveWeight != 550 {
		t.Errorf("made %+v", test)
	}
	if got := states(); got != "|ab||" {
		t.Errorf("before the start: %s", got)
	}
	_, err := w.StopABTest(ctx, "a")
	wantError(t, err, model.ValidationFailed, "starts at", "2027-01-01T13:00:00Z")
	w.now = w.now.Add(time.Hour) // the start is included
	if got := states(); got != "|b|a|" {
		t.Errorf("at the start: %s", got)
	}
	_, err = w.DeleteABTest(ctx, "a")
	wantError(t, err, model.ABTestLive, "stop it first")
	w.now = w.now.Add(time.Hour) // the end is not
	if got := states(); got != "||b|a" {
		t.Errorf("at the end: %s", got)
	}
	_, err = w.StopABTest(ctx, "a")
	wantError(t, err, model.ValidationFailed, "ended at")
	w.now = w.now.Add(time.Minute)
	stopped := must[api.ABTest](t)(w.StopABTest(ctx, "b"))
	if stopped.Value.State != model.Ended || !stopped.Value.End.Equal(w.now) || stopped.Version != stopped.Revision {
		t.Errorf("stopped %+v", stopped)
	}
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("c", 0, time.Hour))) // at once after it
	must[api.ABTest](t)(w.DeleteABTest(ctx, "b"))
	_, err = w.ABTest(ctx, "b")
	wantError(t, err, model.ABTestNotFound)
	_, err = w.ABTests(ctx, ABTestFilter{State: "running"}, Page{})
	wantError(t, err, model.ValidationFailed, "query.state")
}

func TestABTestsDoNotOverlap(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "other"}))
	must[api.Variant](t)(w.AddVariant(ctx, "other", api.CreateVariant{Name: "on"}))
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("first", time.Hour, 3*time.Hour)))
	for _, period := range [][2]time.Duration{{0, 4}, {0, 2}, {2, 4}, {1, 3}, {2, 3}} {
		_, err := w.AddABTest(ctx, w.test("second", period[0]*time.Hour, period[1]*time.Hour))
		wantError(t, err, model.ABTestOverlap, `"first"`, "foobar", "Z to 2027-01-01T1")
	}
	_, err := w.AddABTest(ctx, w.test("first", 5*time.Hour, 6*time.Hour))
	wantError(t, err, model.ABTestExists)
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("before", 0, time.Hour)))
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("after", 3*time.Hour, 4*time.Hour)))
	elsewhere := w.test("elsewhere", 0, 4*time.Hour)
	for i := range elsewhere.Groups {
		elsewhere.Groups[i].Variants = map[string]string{"other": "on"}
	}
	must[api.ABTest](t)(w.AddABTest(ctx, elsewhere))
}

func TestPatchABTest(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	hour := func(n int) *time.Time { return ptr(time.Date(2027, 1, 1, 12+n, 0, 0, 0, time.FixedZone("", 0))) }
	create := w.test("t", time.Hour, 3*time.Hour)
	create.Description = "which button"
	made := must[api.ABTest](t)(w.AddABTest(ctx, create))
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("next", 5*time.Hour, 6*time.Hour)))
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("last", 7*time.Hour, 8*time.Hour)))
	patch := func(p api.PatchABTest, opts ...Option) (Result[api.ABTest], error) {
		return w.PatchABTest(ctx, "t", p, opts...)
	}

	// What is so already makes no revision.
	same := must[api.ABTest](t)(patch(api.PatchABTest{Start: hour(1), End: hour(3), Description: ptr("which button")}))
	if same.Version != made.Revision || same.Value.Description != "which button" {
		t.Errorf("made revision %d, and no change made %+v", made.Revision, same)
	}
	_, err := patch(api.PatchABTest{}, IfMatch(made.Version-1))
	wantError(t, err, model.PreconditionFailed)

	// Until it starts, both ends move, but neither onto another test of the feature.
	_, err = patch(api.PatchABTest{Start: hour(2), End: hour(2)})
	wantError(t, err, model.ValidationFailed, "body.end", "after start")
	_, err = patch(api.PatchABTest{End: hour(9)})
	wantError(t, err, model.ABTestOverlap, `"next"`, `"last"`)
	_, err = patch(api.PatchABTest{End: hour(-1)})
	wantError(t, err, model.ValidationFailed, "body.end", "before now")
	moved := must[api.ABTest](t)(patch(api.PatchABTest{Start: hour(2), End: hour(5)}))
	if v := moved.Value; !v.Start.Equal(*hour(2)) || !v.End.Equal(*hour(5)) || v.Revision != moved.Revision || !cmp.Equal(v.Groups, made.Value.Groups) {
		t.Errorf("moved to %+v", v)
	}
	if n := made.Value.Groups[0].Subjects + made.Value.Groups[1].Subjects; n != 100 {
		t.Errorf("the groups have %d of 100 subjects", n)
	}

	w.now = *hour(2) // live
	_, err = patch(api.PatchABTest{Start: hour(3)})
	wantError(t, err, model.ValidationFailed, "body.start", "started at 2027-01-01T14:00:00Z")
	_, err = patch(api.PatchABTest{End: hour(1)})
	wantError(t, err, model.ValidationFailed, "body.end")
	_, err = w.Revert(ctx, moved.Revision)
	wantError(t, err, model.NotRevertible, "body.start")
	shorter := must[api.ABTest](t)(patch(api.PatchABTest{End: hour(4)}))
	must[api.Reverted](t)(w.Revert(ctx, shorter.Revision))

	w.now = *hour(5) // ended
	_, err = patch(api.PatchABTest{End: hour(6)})
	wantError(t, err, model.ValidationFailed, "body.end", "ended at 2027-01-01T17:00:00Z")
	if got := must[api.ABTest](t)(patch(api.PatchABTest{Description: ptr("")})).Value; got.Description != "" || got.State != model.Ended {
		t.Errorf("described %+v", got)
	}
	_, err = w.PatchABTest(ctx, "none", api.PatchABTest{})
	wantError(t, err, model.ABTestNotFound)
}

func TestFindABTests(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "other", Variants: []api.NewVariant{{Name: "on"}}}))
	for i, name := range []string{"a", "b", "c"} { // from hour 0 to 1, 1 to 2, 2 to 3
		must[api.ABTest](t)(w.AddABTest(ctx, w.test(name, time.Duration(i)*time.Hour, time.Duration(i+1)*time.Hour)))
	}
	elsewhere := w.test("d", 0, 3*time.Hour)
	for i := range elsewhere.Groups {
		elsewhere.Groups[i].Variants = map[string]string{"other": "on"}
	}
	must[api.ABTest](t)(w.AddABTest(ctx, elsewhere))
	start := w.now
	at := func(hours float64) time.Time { return start.Add(time.Duration(hours * float64(time.Hour))) }
	w.now = at(1)
	for _, row := range []struct {
		filter ABTestFilter
		want   string
	}{
		{ABTestFilter{}, "abcd"},
		{ABTestFilter{Feature: "other"}, "d"},
		{ABTestFilter{Feature: "none"}, ""},
		{ABTestFilter{State: model.Live}, "bd"},
		{ABTestFilter{State: model.Live, Feature: "foobar"}, "b"},
		{ABTestFilter{From: at(1)}, "bcd"},                     // an end is excluded
		{ABTestFilter{Until: at(1)}, "ad"},                     // so is until
		{ABTestFilter{From: at(1.5), Until: at(1.6)}, "bd"},    // within
		{ABTestFilter{From: at(0.5), Until: at(1.5)}, "abd"},   // across
		{ABTestFilter{From: at(3)}, ""},                        // after all
		{ABTestFilter{State: model.Ended, From: at(0.5)}, "a"}, // all that is given
	} {
		got := ""
		for page := (Page{Limit: 1}); ; { // page by page
			found := must[api.Page[api.ABTest]](t)(w.ABTests(ctx, row.filter, page)).Value
			for _, test := range found.Items {
				got += test.Name
			}
			if page.After = found.Next; page.After == "" {
				break
			}
		}
		if got != row.want {
			t.Errorf("%+v finds %q, want %q", row.filter, got, row.want)
		}
	}
}

func TestABTestsAreChecked(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	for name, c := range map[string]struct {
		spoil func(*api.CreateABTest)
		code  model.Code
		hint  string
	}{
		"name":               {func(c *api.CreateABTest) { c.Name = "" }, model.ValidationFailed, "body.name"},
		"end before start":   {func(c *api.CreateABTest) { c.End = c.Start }, model.ValidationFailed, "body.end"},
		"no time":            {func(c *api.CreateABTest) { c.Start = time.Time{} }, model.ValidationFailed, "body.start"},
		"one group":          {func(c *api.CreateABTest) { c.Groups = c.Groups[:1] }, model.ValidationFailed, "body.groups"},
		"equal names":        {func(c *api.CreateABTest) { c.Groups[1].Name = "control" }, model.ValidationFailed, "body.groups[1].name"},
		"sum":                {func(c *api.CreateABTest) { c.Groups[1].Proportion = ptr(0.3) }, model.ValidationFailed, "sum to 1"},
		"one proportion":     {func(c *api.CreateABTest) { c.Groups[1].Proportion = nil }, model.ValidationFailed, "body.groups[1].proportion"},
		"negative":           {func(c *api.CreateABTest) { c.Groups[1].Proportion = ptr(-0.2) }, model.ValidationFailed, "body.groups[1].proportion"},
		"not a number":       {func(c *api.CreateABTest) { c.Groups[1].Proportion = ptr(nan) }, model.ValidationFailed, "body.groups[1].proportion"},
		"no variants":        {func(c *api.CreateABTest) { c.Groups[1].Variants = nil }, model.ValidationFailed, "body.groups[1].variants"},
		"unknown variant":    {func(c *api.CreateABTest) { c.Groups[1].Variants["foobar"] = "C" }, model.VariantNotFound, "body.groups[1].variants.foobar"},
		"wrong feature name": {func(c *api.CreateABTest) { c.Groups[0].Variants["a b"] = "A" }, model.ValidationFailed, "body.groups[0].variants"},
		"different features": {func(c *api.CreateABTest) { c.Groups[0].Variants["x"] = "A" }, model.ValidationFailed, "body.groups[1].variants"},
		"unknown feature": {func(c *api.CreateABTest) {
			c.Groups[0].Variants["x"], c.Groups[1].Variants["x"] = "A", "A"
		}, model.FeatureNotFound, `"x"`},
	} {
		create := w.test("t", 0, time.Hour)
		c.spoil(&create)
		if _, err := w.AddABTest(ctx, create); err == nil {
			t.Errorf("%s: was taken", name)
		} else {
			wantError(t, err, c.code, c.hint)
		}
	}
	equal := w.test("t", -time.Hour, time.Hour) // live at once
	equal.Groups[0].Proportion, equal.Groups[1].Proportion = nil, nil
	if got := must[api.ABTest](t)(w.AddABTest(ctx, equal)).Value; got.Groups[0].Proportion != 0.5 || got.State != model.Live {
		t.Errorf("made %+v", got)
	}
}

// The worked example of the README: an override beats a test beats a rollout.
func TestPrecedence(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	gets := func(id, want string) {
		t.Helper()
		if got := must[map[string]string](t)(w.SubjectVariants(ctx, id)).Value["foobar"]; got != want {
			t.Errorf("%s gets %q, want %q", id, got, want)
		}
	}
	must[api.Rollout](t)(w.AddRollout(ctx, "foobar", "A"))
	gets("42", model.DisablingVariant)
	must[api.Rollout](t)(w.SetRolloutProportion(ctx, "foobar", 1))
	gets("42", "A")
	test := w.test("t", time.Hour, 2*time.Hour)
	test.Groups[1].Variants["foobar"] = model.DisablingVariant
	must[api.ABTest](t)(w.AddABTest(ctx, test))
	gets("42", "A")
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "42"))
	gets("42", "B")
	w.now = w.now.Add(time.Hour)
	gets("42", "B")
	gets("41", model.DisablingVariant)

	at := w.now.Add(-time.Minute)
	e := must[api.Explanation](t)(w.Explain(ctx, "41", at)).Value
	if d := e.Features["foobar"]; *d.Variant != "A" || *d.Reason != "rollout" || !e.At.Equal(at) || len(d.Steps) != 4 {
		t.Errorf("a minute before the test: %+v", e)
	}
	e = must[api.Explanation](t)(w.Explain(ctx, "42", time.Time{})).Value
	if d := e.Features["foobar"]; *d.Reason != "override" || d.Steps[3].Group != "friends" || !e.At.Equal(w.now) {
		t.Errorf("now: %+v", e)
	}
	_, err := w.Explain(ctx, "none", time.Time{})
	wantError(t, err, model.SubjectNotFound)
	_, err = w.SubjectVariants(ctx, "none")
	wantError(t, err, model.SubjectNotFound)
}

// What a test is designed like is answered and stored, with what it began with.
func TestABTestKeepsItsDesign(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	heavy := int64(1_000_000)
	aside := must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: "heavy", Weight: &heavy})).Value.BucketID
	made := must[api.ABTest](t)(w.AddABTest(ctx, w.test("t", 0, time.Hour)))
	test := made.Value
	if test.Design != model.DrawnDesign || !slices.Equal(test.Aside, []model.BucketID{aside}) {
		t.Errorf("design %d, aside %v; bucket %d outweighs the others", test.Design, test.Aside, aside)
	}
	// The heavy bucket is more than all that one group was to have.
	sum := 0.0
	for _, g := range test.Groups {
		sum += *g.Chance
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("the chances sum to %v", sum)
	}
	var codes []string
	for _, warning := range test.Warnings {
		codes = append(codes, warning.Code)
	}
	if !slices.Contains(codes, "few_buckets") || !slices.Contains(codes, "low_chance") {
		t.Errorf("10 buckets, one of which outweighs all: warnings %v", test.Warnings)
	}
	read := must[api.ABTest](t)(w.ABTest(ctx, "t")).Value
	if diff := cmp.Diff(test, read); diff != "" {
		t.Errorf("an A/B test (-made +read):\n%s", diff)
	}
	const baseline = `SELECT revision = $1 AND cardinality(weights) = 10 AND weights = (SELECT array_agg(weight ORDER BY id) FROM bucket)
		AND subjects = (SELECT array_agg(subjects ORDER BY id) FROM bucket) FROM abtest_baseline WHERE abtest = 't'`
	if same := w.one(strings.Replace(baseline, "$1", fmt.Sprint(made.Revision), 1)); same != "true" {
		t.Errorf("the baseline is what the test began with: %s", same)
	}
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 5))
	if again := must[api.ABTest](t)(w.ABTest(ctx, "t")).Value; !slices.Equal(again.Aside, test.Aside) || *again.Groups[0].Chance != *test.Groups[0].Chance {
		t.Errorf("more buckets changed the design: %+v", again)
	}
}

func TestTestsOfTheFirstDesignKeepTheirAssignment(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	before := must[api.ABTest](t)(w.AddABTest(ctx, w.test("t", 0, time.Hour))).Value
	for _, statement := range []string{
		`UPDATE abtest SET design = 1`, `UPDATE abtest_group SET chance = NULL`, `DELETE FROM abtest_baseline`, // as a migration finds it
	} {
		if _, err := w.sql.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	got := must[api.ABTest](t)(w.ABTest(ctx, "t")).Value
	if got.Design != model.GreedyDesign || got.Groups[0].Chance != nil || len(got.Warnings) != 1 || got.Warnings[0].Code != "not_drawn" {
		t.Errorf("read as %+v", got)
	}
	for i := range got.Groups {
		if !slices.Equal(got.Groups[i].Buckets, before.Groups[i].Buckets) {
			t.Errorf("group %d has other buckets", i)
		}
	}
}

func TestEndedTestIsRecorded(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	past := w.test("past", -2*time.Hour, -time.Hour)
	if got := must[api.ABTest](t)(w.AddABTest(ctx, past)).Value; got.State != model.Ended || len(got.Groups[0].Buckets) == 0 {
		t.Errorf("recorded as %+v", got)
	}
	past.Name = "again"
	_, err := w.AddABTest(ctx, past)
	wantError(t, err, model.ABTestOverlap, `"past"`)
}
