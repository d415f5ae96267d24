package writer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// Two writers, as of two admins, with eight goroutines each: every write has a
// revision of its own and none is lost.
func TestWritersSideBySide(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	start := must[api.Feature](t)(w.Feature(ctx, "foobar")).Revision
	writers := []*Writer{w.Writer, open(t, w.url)}

	const goroutines, writes = 16, 12
	var (
		group     sync.WaitGroup
		mu        sync.Mutex
		revisions []int64
	)
	for g := range goroutines {
		group.Go(func() {
			writer := writers[g%2]
			for i := range writes {
				var (
					revision int64
					err      error
				)
				switch id := fmt.Sprintf("g%d-%d", g, i/2); i % 2 {
				case 0:
					var r Result[api.Subject]
					r, err = writer.AddSubject(ctx, api.CreateSubject{ID: id})
					revision = r.Revision
				case 1:
					// Everyone wants the same row.
					var r Result[api.Subject]
					r, err = writer.SetSubjectWeight(ctx, "42", int64(1000+g*writes+i))
					revision = r.Revision
				}
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				revisions = append(revisions, revision)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	slices.Sort(revisions)
	for i, revision := range revisions {
		if revision != start+int64(i)+1 {
			t.Fatalf("revisions %v after %d have a gap or a double", revisions, start)
		}
	}
	if n := w.one(`SELECT count(*) FROM subject WHERE id LIKE 'g%'`); n != fmt.Sprint(goroutines*writes/2) {
		t.Errorf("%s subjects were stored", n)
	}
}

// Of several who read the same version, one writes.
func TestIfMatchLetsOneThrough(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	version := must[api.Feature](t)(w.Feature(ctx, "foobar")).Version
	var (
		group sync.WaitGroup
		errs  = make([]error, 8)
	)
	for g := range errs {
		group.Go(func() {
			_, errs[g] = w.PatchFeature(ctx, "foobar", api.PatchFeature{Description: ptr(fmt.Sprint(g))}, IfMatch(version))
		})
	}
	group.Wait()
	passed := 0
	for _, err := range errs {
		if err == nil {
			passed++
		} else {
			wantError(t, err, model.PreconditionFailed)
		}
	}
	if passed != 1 {
		t.Errorf("%d writes passed", passed)
	}
}

// While a dry run is under way others write, which it does not see.
func TestDryRunHoldsNobodyUp(t *testing.T) {
	w := newFixture(t)
	w.seed()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var during Result[api.Feature]
	r, err := write(ctx, w.Writer, configuration, []Option{DryRun()}, func(c *change) (api.Feature, error) {
		f, err := c.matchFeature(ctx, "foobar")
		if err != nil {
			return api.Feature{}, err
		}
		if during.Revision == 0 {
			during = must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "another"}))
		}
		if _, err := c.tx.Feature(ctx, "another"); model.CodeOf(err) != model.FeatureNotFound {
			t.Errorf("the dry run sees what came after it began: %v", err)
		}
		return c.patchFeature(ctx, f, api.PatchFeature{Description: ptr("tried")})
	})
	if err != nil || r.Value.Description != "tried" || r.Revision != during.Revision-1 {
		t.Errorf("%+v, error %v; the other write made revision %d", r, err, during.Revision)
	}
	if f := must[api.Feature](t)(w.Feature(ctx, "foobar")); f.Value.Description == "tried" || f.Revision != during.Revision {
		t.Errorf("after the dry run: %+v", f)
	}
}

// Of a dry run and a write of the same row, the dry run begins again.
func TestDryRunGivesWay(t *testing.T) {
	w := newFixture(t)
	w.seed()
	ctx := t.Context()
	tries := 0
	_, err := write(ctx, w.Writer, subjects, []Option{DryRun()}, func(c *change) (api.Subject, error) {
		if tries++; tries == 1 {
			must[api.Subject](t)(w.SetSubjectWeight(ctx, "42", 1234))
		}
		s, err := c.matchSubject(ctx, "42")
		if err != nil {
			return api.Subject{}, err
		}
		return c.setWeight(ctx, s, 4321)
	})
	if err != nil || tries != 2 {
		t.Errorf("%d tries, error %v", tries, err)
	}
}

// A connection that dies before the commit takes the whole write with it.
func TestKilledWriteLeavesNothing(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	before, revision := w.export()
	_, err := write(ctx, w.Writer, subjects, nil, func(c *change) (api.Subject, error) {
		s, err := c.addSubject(ctx, "new", 1)
		if err != nil {
			return s, err
		}
		killed := w.one(`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'idle in transaction'`)
		if killed != "true" {
			t.Error("the backend lives")
		}
		return s, nil
	})
	if err == nil || model.CodeOf(err) != "" {
		t.Errorf("error %v, want an internal one", err)
	}
	if after, now := w.export(); !slices.Equal(after, before) || now != revision {
		t.Error("something was stored")
	}
	must[api.Subject](t)(w.AddSubject(ctx, api.CreateSubject{ID: "new"}))
}

// An import whose lines others write to at the same time ends as if it had come
// after all that they committed before it.
func TestImportAmongOtherWrites(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 5))
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "g"}))
	const n = 2000
	file := func(yield func(api.ImportLine, error) bool) {
		for i := range n {
			if !yield(api.ImportLine{ID: fmt.Sprint(i), Weight: ptr[int64](7), Groups: []string{"g"}}, nil) {
				return
			}
		}
	}
	must[api.Imported](t)(w.ImportSubjects(ctx, file))

	other := open(t, w.url)
	for round := range 4 {
		writing, stop := context.WithCancel(ctx)
		done, written := make(chan struct{}), 0
		go func() {
			defer close(done)
			for i := round; writing.Err() == nil; i += 13 {
				var err error
				switch id := fmt.Sprint(i % (n + 100)); i % 4 {
				case 0:
					_, err = other.DeleteSubject(writing, id)
				case 1:
					_, err = other.AddSubject(writing, api.CreateSubject{ID: id})
				case 2:
					_, err = other.SetSubjectWeight(writing, id, int64(i%9))
				case 3:
					_, err = other.RemoveSubjectFromGroup(writing, "g", id)
				}
				if err != nil && model.CodeOf(err) == "" && writing.Err() == nil {
					t.Error(err)
				}
				if err == nil {
					written++
				}
			}
		}()
		r, err := w.ImportSubjects(ctx, file)
		stop()
		<-done
		if err != nil {
			t.Fatal(err)
		}
		// Subjects without later changes are as the file says.
		wrong := w.column(`
			SELECT i.id FROM (SELECT generate_series(0, $1 - 1)::text AS id) i LEFT JOIN subject s ON s.id = i.id
			WHERE NOT EXISTS (SELECT FROM audit a WHERE a.revision > $2 AND a.resource IN ('subjects/' || i.id, 'groups/g/subjects/' || i.id))
			  AND (s.weight IS DISTINCT FROM 7 OR NOT EXISTS (SELECT FROM member m WHERE m.subject_id = i.id))`, n, r.Revision)
		if len(wrong) > 0 {
			t.Fatalf("round %d, among %d writes: wrong are %.20q", round, written, wrong)
		}
	}
}

