package writer

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// fixture is a database of its own with a writer, a clock that stands still until
// a test moves it, and SQL to look behind.
type fixture struct {
	*Writer
	t   *testing.T
	url string
	sql *sql.DB
	now time.Time
}

// newFixture also checks at the end of the test that everything stored fits
// together.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	t.Parallel()
	return newFixtureFor(t)
}

// newFixtureFor is newFixture for tests that make several.
func newFixtureFor(t *testing.T) *fixture {
	t.Helper()
	url := pgtest.Open(t)
	w := &fixture{t: t, url: url, now: time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)}
	db, err := postgres.Open(t.Context(), url, postgres.Options{Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w.Writer = New(db, Options{})
	if w.sql, err = sql.Open("postgres", url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.checkConsistent()
		_ = w.sql.Close()
	})
	return w
}

func open(t *testing.T, url string) *Writer {
	t.Helper()
	w, err := Open(t.Context(), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// checkConsistent counts what is stored against the sums over it that are
// stored too, and the history for gaps. Each query finds what is wrong.
func (w *fixture) checkConsistent() {
	w.t.Helper()
	for what, query := range map[string]string{
		"bucket sums": `SELECT b.id::text FROM bucket b LEFT JOIN subject s ON s.bucket_id = b.id GROUP BY b.id
			HAVING b.weight <> coalesce(sum(s.weight), 0) OR b.subjects <> count(s.id)`,
		"members": `SELECT g.name FROM subject_group g LEFT JOIN member m ON m.group_id = g.id GROUP BY g.id
			HAVING g.members <> count(m.subject_id)`,
		"bucket ids":    `SELECT 'gap' FROM bucket HAVING coalesce(max(id), 0) <> count(*)`,
		"revisions":     `SELECT 'gap' FROM change HAVING coalesce(max(revision), 0) <> count(*) OR coalesce(max(revision), 0) <> (SELECT revision FROM state)`,
		"audit":         `SELECT c.revision::text FROM change c WHERE NOT EXISTS (SELECT FROM audit a WHERE a.revision = c.revision AND a.at = c.at)`,
		"stray audit":   `SELECT a.revision::text FROM audit a WHERE NOT EXISTS (SELECT FROM change c WHERE c.revision = a.revision)`,
		"labels":        `SELECT s.id FROM subject s WHERE NOT EXISTS (SELECT FROM change c WHERE c.label = s.label) OR NOT EXISTS (SELECT FROM change c WHERE c.label = s.born)`,
		"tombstones":    `SELECT subject_id FROM tombstone t WHERE NOT EXISTS (SELECT FROM change c WHERE c.label = t.label) OR t.born >= t.label`,
		"idle labels":   `SELECT c.revision::text FROM change c WHERE c.label IS NOT NULL AND NOT EXISTS (SELECT FROM audit a WHERE a.revision = c.revision AND (a.resource LIKE 'subjects%' OR a.resource LIKE 'groups/%/subjects%'))`,
		"past subjects": `SELECT subject_id FROM past_subject p LEFT JOIN revision r ON r.label = p.label WHERE p.since >= coalesce(r.revision, p.until)`,
		"past members":  `SELECT subject_id FROM past_member p LEFT JOIN revision r ON r.label = p.label WHERE p.since >= coalesce(r.revision, p.until)`,
		"versions": `SELECT 'held' WHERE (SELECT count(*) FROM version WHERE until IS NULL) <> (SELECT count(*) FROM feature) + (SELECT count(*) FROM variant)
			+ (SELECT count(*) FROM rollout) + (SELECT count(*) FROM abtest) + (SELECT count(*) FROM abtest_group) + (SELECT count(*) FROM abtest_variant)
			+ (SELECT count(*) FROM subject_group) + (SELECT count(*) FROM override)`,
		"future marks": `SELECT name FROM feature WHERE revision > (SELECT revision FROM state) UNION ALL SELECT name FROM abtest WHERE revision > (SELECT revision FROM state)`,
	} {
		if wrong := w.column(query); len(wrong) > 0 {
			w.t.Errorf("%s: wrong at %.20q", what, wrong)
		}
	}
	w.resolver()
}

// resolver compiles what is stored, which finds every contradiction in it, and compares it
// with what the Writer's own resolver is based on.
func (w *fixture) resolver() (resolver *evaluation.Resolver) {
	w.t.Helper()
	err := w.db.Read(context.Background(), func(tx *postgres.Tx) error {
		configuration, err := tx.Configuration(context.Background())
		if err != nil {
			return err
		}
		if resolver, err = evaluation.Compile(configuration); err != nil {
			return err
		}
		if _, err := w.Writer.resolver(context.Background(), tx); err != nil {
			return err
		}
		if kept := w.last.Load().Configuration; !reflect.DeepEqual(kept, configuration) {
			w.t.Errorf("the configuration that is kept up to date differs from what is stored:\n%s", cmp.Diff(configuration, kept))
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
	return resolver
}

// column is the first column of a query as text.
func (w *fixture) column(query string, args ...any) []string {
	w.t.Helper()
	rows, err := w.sql.Query(query, args...)
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var values []string
	for rows.Next() {
		var value sql.NullString
		if err := rows.Scan(&value); err != nil {
			w.t.Fatal(err)
		}
		values = append(values, value.String)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return values
}

// one is the single value that a query finds.
func (w *fixture) one(query string, args ...any) string {
	w.t.Helper()
	values := w.column(query, args...)
	if len(values) != 1 {
		w.t.Fatalf("%s: %d rows", query, len(values))
	}
	return values[0]
}

// must ends the test if a use case fails.
func must[T any](t *testing.T) func(Result[T], error) Result[T] {
	return func(result Result[T], err error) Result[T] {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
}

func ptr[T any](value T) *T { return &value }

// seed stores what most tests start from: ten buckets, 100 subjects "0" to
// "99" of weights 1 to 10, the feature "foobar" with variants A, B and the
// disabling one as default, and the group "friends".
func (w *fixture) seed() {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 10))
	must[api.Imported](t)(w.ImportSubjects(ctx, lines(100)))
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "foobar"}))
	must[api.Variant](t)(w.AddVariant(ctx, "foobar", api.CreateVariant{Name: "A"}))
	must[api.Variant](t)(w.AddVariant(ctx, "foobar", api.CreateVariant{Name: "B"}))
	must[api.Variant](t)(w.AddDisablingVariant(ctx, "foobar", api.CreateDisablingVariant{MakeDefault: true}))
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "friends"}))
}

