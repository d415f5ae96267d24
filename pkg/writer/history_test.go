package writer

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// tick lets a minute pass and returns the moment before.
func (w *fixture) tick() time.Time {
	before := w.now
	w.now = w.now.Add(time.Minute)
	return before
}

// past is what explain says of foobar at a moment: the variant and its reason.
func (w *fixture) past(id string, at time.Time) string {
	w.t.Helper()
	d := must[api.Explanation](w.t)(w.Explain(w.t.Context(), id, at)).Value.Features["foobar"]
	if d.Variant == nil {
		return ""
	}
	return *d.Variant + " " + *d.Reason
}

// A database that was used before it had a history begins one with what it holds.
func TestHistoryBeginsWithItsMigration(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Variant](t)(w.PatchVariant(ctx, "foobar", "A", api.PatchVariant{Payload: "\x00"}))
	must[api.Rollout](t)(w.AddRollout(ctx, "foobar", "A"))
	must[api.Rollout](t)(w.SetRolloutProportion(ctx, "foobar", 1))
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("t", time.Hour, 2*time.Hour)))
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "1"))
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "gone"}))
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "gone", "1"))
	before := w.tick()
	must[api.Group](t)(w.DeleteGroup(ctx, "gone"))
	begin := w.tick()
	status, err := migrations.CurrentStatus(ctx, w.db.SQL())
	if err != nil {
		t.Fatal(err)
	}
	const without = 3 // the last version that had no history
	if err := migrations.Down(ctx, w.db.SQL(), int(status.Database)-without); err != nil {
		t.Fatal(err)
	}
	if n := w.one(`SELECT count(*) FROM member`); n != "1" {
		t.Errorf("%s memberships are left without history, want that of friends alone", n)
	}
	if err := w.UpgradeDB(ctx); err != nil {
		t.Fatal(err)
	}
	w.tick()
	must[api.Subject](t)(w.DeleteSubject(ctx, "1"))
	must[api.Feature](t)(w.PatchFeature(ctx, "foobar", api.PatchFeature{Description: ptr("d")}))
	must[api.ABTest](t)(w.DeleteABTest(ctx, "t"))
	must[api.Group](t)(w.DeleteGroup(ctx, "friends"))
	must[api.Rollout](t)(w.DeleteRollout(ctx, "foobar"))
	must[api.Variant](t)(w.DeleteVariant(ctx, "foobar", "A"))

	for id, want := range map[string]string{"1": "B override", "2": "A rollout"} {
		if got := w.past(id, begin); got != want {
			t.Errorf("%s is explained as %q when history began, want %q", id, got, want)
		}
	}
	_, err = w.Explain(ctx, "2", before)
	wantError(t, err, model.HistoryUnavailable, before.Format(time.RFC3339), "the earliest moment is "+begin.Format(time.RFC3339))
	if text := w.one(`SELECT content ->> 'payload' FROM version WHERE kind = 'variant' AND key[2] = 'A'`); text != `"\u0000"` {
		t.Errorf("the payload was recorded as %s", text)
	}
}

// A program of the release before knows nothing of history, and leaves it complete.
func TestHistoryOfOlderPrograms(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	older := func(statement string) {
		t.Helper()
		w.tick()
		_, err := w.sql.ExecContext(ctx, fmt.Sprintf(`
			BEGIN;
			UPDATE state SET revision = revision + 1;
			SELECT nextval('change_label');
			%s;
			INSERT INTO change (revision, label, config, at) SELECT revision, currval('change_label'), true, '%s' FROM state;
			INSERT INTO audit (revision, at, actor, action, resource) SELECT revision, '%[2]s', 'older', 'update', 'subjects/1' FROM state;
			COMMIT`, statement, w.now.Format(time.RFC3339)))
		if err != nil {
			t.Fatal(err)
		}
	}
	older(`INSERT INTO member (group_id, subject_id) SELECT id, '1' FROM subject_group; UPDATE subject_group SET members = 1`)
	joined := w.now
	older(`DELETE FROM subject_group`)
	deleted := w.now
	w.tick()
	for at, want := range map[time.Time]string{
		joined.Add(-time.Second): model.DisablingVariant + " default", joined: "B override", deleted: model.DisablingVariant + " default",
	} {
		if got := w.past("1", at); got != want {
			t.Errorf("at %s explained as %q, want %q", at, got, want)
		}
	}
	if got := must[api.Subject](t)(w.Subject(ctx, "1")).Value.Groups; len(got) > 0 {
		t.Errorf("the subject is in %v, which was deleted", got)
	}
}

