package writer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// requested is everything that users have requested, one line each, without values that
// follow from it or change without a write.
func (w *fixture) requested() []string {
	w.t.Helper()
	return w.column(`
		SELECT concat_ws(' ', 'feature', name, description, tags::text, contact, expires, permanent, default_variant, off, archived) FROM feature UNION ALL
		SELECT concat_ws(' ', 'variant', feature, name, payload::text) FROM variant UNION ALL
		SELECT concat_ws(' ', 'rollout', feature, variant, proportion, salt::text, buckets::text) FROM rollout UNION ALL
		SELECT concat_ws(' ', 'abtest', name, starts, ends, description) FROM abtest UNION ALL
		SELECT concat_ws(' ', 'arm', abtest, position, name, proportion, record) FROM abtest_group UNION ALL
		SELECT concat_ws(' ', 'arm of', abtest, abtest_group, feature, variant) FROM abtest_variant UNION ALL
		SELECT concat_ws(' ', 'group', name, priority, members) FROM subject_group UNION ALL
		SELECT concat_ws(' ', 'member', g.name, m.subject_id) FROM member m JOIN subject_group g ON g.id = m.group_id UNION ALL
		SELECT concat_ws(' ', 'override', g.name, o.feature, o.variant) FROM override o JOIN subject_group g ON g.id = o.group_id UNION ALL
		SELECT concat_ws(' ', 'subject', id, weight) FROM subject ORDER BY 1`)
}

