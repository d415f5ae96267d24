package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// startClients starts one admin and one edge, and returns a client of each.
func startClients(t testing.TB, opts ...flaggery.Option) (*flaggery.Admin, *flaggery.Edge) {
	t.Helper()
	w := newFixture(t)
	url, err := w.StartAdmin()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := flaggery.NewAdmin(url, Token)
	if err != nil {
		t.Fatal(err)
	}
	if url, err = w.StartEdge("edge", "reject"); err != nil {
		t.Fatal(err)
	}
	edge, err := flaggery.NewEdge(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return admin, edge
}

// must returns value and fails the test on an error.
func must[T any](t testing.TB) func(value T, err error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func collect[T any](t *testing.T, items iter.Seq2[T, error]) (all []T) {
	t.Helper()
	for item, err := range items {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, item)
	}
	return all
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func expectCode(t *testing.T, err error, want api.Code) {
	t.Helper()
	if got := flaggery.CodeOf(err); got != want {
		t.Errorf("code %q, want %q: %v", got, want, err)
	}
}

// Every call of the client, against its service.
func TestClient(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	admin, edge := startClients(t)
	if err := errors.Join(admin.Ready(ctx), edge.Ready(ctx)); err != nil {
		t.Error(err)
	}
	expect(t, "edges", collect(t, admin.Edges(ctx))[0].Name, "edge")

	// Buckets and subjects.
	expect(t, "buckets", must[flaggery.Result[api.BucketIDs]](t)(admin.IncreaseBuckets(ctx, 2)).Value.BucketIDs, []api.BucketID{1, 2})
	expect(t, "buckets", len(collect(t, admin.Buckets(ctx))), 2)
	subject := must[flaggery.Result[api.Subject]](t)
	added := subject(admin.AddSubject(ctx, api.CreateSubject{ID: "42", Weight: new(int64(3))}))
	expect(t, "subject", added.Value, api.Subject{ID: "42", Weight: 3, BucketID: 1, Groups: []string{}})
	expect(t, "another weight", subject(admin.SetSubjectWeight(ctx, "42", 5, flaggery.IfMatch(added.ETag))).Value.Weight, 5)
	_, err := admin.SetSubjectWeight(ctx, "42", 7, flaggery.IfMatch(added.ETag))
	expectCode(t, err, api.PreconditionFailed)
	var refused *api.Problem
	if !errors.As(err, &refused) || refused.Changed == nil {
		t.Fatalf("%v does not say who changed the subject", err)
	}
	expect(t, "revision that changed it", refused.Changed.Revision, added.Revision+1)
	expect(t, "weight", subject(admin.Subject(ctx, "42")).Value.Weight, 5)

	// Features and variants.
	feature, variant := must[flaggery.Result[api.Feature]](t), must[flaggery.Result[api.Variant]](t)
	reference, receipt := must[flaggery.Result[api.VariantReference]](t), must[flaggery.Receipt](t)
	feature(admin.AddFeature(ctx, api.CreateFeature{Name: "foobar"}))
	variant(admin.AddVariant(ctx, "foobar", api.CreateVariant{Name: "A", Payload: map[string]int64{"limit": 1<<53 + 1}}))
	variant(admin.AddVariant(ctx, "foobar", api.CreateVariant{Name: "B"}))
	variant(admin.AddDisablingVariant(ctx, "foobar", api.CreateDisablingVariant{}))
	reference(admin.SetDefaultVariant(ctx, "foobar", "B"))
	feature(admin.PatchFeature(ctx, "foobar", api.PatchFeature{Description: new("The new one")}))
	got := feature(admin.Feature(ctx, "foobar")).Value
	expect(t, "description", got.Description, "The new one")
	expect(t, "default", *got.DefaultVariant, "B")
	expect(t, "variants", len(got.Variants), 3)
	payload := got.Variants[slices.IndexFunc(got.Variants, func(v api.Variant) bool { return v.Name == "A" })].Payload
	expect(t, "payload", string(payload.(json.RawMessage)), `{"limit":9007199254740993}`)
	expect(t, "the payload, sent back", variant(admin.PatchVariant(ctx, "foobar", "A", api.PatchVariant{Payload: payload})).Value.Payload, payload)

	// Rollouts.
	rollout := must[flaggery.Result[api.Rollout]](t)
	rollout(admin.AddRollout(ctx, "foobar", "A"))
	tried := rollout(admin.SetRolloutProportion(ctx, "foobar", 1, flaggery.DryRun()))
	expect(t, "dry run", tried.Affected, api.Affected{Subjects: 1, Weight: 5})
	expect(t, "after a dry run", rollout(admin.Rollout(ctx, "foobar")).Value.Proportion, 0)
	rolled := rollout(admin.SetRolloutProportion(ctx, "foobar", 1, flaggery.Wait(20*time.Second)))
	expect(t, "edges that have it", rolled.Propagation.Applied, 1)
	flags := must[flaggery.Flags](t)
	expect(t, "on the edge", flags(edge.Flags(ctx, "42")).Variant("foobar"), "A")
	rolled = rollout(admin.PatchRollout(ctx, "foobar", api.PatchRollout{Variant: new(api.DisablingVariant)}))
	switchedOff := flags(edge.Flags(ctx, "42", flaggery.MinRevision(rolled.Revision, 20*time.Second)))
	expect(t, "enabled", switchedOff.Enabled("foobar"), false)
	expect(t, "revision", switchedOff.Revision, rolled.Revision)
	expect(t, "other features alone", maps.Collect(flags(edge.Flags(ctx, "42", flaggery.Only("none", "other"))).All()), map[string]string{})

	// A/B tests.
	test := must[flaggery.Result[api.ABTest]](t)
	both := api.CreateABTest{Name: "test", Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour), Groups: []api.CreateTestGroup{
		{Name: "a", Variants: map[string]string{"foobar": "A"}}, {Name: "b", Variants: map[string]string{"foobar": "A"}},
	}}
	expect(t, "state", test(admin.AddABTest(ctx, both)).Value.State, api.Live)
	expect(t, "variants", must[flaggery.Result[map[string]string]](t)(admin.SubjectVariants(ctx, "42")).Value, map[string]string{"foobar": "A"})
	explanation := must[flaggery.Result[api.Explanation]](t)
	expect(t, "reason", *explanation(admin.Explain(ctx, "42", time.Time{})).Value.Features["foobar"].Reason, "abtest")
	expect(t, "reason later", *explanation(admin.Explain(ctx, "42", both.End)).Value.Features["foobar"].Reason, "rollout")
	expect(t, "live tests", len(collect(t, admin.ABTests(ctx, api.Live))), 1)
	expect(t, "tests to come", len(collect(t, admin.FindABTests(ctx, flaggery.ABTestFilter{Feature: "foobar", From: both.End}))), 0)
	expect(t, "tests of the past", len(collect(t, admin.FindABTests(ctx, flaggery.ABTestFilter{State: api.Live, Until: time.Now()}))), 1)
	moved := test(admin.PatchABTest(ctx, "test", api.PatchABTest{End: new(both.End.Add(time.Hour)), Description: new("which one")})).Value
	expect(t, "end", moved.End.Sub(both.End.UTC().Truncate(time.Microsecond)), time.Hour)
	expect(t, "description", moved.Description, "which one")
	_, err = admin.DeleteWholeFeature(ctx, "foobar")
	expectCode(t, err, api.ABTestLive)
	expect(t, "stopped", test(admin.StopABTest(ctx, "test")).Value.State, api.Ended)
	expect(t, "the same", test(admin.ABTest(ctx, "test")).Value.State, api.Ended)
	receipt(admin.DeleteABTest(ctx, "test"))
	expect(t, "all tests", len(collect(t, admin.ABTests(ctx, ""))), 0)

	// Groups and overrides.
	group := must[flaggery.Result[api.Group]](t)
	group(admin.AddGroup(ctx, api.CreateGroup{Name: "friends"}))
	group(admin.PatchGroup(ctx, "friends", api.PatchGroup{Priority: new(7)}))
	expect(t, "groups of 42", subject(admin.AddSubjectToGroup(ctx, "friends", "42")).Value.Groups, []string{"friends"})
	reference(admin.AddGroupOverride(ctx, "friends", "foobar", "B", flaggery.Wait(20*time.Second)))
	expect(t, "group", group(admin.Group(ctx, "friends")).Value, api.Group{Name: "friends", Priority: 7, Members: 1, Overrides: map[string]string{"foobar": "B"}})
	expect(t, "members", collect(t, admin.Members(ctx, "friends")), []string{"42"})
	expect(t, "on the edge", flags(edge.Flags(ctx, "42")).Variant("foobar"), "B")
	batch, unknown, err := edge.BatchFlags(ctx, []string{"42", "43"})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "batch", batch["42"].Variant("foobar"), "B")
	expect(t, "unknown", unknown, []string{"43"})
	_, err = edge.Flags(ctx, "43")
	expectCode(t, err, api.SubjectNotFound)

	// Everything is deleted again, and the edge sees the last deletion.
	receipt(admin.DeleteGroupOverride(ctx, "friends", "foobar"))
	receipt(admin.RemoveSubjectFromGroup(ctx, "friends", "42"))
	receipt(admin.DeleteGroup(ctx, "friends"))
	expect(t, "groups", len(collect(t, admin.Groups(ctx))), 0)
	receipt(admin.DeleteRollout(ctx, "foobar"))
	receipt(admin.DeleteDefaultVariant(ctx, "foobar"))
	_, err = admin.DeleteFeature(ctx, "foobar")
	expectCode(t, err, api.FeatureHasVariants)
	expect(t, "what would go", receipt(admin.DeleteWholeFeature(ctx, "foobar", flaggery.DryRun())).Removes, []string{
		"features/foobar/variants/A", "features/foobar/variants/B", "features/foobar/variants/__DISABLE__", "features/foobar",
	})
	for _, name := range []string{"A", "B", api.DisablingVariant} {
		receipt(admin.DeleteVariant(ctx, "foobar", name))
	}
	receipt(admin.DeleteFeature(ctx, "foobar"))
	expect(t, "features", len(collect(t, admin.Features(ctx))), 0)
	expect(t, "edges that know", receipt(admin.DeleteSubject(ctx, "42", flaggery.Wait(20*time.Second))).Propagation.Applied, 1)
	_, err = edge.Flags(ctx, "42")
	expectCode(t, err, api.SubjectNotFound)

	// Tokens.
	token := must[flaggery.Result[api.Token]](t)
	expect(t, "secret of a dry run", token(admin.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.ViewerRole}, flaggery.DryRun())).Value.Token, "")
	viewer := token(admin.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.ViewerRole}, flaggery.Wait(20*time.Second)))
	expect(t, "edges that know", viewer.Propagation.Applied, 1)
	expect(t, "tokens", collect(t, admin.Tokens(ctx))[0].Prefix, viewer.Value.Token[:15])
	receipt(admin.RevokeToken(ctx, viewer.Value.ID))
	_, err = admin.RevokeToken(ctx, viewer.Value.ID)
	expectCode(t, err, api.TokenNotFound)

	entries := collect(t, admin.Audit(ctx, flaggery.AuditFilter{Resource: "subjects/42"}))
	expect(t, "last action", entries[0].Action, "delete")
	_, err = admin.Revert(ctx, entries[0].Revision, flaggery.DryRun())
	if err != nil {
		t.Error(err)
	}
	back, err := admin.Revert(ctx, entries[0].Revision, flaggery.Comment("by mistake"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "what came back", back.Value.Changes[0].Resource, "subjects/42")
	expect(t, "why it came back", collect(t, admin.Audit(ctx, flaggery.AuditFilter{Resource: "subjects/42"}))[0].Comment, "by mistake")
	_, err = admin.Revert(ctx, entries[0].Revision)
	expectCode(t, err, api.NotRevertible)
	expect(t, "audit until long ago", len(collect(t, admin.Audit(ctx, flaggery.AuditFilter{Until: time.Unix(0, 0)}))), 0)
	expect(t, "audit of nobody", len(collect(t, admin.Audit(ctx, flaggery.AuditFilter{Actor: "nobody", Since: time.Now()}))), 0)
}

