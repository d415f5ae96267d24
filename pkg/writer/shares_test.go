package writer

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// Shares, subjects of variants, overlaps and summaries say what one finds who asks for
// every subject, on configurations of every kind.
func TestSharesAsEachSubject(t *testing.T) {
	w := newFixture(t)
	must[api.BucketIDs](t)(w.IncreaseBuckets(t.Context(), 5))
	checks := 0
	rapid.Check(t, func(t *rapid.T) {
		checks++
		drawn := &drawing{fixture: w, rapid: t, prefix: fmt.Sprint("n", checks)}
		drawn.groups()
		features := []string{drawn.feature("a"), drawn.feature("b")}
		for i := range rapid.IntRange(0, 2).Draw(t, "tests") {
			drawn.test(i, features)
		}
		drawn.overrides(features)
		then := w.now
		w.now = w.now.Add(time.Minute)
		for _, feature := range features {
			drawn.state(feature)
		}
		seen := drawn.everyone(time.Time{})
		weight, subjects := totals(seen)
		summaries := drawn.summaries(features)
		for _, feature := range features {
			for _, at := range []time.Time{{}, then, w.now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "hours")) * time.Hour)} {
				shares, err := w.Shares(w.t.Context(), feature, at)
				drawn.check(err)
				if want := steps(drawn.everyone(at), feature); !maps.Equal(stepsOf(shares.Value), want) {
					t.Fatalf("%s at %s: %+v, want %+v", feature, at, shares.Value, want)
				}
				if shares.Value.TotalWeight != weight || shares.Value.TotalSubjects != subjects {
					t.Fatalf("%+v, want totals of %d subjects that weigh %d", shares.Value, subjects, weight)
				}
			}
			for _, variant := range []string{"A", "B", model.DisablingVariant} {
				if got, want := drawn.subjectsOf(feature, variant), subjectsOf(seen, feature, variant); !slices.Equal(got, want) {
					t.Fatalf("%s gets %s: %+v, want %+v", variant, feature, got, want)
				}
			}
			if diff := gocmp.Diff(drawn.summary(seen, feature), summaries[feature]); diff != "" {
				t.Fatalf("summary of %s (-want +got):\n%s", feature, diff)
			}
		}
		overlap, err := w.Overlap(w.t.Context(), features)
		drawn.check(err)
		if diff := gocmp.Diff(overlapOf(seen, features, weight), overlap.Value); diff != "" {
			t.Fatalf("overlap (-want +got):\n%s", diff)
		}
	})
}

// drawing draws features, tests and groups of names that no other has.
type drawing struct {
	*fixture
	rapid  *rapid.T
	prefix string
	tests  []api.CreateABTest
}

func (d *drawing) check(err error) {
	d.rapid.Helper()
	if err != nil {
		d.rapid.Fatal(err)
	}
}

func (d *drawing) bool(label string) bool { return rapid.Bool().Draw(d.rapid, label) }

func (d *drawing) variant() string {
	return rapid.SampledFrom([]string{"A", "B"}).Draw(d.rapid, "variant")
}

func (d *drawing) groupNames() []string {
	return []string{d.prefix + "x", d.prefix + "y", d.prefix + "z"}
}

// groups also weighs the subjects, who join some.
func (d *drawing) groups() {
	for _, name := range d.groupNames() {
		_, err := d.AddGroup(d.t.Context(), api.CreateGroup{Name: name, Priority: rapid.IntRange(0, 1).Draw(d.rapid, "priority")})
		d.check(err)
	}
	var lines []api.ImportLine
	for i := range 8 {
		line := api.ImportLine{ID: fmt.Sprint(i), Weight: ptr(rapid.Int64Range(0, 9).Draw(d.rapid, "weight"))}
		for _, name := range d.groupNames() {
			if d.bool("joins") {
				line.Groups = append(line.Groups, name)
			}
		}
		lines = append(lines, line)
	}
	_, err := d.ImportSubjects(d.t.Context(), linesOf(lines...))
	d.check(err)
}

func (d *drawing) feature(name string) string {
	create := api.CreateFeature{Name: d.prefix + name, Variants: []api.NewVariant{{Name: "A", Payload: 1}, {Name: "B"}}}
	if d.bool("default") {
		create.DefaultVariant = ptr(d.variant())
	}
	if d.bool("rollout") {
		create.Rollout = &api.CreateRollout{Variant: d.variant(), Proportion: rapid.SampledFrom([]float64{0, 0.3, 0.7, 1}).Draw(d.rapid, "proportion")}
	}
	_, err := d.AddFeature(d.t.Context(), create)
	d.check(err)
	return create.Name
}

