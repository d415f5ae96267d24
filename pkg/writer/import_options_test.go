package writer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// modelled is what an import should make of subjects, in the plainest way.
type modelled map[string]modelledSubject

type modelledSubject struct {
	weight int64
	groups string // in order, separated by commas
}

func (m modelled) apply(lines []api.ImportLine, replaceGroups, deleteAbsent bool) (after modelled, r api.Imported) {
	after = maps.Clone(m)
	absent := maps.Clone(m)
	for _, line := range lines {
		delete(absent, line.ID)
		before, known := m[line.ID]
		now, groups := before, []string{}
		if !known {
			now.weight = 1
		}
		if line.Weight != nil {
			now.weight = *line.Weight
		}
		if before.groups != "" && !(replaceGroups && line.Groups != nil) {
			groups = strings.Split(before.groups, ",")
		}
		groups = append(groups, line.Groups...)
		slices.Sort(groups)
		now.groups = strings.Join(slices.Compact(groups), ",")
		switch after[line.ID] = now; {
		case !known:
			r.Created++
		case now != before:
			r.Updated++
		default:
			r.Unchanged++
		}
	}
	if deleteAbsent {
		r.Deleted = int64(len(absent))
		for id := range absent {
			delete(after, id)
		}
	}
	return after, r
}

func (m modelled) lines() (lines []string) {
	for id, s := range m {
		lines = append(lines, fmt.Sprintf("%s %d %s", id, s.weight, s.groups))
	}
	slices.Sort(lines)
	return lines
}

var (
	drawnGroups = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.ID)
	drawnIDs    = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6", "7", "8"}), 1, -1, rapid.ID)
)

// drawLines draws an import; all says of a subject what there is to say.
func drawLines(t *rapid.T, all bool) (lines []api.ImportLine) {
	for _, id := range drawnIDs.Draw(t, "ids") {
		line := api.ImportLine{ID: id}
		if all || rapid.Bool().Draw(t, "weighs") {
			line.Weight = ptr(rapid.Int64Range(0, 3).Draw(t, "weight"))
		}
		if all || rapid.Bool().Draw(t, "has groups") {
			line.Groups = append([]string{}, drawnGroups.Draw(t, "groups")...)
		}
		lines = append(lines, line)
	}
	return lines
}

// An import does what the model says, whatever its options; its dry run says what it
// then does, and whose flags change.
func TestImportOptions(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	for group, variant := range map[string]string{"a": "A", "b": "B", "c": ""} {
		must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: group}))
		if variant != "" {
			must[api.VariantReference](t)(w.AddGroupOverride(ctx, group, "foobar", variant))
		}
	}
	var gone []string // there is always one line of the next import that is not among these
	for i := range 100 {
		gone = append(gone, fmt.Sprint(i))
	}
	rapid.Check(t, func(r *rapid.T) {
		must[api.DeletedSubjects](t)(w.DeleteSubjects(ctx, gone))
		start, _ := modelled{}.apply(drawLines(r, true), true, true)
		first := make([]api.ImportLine, 0, len(start))
		for id, s := range start {
			line := api.ImportLine{ID: id, Weight: &s.weight}
			if s.groups != "" {
				line.Groups = strings.Split(s.groups, ",")
			}
			first = append(first, line)
		}
		must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(first...)))

		lines := drawLines(r, false)
		replaceGroups, deleteAbsent := rapid.Bool().Draw(r, "replace"), rapid.Bool().Draw(r, "delete")
		var options []Option
		if replaceGroups {
			options = append(options, ReplaceGroups())
		}
		if deleteAbsent {
			options = append(options, DeleteAbsent())
		}
		try := func(more ...Option) (Result[api.Imported], error) {
			return w.ImportSubjects(ctx, linesOf(lines...), append(more, options...)...)
		}
		after, want := start.apply(lines, replaceGroups, deleteAbsent)
		before := w.everyone()
		dry := must[api.Imported](t)(try(DryRun()))
		if dry.Value != want {
			r.Fatalf("the dry run says %+v, want %+v", dry.Value, want)
		}
		refused := []Option{ExpectDeleted(want.Deleted + 1)}
		if deleteAbsent {
			refused = append(refused, func(*settings) {})
		}
		for _, option := range refused {
			_, err := try(option)
			wantError(t, err, model.ValidationFailed, fmt.Sprintf("query.expect_deleted must be %d, as the import would delete %[1]d subjects, is ", want.Deleted))
		}
		if got, _ := w.export(); !slices.Equal(got, start.lines()) {
			r.Fatalf("refused, it left %q, want %q", got, start.lines())
		}
		made := must[api.Imported](t)(try(ExpectDeleted(want.Deleted)))
		if made.Value != want {
			r.Fatalf("imported %+v, want %+v", made.Value, want)
		}
		if got, _ := w.export(); !slices.Equal(got, after.lines()) {
			r.Fatalf("it left %q, want %q", got, after.lines())
		}
		effect := differing(before, w.everyone())
		effect.Heaviest = nil // imports do not say
		if diff := cmp.Diff(effect, dry.Effect); diff != "" {
			r.Fatalf("effect (-import +dry run):\n%s", diff)
		}
		again := must[api.Imported](t)(w.ImportSubjects(ctx, w.ExportSubjects(ctx, nil), ReplaceGroups(), DeleteAbsent(), ExpectDeleted(0)))
		if again.Value != (api.Imported{Unchanged: int64(len(after))}) || again.Revision != made.Revision {
			r.Fatalf("the export imports as %+v", again)
		}
	})
}