// Each kind of change is made, reverted, and the revert reverted: everything that users
// requested is as before each time. Every step begins at the end of the one before it.
func TestRevert(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: "a/b %"}))
	w.seedUsed("used", -2*time.Hour)
	w.seedUsed("shelved", -4*time.Hour)
	must[api.Feature](t)(w.ArchiveFeature(ctx, "shelved"))
	revisionOf := func(r int64, err error) int64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, step := range []struct {
		what string
		make func() (int64, error)
		last bool // the revert is not to be reverted
	}{
		{what: "add feature", make: func() (int64, error) {
			r, err := w.AddFeature(ctx, api.CreateFeature{Name: "new", Description: "d", Tags: []string{"x"}})
			return r.Revision, err
		}},
		{what: "change feature", make: func() (int64, error) {
			r, err := w.PatchFeature(ctx, "foobar", api.PatchFeature{Description: ptr("text"), Tags: ptr([]string{"a", "b"})})
			return r.Revision, err
		}},
		{what: "give feature an owner and an end", make: func() (int64, error) {
			r, err := w.PatchFeature(ctx, "new", api.PatchFeature{Contact: ptr("team"), Expires: ptr("2027-01-31"), Permanent: ptr(true)})
			return r.Revision, err
		}},
		{what: "add whole feature", make: func() (int64, error) {
			r, err := w.AddFeature(ctx, api.CreateFeature{
				Name: "whole", Contact: "team", Expires: "2027-01-31", Permanent: true, Variants: []api.NewVariant{{Name: "B"}, {Name: "A", Payload: json.RawMessage(`{"n":1}`)}}, DisablingVariant: true,
				DefaultVariant: ptr(model.DisablingVariant), Rollout: &api.CreateRollout{Variant: "A", Proportion: 0.5},
			})
			return r.Revision, err
		}},
		{what: "switch feature off", make: func() (int64, error) {
			r, err := w.PatchFeature(ctx, "new", api.PatchFeature{Off: ptr(true)})
			return r.Revision, err
		}},
		{what: "archive feature", make: func() (int64, error) {
			r, err := w.ArchiveFeature(ctx, "new")
			return r.Revision, err
		}},
		{what: "restore feature", make: func() (int64, error) {
			r, err := w.RestoreFeature(ctx, "new")
			return r.Revision, err
		}},
		{what: "delete feature", make: func() (int64, error) {
			r, err := w.DeleteFeature(ctx, "new")
			return r.Revision, err
		}},
		{what: "add variant with payload, as default", make: func() (int64, error) {
			r, err := w.AddVariant(ctx, "foobar", api.CreateVariant{Name: "C", Payload: json.RawMessage(`{"n":12345678901234567890}`), MakeDefault: true})
			return r.Revision, err
		}},
		{what: "change variant", make: func() (int64, error) {
			r, err := w.PatchVariant(ctx, "foobar", "C", api.PatchVariant{Payload: 1.5})
			return r.Revision, err
		}},
		{what: "remove payload", make: func() (int64, error) {
			r, err := w.PatchVariant(ctx, "foobar", "C", api.PatchVariant{})
			return r.Revision, err
		}},
		{what: "delete default", make: func() (int64, error) {
			r, err := w.DeleteDefaultVariant(ctx, "foobar")
			return r.Revision, err
		}},
		{what: "delete variant", make: func() (int64, error) {
			r, err := w.DeleteVariant(ctx, "foobar", "C")
			return r.Revision, err
		}},
		{what: "delete disabling variant", make: func() (int64, error) {
			r, err := w.DeleteVariant(ctx, "foobar", model.DisablingVariant)
			return r.Revision, err
		}},
		{what: "add disabling variant", make: func() (int64, error) {
			r, err := w.AddDisablingVariant(ctx, "foobar", api.CreateDisablingVariant{})
			return r.Revision, err
		}},
		{what: "set default", make: func() (int64, error) {
			r, err := w.SetDefaultVariant(ctx, "foobar", "A")
			return r.Revision, err
		}},
		{what: "add rollout", make: func() (int64, error) {
			r, err := w.AddRollout(ctx, "foobar", "A")
			return r.Revision, err
		}},
		{what: "push rollout", make: func() (int64, error) {
			r, err := w.SetRolloutProportion(ctx, "foobar", 0.4)
			return r.Revision, err
		}},
		{what: "change rollout", make: func() (int64, error) {
			r, err := w.PatchRollout(ctx, "foobar", api.PatchRollout{Variant: ptr("B"), Proportion: ptr(0.2)})
			return r.Revision, err
		}},
		{what: "delete rollout", make: func() (int64, error) {
			r, err := w.DeleteRollout(ctx, "foobar")
			return r.Revision, err
		}},
		{what: "add abtest", make: func() (int64, error) {
			r, err := w.AddABTest(ctx, w.test("later", time.Hour, 2*time.Hour))
			return r.Revision, err
		}},
		{what: "change abtest", make: func() (int64, error) {
			r, err := w.PatchABTest(ctx, "later", api.PatchABTest{Start: ptr(w.now.Add(2 * time.Hour)), End: ptr(w.now.Add(3 * time.Hour)), Description: ptr("moved")})
			return r.Revision, err
		}},
		{what: "delete abtest", make: func() (int64, error) {
			r, err := w.DeleteABTest(ctx, "later")
			return r.Revision, err
		}},
		{what: "add override", make: func() (int64, error) {
			r, err := w.AddGroupOverride(ctx, "friends", "foobar", "A")
			return r.Revision, err
		}},
		{what: "change override", make: func() (int64, error) {
			r, err := w.AddGroupOverride(ctx, "friends", "foobar", "B")
			return r.Revision, err
		}},
		{what: "delete whole feature", make: func() (int64, error) {
			r, err := w.DeleteWholeFeature(ctx, "used")
			return r.Revision, err
		}},
		{what: "delete whole archived feature", make: func() (int64, error) {
			r, err := w.DeleteWholeFeature(ctx, "shelved")
			return r.Revision, err
		}},
		{what: "change group", make: func() (int64, error) {
			r, err := w.PatchGroup(ctx, "friends", api.PatchGroup{Priority: ptr(7)})
			return r.Revision, err
		}},
		{what: "delete group", last: true, make: func() (int64, error) { // again, it would have an override
			r, err := w.DeleteGroup(ctx, "friends")
			return r.Revision, err
		}},
		{what: "add group", make: func() (int64, error) {
			r, err := w.AddGroup(ctx, api.CreateGroup{Name: "others", Priority: -3})
			return r.Revision, err
		}},
		{what: "join", make: func() (int64, error) {
			r, err := w.AddSubjectToGroup(ctx, "friends", "a/b %")
			return r.Revision, err
		}},
		{what: "weigh", make: func() (int64, error) {
			r, err := w.SetSubjectWeight(ctx, "a/b %", 9)
			return r.Revision, err
		}},
		{what: "delete subject", last: true, make: func() (int64, error) { // again, it would be in a group
			r, err := w.DeleteSubject(ctx, "a/b %")
			return r.Revision, err
		}},
		{what: "leave", make: func() (int64, error) {
			r, err := w.RemoveSubjectFromGroup(ctx, "friends", "a/b %")
			return r.Revision, err
		}},
		{what: "delete subject without groups", make: func() (int64, error) {
			r, err := w.DeleteSubject(ctx, "a/b %")
			return r.Revision, err
		}},
		{what: "join many", make: func() (int64, error) {
			r, err := w.AddSubjectsToGroup(ctx, "friends", []string{"1", "7", "4"})
			return r.Revision, err
		}},
		{what: "leave many", make: func() (int64, error) {
			r, err := w.RemoveSubjectsFromGroup(ctx, "friends", []string{"7", "1"})
			return r.Revision, err
		}},
		{what: "delete subjects", make: func() (int64, error) {
			r, err := w.DeleteSubjects(ctx, []string{"2", "4", "none"})
			return r.Revision, err
		}},
		{what: "add subject", make: func() (int64, error) {
			r, err := w.AddSubject(ctx, api.CreateSubject{ID: "new"})
			return r.Revision, err
		}},
	} {
		before := w.requested()
		made := revisionOf(step.make())
		after := w.requested()
		if slices.Equal(before, after) {
			t.Fatalf("%s changed nothing", step.what)
		}
		dry, err := w.Revert(ctx, made, DryRun())
		if err != nil || !slices.Equal(w.requested(), after) || len(dry.Value.Changes) == 0 {
			t.Fatalf("%s: the dry run of the revert: %+v, %v", step.what, dry, err)
		}
		reverted := must[api.Reverted](t)(w.Revert(ctx, made, By("ann")))
		if got := w.requested(); !slices.Equal(got, before) || reverted.Revision != made+1 || reverted.Value.Reverted != made {
			t.Fatalf("%s, reverted by %+v\n%s\nwant\n%s", step.what, reverted, strings.Join(got, "\n"), strings.Join(before, "\n"))
		}
		if step.last {
			continue
		}
		again := must[api.Reverted](t)(w.Revert(ctx, reverted.Revision, Comment("it was right")))
		if got := w.requested(); !slices.Equal(got, after) {
			t.Fatalf("%s, made again by %+v\n%s\nwant\n%s", step.what, again, strings.Join(got, "\n"), strings.Join(after, "\n"))
		}
		for revision, want := range map[int64]string{
			reverted.Revision: fmt.Sprintf("ann revert of revision %d", made), again.Revision: "library it was right",
		} {
			for _, got := range w.column(`SELECT actor || ' ' || comment FROM audit WHERE revision = $1`, revision) {
				if got != want {
					t.Errorf("%s: the audit of revision %d says %q, want %q", step.what, revision, got, want)
				}
			}
		}
	}
}