// test draws one of those that follow each other.
func (d *drawing) test(i int, features []string) {
	start := d.now.Add(time.Duration(10*i+rapid.IntRange(-5, 5).Draw(d.rapid, "start")) * time.Hour)
	test := api.CreateABTest{Name: fmt.Sprint(d.prefix, "t", i), Start: start, End: start.Add(time.Duration(rapid.IntRange(1, 5).Draw(d.rapid, "hours")) * time.Hour)}
	if i > 0 && start.Before(d.tests[i-1].End) {
		return
	}
	about := features
	if d.bool("of one") {
		about = features[:1]
	}
	for _, group := range []string{"g", "h"} {
		variants := map[string]string{}
		for _, feature := range about {
			variants[feature] = d.variant()
		}
		test.Groups = append(test.Groups, api.CreateTestGroup{Name: group, Variants: variants})
	}
	_, err := d.AddABTest(d.t.Context(), test)
	d.check(err)
	d.tests = append(d.tests, test)
}

func (d *drawing) overrides(features []string) {
	for _, feature := range features {
		for _, group := range d.groupNames() {
			if d.bool("overrides") {
				_, err := d.AddGroupOverride(d.t.Context(), group, feature, d.variant())
				d.check(err)
			}
		}
	}
}

// state switches the feature off and archives it, or not.
func (d *drawing) state(feature string) {
	if rapid.IntRange(0, 5).Draw(d.rapid, "off") == 0 {
		_, err := d.PatchFeature(d.t.Context(), feature, api.PatchFeature{Off: ptr(true)})
		d.check(err)
	}
	if rapid.IntRange(0, 5).Draw(d.rapid, "archived") == 0 {
		_, err := d.ArchiveFeature(d.t.Context(), feature)
		if model.CodeOf(err) != model.ABTestLive {
			d.check(err)
		}
	}
}

// everyone explains to each subject of now what held at a moment.
func (d *drawing) everyone(at time.Time) map[string]explained {
	all, ctx := map[string]explained{}, d.t.Context()
	d.check(d.db.Read(ctx, func(tx *postgres.Tx) error {
		if at.IsZero() {
			at = tx.Now
		}
		held, err := momentOf(ctx, tx, at)
		if err != nil {
			return err
		}
		configuration, err := tx.ConfigurationAt(ctx, held.Revision, postgres.KnownConfiguration{})
		if err != nil {
			return err
		}
		resolver, err := evaluation.Compile(configuration)
		if err != nil {
			return err
		}
		for s, err := range tx.Subjects(ctx, postgres.SubjectFilter{}, "", 1000) {
			if err != nil {
				return err
			}
			all[s.ID] = explained{resolver.Explain(s.Class(), at), s.Weight}
		}
		known, err := d.lastResolved(tx.Epoch, tx.Revision)
		if err != nil {
			return err
		}
		if configuration, err = tx.ConfigurationAt(ctx, held.Revision, known.KnownConfiguration); err != nil {
			return err
		}
		if resolver, err = known.compile(configuration); err != nil {
			return err
		}
		for s, err := range tx.Subjects(ctx, postgres.SubjectFilter{}, "", 1000) {
			if got := resolver.Explain(s.Class(), at); err != nil || !reflect.DeepEqual(got, all[s.ID].features) {
				return fmt.Errorf("subject %q at revision %d, by way of %d: %+v, read whole: %+v, %w", s.ID, held.Revision, known.Revision, got, all[s.ID], err)
			}
		}
		_, err = d.Writer.resolver(ctx, tx) // known next time
		return err
	}))
	return all
}

type explained struct {
	features []evaluation.Explanation
	weight   int64
}

// winner is the step that decides, without its test and its detail.
func (e explained) winner(feature string) evaluation.Step {
	winner := evaluation.Step{Step: nothing}
	for _, x := range e.features {
		for _, step := range x.Steps {
			if x.Feature == feature && step.Applies {
				winner = evaluation.Step{Step: step.Step, Variant: step.Variant, TestGroup: step.TestGroup, Group: step.Group}
			}
		}
	}
	return winner
}

type sum struct{ weight, subjects int64 }

func (s sum) plus(weight int64) sum { return sum{s.weight + weight, s.subjects + 1} }

func totals(all map[string]explained) (weight, subjects int64) {
	for _, e := range all {
		weight, subjects = weight+e.weight, subjects+1
	}
	return weight, subjects
}

func steps(all map[string]explained, feature string) map[evaluation.Step]sum {
	sums := map[evaluation.Step]sum{}
	for _, e := range all {
		winner := e.winner(feature)
		sums[winner] = sums[winner].plus(e.weight)
	}
	return sums
}