// The same at chosen moments: what others commit between an import's work and
// its end is caught up with.
func TestImportCatchesUp(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 3))
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "g"}))
	file := []api.ImportLine{
		{ID: "deleted", Weight: ptr[int64](7)}, {ID: "weighed", Weight: ptr[int64](7)},
		{ID: "left", Weight: ptr[int64](7), Groups: []string{"g"}}, {ID: "unchanged", Weight: ptr[int64](7)},
	}
	must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(file...)))
	file = append(file, api.ImportLine{ID: "new", Weight: ptr[int64](7), Groups: []string{"g"}})

	other := open(t, w.url)
	between := func() {
		must[api.Subject](t)(other.DeleteSubject(ctx, "deleted"))
		must[api.Subject](t)(other.SetSubjectWeight(ctx, "weighed", 1))
		must[api.Subject](t)(other.RemoveSubjectFromGroup(ctx, "g", "left"))
		must[api.Subject](t)(other.AddSubject(ctx, api.CreateSubject{ID: "stranger"}))
	}
	imported := w.importWith(linesOf(file...), between)
	if want := (api.Imported{Created: 2, Updated: 2, Unchanged: 1}); imported != want {
		t.Errorf("imported %+v, want %+v", imported, want)
	}
	if got, _ := w.export(); !slices.Equal(got, []string{"deleted 7 ", "left 7 g", "new 7 g", "stranger 1 ", "unchanged 7 ", "weighed 7 "}) {
		t.Errorf("exported %q", got)
	}

	// A group that is deleted meanwhile fails the import, for new members and old ones.
	for _, file := range [][]api.ImportLine{
		{{ID: "left", Groups: []string{"g"}}, {ID: "newer"}},
		{{ID: "newer", Groups: []string{"g"}}},
	} {
		err := w.tryImportWith(linesOf(file...), func() {
			// The import holds the group if it made members; it must give way to no one.
			ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			_, err := other.DeleteGroup(ctx, "g")
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		if _, gone := other.Group(ctx, "g"); gone != nil {
			wantError(t, err, model.GroupNotFound)
			must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "g"}))
		} else if err != nil {
			t.Error(err)
		}
	}
}