func TestPruneHistory(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "1"))
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "2"))
	must[api.Subject](t)(w.RemoveSubjectFromGroup(ctx, "friends", "2"))
	friends := w.tick()
	must[api.Group](t)(w.DeleteGroup(ctx, "friends"))
	must[api.Subject](t)(w.DeleteSubject(ctx, "3"))
	base := w.tick()
	must[api.VariantReference](t)(w.SetDefaultVariant(ctx, "foobar", "A"))
	must[api.Subject](t)(w.DeleteSubject(ctx, "4"))
	w.tick()
	prune := func(at time.Time) {
		t.Helper()
		if err := w.PruneHistory(ctx, w.now.Sub(at)); err != nil {
			t.Fatal(err)
		}
	}
	count := func() string {
		return w.one(`SELECT concat_ws(' ', (SELECT count(*) FROM member), (SELECT count(*) FROM past_member), (SELECT count(*) FROM past_subject),
			(SELECT count(*) FROM version), (SELECT count(*) FROM revision))`)
	}
	whole := count()
	prune(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	if got := count(); got != whole {
		t.Errorf("pruning what is younger left %s, want %s", got, whole)
	}
	if got := w.past("1", friends); got != "B override" {
		t.Errorf("as a friend explained as %q", got)
	}
	prune(base.Add(time.Second))
	for id, want := range map[string]string{"1": model.DisablingVariant + " default", "4": model.DisablingVariant + " default"} {
		if got := w.past(id, base); got != want {
			t.Errorf("%s is explained as %q at the first moment kept, want %q", id, got, want)
		}
	}
	_, err := w.Explain(ctx, "3", base)
	wantError(t, err, model.SubjectNotFound, "did not exist at revision")
	_, err = w.Explain(ctx, "1", friends)
	wantError(t, err, model.HistoryUnavailable, base.Format(time.RFC3339))
	// Subject 4, the default before, three variants and the feature; three revisions.
	if got := count(); got != "0 0 1 5 3" {
		t.Errorf("pruning left %s", got)
	}
}

// What a forgotten subject was called is in no table any more but in what edges need
// for two days; all that it had can still be explained.
func TestForget(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	const id = `a/b <"ü"> \`
	add := func(id string) {
		t.Helper()
		must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: id}))
		must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", id))
	}
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	add(id)
	deleted := must[api.Subject](t)(w.DeleteSubject(ctx, id)).Revision
	add(id)
	add("a/b")
	lived := w.tick()
	must[api.Subject](t)(w.SetSubjectWeight(ctx, id, 7))
	w.tick()
	dry := must[Forgotten](t)(w.Forget(ctx, id, DryRun()))
	if dry.Affected.Subjects != 1 {
		t.Errorf("a dry run affects %d subjects", dry.Affected.Subjects)
	}
	must[api.Subject](t)(w.Subject(ctx, id))

	r := must[Forgotten](t)(w.Forget(ctx, id))
	f := r.Value
	if !strings.HasPrefix(f.Pseudonym, "forgotten-") || f.Pseudonym == dry.Value.Pseudonym || !f.Deleted || f.HistoryRows != 4 || f.AuditRows != 6 {
		t.Errorf("%+v", f)
	}
	_, err := w.Subject(ctx, id)
	wantError(t, err, model.SubjectNotFound)
	for _, table := range w.column(`SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'tombstone'`) {
		for _, row := range w.column(`SELECT to_json(t) FROM ` + table + ` t`) {
			if strings.Contains(row, "ü") || strings.Contains(row, "%C3%BC") {
				t.Errorf("%s: %s", table, row)
			}
		}
	}
	if got := w.past(f.Pseudonym, lived); got != "B override" {
		t.Errorf("the pseudonym is explained as %q", got)
	}
	if got := w.past("a/b", time.Time{}); got != "B override" {
		t.Errorf("another subject is explained as %q", got)
	}
	entries := must[api.Page[api.AuditEntry]](t)(w.Audit(ctx, AuditFilter{Resource: "subjects/" + f.Pseudonym}, Page{})).Value.Items
	if len(entries) != 5 || entries[0].Action != forgotten || !strings.Contains(fmt.Sprintf("%s", entries[4].After), `{"id":"`+f.Pseudonym+`","weight":1,`) {
		t.Errorf("%+v", entries)
	}
	for _, revision := range []int64{deleted, r.Revision} {
		_, err = w.Revert(ctx, revision)
		wantError(t, err, model.NotRevertible, "forgotten")
	}
	_, err = w.Forget(ctx, id)
	wantError(t, err, model.SubjectNotFound, "nothing is recorded")
	if _, err := w.sql.ExecContext(ctx, `DELETE FROM audit`); err == nil {
		t.Error("the audit can be changed after forgetting")
	}

	// Of one that was deleted before.
	must[api.Subject](t)(w.DeleteSubject(ctx, "5"))
	if f := must[Forgotten](t)(w.Forget(ctx, "5")).Value; f.Deleted || f.HistoryRows != 1 || f.AuditRows != 1 {
		t.Errorf("%+v", f)
	}
}

// Writes go on while subjects are forgotten.
func TestForgetBesideWrites(t *testing.T) {
	w := newFixture(t)
	w.seed()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		var err error
		for i := 0; err == nil && ctx.Err() == nil; i++ {
			err = second(w.SetSubjectWeight(t.Context(), "99", int64(i+100)))
		}
		ended <- err
	}()
	for i := range 20 {
		must[Forgotten](t)(w.Forget(t.Context(), fmt.Sprint(i)))
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