// stepsOf leaves out the steps that decide for nobody.
func stepsOf(shares api.Shares) map[evaluation.Step]sum {
	sums := map[evaluation.Step]sum{}
	for _, s := range shares.Steps {
		if s.Subjects > 0 {
			sums[evaluation.Step{Step: evaluation.Reason(s.Step), Variant: text(s.Variant), TestGroup: text(s.TestGroup), Group: text(s.Group)}] = sum{s.Weight, s.Subjects}
		}
	}
	return sums
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func subjectsOf(all map[string]explained, feature, variant string) (found []api.FeatureSubject) {
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if winner := all[id].winner(feature); winner.Variant == variant {
			found = append(found, api.FeatureSubject{ID: id, Weight: all[id].weight, Step: string(winner.Step)})
		}
	}
	return found
}

// subjectsOf reads page by page. Nobody gets a variant that is not there.
func (d *drawing) subjectsOf(feature, variant string) (all []api.FeatureSubject) {
	for page := (Page{Limit: rapid.IntRange(1, 9).Draw(d.rapid, "limit")}); ; {
		r, err := d.FeatureSubjects(d.t.Context(), feature, variant, page)
		if variant == model.DisablingVariant && model.CodeOf(err) == model.VariantNotFound {
			return nil
		}
		d.check(err)
		all = append(all, r.Value.Items...)
		if page.After = r.Value.Next; page.After == "" {
			return all
		}
	}
}

func overlapOf(all map[string]explained, features []string, total int64) api.Overlap {
	sums := map[[2]string]sum{}
	for _, e := range all {
		key := [2]string{e.winner(features[0]).Variant, e.winner(features[1]).Variant}
		sums[key] = sums[key].plus(e.weight)
	}
	overlap := api.Overlap{TotalWeight: total, Cells: []api.OverlapCell{}}
	for _, key := range slices.SortedFunc(maps.Keys(sums), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		overlap.Cells = append(overlap.Cells, api.OverlapCell{A: orNil(key[0]), B: orNil(key[1]), Weight: sums[key].weight, Subjects: sums[key].subjects})
	}
	return overlap
}

// summaries finds each feature by its name.
func (d *drawing) summaries(features []string) map[string]api.FeatureSummary {
	found := map[string]api.FeatureSummary{}
	for _, feature := range features {
		for _, archived := range []bool{false, true} {
			r, err := d.FeatureSummaries(d.t.Context(), FeatureFilter{Query: feature, Archived: archived}, Page{})
			d.check(err)
			for _, summary := range r.Value.Items {
				slices.SortFunc(summary.Shares, func(a, b api.VariantShare) int {
					return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(text(a.Variant), text(b.Variant)))
				})
				found[summary.Name] = summary
			}
		}
	}
	return found
}

// summary is made of what other reads say.
func (d *drawing) summary(all map[string]explained, feature string) api.FeatureSummary {
	r, err := d.Feature(d.t.Context(), feature)
	d.check(err)
	f := r.Value
	changes, err := d.Audit(d.t.Context(), AuditFilter{Resource: "features/" + feature}, Page{Limit: 1})
	d.check(err)
	change := changes.Value.Items[0]
	summary := api.FeatureSummary{
		Name: f.Name, Tags: []string{}, Variants: []string{}, DefaultVariant: f.DefaultVariant, State: model.StateDefault, Stage: model.StageNew,
		Shares: []api.VariantShare{}, Changed: api.LastChange{At: change.At, Actor: change.Actor, Revision: f.Revision},
	}
	for _, v := range f.Variants {
		summary.Variants = append(summary.Variants, v.Name)
	}
	if f.Rollout != nil {
		summary.Rollout = &api.RolloutSummary{Variant: f.Rollout.Variant, Proportion: f.Rollout.Proportion, EffectiveProportion: f.Rollout.EffectiveProportion}
		switch f.Rollout.Proportion {
		case 0:
		case 1:
			summary.State = model.StateEveryone
		default:
			summary.State = model.StateRolling
		}
	}
	for _, test := range d.tests {
		if test.Groups[0].Variants[feature] == "" {
			continue
		}
		form := &api.TestSummary{Name: test.Name, Start: test.Start, End: test.End}
		if !test.Start.After(d.now) {
			summary.Stage = model.StageRolling
		}
		switch {
		case test.Start.After(d.now) && summary.NextTest == nil:
			summary.NextTest = form
		case !test.Start.After(d.now) && test.End.After(d.now):
			summary.Test, summary.State = form, model.StateTesting
		}
	}
	if f.Off {
		summary.State = model.StateOff
	}
	if f.Archived {
		summary.State = model.StateArchived
	}
	for _, name := range d.groupNames() {
		group, err := d.Group(d.t.Context(), name)
		d.check(err)
		if group.Value.Overrides[feature] != "" {
			summary.Overrides++
			summary.Stage = model.StageRolling
		}
	}
	switch summary.State {
	case model.StateDefault:
	case model.StateEveryone:
		summary.Stage = model.StageRolling // not for 14 days
	default:
		summary.Stage = model.FeatureStage(summary.State)
	}
	sums := map[[2]string]sum{}
	for _, e := range all {
		winner := e.winner(feature)
		key := [2]string{string(winner.Step), winner.Variant}
		sums[key] = sums[key].plus(e.weight)
	}
	for _, key := range slices.SortedFunc(maps.Keys(sums), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		summary.Shares = append(summary.Shares, api.VariantShare{Step: key[0], Variant: orNil(key[1]), Weight: sums[key].weight, Subjects: sums[key].subjects})
	}
	return summary
}

