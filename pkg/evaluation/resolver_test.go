package evaluation_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

// obvious is the resolution as docs/concepts.md describes it: step by step, later
// ones win, and nothing is precompiled.
func obvious(c *model.Configuration, f *model.Feature, class model.Class, at time.Time) evaluation.Decision {
	d := evaluation.Decision{Feature: f.Name}
	if f.Default != "" {
		d.Variant, d.Reason = f.Default, evaluation.Default
	}
	if f.Rollout != nil && slices.Contains(f.Rollout.Buckets, class.Bucket) {
		d.Variant, d.Reason = f.Rollout.Variant, evaluation.Rollout
	}
	for _, test := range c.Tests {
		for _, g := range test.Groups {
			variant, about := g.Variants[f.Name]
			if about && test.State(at) == model.Live && slices.Contains(g.Buckets, class.Bucket) {
				d.Variant, d.Reason, d.Test, d.TestGroup = variant, evaluation.ABTest, test.Name, g.Name
			}
		}
	}
	var winner *model.Group
	for i := range c.Groups {
		g := &c.Groups[i]
		if _, overrides := g.Overrides[f.Name]; overrides && slices.Contains(class.Groups, g.ID) {
			if winner == nil || g.Priority > winner.Priority || g.Priority == winner.Priority && g.Name < winner.Name {
				winner = g
			}
		}
	}
	if winner != nil {
		d = evaluation.Decision{Feature: f.Name, Variant: winner.Overrides[f.Name], Reason: evaluation.Override, Group: winner.Name}
	}
	if f.Off {
		d = evaluation.Decision{Feature: f.Name, Variant: model.DisablingVariant, Reason: evaluation.Off}
	}
	if f.Archived {
		d = evaluation.Decision{Feature: f.Name, Reason: evaluation.Archived}
	}
	return d
}

func compile(t interface{ Fatal(...any) }, c *model.Configuration) *evaluation.Resolver {
	r, err := evaluation.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func decisions(r *evaluation.Resolver, class model.Class, at time.Time) []evaluation.Decision {
	var all []evaluation.Decision
	r.Decide(class, at, func(d evaluation.Decision) bool {
		all = append(all, d)
		return true
	})
	return all
}

func TestDecideAsTheObviousResolver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := configuration(t)
		r := compile(t, c)
		for range 5 {
			class, at := class(t, c.Buckets), moment(t)
			var want []evaluation.Decision
			flags := map[string]string{}
			for i := range c.Features {
				d := obvious(c, &c.Features[i], class, at)
				if d.Variant != "" {
					want = append(want, d)
					flags[d.Feature] = d.Variant
				}
				if got, found := r.DecideFeature(d.Feature, class, at); !found || got != d {
					t.Fatalf("alone: %+v, want %+v", got, d)
				}
				if steps, decides := r.Steps(d.Feature, at); steps[decides(class)] != d {
					t.Fatalf("step %d of %+v, want %+v", decides(class), steps, d)
				}
			}
			if got := decisions(r, class, at); !slices.Equal(got, want) {
				t.Fatalf("%+v, want %+v", got, want)
			}
			if got := r.Flags(class, at); !maps.Equal(got, flags) {
				t.Fatalf("flags %v, want %v", got, flags)
			}
		}
	})
}

func TestNothingChangesBeforeTheNextBoundary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := configuration(t)
		r := compile(t, c)
		class, at := class(t, c.Buckets), moment(t)
		before := decisions(r, class, at)
		last := hour(100)
		if next, ok := r.NextBoundary(at); ok {
			if !next.After(at) {
				t.Fatalf("the boundary after %s is %s", at, next)
			}
			isBoundary := func(test model.ABTest) bool { return test.Start.Equal(next) || test.End.Equal(next) }
			if !slices.ContainsFunc(c.Tests, isBoundary) {
				t.Fatalf("no test begins or ends at %s", next)
			}
			last = next.Add(-1)
		}
		for _, later := range []time.Time{at.Add(last.Sub(at) / 2), last} {
			if after := decisions(r, class, later); !slices.Equal(before, after) {
				t.Fatalf("at %s %+v, at %s %+v", at, before, later, after)
			}
		}
	})
}