// Ids with awkward characters in paths reach their subject, by every call.
func TestClientReachesEveryID(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	admin, edge := startClients(t)
	must[flaggery.Result[api.BucketIDs]](t)(admin.IncreaseBuckets(ctx, 3))
	must[flaggery.Result[api.Group]](t)(admin.AddGroup(ctx, api.CreateGroup{Name: "friends"}))
	ids := []string{
		"a/b", "/", "//", ".", "..", "../..", "%", "%2F", "%2e%2e", "é", "日本", "😀", " ", "+", "?", "#", "&", "=", ";", ",", ":", "@",
		"'", `"`, `\`, "<>", "^`{|}", "user@example.com", "stop", "explain", "flags", strings.Repeat("é", 128),
	}
	var last flaggery.Result[api.Subject]
	for _, id := range ids {
		if id == "." || id == ".." { // rejected now, but old ones may exist
			must[flaggery.Result[api.Imported]](t)(admin.ImportSubjects(ctx, func(yield func(api.ImportLine, error) bool) {
				yield(api.ImportLine{ID: id}, nil)
			}))
		} else {
			must[flaggery.Result[api.Subject]](t)(admin.AddSubject(ctx, api.CreateSubject{ID: id}))
		}
		last = must[flaggery.Result[api.Subject]](t)(admin.AddSubjectToGroup(ctx, "friends", id))
		expect(t, "subject", must[flaggery.Result[api.Subject]](t)(admin.Subject(ctx, id)).Value, last.Value)
		expect(t, "explained", must[flaggery.Result[api.Explanation]](t)(admin.Explain(ctx, id, time.Time{})).Value.Subject.ID, id)
	}
	for _, id := range ids {
		if _, err := edge.Flags(ctx, id, flaggery.MinRevision(last.Revision, 20*time.Second)); err != nil {
			t.Errorf("%q on the edge: %v", id, err)
		}
	}
	flags, unknown, err := edge.BatchFlags(ctx, ids)
	if err != nil || len(flags) != len(ids) || len(unknown) > 0 {
		t.Errorf("batch: %d of %d ids, unknown %q, error %v", len(flags), len(ids), unknown, err)
	}
	slices.Sort(ids)
	expect(t, "members", collect(t, admin.Members(ctx, "friends")), ids)
	var exported []string
	for _, line := range collect(t, admin.ExportSubjects(ctx)) {
		exported = append(exported, line.ID)
	}
	expect(t, "exported", exported, ids)
	for _, id := range ids {
		must[flaggery.Receipt](t)(admin.DeleteSubject(ctx, id))
	}
	expect(t, "left", len(collect(t, admin.Subjects(ctx, ""))), 0)
}

