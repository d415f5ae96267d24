package evaluation

import (
	"slices"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// Steps are all decisions that a feature can come to at a moment, in the order of the
// resolution: each beats the ones before it. The first one has no Reason if the feature
// has no default variant. A live test has one for each of its groups, and each group
// that overrides has one. It is nil if there is no such feature.
func (r *Resolver) Steps(name string, at time.Time) []Decision {
	i, found := slices.BinarySearch(r.names, name)
	if !found {
		return nil
	}
	f := &r.features[i]
	steps := []Decision{f.byDefault()}
	if f.rollout != nil {
		steps = append(steps, f.byRollout())
	}
	if t := f.liveTest(at); t != nil {
		for g := range t.variants {
			steps = append(steps, f.byTest(t.test, g, t.variants[g]))
		}
	}
	for i := range f.overrides {
		steps = append(steps, f.byOverride(len(f.overrides)-1-i))
	}
	if f.off {
		steps = append(steps, f.byOff())
	}
	if f.archived {
		steps = append(steps, f.byArchive())
	}
	return steps
}

func (f *feature) byDefault() Decision {
	if f.defaultVariant == "" {
		return Decision{Feature: f.name}
	}
	return Decision{Feature: f.name, Variant: f.defaultVariant, Reason: Default, Revision: f.revision}
}

func (f *feature) byRollout() Decision {
	return Decision{Feature: f.name, Variant: f.rollout.variant, Reason: Rollout, Revision: f.revision}
}

func (f *feature) byTest(t *test, g int, variant string) Decision {
	return Decision{Feature: f.name, Variant: variant, Reason: ABTest, Test: t.name, TestGroup: t.groups[g], Revision: t.revision}
}

func (f *feature) byOverride(i int) Decision {
	o := &f.overrides[i]
	return Decision{Feature: f.name, Variant: o.variant, Reason: Override, Group: o.name, Revision: o.revision}
}

func (f *feature) byOff() Decision {
	return Decision{Feature: f.name, Variant: model.DisablingVariant, Reason: Off, Revision: f.revision}
}

func (f *feature) byArchive() Decision { return Decision{Feature: f.name, Reason: Archived} }
