package evaluation

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// Compile prepares a configuration, which must not be changed afterwards. It
// rejects an inconsistent one and names every fault: an unknown feature or variant,
// an invalid assignment, overlapping tests of a feature, a duplicate name. The
// schema excludes such faults; a reader that finds one keeps its last
// configuration.
func Compile(c *model.Configuration) (*Resolver, error) {
	return Recompile(&Resolver{}, &model.Configuration{}, c)
}

// Recompile is Compile for a configuration that shares rollouts, the same pointers, with
// an earlier one that was compiled into last. These are not compiled again.
func Recompile(last *Resolver, earlier, c *model.Configuration) (*Resolver, error) {
	k := compiler{config: c, features: make(map[string]int, len(c.Features))}
	if earlier.Buckets == c.Buckets {
		k.compiled = make(map[*model.Rollout]*rollout, len(earlier.Features))
		for i := range earlier.Features {
			k.compiled[earlier.Features[i].Rollout] = last.features[i].rollout
		}
	}
	if c.Buckets < 0 || c.Buckets > model.MaxBuckets {
		return nil, fmt.Errorf("there are %d buckets, not between 0 and %d", c.Buckets, model.MaxBuckets)
	}
	k.compileFeatures()
	k.compileTests()
	k.compileGroups()
	if len(k.faults) > 0 {
		return nil, errors.Join(k.faults...)
	}
	return &k.resolver, nil
}

type compiler struct {
	config   *model.Configuration
	features map[string]int // place by name
	compiled map[*model.Rollout]*rollout
	resolver Resolver
	faults   []error
}

func (k *compiler) faultf(format string, args ...any) {
	k.faults = append(k.faults, fmt.Errorf(format, args...))
}

func (k *compiler) compileFeatures() {
	k.resolver.features = make([]feature, len(k.config.Features))
	k.resolver.names = make([]string, len(k.config.Features))
	for i := range k.config.Features {
		source := &k.config.Features[i]
		k.features[source.Name] = i
		k.resolver.names[i] = source.Name
		f := &k.resolver.features[i]
		*f = feature{name: source.Name, revision: source.Revision, off: source.Off, archived: source.Archived, variants: source.Variants, defaultVariant: source.Default}

		variants := make([]string, len(source.Variants))
		for j, v := range source.Variants {
			variants[j] = v.Name
		}
		k.checkOrder(fmt.Sprintf("feature %q: variants", f.name), variants)
		if source.Default != "" {
			k.checkVariant(fmt.Sprintf("feature %q: default", f.name), f.name, source.Default)
		}
		if r := source.Rollout; r != nil {
			what := fmt.Sprintf("feature %q: rollout", f.name)
			k.checkVariant(what, f.name, r.Variant)
			if f.rollout = k.compiled[r]; f.rollout == nil {
				f.rollout = k.compileRollout(what, r)
			}
		}
	}
	k.checkOrder("features", k.resolver.names)
}

func (k *compiler) compileRollout(what string, source *model.Rollout) *rollout {
	r := &rollout{variant: source.Variant, buckets: newBucketSet(k.config.Buckets), assigned: len(source.Buckets)}
	if k.checkBuckets(what, source.Buckets) {
		for _, b := range source.Buckets {
			r.buckets.add(b)
		}
	}
	return r
}

func (k *compiler) compileTests() {
	names := make([]string, len(k.config.Tests))
	for i := range k.config.Tests {
		t := &k.config.Tests[i]
		names[i] = t.Name
		k.compileTest(t)
	}
	k.checkOrder("tests", names)

	for i := range k.resolver.features {
		f := &k.resolver.features[i]
		slices.SortStableFunc(f.tests, func(a, b testVariants) int { return a.test.start.Compare(b.test.start) })
		for j := 1; j < len(f.tests); j++ {
			if a, b := f.tests[j-1].test, f.tests[j].test; b.start.Before(a.end) {
				k.faultf("feature %q: tests %q and %q overlap from %s on", f.name, a.name, b.name, b.start.UTC().Format(time.RFC3339Nano))
			}
		}
	}
	slices.SortFunc(k.resolver.boundaries, time.Time.Compare)
	k.resolver.boundaries = slices.CompactFunc(k.resolver.boundaries, time.Time.Equal)
}