func TestClientImportsAndExports(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	admin, edge := startClients(t)
	must[flaggery.Result[api.BucketIDs]](t)(admin.IncreaseBuckets(ctx, 10))
	const n = 5000 // several pages
	lines := func(bad int) iter.Seq2[api.ImportLine, error] {
		return func(yield func(api.ImportLine, error) bool) {
			for i := range n {
				line := api.ImportLine{ID: fmt.Sprintf("subject-%04d", i), Weight: new(int64(i))}
				if i == bad {
					line.ID = ""
				}
				if !yield(line, nil) {
					return
				}
			}
		}
	}
	imported := must[flaggery.Result[api.Imported]](t)
	_, err := admin.ImportSubjects(ctx, lines(n-1))
	expectCode(t, err, api.ValidationFailed)
	var problem *api.Problem
	if !errors.As(err, &problem) || len(problem.Errors) != 1 || problem.Errors[0].Location != fmt.Sprintf("line %d", n) {
		t.Errorf("the bad line is not named: %v", err)
	}
	expect(t, "dry run", imported(admin.ImportSubjects(ctx, lines(-1), flaggery.DryRun())).Value.Created, n)
	expect(t, "subjects before", len(collect(t, admin.Subjects(ctx, ""))), 0)
	all := imported(admin.ImportSubjects(ctx, lines(-1), flaggery.Wait(20*time.Second)))
	expect(t, "imported", all.Value, api.Imported{Created: n})
	expect(t, "edges that have them", all.Propagation.Applied, 1)
	must[flaggery.Flags](t)(edge.Flags(ctx, "subject-4999"))

	expect(t, "subjects", len(collect(t, admin.Subjects(ctx, ""))), n)
	expect(t, "of a prefix", len(collect(t, admin.Subjects(ctx, "subject-40"))), 100)
	var file bytes.Buffer
	revision := must[int64](t)(admin.ExportSubjectsTo(ctx, &file))
	expect(t, "revision of the export", revision, all.Revision)
	expect(t, "the export, imported", imported(admin.ImportSubjectsFrom(ctx, &file, api.MediaNDJSON)).Value, api.Imported{Unchanged: n})
	csv := strings.NewReader("weight,id\n7,subject-0000\n")
	expect(t, "CSV", imported(admin.ImportSubjectsFrom(ctx, csv, api.MediaCSV)).Value, api.Imported{Updated: 1})

	// Leaving the loop ends the export; the client still works.
	for line, err := range admin.ExportSubjects(ctx) {
		if err != nil || line.ID != "subject-0000" || *line.Weight != 7 {
			t.Errorf("first line %+v, error %v", line, err)
		}
		break
	}
	ended, end := context.WithCancel(ctx)
	end()
	_, err = admin.ImportSubjects(ended, lines(-1))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after its context has ended: %v", err)
	}
}