func lines(n int) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		for i := range n {
			if !yield(api.ImportLine{ID: fmt.Sprint(i), Weight: ptr(int64(i%10 + 1))}, nil) {
				return
			}
		}
	}
}

func linesOf(lines ...api.ImportLine) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		for _, line := range lines {
			if !yield(line, nil) {
				return
			}
		}
	}
}

// test is a create request for a test over foobar from now on.
func (w *fixture) test(name string, from, until time.Duration) api.CreateABTest {
	return api.CreateABTest{Name: name, Start: w.now.Add(from), End: w.now.Add(until), Groups: []api.CreateTestGroup{
		{Name: "control", Proportion: ptr(0.8), Variants: map[string]string{"foobar": model.DisablingVariant}},
		{Name: "experiment", Proportion: ptr(0.2), Variants: map[string]string{"foobar": "B"}},
	}}
}

// wantError checks the code of an error and that its text holds all of hints.
func wantError(t *testing.T, err error, code model.Code, hints ...string) {
	t.Helper()
	if model.CodeOf(err) != code {
		t.Errorf("error %v has code %q, want %q", err, model.CodeOf(err), code)
		return
	}
	for _, hint := range hints {
		if !strings.Contains(err.Error(), hint) {
			t.Errorf("error %q does not say %q", err, hint)
		}
	}
}

