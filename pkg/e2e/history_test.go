package e2e

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/snapshot"
	"github.com/flaggery/flaggery/pkg/writer"
)

// comparisons is how many answers TestHistory compares. FLAGGERY_E2E_COMPARISONS sets
// another number.
func comparisons(t *testing.T) int {
	text := os.Getenv("FLAGGERY_E2E_COMPARISONS")
	if text == "" {
		return 300
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("FLAGGERY_E2E_COMPARISONS: %v", err)
	}
	return n
}

// The admin explains any moment of a story of random writes with the flags that an
// edge served at that moment.
func TestHistory(t *testing.T) {
	t.Parallel()
	ctx, n := t.Context(), comparisons(t)
	s := newStory(t)
	for len(s.edge) < 100+n/20 || len(s.done) < len(s.kinds()) { // every kind of write happens
		s.step(ctx)
	}
	var first, last time.Time
	for _, e := range s.edge {
		if first.IsZero() || e.at.Before(first) {
			first = e.at
		}
		if e.at.After(last) {
			last = e.at
		}
	}
	s.now = last.Add(time.Hour)
	moments := make([]time.Time, n)
	for i := range moments {
		moments[i] = first.Add(time.Duration(s.random.Int64N(int64(s.now.Sub(first))))).Truncate(time.Microsecond)
		if i%4 == 0 { // the very moment of a revision
			moments[i] = s.edge[s.random.IntN(len(s.edge))].at
		}
	}
	slices.SortFunc(moments, time.Time.Compare) // a snapshot does not go back to an earlier period
	unknown := 0
	for _, at := range moments {
		id := s.subject()
		// The highest revision that was made until then, as the clock was set back at times.
		held := len(s.edge) - 1
		for s.edge[held].at.After(at) {
			held--
		}
		want, known := s.edge[held].flags(id, at)
		got, err := s.Explain(ctx, id, at)
		switch {
		case !known:
			unknown++
			if model.CodeOf(err) != model.SubjectNotFound {
				t.Errorf("subject %s at %s: error %v, the edge did not know it at revision %d", id, at, err, s.edge[held].Revision)
			}
		case err != nil:
			t.Errorf("subject %s at %s: %v", id, at, err)
		case !maps.Equal(want, variants(got.Value)) || got.Value.Configuration.Revision != s.edge[held].Revision || !got.Value.Configuration.At.Equal(s.edge[held].at):
			t.Errorf("subject %s at %s: explained as %v by %+v, the edge answered %v at revision %d of %s",
				id, at, variants(got.Value), got.Value.Configuration, want, s.edge[held].Revision, s.edge[held].at)
		}
		if t.Failed() {
			t.Fatalf("seed %d", s.seed)
		}
	}
	_, err := s.Explain(ctx, s.subject(), first.Add(-time.Microsecond))
	if model.CodeOf(err) != model.HistoryUnavailable || !strings.Contains(err.Error(), first.Format(time.RFC3339Nano)) {
		t.Errorf("before history: error %v, want the earliest moment %s", err, first)
	}
	t.Logf("%d moments of %d revisions, %d of them before or after the subject was there; writes: %v", n, len(s.edge), unknown, s.done)
}

func variants(e api.Explanation) map[string]string {
	flags := map[string]string{}
	for feature, d := range e.Features {
		if d.Variant != nil {
			flags[feature] = *d.Variant
		}
	}
	return flags
}

// story makes random writes, and keeps an edge's snapshot after each revision.
type story struct {
	*writer.Writer
	t      *testing.T
	seed   uint64
	random *rand.Rand
	now    time.Time
	feed   *postgres.Feed
	build  *snapshot.Builder
	edge   []edgeAt
	done   map[string]int // writes that made a revision, by kind
}

// edgeAt is an edge's snapshot at a revision.
type edgeAt struct {
	*snapshot.Snapshot
	at time.Time
}

func (e edgeAt) flags(id string, at time.Time) (flags map[string]string, known bool) {
	class := e.Class(id)
	if class == 0 {
		return nil, false
	}
	flags = map[string]string{}
	for _, f := range e.Body(class, at).Flags {
		flags[f.Feature] = f.Variant
	}
	return flags, true
}