// A small write that wants what an import holds gives way, lets others pass, and
// succeeds when the import is over.
func TestSmallWritesGiveWayToImports(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 3))
	must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(api.ImportLine{ID: "held"}, api.ImportLine{ID: "free"})))
	other := open(t, w.url)
	waiting := make(chan error, 2)
	w.importWith(linesOf(api.ImportLine{ID: "held", Weight: ptr[int64](7)}, api.ImportLine{ID: "new"}), func() {
		go func() { waiting <- second(other.SetSubjectWeight(ctx, "held", 9)) }()
		go func() { waiting <- second(other.AddSubject(ctx, api.CreateSubject{ID: "new"})) }()
		for range 5 {
			must[api.Subject](t)(other.DeleteSubject(ctx, "free"))
			must[api.Subject](t)(other.AddSubject(ctx, api.CreateSubject{ID: "free"}))
		}
	})
	codes := []model.Code{model.CodeOf(<-waiting), model.CodeOf(<-waiting)}
	slices.Sort(codes)
	if !slices.Equal(codes, []model.Code{"", model.SubjectExists}) {
		t.Errorf("those who waited ended with %q", codes)
	}
	if got, _ := w.export(); !slices.Equal(got, []string{"free 1 ", "held 9 ", "new 1 "}) {
		t.Errorf("exported %q", got)
	}
}

// importWith runs between after an import's work and before it takes the lock.
func (w *fixture) importWith(lines func(func(api.ImportLine, error) bool), between func()) api.Imported {
	w.t.Helper()
	var imported api.Imported
	if err := w.tryImport(lines, between, &imported); err != nil {
		w.t.Fatal(err)
	}
	return imported
}

func (w *fixture) tryImportWith(lines func(func(api.ImportLine, error) bool), between func()) error {
	return w.tryImport(lines, between, &api.Imported{})
}

func (w *fixture) tryImport(lines func(func(api.ImportLine, error) bool), between func(), imported *api.Imported) error {
	w.Writer.beforeCommit = sync.OnceFunc(between)
	defer func() { w.Writer.beforeCommit = nil }()
	r, err := w.ImportSubjects(w.t.Context(), lines)
	*imported = r.Value
	return err
}

// A body that PostgreSQL ends to resolve a deadlock runs again.
func TestDeadlockIsTriedAgain(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 1))
	must[api.Imported](t)(w.ImportSubjects(ctx, linesOf(api.ImportLine{ID: "a"}, api.ImportLine{ID: "b"})))
	const lock = `SELECT FROM subject WHERE id = $1 FOR UPDATE`
	other, err := w.db.SQL().BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The side that waits longest before it looks for a deadlock is not the victim.
	for _, statement := range []string{`SET LOCAL deadlock_timeout = '1min'`, strings.Replace(lock, "$1", "'b'", 1)} {
		if _, err := other.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := w.db.OpenImport(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	tries, ended := 0, make(chan error, 1)
	err = rows.Write(ctx, func(tx *postgres.Tx) error {
		tries++
		if err := weigh(ctx, tx, "a"); err != nil {
			return err
		}
		if tries == 1 {
			go func() {
				_, err := other.ExecContext(ctx, lock, "a")
				ended <- errors.Join(err, other.Rollback())
			}()
		}
		if err := weigh(ctx, tx, "b"); err != nil {
			return err
		}
		return errDiscard
	})
	if !errors.Is(err, errDiscard) || tries < 2 { // the second one may be faster than the other transaction, and need a third
		t.Errorf("%d tries, error %v; want more than one, of which the last succeeds", tries, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the other transaction: %v", err)
	}
}

// weigh changes a subject's weight, which locks its row.
func weigh(ctx context.Context, tx *postgres.Tx, id string) error {
	s, err := tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	return tx.UpdateSubjectWeight(ctx, s, s.Weight+1)
}