func TestRevisionsAndVersions(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	before := must[api.Feature](t)(w.Feature(ctx, "foobar"))

	r := must[api.Rollout](t)(w.AddRollout(ctx, "foobar", "A"))
	if r.Revision != before.Revision+1 || r.Version != r.Revision {
		t.Errorf("revision %d, version %d after revision %d", r.Revision, r.Version, before.Revision)
	}
	// What changes nothing makes no revision; the result has the current one.
	for name, idle := range map[string]func() (int64, error){
		"proportion": func() (int64, error) {
			r, err := w.SetRolloutProportion(ctx, "foobar", 0)
			return r.Revision, err
		},
		"default": func() (int64, error) {
			r, err := w.SetDefaultVariant(ctx, "foobar", model.DisablingVariant)
			return r.Revision, err
		},
		"empty patch": func() (int64, error) {
			r, err := w.PatchFeature(ctx, "foobar", api.PatchFeature{})
			return r.Revision, err
		},
		"payload": func() (int64, error) {
			r, err := w.PatchVariant(ctx, "foobar", "A", api.PatchVariant{})
			return r.Revision, err
		},
		"priority": func() (int64, error) {
			r, err := w.PatchGroup(ctx, "friends", api.PatchGroup{Priority: ptr(0)})
			return r.Revision, err
		},
		"weight": func() (int64, error) {
			r, err := w.SetSubjectWeight(ctx, "42", 3)
			return r.Revision, err
		},
		"import": func() (int64, error) {
			r, err := w.ImportSubjects(ctx, lines(100))
			if r.Value != (api.Imported{Unchanged: 100}) {
				t.Errorf("imported %+v", r.Value)
			}
			return r.Revision, err
		},
		"dry run": func() (int64, error) {
			r, err := w.DeleteSubject(ctx, "42", DryRun())
			return r.Revision, err
		},
	} {
		if revision, err := idle(); err != nil || revision != r.Revision {
			t.Errorf("%s: revision %d, error %v; want %d", name, revision, err, r.Revision)
		}
	}

	// A write against a version that is no longer there is refused, one against the
	// present one is not.
	_, err := w.SetRolloutProportion(ctx, "foobar", 0.5, IfMatch(before.Version))
	wantError(t, err, model.PreconditionFailed)
	must[api.Rollout](t)(w.SetRolloutProportion(ctx, "foobar", 0.5, IfMatch(r.Version)))
	s := must[api.Subject](t)(w.Subject(ctx, "42"))
	changed := must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "42", IfMatch(s.Version)))
	_, err = w.SetSubjectWeight(ctx, "42", 9, IfMatch(s.Version))
	wantError(t, err, model.PreconditionFailed)
	must[api.Subject](t)(w.SetSubjectWeight(ctx, "42", 9, IfMatch(changed.Version)))
	_, err = w.AddGroup(ctx, api.CreateGroup{Name: "new"}, IfMatch(1))
	wantError(t, err, model.PreconditionFailed)
}

func TestAuditTellsWhoDidWhat(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	start := must[api.Page[api.AuditEntry]](t)(w.Audit(ctx, AuditFilter{}, Page{})).Revision
	w.now = w.now.Add(time.Hour)
	must[api.Variant](t)(w.AddVariant(ctx, "foobar", api.CreateVariant{Name: "C", MakeDefault: true},
		By("ann\x00e\xff"), Request("r-1"), Comment("because")))
	must[api.Subject](t)(w.SetSubjectWeight(ctx, "42", 7, By("bob")))
	must[api.Subject](t)(w.DeleteSubject(ctx, "42", By("bob")))

	all := must[api.Page[api.AuditEntry]](t)(w.Audit(ctx, AuditFilter{Since: w.now}, Page{})).Value.Items
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprintf("%d %s %s %s %s > %s", e.Revision-start, e.Actor, e.Action, e.Resource, e.Before, e.After))
	}
	want := []string{
		`3 bob delete subjects/42 {"id":"42","weight":7,"bucket_id":B,"groups":[]} > %!s(<nil>)`,
		`2 bob update subjects/42 {"id":"42","weight":3,"bucket_id":B,"groups":[]} > {"id":"42","weight":7,"bucket_id":B,"groups":[]}`,
		"1 ann\uFFFDe\uFFFD update features/foobar/default_variant " + `{"variant":"__DISABLE__"} > {"variant":"C"}`,
		"1 ann\uFFFDe\uFFFD create features/foobar/variants/C " + `%!s(<nil>) > {"name":"C","disabling":false,"payload":null}`,
	}
	bucket := w.one(`SELECT after ->> 'bucket_id' FROM audit WHERE action = 'update' AND resource = 'subjects/42'`)
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], `"bucket_id":B`, `"bucket_id":`+bucket)
	}
	if !slices.Equal(got, want) {
		t.Errorf("audit\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if e := all[3]; e.RequestID != "r-1" || e.Comment != "because" || !e.At.Equal(w.now) {
		t.Errorf("entry %+v", e)
	}

	resources := func(f AuditFilter) (found []string) {
		page := Page{Limit: 3}
		for {
			p := must[api.Page[api.AuditEntry]](t)(w.Audit(ctx, f, page)).Value
			for _, e := range p.Items {
				found = append(found, e.Resource)
			}
			if page.After = p.Next; p.Next == "" {
				return found
			}
		}
	}
	if got := len(resources(AuditFilter{})); got != int(start)+5 { // make_default has two
		t.Errorf("%d entries by pages, want %d", got, start+5)
	}
	if got := resources(AuditFilter{Resource: "features/foobar"}); len(got) != 7 || got[6] != "features/foobar" {
		t.Errorf("entries below features/foobar: %q", got)
	}
	if got := resources(AuditFilter{Actor: "bob"}); !slices.Equal(got, []string{"subjects/42", "subjects/42"}) {
		t.Errorf("entries of bob: %q", got)
	}
	_, err := w.Audit(ctx, AuditFilter{}, Page{After: "12"})
	wantError(t, err, model.ValidationFailed, "query.after")
}