func (k *compiler) compileTest(source *model.ABTest) {
	what := fmt.Sprintf("test %q", source.Name)
	if n := len(source.Groups); n > model.MaxTestGroups {
		k.faultf("%s: has %d groups, more than %d", what, n, model.MaxTestGroups)
		return
	}
	t := &test{name: source.Name, revision: source.Revision, start: source.Start, end: source.End}
	t.groupOf = make([]int16, k.config.Buckets+1)
	for b := range t.groupOf {
		t.groupOf[b] = -1
	}
	features, sound := source.Features(), true
	for g := range source.Groups {
		group := &source.Groups[g]
		what := fmt.Sprintf("%s: group %q", what, group.Name)
		if slices.Contains(t.groups, group.Name) {
			k.faultf("%s: is there twice", what)
		}
		t.groups = append(t.groups, group.Name)
		if got := slices.Sorted(maps.Keys(group.Variants)); !slices.Equal(got, features) {
			k.faultf("%s: has the features %q, the first group has %q", what, got, features)
		}
		for _, name := range slices.Sorted(maps.Keys(group.Variants)) {
			k.checkVariant(what, name, group.Variants[name])
		}
		if !k.checkBuckets(what, group.Buckets) {
			sound = false
			continue
		}
		for _, b := range group.Buckets {
			if other := t.groupOf[b]; other >= 0 {
				k.faultf("%s: bucket %d is in group %q too", what, b, t.groups[other])
				sound = false
				break
			}
			t.groupOf[b] = int16(g)
		}
	}
	if b := slices.Index(t.groupOf[1:], -1); sound && b >= 0 {
		k.faultf("%s: bucket %d is in none of its groups", what, b+1)
	}
	if !t.start.Before(t.end) {
		return // stopped before its start: never live, so it overlaps nothing
	}
	k.resolver.boundaries = append(k.resolver.boundaries, t.start, t.end)
	for _, name := range features {
		i, found := k.features[name]
		if !found {
			continue // noted above
		}
		a := testVariants{test: t, variants: make([]string, len(source.Groups))}
		for g := range source.Groups {
			a.variants[g] = source.Groups[g].Variants[name]
		}
		k.resolver.features[i].tests = append(k.resolver.features[i].tests, a)
	}
}

func (k *compiler) compileGroups() {
	names := make([]string, len(k.config.Groups))
	ids := make(map[model.GroupID]string, len(k.config.Groups))
	for i, g := range k.config.Groups {
		names[i] = g.Name
		if other, taken := ids[g.ID]; taken {
			k.faultf("groups %q and %q have the same id %d", other, g.Name, g.ID)
		}
		ids[g.ID] = g.Name
	}
	k.checkOrder("groups", names)

	// Sorted by precedence, so each feature's overrides are as well.
	for _, g := range slices.SortedFunc(slices.Values(k.config.Groups), model.CompareGroups) {
		what := fmt.Sprintf("group %q", g.Name)
		for _, name := range slices.Sorted(maps.Keys(g.Overrides)) {
			if variant := g.Overrides[name]; k.checkVariant(what, name, variant) {
				f := &k.resolver.features[k.features[name]]
				f.overrides = append(f.overrides, override{g.ID, g.Name, g.Revision, g.Priority, variant})
			}
		}
	}
}

// checkVariant notes a reference to a variant that does not exist.
func (k *compiler) checkVariant(what, featureName, variant string) bool {
	i, found := k.features[featureName]
	if !found {
		k.faultf("%s: names the feature %q, which does not exist", what, featureName)
		return false
	}
	if _, found := k.config.Features[i].Variant(variant); !found {
		k.faultf("%s: names the variant %q of feature %q, which does not exist", what, variant, featureName)
		return false
	}
	return true
}

// checkOrder notes the first duplicate or unsorted name.
func (k *compiler) checkOrder(what string, names []string) {
	for i := 1; i < len(names); i++ {
		switch {
		case names[i] == names[i-1]:
			k.faultf("%s: %q is there twice", what, names[i])
			return
		case names[i] < names[i-1]:
			k.faultf("%s: %q comes after %q, out of name order", what, names[i], names[i-1])
			return
		}
	}
}

// checkBuckets notes the first bucket of an assignment that is wrong.
func (k *compiler) checkBuckets(what string, assigned []model.BucketID) bool {
	for i, b := range assigned {
		switch {
		case b < 1 || int(b) > k.config.Buckets:
			k.faultf("%s: bucket %d is not between 1 and %d", what, b, k.config.Buckets)
			return false
		case i > 0 && b <= assigned[i-1]:
			k.faultf("%s: bucket %d comes after %d, its buckets must ascend", what, b, assigned[i-1])
			return false
		}
	}
	return true
}
