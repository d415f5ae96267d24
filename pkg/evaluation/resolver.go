package evaluation

import (
	"encoding/json"
	"slices"
	"sort"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// Reason is the step of the resolution that decided.
type Reason string

// The steps of the resolution, each beating the ones before it.
const (
	Default  Reason = "default"
	Rollout  Reason = "rollout"
	ABTest   Reason = "abtest"
	Override Reason = "override"
	Off      Reason = "off"
	Archived Reason = "archived" // decides for nothing
)

// Decision is what one feature resolves to, and by which step.
type Decision struct {
	Feature   string
	Variant   string // "" for nothing
	Reason    Reason // "" if no step applies
	Test      string // with TestGroup, if Reason is ABTest
	TestGroup string
	Group     string // if Reason is Override
	Revision  int64  // of the last change to what decided: the feature, the test or the group
}

// Resolver is a configuration compiled for resolution. It never changes, so any
// number of goroutines may use it.
type Resolver struct {
	features   []feature // in name order
	names      []string  // of the features
	boundaries []time.Time
}

type feature struct {
	name           string
	revision       int64
	off, archived  bool
	variants       []model.Variant
	defaultVariant string // "" for none
	rollout        *rollout
	tests          []testVariants // by start; their periods do not overlap
	overrides      []override     // the winner first
}

type rollout struct {
	variant  string
	buckets  bucketSet
	assigned int
}

// testVariants holds, for one feature, the variant of each group of a test.
type testVariants struct {
	test     *test
	variants []string // by test group
}

type test struct {
	name       string
	revision   int64
	start, end time.Time
	groups     []string
	groupOf    []int16 // by bucket, -1 for bucket 0
}

type override struct {
	group    model.GroupID
	name     string
	revision int64
	priority int
	variant  string
}

// Decide yields what each feature resolves to for subjects of one class at a
// moment, in name order, until yield returns false. Features that resolve to
// nothing are left out. It does not allocate.
//
// Bucket 0 is in no rollout and no test. Unknown groups are ignored.
func (r *Resolver) Decide(class model.Class, at time.Time, yield func(Decision) bool) {
	for i := range r.features {
		if d := r.features[i].decide(class, at); d.Variant != "" && !yield(d) {
			return
		}
	}
}

// DecideFeature resolves a single feature. The boolean is false if there is no such
// feature; one that resolves to nothing has no Variant.
func (r *Resolver) DecideFeature(name string, class model.Class, at time.Time) (Decision, bool) {
	i, found := slices.BinarySearch(r.names, name)
	if !found {
		return Decision{}, false
	}
	return r.features[i].decide(class, at), true
}

// Flags is Decide as a map from feature to variant.
func (r *Resolver) Flags(class model.Class, at time.Time) map[string]string {
	flags := make(map[string]string, len(r.features))
	r.Decide(class, at, func(d Decision) bool {
		flags[d.Feature] = d.Variant
		return true
	})
	return flags
}

// NextBoundary is the first start or end of a test after at. Until then, Decide's
// results do not change; if there is none, they never change.
func (r *Resolver) NextBoundary(at time.Time) (time.Time, bool) {
	i := sort.Search(len(r.boundaries), func(i int) bool { return r.boundaries[i].After(at) })
	if i == len(r.boundaries) {
		return time.Time{}, false
	}
	return r.boundaries[i], true
}

// Features are the names of all features, in order. The caller must not change
// the slice.
func (r *Resolver) Features() []string { return r.names }

// Payload returns the payload of a variant, nil for none; false if the feature
// cannot resolve to the variant. A feature that is off resolves to __DISABLE__ even
// if it has no such variant.
func (r *Resolver) Payload(featureName, variant string) (json.RawMessage, bool) {
	i, found := slices.BinarySearch(r.names, featureName)
	if !found {
		return nil, false
	}
	f := model.Feature{Variants: r.features[i].variants}
	v, found := f.Variant(variant)
	return v.Payload, found || r.features[i].off && variant == model.DisablingVariant
}

func (f *feature) decide(class model.Class, at time.Time) Decision {
	live := f.liveTest(at)
	return f.decision(f.deciding(class, live), live)
}

// nextOverride is the index of the first override from i on of one of the groups,
// or len(f.overrides).
func (f *feature) nextOverride(i int, groups []model.GroupID) int {
	if len(groups) == 0 {
		return len(f.overrides)
	}
	for ; i < len(f.overrides); i++ {
		if _, in := slices.BinarySearch(groups, f.overrides[i].group); in {
			break
		}
	}
	return i
}

// liveTest is the test of the feature that is live at a moment, or nil.
func (f *feature) liveTest(at time.Time) *testVariants {
	i := sort.Search(len(f.tests), func(i int) bool { return f.tests[i].test.start.After(at) }) - 1
	if i < 0 || !at.Before(f.tests[i].test.end) {
		return nil
	}
	return &f.tests[i]
}

// group is the index of the test group that a bucket is in.
func (t *test) group(b model.BucketID) (int, bool) {
	if b < 1 || int(b) >= len(t.groupOf) {
		return 0, false
	}
	return int(t.groupOf[b]), true
}

// bucketSet is a bit for each bucket.
type bucketSet []uint64

func newBucketSet(buckets int) bucketSet { return make(bucketSet, buckets/64+1) }

func (s bucketSet) add(b model.BucketID) { s[b/64] |= 1 << (b % 64) }

func (s bucketSet) has(b model.BucketID) bool {
	return b >= 1 && int(b/64) < len(s) && s[b/64]&(1<<(b%64)) != 0
}