// A page ends at about 4 MiB, and has one item at least.
func TestPagesEndByTheirBytes(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	for _, name := range []string{"a", "b", "large", "z"} {
		must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: name}))
	}
	const large = 80 // of 4.8 MB together
	for _, statement := range []string{
		`INSERT INTO variant (feature, name, payload) SELECT 'large', n, to_json(repeat('x', 60000)) FROM generate_series(1, $1) n`,
		`INSERT INTO audit (revision, position, at, actor, action, resource, after)
			SELECT 4, n, now(), 'a', 'create', 'features/large/variants/' || n, to_json(repeat('x', 60000)) FROM generate_series(1, $1) n`,
	} {
		if _, err := w.sql.ExecContext(ctx, statement, large); err != nil {
			t.Fatal(err)
		}
	}
	var pages [][]string
	for page := (Page{}); ; {
		p := must[api.Page[api.Feature]](t)(w.Features(ctx, false, page)).Value
		var names []string
		for _, f := range p.Items {
			names = append(names, fmt.Sprintf("%s %d", f.Name, len(f.Variants)))
		}
		pages = append(pages, names)
		if page.After = p.Next; p.Next == "" {
			break
		}
	}
	if got, want := fmt.Sprint(pages), "[[a 0 b 0] [large 80] [z 0]]"; got != want {
		t.Errorf("pages %s, want %s", got, want)
	}

	var sizes []int
	for page := (Page{Limit: 1000}); ; {
		p := must[api.Page[api.AuditEntry]](t)(w.Audit(ctx, AuditFilter{}, page)).Value
		sizes = append(sizes, len(p.Items))
		if page.After = p.Next; p.Next == "" {
			break
		}
	}
	if want := []int{69, large + 4 - 69}; !slices.Equal(sizes, want) {
		t.Errorf("pages of the audit have %v entries, want %v", sizes, want)
	}
	entries, err := collect(w.ExportAudit(ctx, AuditFilter{}, nil))
	if err != nil || len(entries) != large+4 {
		t.Errorf("%d entries are exported, error %v", len(entries), err)
	}
}

func TestSchemaThatIsBehind(t *testing.T) {
	t.Parallel()
	w := open(t, pgtest.Empty(t))
	_, err := w.IncreaseBuckets(t.Context(), 1)
	if err == nil || !strings.Contains(err.Error(), "migrate up") {
		t.Errorf("error %v", err)
	}
	if err := w.UpgradeDB(t.Context()); err != nil {
		t.Fatal(err)
	}
	must[api.BucketIDs](t)(w.IncreaseBuckets(t.Context(), 1))
	if _, err := Open(t.Context(), "mysql://x", Options{}); err == nil {
		t.Error("a URL of another database was taken")
	}
}
