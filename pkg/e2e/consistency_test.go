package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	_ "github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// duration is how long the writers write: long enough here to meet each other
// some hundred times. FLAGGERY_E2E_DURATION sets another one.
func duration(t *testing.T) time.Duration {
	text := os.Getenv("FLAGGERY_E2E_DURATION")
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("FLAGGERY_E2E_DURATION: %v", err)
	}
	return d
}

// Two admins and two edges on one database, 16 writers: every write makes one
// revision and no revision is missing, no write is lost, and both edges finally
// answer for every subject like a freshly loaded one.
func TestConsistency(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	fixture := newFixture(t)
	var admins []*flaggery.Admin
	var edges []*flaggery.Edge
	for i := range 2 {
		admin, err := flaggery.NewAdmin(must[string](t)(fixture.StartAdmin()), Token)
		if err != nil {
			t.Fatal(err)
		}
		admins = append(admins, admin)
		edges = append(edges, startEdge(t, fixture, fmt.Sprintf("edge-%d", i)))
	}
	first := must[flaggery.Result[api.BucketIDs]](t)(admins[0].IncreaseBuckets(ctx, 10)).Revision

	var writers []*randomWriter
	for i := range 16 {
		w := &randomWriter{name: fmt.Sprintf("writer-%02d", i), admin: admins[i%2], subjects: map[string]api.ImportLine{}, random: rand.New(rand.NewPCG(1, uint64(i)))}
		if err := w.prepare(ctx); err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
	}
	writing, stopped := context.WithTimeout(ctx, duration(t))
	defer stopped()
	var group sync.WaitGroup
	for _, w := range writers {
		group.Go(func() {
			for writing.Err() == nil {
				if err := w.write(ctx); err != nil {
					t.Errorf("%s: %v", w.name, err)
					return
				}
			}
		})
	}
	for _, edge := range edges {
		group.Go(func() {
			// Not at full speed: that would be a load test of the edges.
			for last, tick := int64(0), time.Tick(2*time.Millisecond); writing.Err() == nil; <-tick {
				flags, err := edge.Flags(ctx, "writer-00")
				if err != nil && flaggery.CodeOf(err) != api.SubjectNotFound || err == nil && flags.Revision < last {
					t.Errorf("after revision %d an edge answers %d, %v", last, flags.Revision, err)
					return
				}
				last = max(last, flags.Revision)
			}
		})
	}
	group.Wait()

	// Revisions.
	revisions := []int64{first}
	for _, w := range writers {
		revisions = append(revisions, w.revisions...)
	}
	slices.Sort(revisions)
	for i, revision := range revisions {
		if revision != int64(i+1) {
			t.Fatalf("of %d writes, number %d in order made revision %d", len(revisions), i+1, revision)
		}
	}
	last := int64(len(revisions))
	var rows, lowest, highest int64
	db := must[*sql.DB](t)(sql.Open("postgres", string(fixture.dbURL)))
	defer db.Close()
	err := db.QueryRowContext(ctx, "SELECT count(*), min(revision), max(revision) FROM change").Scan(&rows, &lowest, &highest)
	if err != nil || rows != last || lowest != 1 || highest != last {
		t.Errorf("the table of changes has %d rows from %d to %d, want 1 to %d; error %v", rows, lowest, highest, last, err)
	}

	// Subjects.
	want := map[string]string{}
	var everybody []string // and deleted ones
	for _, w := range writers {
		for id, line := range w.subjects {
			want[id] = fmt.Sprint(*line.Weight, line.Groups)
		}
		everybody = append(everybody, w.everybody...)
	}
	stored := map[string]string{}
	for _, line := range collect(t, admins[1].ExportSubjects(ctx)) {
		stored[line.ID] = fmt.Sprint(*line.Weight, line.Groups)
	}
	if !maps.Equal(stored, want) {
		t.Errorf("%d subjects are stored, %d were written, or they differ", len(stored), len(want))
	}

	// Edges.
	edges = append(edges, startEdge(t, fixture, "fresh"))
	var answers [3]string
	for i, edge := range edges {
		_, err := edge.Flags(ctx, "writer-00", flaggery.MinRevision(last, 20*time.Second))
		if err != nil && flaggery.CodeOf(err) != api.SubjectNotFound {
			t.Fatal(err)
		}
		for ids := range slices.Chunk(everybody, 10_000) {
			flags, unknown, err := edge.BatchFlags(ctx, ids)
			if err != nil {
				t.Fatal(err)
			}
			variants := map[string]map[string]string{}
			for id, f := range flags {
				variants[id] = maps.Collect(f.All())
			}
			answers[i] += fmt.Sprint(variants, unknown) // maps print in order
		}
	}
	if answers[0] != answers[2] || answers[1] != answers[2] {
		t.Error("the edges do not answer what a fresh one does")
	}
	for id := range stored {
		flags := must[flaggery.Flags](t)(edges[0].Flags(ctx, id))
		database := must[flaggery.Result[map[string]string]](t)(admins[0].SubjectVariants(ctx, id)).Value
		if !maps.Equal(maps.Collect(flags.All()), database) {
			t.Errorf("%s: the edge says %v, the admin %v", id, maps.Collect(flags.All()), database)
		}
	}
	t.Logf("%d revisions by 16 writers, %d subjects at the end", last, len(stored))
}