// What others add after the dry run, or while the import runs, is not deleted with the
// rest: the import is refused.
func TestImportDeletesWhatWasExpected(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	replace := func(options ...Option) (Result[api.Imported], error) {
		return w.ImportSubjects(ctx, linesOf(api.ImportLine{ID: "1"}, api.ImportLine{ID: "new"}), append(options, DeleteAbsent())...)
	}
	add := func(id string) { must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: id})) }
	dry := must[api.Imported](t)(replace(DryRun())).Value
	add("after the dry run")
	_, err := replace(ExpectDeleted(dry.Deleted))
	wantError(t, err, model.ValidationFailed, "query.expect_deleted must be 100, as the import would delete 100 subjects, is 99")
	w.Writer.beforeCommit = func() { add("during the import") }
	_, err = replace(ExpectDeleted(100))
	wantError(t, err, model.ValidationFailed, "must be 101, as the import would delete 101 subjects, is 100")
	w.Writer.beforeCommit = nil
	if got := w.one(`SELECT count(*) FROM subject`); got != "102" {
		t.Errorf("%s subjects are left", got)
	}
	must[api.Imported](t)(replace(ExpectDeleted(101)))
}

// Others write while an import replaces groups: what they made of its subjects is replaced
// too, and the past is explained with what held then.
func TestImportBesideWritesEndsWithItsRevision(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "doomed"}))
	must[api.ChangedMembers](t)(w.AddSubjectsToGroup(ctx, "friends", []string{"1", "2", "3"}))
	must[api.ChangedMembers](t)(w.AddSubjectsToGroup(ctx, "doomed", []string{"1", "2"}))
	w.tick()
	var during time.Time
	w.Writer.beforeCommit = func() {
		w.Writer.beforeCommit = nil
		must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "4")) // a line says that it is in none
		must[api.Group](t)(w.DeleteGroup(ctx, "doomed"))
		during = w.tick()
	}
	var file []api.ImportLine
	for i := range 100 {
		if i != 2 {
			file = append(file, api.ImportLine{ID: fmt.Sprint(i), Groups: []string{}})
		}
	}
	r := must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(file...), ReplaceGroups(), DeleteAbsent(), ExpectDeleted(1)))
	if r.Value != (api.Imported{Updated: 3, Unchanged: 96, Deleted: 1}) {
		t.Errorf("%+v", r.Value)
	}
	after := w.tick()
	explained := func() {
		t.Helper()
		for _, id := range []string{"1", "2", "3", "4"} {
			if got := w.past(id, during); got != "B override" {
				t.Errorf("before the end of the import %s is explained as %q", id, got)
			}
			if id != "2" {
				if got := w.past(id, after); got != model.DisablingVariant+" default" {
					t.Errorf("after it %s is explained as %q", id, got)
				}
			}
		}
		_, err := w.Explain(ctx, "2", after)
		wantError(t, err, model.SubjectNotFound)
	}
	explained()
	if err := w.PruneHistory(ctx, w.now.Sub(during)); err != nil {
		t.Fatal(err)
	}
	explained()
	status, err := migrations.CurrentStatus(ctx, w.db.SQL())
	if err != nil {
		t.Fatal(err)
	}
	// Schema 9 has no labels in history.
	if err := migrations.Down(ctx, w.db.SQL(), int(status.Database)-9); err != nil {
		t.Fatal(err)
	}
	if got := w.one(`SELECT until FROM past_subject WHERE subject_id = '2'`); got != fmt.Sprint(r.Revision) {
		t.Errorf("deleted in revision %s, want %d", got, r.Revision)
	}
	if err := w.UpgradeDB(ctx); err != nil {
		t.Fatal(err)
	}
	explained()
}

func TestImportThatWouldDeleteEverybody(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	for _, file := range [][]api.ImportLine{{}, {{ID: "x"}}} {
		_, err := w.ImportSubjects(ctx, linesOf(file...), DeleteAbsent())
		wantError(t, err, model.ValidationFailed, "must be 100, as the import would delete 100 subjects, is missing")
	}
	if n := w.one(`SELECT count(*) FROM subject`); n != "100" {
		t.Errorf("%s subjects are left", n)
	}
	must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(api.ImportLine{ID: "x"}), DeleteAbsent(), ExpectDeleted(100)))
}