func TestRevertThatCannotBe(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()                                                                                // revision 1: buckets, 2: import, 3: feature, 4 to 6: variants, 7: group
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "42"))                         // 8
	must[api.Group](t)(w.DeleteGroup(ctx, "friends"))                                       // 9
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "friends"}))                   // 10
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "42"))                         // 11
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))        // 12
	must[api.Rollout](t)(w.AddRollout(ctx, "foobar", "A"))                                  // 13
	must[api.Rollout](t)(w.SetRolloutProportion(ctx, "foobar", 0.5))                        // 14
	must[api.Rollout](t)(w.SetRolloutProportion(ctx, "foobar", 0.6))                        // 15
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("a", 0, time.Hour)))                        // 16
	must[api.ABTest](t)(w.StopABTest(ctx, "a"))                                             // 17
	must[api.Subject](t)(w.SetSubjectWeight(ctx, "42", 50))                                 // 18
	must[api.Subject](t)(w.SetSubjectWeight(ctx, "42", 60))                                 // 19
	must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: "ci", Role: auth.ViewerRole})) // 20
	before := w.requested()
	for revision, hint := range map[int64]string{
		1: "never removed", 2: "import", 3: "has variants", 5: "in use: group", 6: "in use: test",
		7: "has members (1) or overrides (1)", 9: "there were 1", 10: "has members (1) or overrides (1)", 11: "",
		13: "changed since", 14: "changed since", 16: "changed since", 17: "cannot be resumed", 18: "changed since", 20: "token",
	} {
		_, err := w.Revert(ctx, revision, DryRun())
		if hint == "" {
			if err != nil {
				t.Errorf("revision %d: %v", revision, err)
			}
			continue
		}
		wantError(t, err, model.NotRevertible, fmt.Sprintf("revision %d cannot be reverted", revision), hint)
	}
	for _, revision := range []int64{0, 21, 1 << 40} {
		_, err := w.Revert(ctx, revision)
		wantError(t, err, model.RevisionNotFound)
	}
	_, err := w.Revert(ctx, 19, IfMatch(1))
	wantError(t, err, model.PreconditionFailed)
	if after := w.requested(); !slices.Equal(before, after) {
		t.Error("a revert that failed changed something")
	}
	must[api.Reverted](t)(w.Revert(ctx, 12))
	_, err = w.Revert(ctx, 12)
	wantError(t, err, model.NotRevertible)
	_, err = w.Revert(ctx, must[api.ABTest](t)(w.DeleteABTest(ctx, "a")).Revision)
	wantError(t, err, model.NotRevertible, "had ended")
}