// What one write changes of thousands of subjects, an edge that was there before answers as
// one does that loads everything.
func TestEdgesFollowBulkWrites(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	fixture := newFixture(t)
	admin := must[*flaggery.Admin](t)(flaggery.NewAdmin(must[string](t)(fixture.StartAdmin()), Token))
	old := startEdge(t, fixture, "old")
	must[flaggery.Result[api.BucketIDs]](t)(admin.IncreaseBuckets(ctx, 10))
	must[flaggery.Result[api.Feature]](t)(admin.AddFeature(ctx, api.CreateFeature{Name: "f", Variants: []api.NewVariant{{Name: "A"}, {Name: "B"}}, DefaultVariant: new("A")}))
	must[flaggery.Result[api.Group]](t)(admin.AddGroup(ctx, api.CreateGroup{Name: "g"}))
	must[flaggery.Result[api.VariantReference]](t)(admin.AddGroupOverride(ctx, "g", "f", "B"))
	const n = 30_000
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	// lines are of some of the subjects; every third is in the group.
	lines := func(from, to int) iter.Seq2[api.ImportLine, error] {
		return func(yield func(api.ImportLine, error) bool) {
			for i := from; i < to; i++ {
				line := api.ImportLine{ID: ids[i], Groups: []string{}}
				if i%3 == 0 {
					line.Groups = []string{"g"}
				}
				if !yield(line, nil) {
					return
				}
			}
		}
	}
	imported := must[flaggery.Result[api.Imported]](t)
	members := must[flaggery.Result[api.ChangedMembers]](t)
	for i, write := range []func() flaggery.Receipt{
		func() flaggery.Receipt { return imported(admin.ImportSubjects(ctx, lines(0, n))).Receipt },
		func() flaggery.Receipt { return members(admin.AddSubjectsToGroup(ctx, "g", ids[5000:15_000])).Receipt },
		func() flaggery.Receipt { return members(admin.RemoveSubjectsFromGroup(ctx, "g", ids[:500])).Receipt },
		func() flaggery.Receipt {
			return must[flaggery.Result[api.DeletedSubjects]](t)(admin.DeleteSubjects(ctx, ids[1000:11_000])).Receipt
		},
		func() flaggery.Receipt {
			replace := []flaggery.WriteOption{flaggery.ReplaceGroups(), flaggery.DeleteAbsent()}
			dry := imported(admin.ImportSubjects(ctx, lines(10_000, 25_000), append(replace, flaggery.DryRun())...))
			return imported(admin.ImportSubjects(ctx, lines(10_000, 25_000), append(replace, flaggery.ExpectDeleted(dry.Value.Deleted))...)).Receipt
		},
	} {
		revision := write().Revision
		fresh := startEdge(t, fixture, fmt.Sprint("fresh-", i))
		answers := [2]map[string]string{{}, {}} // the variant of each subject that is known
		for e, edge := range []*flaggery.Edge{old, fresh} {
			must[flaggery.Flags](t)(edge.Flags(ctx, ids[20_000], flaggery.MinRevision(revision, 20*time.Second)))
			for chunk := range slices.Chunk(ids, 10_000) {
				flags, _, err := edge.BatchFlags(ctx, chunk)
				if err != nil {
					t.Fatal(err)
				}
				for id, f := range flags {
					answers[e][id] = fmt.Sprint(maps.Collect(f.All()))
				}
			}
		}
		if !maps.Equal(answers[0], answers[1]) {
			t.Errorf("after write %d the edge does not answer what a fresh one does", i)
		}
	}
	expect(t, "subjects", len(collect(t, admin.Subjects(ctx, ""))), 15_000)
	expect(t, "members", len(collect(t, admin.MembersWithWeights(ctx, "g"))), 5000)
}

