package writer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// export is every subject as a line of text.
func (w *fixture) export() (lines []string, revision int64) {
	w.t.Helper()
	subjects, err := collect(w.ExportSubjects(w.t.Context(), func(r int64) { revision = r }))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range subjects {
		lines = append(lines, fmt.Sprintf("%s %d %s", l.ID, *l.Weight, strings.Join(l.Groups, ",")))
	}
	return lines, revision
}

func TestImport(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	_, err := w.ImportSubjects(ctx, lines(1))
	wantError(t, err, model.NoBuckets)
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 3))
	for _, group := range []string{"a", "b"} {
		must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: group}))
	}
	for _, id := range []string{"known", "joined", "same"} {
		must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: id, Weight: ptr[int64](5)}))
	}
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "a", "joined"))
	born := w.one(`SELECT born FROM subject WHERE id = 'known'`)
	same := w.one(`SELECT label FROM subject WHERE id = 'same'`)

	file := []api.ImportLine{
		{ID: "known", Weight: ptr[int64](50)},
		{ID: "joined", Groups: []string{"b", "a", "b"}}, // no weight: keeps its own
		{ID: "same", Weight: ptr[int64](5)},
		{ID: `back\slash`, Weight: ptr[int64](0), Groups: []string{"a"}},
		{ID: `\N`},
		{ID: "🙂", Weight: ptr[int64](7)},
	}
	dry := must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(file...), DryRun()))
	r := must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(file...), By("importer")))
	want := api.Imported{Created: 3, Updated: 2, Unchanged: 1}
	if r.Value != want || dry.Value != want || r.Revision != dry.Revision+1 {
		t.Errorf("imported %+v, dry %+v", r, dry)
	}
	got, revision := w.export()
	if want := []string{`\N 1 `, `back\slash 0 a`, "joined 5 a,b", "known 50 ", "same 5 ", "🙂 7 "}; !slices.Equal(got, want) || revision != r.Revision {
		t.Errorf("exported %q of revision %d, want %q of %d", got, revision, want, r.Revision)
	}
	if w.one(`SELECT born FROM subject WHERE id = 'known'`) != born || w.one(`SELECT label FROM subject WHERE id = 'same'`) != same {
		t.Error("births or labels are wrong")
	}
	if got := w.column(`SELECT actor || ' ' || action || ' ' || resource || ' ' || after::text FROM audit WHERE revision = $1`, r.Revision); !slices.Equal(got, []string{
		`importer import subjects {"created":3,"updated":2,"unchanged":1,"deleted":0}`,
	}) {
		t.Errorf("audit %q", got)
	}
	// An export imports as it is.
	again := must[api.Imported](t)(w.ImportSubjects(ctx, w.ExportSubjects(ctx, nil)))
	if again.Value != (api.Imported{Unchanged: 6}) || again.Revision != r.Revision {
		t.Errorf("imported again: %+v", again)
	}
	if none := must[api.Imported](t)(w.ImportSubjects(ctx, linesOf())); none.Value != (api.Imported{}) {
		t.Errorf("imported nothing: %+v", none)
	}
}

func TestImportPlacesTheHeaviestFirst(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 7))
	must[api.Imported](t)(w.ImportSubjects(ctx, func(yield func(api.ImportLine, error) bool) {
		for i := range 50_000 { // several batches
			weight := int64(1)
			if i%1000 == 0 {
				weight = 1000
			}
			if !yield(api.ImportLine{ID: fmt.Sprint(i), Weight: &weight}, nil) {
				return
			}
		}
	}))
	if gap := w.one(`SELECT max(weight) - min(weight) FROM bucket`); gap != "0" && gap != "1" {
		t.Errorf("buckets differ by %s, though there was enough of weight 1 to fill up with", gap)
	}
}

func TestImportRefusesBadLines(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	before, revision := w.export()
	broken := model.Errorf(model.ValidationFailed, "is no JSON")
	_, err := w.ImportSubjects(ctx, func(yield func(api.ImportLine, error) bool) {
		_ = yield(api.ImportLine{ID: "good"}, nil) &&
			yield(api.ImportLine{ID: "a\nb", Weight: ptr[int64](-1), Groups: []string{"nobody"}}, nil) &&
			yield(api.ImportLine{}, broken) &&
			yield(api.ImportLine{ID: "also good"}, nil) &&
			yield(api.ImportLine{ID: "", Number: 17}, nil)
	})
	wantError(t, err, model.ValidationFailed)
	var e *model.Error
	if !errors.As(err, &e) || len(e.Fields) != 3 {
		t.Fatalf("error %#v", err)
	}
	for i, want := range [][]string{{"line 2", "id must not hold", "weight must be", `no group "nobody"`}, {"line 3", "is no JSON"}, {"line 17", "id must not be empty"}} {
		for _, hint := range want {
			if text := e.Fields[i].Location + " " + e.Fields[i].Message; !strings.Contains(text, hint) {
				t.Errorf("fault %q does not say %q", text, hint)
			}
		}
	}
	_, err = w.ImportSubjects(ctx, linesOf(api.ImportLine{ID: "x"}, api.ImportLine{ID: "y"}, api.ImportLine{ID: "x"}, api.ImportLine{ID: "x"}))
	wantError(t, err, model.ValidationFailed, `line 3 subject "x" is on line 1 already`, `line 4 subject "x" is on line 1 already`)

	// Only the first hundred, and then no line more is read.
	read := 0
	_, err = w.ImportSubjects(ctx, func(yield func(api.ImportLine, error) bool) {
		for yield(api.ImportLine{}, nil) {
			read++
		}
	})
	if !errors.As(err, &e) || len(e.Fields) != 100 || read != 99 {
		t.Errorf("%d faults after %d lines", len(e.Fields), read)
	}
	// What is no fault of a line ends the import as it is.
	lost := errors.New("connection lost")
	_, err = w.ImportSubjects(ctx, func(yield func(api.ImportLine, error) bool) {
		_ = yield(api.ImportLine{ID: "good"}, nil) && yield(api.ImportLine{}, lost)
	})
	if !errors.Is(err, lost) {
		t.Errorf("error %v", err)
	}
	if after, now := w.export(); !slices.Equal(after, before) || now != revision {
		t.Error("a refused import left something behind")
	}
}