func TestDecideStopsWhenAsked(t *testing.T) {
	r := compile(t, example())
	seen := 0
	r.Decide(model.Class{}, epoch, func(evaluation.Decision) bool {
		seen++
		return false
	})
	if seen != 1 {
		t.Errorf("%d decisions after the first was enough", seen)
	}
}

func TestUnknownFeatureAndPayload(t *testing.T) {
	r := compile(t, example())
	if d, found := r.DecideFeature("other", model.Class{}, epoch); found || d != (evaluation.Decision{}) {
		t.Errorf("a feature that does not exist resolves to %+v", d)
	}
	if got, want := r.Features(), []string{"bare", "foobar", "plain", "stopped"}; !slices.Equal(got, want) {
		t.Errorf("features %q, want %q", got, want)
	}
	for _, c := range []struct {
		feature, variant, payload string
		found                     bool
	}{
		{"foobar", "A", `{"any":"json"}`, true},
		{"foobar", "B", "", true},
		{"foobar", "C", "", false},
		{"plain", model.DisablingVariant, "", false},
		{"stopped", model.DisablingVariant, "", true},
		{"other", "A", "", false},
	} {
		if payload, found := r.Payload(c.feature, c.variant); string(payload) != c.payload || found != c.found {
			t.Errorf("payload of %s/%s is %q, %v", c.feature, c.variant, payload, found)
		}
	}
}

// An unknown bucket is in no rollout and no test.
func TestForeignBucket(t *testing.T) {
	r := compile(t, example())
	for _, b := range []model.BucketID{-1, 0, 11, 64, 1 << 30} {
		d, _ := r.DecideFeature("foobar", model.Class{Bucket: b}, hour(1))
		if d.Reason != evaluation.Default {
			t.Errorf("bucket %d gets %+v", b, d)
		}
	}
}

func TestDecideNoAlloc(t *testing.T) {
	r, class, at, seen := compile(t, example()), model.Class{Bucket: 3, Groups: []model.GroupID{1, 2, 7}}, hour(1), 0
	allocs := testing.AllocsPerRun(100, func() {
		r.Decide(class, at, func(evaluation.Decision) bool { seen++; return true })
		r.DecideFeature("foobar", class, at)
		r.NextBoundary(at)
	})
	if allocs != 0 || seen == 0 {
		t.Errorf("%g allocations, %d decisions", allocs, seen)
	}
}

// BenchmarkDecideNoAlloc resolves 100 features, each by the longest path: past
// overrides of other groups and an ended test, outside of its rollout, to its
// default.
func BenchmarkDecideNoAlloc(b *testing.B) {
	c, seen := &model.Configuration{Buckets: 1000}, 0
	overrides := map[string]string{}
	for i := range 100 {
		f := model.Feature{Name: fmt.Sprintf("feature-%02d", i), Variants: []model.Variant{{Name: "A"}, {Name: "B"}}, Default: "A"}
		f.Rollout = &model.Rollout{Variant: "B", Buckets: []model.BucketID{1, 500}}
		overrides[f.Name] = "B"
		c.Features = append(c.Features, f)
	}
	for i, name := range []string{"friends", "others", "staff"} {
		c.Groups = append(c.Groups, model.Group{ID: model.GroupID(i + 1), Name: name, Overrides: overrides})
	}
	ended := model.ABTest{Name: "trial", Start: hour(0), End: hour(2)}
	ended.Groups = []model.TestGroup{{Name: "all", Variants: overrides}}
	for id := range model.BucketID(1000) {
		ended.Groups[0].Buckets = append(ended.Groups[0].Buckets, id+1)
	}
	c.Tests = []model.ABTest{ended}

	r, class, at := compile(b, c), model.Class{Bucket: 7, Groups: []model.GroupID{7, 8}}, hour(3)
	b.ReportAllocs()
	for b.Loop() {
		r.Decide(class, at, func(evaluation.Decision) bool { seen++; return true })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(seen), "ns/flag")
}