func startEdge(t *testing.T, w *Fixture, name string) *flaggery.Edge {
	t.Helper()
	// A long time, because the writers keep the machine busy.
	return must[*flaggery.Edge](t)(flaggery.NewEdge(must[string](t)(w.StartEdge(name, "reject")), flaggery.Timeout(20*time.Second)))
}

// randomWriter writes resources of its own, concurrently with others. Each of its
// writes is a change.
type randomWriter struct {
	name   string // also of its feature and its group
	admin  *flaggery.Admin
	random *rand.Rand

	revisions []int64 // that it made
	everybody []string
	subjects  map[string]api.ImportLine // as they should be
	override  string
	tested    bool
}

func (w *randomWriter) done(r flaggery.Receipt, err error) error {
	if err == nil {
		w.revisions = append(w.revisions, r.Revision)
	}
	return err
}

// done is for writes that answer with a resource.
func done[T any](w *randomWriter) func(flaggery.Result[T], error) error {
	return func(r flaggery.Result[T], err error) error { return w.done(r.Receipt, err) }
}

func (w *randomWriter) prepare(ctx context.Context) error {
	w.override = "A"
	return errors.Join(
		done[api.Feature](w)(w.admin.AddFeature(ctx, api.CreateFeature{Name: w.name})),
		done[api.Variant](w)(w.admin.AddVariant(ctx, w.name, api.CreateVariant{Name: "A"})),
		done[api.Variant](w)(w.admin.AddVariant(ctx, w.name, api.CreateVariant{Name: "B"})),
		done[api.Rollout](w)(w.admin.AddRollout(ctx, w.name, "A")),
		done[api.Group](w)(w.admin.AddGroup(ctx, api.CreateGroup{Name: w.name})),
		done[api.VariantReference](w)(w.admin.AddGroupOverride(ctx, w.name, w.name, "A")),
	)
}

func (w *randomWriter) write(ctx context.Context) error {
	var somebody *api.ImportLine
	for _, line := range w.subjects {
		somebody = &line
		break
	}
	switch dice := w.random.IntN(100); {
	case dice < 40 || somebody == nil:
		id, weight := fmt.Sprintf("%s/%d", w.name, len(w.everybody)), w.random.Int64N(1000)
		w.everybody = append(w.everybody, id)
		w.subjects[id] = api.ImportLine{ID: id, Weight: &weight}
		return done[api.Subject](w)(w.admin.AddSubject(ctx, api.CreateSubject{ID: id, Weight: &weight}))
	case dice < 55:
		somebody.Weight = new(*somebody.Weight + 1)
		w.subjects[somebody.ID] = *somebody
		return done[api.Subject](w)(w.admin.SetSubjectWeight(ctx, somebody.ID, *somebody.Weight))
	case dice < 65:
		delete(w.subjects, somebody.ID)
		return w.done(w.admin.DeleteSubject(ctx, somebody.ID))
	case dice < 80:
		joined := somebody.Groups != nil
		somebody.Groups = nil
		if !joined {
			somebody.Groups = []string{w.name}
		}
		w.subjects[somebody.ID] = *somebody
		if joined {
			return w.done(w.admin.RemoveSubjectFromGroup(ctx, w.name, somebody.ID))
		}
		return done[api.Subject](w)(w.admin.AddSubjectToGroup(ctx, w.name, somebody.ID))
	case dice < 90:
		return done[api.Rollout](w)(w.admin.SetRolloutProportion(ctx, w.name, w.random.Float64()))
	case dice < 95:
		w.override = map[string]string{"A": "B", "B": "A"}[w.override]
		return done[api.VariantReference](w)(w.admin.AddGroupOverride(ctx, w.name, w.name, w.override))
	case dice == 95:
		return done[api.BucketIDs](w)(w.admin.IncreaseBuckets(ctx, 1))
	case !w.tested:
		w.tested = true
		return done[api.ABTest](w)(w.admin.AddABTest(ctx, api.CreateABTest{
			Name: w.name, Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour),
			Groups: []api.CreateTestGroup{
				{Name: "a", Variants: map[string]string{w.name: "A"}},
				{Name: "b", Variants: map[string]string{w.name: "B"}},
			},
		}))
	default:
		w.tested = false
		return errors.Join(
			done[api.ABTest](w)(w.admin.StopABTest(ctx, w.name)),
			w.done(w.admin.DeleteABTest(ctx, w.name)),
		)
	}
}