func newStory(t *testing.T) *story {
	url := pgtest.Open(t)
	// The first revisions are later than everything that the database did by its
	// own clock.
	s := &story{t: t, seed: rand.Uint64(), now: time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond), done: map[string]int{}}
	s.random = rand.New(rand.NewPCG(s.seed, 0))
	db, err := postgres.Open(t.Context(), url, postgres.Options{Now: func() time.Time { return s.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.SQL().Exec(`DELETE FROM revision`); err != nil { // history begins with the story
		t.Fatal(err)
	}
	s.Writer = writer.New(db, writer.Options{})
	if s.feed, err = postgres.NewFeed(url, postgres.FeedOptions{Name: "edge"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.feed.Close() })
	s.build = snapshot.NewBuilder(snapshot.Reject)
	return s
}

// step makes one random write, and lets the edge follow if it made a revision.
func (s *story) step(ctx context.Context) {
	switch dice := s.random.IntN(20); {
	case dice == 0:
		s.now = s.now.Add(-time.Duration(s.random.Int64N(int64(5 * time.Minute)))).Truncate(time.Microsecond)
	case dice > 1: // else two revisions at one time
		s.now = s.now.Add(time.Duration(s.random.Int64N(int64(time.Minute)))).Truncate(time.Microsecond)
	}
	kinds := s.kinds()
	names := slices.Sorted(maps.Keys(kinds))
	kind := names[s.random.IntN(len(names))]
	if len(s.edge) == 0 {
		kind = "buckets added"
	}
	if strings.HasSuffix(kind, "deleted") && s.random.IntN(2) > 0 {
		return // so that enough remains to delete
	}
	revision, err := kinds[kind](ctx)
	if err != nil && model.CodeOf(err) == "" {
		s.t.Fatalf("%s: %v", kind, err)
	}
	if err != nil || revision == int64(len(s.edge)) {
		return // impossible at the moment, or nothing to change
	}
	s.done[kind]++
	var base *snapshot.Snapshot
	var since model.Position
	if len(s.edge) > 0 && s.random.IntN(10) > 0 { // else it loads everything
		base = s.edge[len(s.edge)-1].Snapshot
		since = base.Position
	}
	err = s.feed.Update(ctx, since, func(u *model.Update) error {
		next, err := s.build.Apply(base, u)
		s.edge = append(s.edge, edgeAt{next, s.now})
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) one(prefix string, n int) string { return prefix + strconv.Itoa(s.random.IntN(n)) }
func (s *story) subject() string                 { return s.one("s", 12) }
func (s *story) group() string                   { return s.one("g", 2) }
func (s *story) feature() string                 { return s.one("f", 2) }
func (s *story) test() string                    { return s.one("t", 2) }
func (s *story) variant() string                 { return []string{"A", "B", model.DisablingVariant}[s.random.IntN(3)] }

func made[T any](r writer.Result[T], err error) (int64, error) { return r.Revision, err }

// kinds are all kinds of writes.
func (s *story) kinds() map[string]func(ctx context.Context) (revision int64, err error) {
	return map[string]func(ctx context.Context) (int64, error){
		"buckets added": func(ctx context.Context) (int64, error) { return made(s.IncreaseBuckets(ctx, 1+s.random.IntN(5))) },
		"subject added": func(ctx context.Context) (int64, error) {
			return made(s.AddSubject(ctx, api.CreateSubject{ID: s.subject()}))
		},
		"subject weighed": func(ctx context.Context) (int64, error) {
			return made(s.SetSubjectWeight(ctx, s.subject(), s.random.Int64N(100)))
		},
		"subject deleted": func(ctx context.Context) (int64, error) { return made(s.DeleteSubject(ctx, s.subject())) },
		"subjects deleted": func(ctx context.Context) (int64, error) {
			return made(s.DeleteSubjects(ctx, []string{"s1", "s2", s.one("s1", 2)}))
		},
		"many joined": func(ctx context.Context) (int64, error) {
			return made(s.AddSubjectsToGroup(ctx, s.group(), s.subjects()))
		},
		"many left": func(ctx context.Context) (int64, error) {
			return made(s.RemoveSubjectsFromGroup(ctx, s.group(), s.subjects()))
		},
		"replacing import": s.replace,
		"import":           func(ctx context.Context) (int64, error) { return made(s.ImportSubjects(ctx, s.lines())) },
		"feature added": func(ctx context.Context) (int64, error) {
			return made(s.AddFeature(ctx, api.CreateFeature{Name: s.one("f", 3)}))
		},
		"feature described": func(ctx context.Context) (int64, error) {
			return made(s.PatchFeature(ctx, s.feature(), api.PatchFeature{Description: new(s.one("d", 100))}))
		},
		"feature deleted": func(ctx context.Context) (int64, error) { return made(s.DeleteFeature(ctx, s.one("f", 3))) },
		"variant added": func(ctx context.Context) (int64, error) {
			return made(s.AddVariant(ctx, s.feature(), api.CreateVariant{Name: s.variant(), MakeDefault: s.random.IntN(2) == 0}))
		},
		"disabling variant added": func(ctx context.Context) (int64, error) {
			return made(s.AddDisablingVariant(ctx, s.feature(), api.CreateDisablingVariant{}))
		},
		"variant patched": func(ctx context.Context) (int64, error) {
			return made(s.PatchVariant(ctx, s.feature(), s.variant(), api.PatchVariant{Payload: s.one("\x00", 100)}))
		},
		"variant deleted": func(ctx context.Context) (int64, error) { return made(s.DeleteVariant(ctx, s.feature(), s.variant())) },
		"default set": func(ctx context.Context) (int64, error) {
			return made(s.SetDefaultVariant(ctx, s.feature(), s.variant()))
		},
		"default deleted": func(ctx context.Context) (int64, error) { return made(s.DeleteDefaultVariant(ctx, s.feature())) },
		"rollout added":   func(ctx context.Context) (int64, error) { return made(s.AddRollout(ctx, s.feature(), s.variant())) },
		"rollout changed": func(ctx context.Context) (int64, error) {
			return made(s.PatchRollout(ctx, s.feature(), api.PatchRollout{Proportion: new(s.random.Float64()), Variant: new(s.variant())}))
		},
		"rollout deleted": func(ctx context.Context) (int64, error) { return made(s.DeleteRollout(ctx, s.feature())) },
		"test added": func(ctx context.Context) (int64, error) {
			feature, start := s.feature(), s.now.Add(time.Duration(s.random.Int64N(int64(10*time.Minute))))
			return made(s.AddABTest(ctx, api.CreateABTest{
				Name: s.test(), Start: start, End: start.Add(time.Duration(s.random.Int64N(int64(time.Hour)))),
				Groups: []api.CreateTestGroup{
					{Name: "a", Variants: map[string]string{feature: s.variant()}},
					{Name: "b", Variants: map[string]string{feature: s.variant()}},
				},
			}))
		},
		"test stopped": func(ctx context.Context) (int64, error) { return made(s.StopABTest(ctx, s.test())) },
		"test deleted": func(ctx context.Context) (int64, error) { return made(s.DeleteABTest(ctx, s.test())) },
		"group added": func(ctx context.Context) (int64, error) {
			return made(s.AddGroup(ctx, api.CreateGroup{Name: s.group()}))
		},
		"group deleted": func(ctx context.Context) (int64, error) { return made(s.DeleteGroup(ctx, s.group())) },
		"group ordered": func(ctx context.Context) (int64, error) {
			return made(s.PatchGroup(ctx, s.group(), api.PatchGroup{Priority: new(s.random.IntN(5))}))
		},
		"override set": func(ctx context.Context) (int64, error) {
			return made(s.AddGroupOverride(ctx, s.group(), s.feature(), s.variant()))
		},
		"override deleted": func(ctx context.Context) (int64, error) {
			return made(s.DeleteGroupOverride(ctx, s.group(), s.feature()))
		},
		"member added": func(ctx context.Context) (int64, error) {
			return made(s.AddSubjectToGroup(ctx, s.group(), s.subject()))
		},
		"member removed": func(ctx context.Context) (int64, error) {
			return made(s.RemoveSubjectFromGroup(ctx, s.group(), s.subject()))
		},
		"revert": func(ctx context.Context) (int64, error) {
			return made(s.Revert(ctx, max(1, int64(len(s.edge)-s.random.IntN(8)))))
		},
	}
}

// lines are an import of some subjects, some of them into a group.
func (s *story) subjects() (ids []string) {
	for i := range 12 {
		if s.random.IntN(2) == 0 {
			ids = append(ids, fmt.Sprint("s", i))
		}
	}
	return ids
}

// replace makes the subjects those of an import, as a dry run allows.
func (s *story) replace(ctx context.Context) (int64, error) {
	var drawn []api.ImportLine
	for line := range s.lines() {
		drawn = append(drawn, line)
	}
	lines := func(yield func(api.ImportLine, error) bool) {
		for _, line := range drawn {
			if !yield(line, nil) {
				return
			}
		}
	}
	dry, err := s.ImportSubjects(ctx, lines, writer.ReplaceGroups(), writer.DeleteAbsent(), writer.DryRun())
	if err != nil {
		return 0, err
	}
	return made(s.ImportSubjects(ctx, lines, writer.ReplaceGroups(), writer.DeleteAbsent(), writer.ExpectDeleted(dry.Value.Deleted)))
}

func (s *story) lines() iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		group := s.group()
		for i := range 12 {
			line := api.ImportLine{ID: fmt.Sprint("s", i), Weight: new(s.random.Int64N(100))}
			if s.random.IntN(2) == 0 {
				line.Groups = []string{group}
			}
			if s.random.IntN(2) == 0 && !yield(line, nil) {
				return
			}
		}
	}
}