// Events name the writes of all admins, and the edges, also after a break.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	connect := func() *flaggery.Admin {
		return must[*flaggery.Admin](t)(flaggery.NewAdmin(must[string](t)(w.StartAdmin()), Token))
	}
	admin, another := connect(), connect()
	must[string](t)(w.StartEdge("eu", "reject"))
	must[flaggery.Result[api.BucketIDs]](t)(another.IncreaseBuckets(t.Context(), 1))
	var seen []string
	edges := ""
	for after := int64(0); after < 3; { // one event a stream
		for event, err := range admin.Events(t.Context(), after) {
			switch {
			case err != nil:
				t.Fatal(err)
			case event.Edges != nil && len(event.Edges.Items) > 0:
				if edges == "" {
					must[flaggery.Result[api.Group]](t)(another.AddGroup(t.Context(), api.CreateGroup{Name: "friends"}))
					must[flaggery.Receipt](t)(another.DeleteGroup(t.Context(), "friends"))
				}
				edges = event.Edges.Items[0].Name
			case event.Change != nil:
				after = event.Change.Revision
				seen = append(seen, fmt.Sprint(after, " ", event.Change.Action, " ", event.Change.Resource))
			}
			if event.Change != nil {
				break
			}
		}
	}
	if want := []string{"2 create groups/friends", "3 delete groups/friends"}; !slices.Equal(seen, want) || edges != "eu" {
		t.Errorf("seen %q and edge %q, want %q", seen, edges, want)
	}
}