// An import that its sender gives up leaves neither rows nor locks nor a
// connection that others could not use.
func TestImportCutOff(t *testing.T) {
	w := newFixture(t)
	w.seed()
	before, revision := w.export()
	for range 20 { // more than there are connections
		ctx, cancel := context.WithCancel(t.Context())
		_, err := w.ImportSubjects(ctx, func(yield func(api.ImportLine, error) bool) {
			for i := range 10_000 {
				if i == 5_000 {
					cancel()
				}
				if !yield(api.ImportLine{ID: fmt.Sprintf("new %d", i)}, nil) {
					return
				}
			}
		})
		if err == nil {
			t.Fatal("it went through")
		}
	}
	if after, now := w.export(); !slices.Equal(after, before) || now != revision {
		t.Error("something was stored")
	}
	must[api.Imported](t)(w.ImportSubjects(t.Context(), lines(200)))
	if n := w.one(`SELECT count(*) FROM pg_locks WHERE mode = 'ShareUpdateExclusiveLock' AND relation = 'bucket'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); n != "0" {
		t.Errorf("%s locks are left", n)
	}
	if n := w.one(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`); n != "0" {
		t.Errorf("%s connections are left in a transaction", n)
	}
}

// What a role that only reads can hold for ever does not hold up an import.
func TestImportWaitsForNoReader(t *testing.T) {
	w := newFixture(t)
	w.seed()
	ctx := t.Context()
	conn, err := w.sql.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = conn.ExecContext(ctx, `
		SELECT pg_advisory_lock(7305804402566783863); -- which imports once took turns with
		BEGIN; LOCK TABLE state, bucket, subject, member, change IN ACCESS SHARE MODE`)
	if err != nil {
		t.Fatal(err)
	}
	must[api.Imported](t)(w.ImportSubjects(ctx, lines(200)))
	if _, err := conn.ExecContext(ctx, `ROLLBACK; SELECT pg_advisory_unlock_all()`); err != nil {
		t.Fatal(err)
	}
}

// As many imports as may run leave exports and small writes alone.
func TestImportsAreBounded(t *testing.T) {
	w := newFixture(t)
	must[api.BucketIDs](t)(w.IncreaseBuckets(t.Context(), 1))
	started, release := make(chan struct{}), make(chan struct{})
	errs := make(chan error, maxImports)
	for range maxImports {
		go func() {
			errs <- second(w.ImportSubjects(t.Context(), func(func(api.ImportLine, error) bool) {
				started <- struct{}{}
				<-release
			}))
		}()
	}
	for range maxImports {
		<-started
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.ImportSubjects(ctx, lines(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("one more: %v", err)
	}
	must[api.Subject](t)(w.AddSubject(t.Context(), api.CreateSubject{ID: "small"}))
	w.export()
	close(release)
	for range maxImports {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := make(slots, 1)
		done, err := s.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = s.take(t.Context())
		wantError(t, err, model.NotReady, "1 others are in progress")
		if waited := time.Since(began); waited != queueTime {
			t.Errorf("waited for %s", waited)
		}
		time.AfterFunc(queueTime/2, done)
		if done, err = s.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		done()
	})
}

// What is not committed when a token is revoked or expires never is.
func TestImportWithTokenRevokedMeanwhile(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 1))
	expires := w.now.Add(time.Hour)
	token := must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.EditorRole, ExpiresAt: &expires})).Value
	must[api.Imported](t)(w.ImportSubjects(ctx, lines(2), WithToken(token.ID)))
	w.now = expires
	_, err := w.ImportSubjects(ctx, lines(3), WithToken(token.ID))
	wantError(t, err, model.Unauthenticated, "expired at")
	w.now = expires.Add(-time.Minute)
	w.beforeCommit = func() { must[api.Token](t)(w.RevokeToken(ctx, token.ID)) }
	_, err = w.ImportSubjects(ctx, lines(3), WithToken(token.ID))
	wantError(t, err, model.Unauthenticated, "revoked")
	if n := w.one(`SELECT count(*) FROM subject`); n != "2" {
		t.Errorf("%s subjects are stored", n)
	}
}
