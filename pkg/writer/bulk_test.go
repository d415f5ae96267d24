package writer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestDeleteSubjects(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "2"))
	before := w.requested()
	r := must[api.DeletedSubjects](t)(w.DeleteSubjects(ctx, []string{"9", "x", "2", "b", "1"}, By("ann"), Comment("left us")))
	if r.Value.Deleted != 3 || !slices.Equal(r.Value.Unknown, []string{"x", "b"}) || r.Version != 0 {
		t.Errorf("%+v", r)
	}
	if got := w.column(`SELECT concat_ws(' ', actor, action, resource, comment, before, after) FROM audit WHERE revision = $1`, r.Revision); len(got) != 1 ||
		!strings.HasPrefix(got[0], `ann delete subjects left us {"subjects":[{"id":"1","weight":2,"bucket_id":`) || !strings.Contains(got[0], `"groups":["friends"]`) {
		t.Errorf("audit %q", got)
	}
	none := must[api.DeletedSubjects](t)(w.DeleteSubjects(ctx, []string{"9"}))
	if none.Revision != r.Revision || none.Value.Deleted != 0 || len(none.Value.Unknown) != 1 {
		t.Errorf("%+v", none)
	}
	// One is there again, so not all can come back.
	must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: "9"}))
	_, err := w.Revert(ctx, r.Revision)
	wantError(t, err, model.NotRevertible, `there is a subject "9" already`)
	must[api.DeletedSubjects](t)(w.DeleteSubjects(ctx, []string{"9"}))
	back := must[api.Reverted](t)(w.Revert(ctx, r.Revision))
	if got := w.requested(); !slices.Equal(got, before) {
		t.Errorf("reverted: %q", got)
	}
	must[api.Subject](t)(w.SetSubjectWeight(ctx, "1", 50))
	_, err = w.Revert(ctx, back.Revision)
	wantError(t, err, model.NotRevertible, "changed since")
}

func TestBulkRestoresIntoGroupsThatExist(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.ChangedMembers](t)(w.AddSubjectsToGroup(ctx, "friends", []string{"1", "2"}))
	r := must[api.DeletedSubjects](t)(w.DeleteSubjects(ctx, []string{"1", "3"}))
	must[api.Group](t)(w.DeleteGroup(ctx, "friends"))
	_, err := w.Revert(ctx, r.Revision)
	wantError(t, err, model.NotRevertible, `no group "friends"`)
}

func TestChangeMembers(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "2"))
	r := must[api.ChangedMembers](t)(w.AddSubjectsToGroup(ctx, "friends", []string{"9", "x", "2", "1"}))
	if fmt.Sprintf("%+v", r.Value) != "{Joined:2 Already:1 Left:0 Unknown:[x]}" {
		t.Errorf("%+v", r)
	}
	if got := w.column(`SELECT concat_ws(' ', action, resource, before, after) FROM audit WHERE revision = $1`, r.Revision); !slices.Equal(got, []string{
		`create groups/friends/subjects {"subjects":[{"id":"1"},{"id":"9"}]}`,
	}) {
		t.Errorf("audit %q", got)
	}
	again := must[api.ChangedMembers](t)(w.AddSubjectsToGroup(ctx, "friends", []string{"9"}))
	if again.Revision != r.Revision || again.Value.Already != 1 {
		t.Errorf("%+v", again)
	}
	if got := must[api.Page[api.Member]](t)(w.MembersWithWeights(ctx, "friends", Page{Limit: 2})).Value; fmt.Sprintf("%+v", got) != "{Items:[{ID:1 Weight:2} {ID:2 Weight:3}] Next:2}" {
		t.Errorf("%+v", got)
	}
	if tried := must[api.ChangedMembers](t)(w.RemoveSubjectsFromGroup(ctx, "friends", []string{"1"}, DryRun())); len(tried.Removes) > 0 {
		t.Errorf("the dry run removes %v", tried.Removes)
	}
	left := must[api.ChangedMembers](t)(w.RemoveSubjectsFromGroup(ctx, "friends", []string{"1", "2", "3", "y"}))
	if fmt.Sprintf("%+v", left.Value) != "{Joined:0 Already:1 Left:2 Unknown:[y]}" {
		t.Errorf("%+v", left)
	}
	if got := must[api.Page[string]](t)(w.Members(ctx, "friends", Page{})).Value.Items; !slices.Equal(got, []string{"9"}) {
		t.Errorf("members %q", got)
	}
	// 1 is not in it any more, and 9 still is.
	_, err := w.Revert(ctx, r.Revision)
	wantError(t, err, model.NotRevertible, "changed since")
	must[api.Subject](t)(w.DeleteSubject(ctx, "2"))
	_, err = w.Revert(ctx, left.Revision)
	wantError(t, err, model.NotRevertible, "changed since")
	_, err = w.AddSubjectsToGroup(ctx, "nobody", []string{"1"})
	wantError(t, err, model.GroupNotFound)
}

func TestBulkIDs(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	many := make([]string, maxBulk+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, row := range []struct {
		ids  []string
		says []string
	}{
		{nil, []string{"body.ids must have between 1 and 10000 ids, has 0"}},
		{many, []string{"body.ids must have between 1 and 10000 ids, has 10001"}},
		{[]string{"a", "", "b", "a", "\n"}, []string{"body.ids[1] must not be empty", `body.ids[3] is "a", as body.ids[0] is already`, "body.ids[4] must not hold control"}},
	} {
		_, err := w.DeleteSubjects(ctx, row.ids)
		wantError(t, err, model.ValidationFailed, row.says...)
		_, err = w.AddSubjectsToGroup(ctx, "friends", row.ids)
		wantError(t, err, model.ValidationFailed, row.says...)
	}
	r := must[api.DeletedSubjects](t)(w.DeleteSubjects(ctx, many[:maxBulk]))
	if r.Revision != 0 || !slices.Equal(r.Value.Unknown, many[:maxBulk]) {
		t.Errorf("at revision %d %d are unknown", r.Revision, len(r.Value.Unknown))
	}
}

// What was noted of many is forgotten too, and no pseudonym becomes a subject.
func TestForgetOneOfMany(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	const id = `"<ü>\`
	must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: id}))
	joined := must[api.ChangedMembers](t)(w.AddSubjectsToGroup(ctx, "friends", []string{"1", id}))
	deleted := must[api.DeletedSubjects](t)(w.DeleteSubjects(ctx, []string{id, "1"}))
	back := must[api.Reverted](t)(w.Revert(ctx, deleted.Revision))
	deleted = must[api.DeletedSubjects](t)(w.DeleteSubjects(ctx, []string{id, "1"}))
	f := must[Forgotten](t)(w.Forget(ctx, id)).Value
	if f.AuditRows != 5 || f.Deleted {
		t.Errorf("%+v", f)
	}
	for _, row := range w.column(`SELECT to_json(a) FROM audit a`) {
		if strings.Contains(row, "ü") || strings.Contains(row, "%C3%BC") {
			t.Errorf("the audit has %s", row)
		}
	}
	for _, revision := range []int64{joined.Revision, deleted.Revision, back.Revision} {
		_, err := w.Revert(ctx, revision)
		wantError(t, err, model.NotRevertible)
	}
	if n := w.one(`SELECT count(*) FROM subject WHERE id LIKE 'forgotten%'`); n != "0" {
		t.Errorf("%s subjects are pseudonyms", n)
	}
}