func TestRevertOfPayloadWithMarkup(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	marked := must[api.Variant](t)(w.PatchVariant(ctx, "foobar", "A", api.PatchVariant{Payload: "<b>&"}))
	must[api.Reverted](t)(w.Revert(ctx, marked.Revision))
	if v := must[api.Feature](t)(w.Feature(ctx, "foobar")).Value.Variants[0]; v.Payload != nil {
		t.Errorf("the payload of %s is %s, want none", v.Name, v.Payload)
	}
	must[api.Reverted](t)(w.Revert(ctx, marked.Revision+1))
	var payload string
	text := must[api.Feature](t)(w.Feature(ctx, "foobar")).Value.Variants[0].Payload.(json.RawMessage)
	if err := json.Unmarshal(text, &payload); err != nil || payload != "<b>&" {
		t.Errorf("the payload is %s, error %v", text, err)
	}
}

func TestPayloadIsWhatTheAuditHas(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		payload, noted string
		same           bool
	}{
		{`"<b>"`, `"<b>"`, true},
		{`"<b>"`, `"\u003cb\u003e"`, true}, // as earlier versions wrote it
		{`[ ]`, `[]`, false},
		{``, `null`, true},
		{`{}`, `null`, false},
	} {
		noted := `{"payload":` + row.noted + `}`
		now, err := notedPayload(model.Variant{Payload: json.RawMessage(row.payload)}, noted)
		if same := string(now.Payload) == row.noted; err != nil || same != row.same {
			t.Errorf("%s is %s: %t, %v", row.payload, row.noted, same, err)
		}
	}
}

// A subject counts once in a dry run, however many of its rows are reverted.
func TestRevertAffectsASubjectOnce(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "42"))
	gone := must[api.Subject](t)(w.DeleteSubject(ctx, "42"))
	want := api.Affected{Subjects: 1, Weight: 3}
	if dry := must[api.Reverted](t)(w.Revert(ctx, gone.Revision, DryRun())); dry.Affected != want {
		t.Errorf("reverting its deletion affects %+v, want %+v", dry.Affected, want)
	}
	back := must[api.Reverted](t)(w.Revert(ctx, gone.Revision))
	if dry := must[api.Reverted](t)(w.Revert(ctx, back.Revision, DryRun())); dry.Affected != want {
		t.Errorf("deleting it again affects %+v, want %+v", dry.Affected, want)
	}
}
