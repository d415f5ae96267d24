package evaluation

import (
	"slices"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// Steps are all decisions that a feature can come to at a moment, in the order of the
// resolution: each beats the ones before it. The first one has no Reason if the feature
// has no default variant. A live test has one for each of its groups, and each group
// that overrides has one. decides is the place of the one that decides for a class. Both
// are nil if there is no such feature.
func (r *Resolver) Steps(name string, at time.Time) (decisions []Decision, decides func(model.Class) int) {
	i, found := slices.BinarySearch(r.names, name)
	if !found {
		return nil, nil
	}
	f := &r.features[i]
	live := f.liveTest(at)
	all := f.steps(live)
	for _, s := range all {
		decisions = append(decisions, f.decision(s, live))
	}
	return decisions, func(class model.Class) int { return slices.Index(all, f.deciding(class, live)) }
}

// step is a step of a feature, with a test group of the live test if it is byTest, and one
// of f.overrides if it is byOverride.
type step struct {
	kind
	of int32
}

type kind uint8

const (
	byDefault kind = iota
	byRollout
	byTest
	byOverride
	byOff
	byArchive
)

func (f *feature) steps(live *testVariants) []step {
	all := []step{{kind: byDefault}}
	if f.rollout != nil {
		all = append(all, step{kind: byRollout})
	}
	if live != nil {
		for g := range live.variants {
			all = append(all, step{byTest, int32(g)})
		}
	}
	for i := range f.overrides {
		all = append(all, step{byOverride, int32(len(f.overrides) - 1 - i)})
	}
	if f.off {
		all = append(all, step{kind: byOff})
	}
	if f.archived {
		all = append(all, step{kind: byArchive})
	}
	return all
}

// deciding tries the steps, the one of highest precedence first.
func (f *feature) deciding(class model.Class, live *testVariants) step {
	if f.archived {
		return step{kind: byArchive}
	}
	if f.off {
		return step{kind: byOff}
	}
	if i := f.nextOverride(0, class.Groups); i < len(f.overrides) {
		return step{byOverride, int32(i)}
	}
	if live != nil {
		if g, in := live.test.group(class.Bucket); in {
			return step{byTest, int32(g)}
		}
	}
	if f.rollout != nil && f.rollout.buckets.has(class.Bucket) {
		return step{kind: byRollout}
	}
	return step{kind: byDefault}
}

// decision is what a step decides.
func (f *feature) decision(s step, live *testVariants) Decision {
	switch s.kind {
	case byRollout:
		return Decision{Feature: f.name, Variant: f.rollout.variant, Reason: Rollout, Revision: f.revision}
	case byTest:
		t := live.test
		return Decision{Feature: f.name, Variant: live.variants[s.of], Reason: ABTest, Test: t.name, TestGroup: t.groups[s.of], Revision: t.revision}
	case byOverride:
		o := &f.overrides[s.of]
		return Decision{Feature: f.name, Variant: o.variant, Reason: Override, Group: o.name, Revision: o.revision}
	case byOff:
		return Decision{Feature: f.name, Variant: model.DisablingVariant, Reason: Off, Revision: f.revision}
	case byArchive:
		return Decision{Feature: f.name, Reason: Archived}
	}
	if f.defaultVariant == "" {
		return Decision{Feature: f.name}
	}
	return Decision{Feature: f.name, Variant: f.defaultVariant, Reason: Default, Revision: f.revision}
}