// What a large group was counted to is right after every change of subjects, by this
// writer or another.
func TestSharesOfLargeGroup(t *testing.T) {
	w, ctx := newFixture(t), t.Context()
	other := open(t, w.url)
	w.seed()
	if _, err := w.AddGroupOverride(ctx, "friends", "foobar", "B"); err != nil {
		t.Fatal(err)
	}
	var members []api.ImportLine
	const n = 1000
	for i := range n {
		members = append(members, api.ImportLine{ID: fmt.Sprint("member", i), Weight: ptr[int64](2), Groups: []string{"friends"}})
	}
	must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(members...)))
	for _, c := range []struct {
		name   string
		change func() error
		want   sum
	}{
		{"at first", func() error { return nil }, sum{2 * n, n}},
		{"again", func() error { return nil }, sum{2 * n, n}},
		{"weight", func() error { _, err := other.SetSubjectWeight(ctx, "member0", 5); return err }, sum{2*n + 3, n}},
		{"configuration", func() error { _, err := other.AddGroup(ctx, api.CreateGroup{Name: "others"}); return err }, sum{2*n + 3, n}},
		{"join", func() error { _, err := other.AddSubjectToGroup(ctx, "friends", "0"); return err }, sum{2*n + 4, n + 1}},
		{"leave", func() error { _, err := w.RemoveSubjectFromGroup(ctx, "friends", "member1"); return err }, sum{2*n + 2, n}},
		{"delete", func() error { _, err := other.DeleteSubject(ctx, "member2"); return err }, sum{2 * n, n - 1}},
		{"import", func() error { _, err := other.ImportSubjects(ctx, linesOf(members[:2]...)); return err }, sum{2*n - 1, n}},
		{"other epoch", func() error {
			_, err := w.sql.Exec(`WITH s AS (UPDATE subject SET weight = weight + 1 WHERE id = 'member3'),
				b AS (UPDATE bucket SET weight = weight + 1 WHERE id = (SELECT bucket_id FROM subject WHERE id = 'member3'))
				UPDATE state SET epoch = gen_random_uuid()`)
			return err
		}, sum{2 * n, n}},
	} {
		if err := c.change(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		shares := must[api.Shares](t)(w.Shares(ctx, "foobar", time.Time{})).Value
		got := stepsOf(shares)[evaluation.Step{Step: evaluation.Override, Variant: "B", Group: "friends"}]
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if len(w.counts.kept) != 1 {
		t.Errorf("%d counts are kept", len(w.counts.kept))
	}
}

// Readers who ask at once for what one of them counts get the counts of their own
// revision, also if a subject changes meanwhile.
func TestSharesAtOnce(t *testing.T) {
	w, ctx := newFixture(t), t.Context()
	w.seed()
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "1"))
	last := must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B")).Revision
	for i := range int64(20) {
		var readers errgroup.Group
		for range 4 {
			readers.Go(func() error {
				r, err := w.Shares(ctx, "foobar", time.Time{})
				if err != nil {
					return err
				}
				got := stepsOf(r.Value)[evaluation.Step{Step: evaluation.Override, Variant: "B", Group: "friends"}]
				if weight := 100 + r.Revision - last; r.Revision > last && got != (sum{weight, 1}) {
					return fmt.Errorf("%+v at revision %d, want a weight of %d", got, r.Revision, weight)
				}
				return nil
			})
		}
		must[api.Subject](t)(w.SetSubjectWeight(ctx, "1", 101+i))
		if err := readers.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}
