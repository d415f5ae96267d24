package evaluation

import (
	"fmt"
	"slices"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// Explanation says why a feature resolves to what it does.
type Explanation struct {
	Feature string
	Variant string // "" for nothing
	Reason  Reason // "" if no step applies
	Steps   []Step
}

// Step is one step of the resolution as seen by one subject. Of an
// Explanation's steps the last that applies wins.
type Step struct {
	Step      Reason
	Variant   string // what the step gives, or would give if it applied; "" for nothing
	Test      string
	TestGroup string
	Group     string
	Applies   bool
	Detail    string // why it applies or not, for people
}

// Explain yields an explanation of every feature, in name order, including features
// that resolve to nothing. The steps are default, rollout, abtest and override. A
// step is listed even if the feature has none of its kind; each of several
// overrides is listed, the winner last. If the feature is off or archived, the last
// steps say so.
func (r *Resolver) Explain(class model.Class, at time.Time) []Explanation {
	explanations := make([]Explanation, len(r.features))
	for i := range r.features {
		explanations[i] = r.features[i].explain(class, at)
	}
	return explanations
}

// explain lists the steps. It uses the same conditions as decide.
func (f *feature) explain(class model.Class, at time.Time) Explanation {
	d := f.decide(class, at)
	steps := []Step{f.explainDefault(), f.explainRollout(class.Bucket), f.explainTest(class.Bucket, at)}
	steps = append(steps, f.explainOverrides(class.Groups)...)
	if f.off {
		steps = append(steps, Step{Step: Off, Variant: model.DisablingVariant, Applies: true, Detail: "the feature is switched off for every subject"})
	}
	if f.archived {
		steps = append(steps, Step{Step: Archived, Applies: true, Detail: "the feature is archived and not served"})
	}
	return Explanation{Feature: f.name, Variant: d.Variant, Reason: d.Reason, Steps: steps}
}

func (f *feature) explainDefault() Step {
	if f.defaultVariant == "" {
		return Step{Step: Default, Detail: "feature has no default variant"}
	}
	return Step{Step: Default, Variant: f.defaultVariant, Applies: true, Detail: "applies to every subject"}
}

func (f *feature) explainRollout(b model.BucketID) Step {
	if f.rollout == nil {
		return Step{Step: Rollout, Detail: "feature has no rollout"}
	}
	s := Step{Step: Rollout, Variant: f.rollout.variant, Applies: f.rollout.buckets.has(b)}
	switch {
	case s.Applies:
		s.Detail = fmt.Sprintf("bucket %d is among the %d assigned", b, f.rollout.assigned)
	case b == 0:
		s.Detail = noBucket
	default:
		s.Detail = fmt.Sprintf("bucket %d is not among the %d assigned", b, f.rollout.assigned)
	}
	return s
}

func (f *feature) explainTest(b model.BucketID, at time.Time) Step {
	t := f.liveTest(at)
	if t == nil {
		return Step{Step: ABTest, Detail: "no test of this feature is live at " + at.UTC().Format(time.RFC3339Nano)}
	}
	g, in := t.test.group(b)
	if !in {
		s := Step{Step: ABTest, Test: t.test.name, Detail: fmt.Sprintf("bucket %d is in none of the test's groups", b)}
		if b == 0 {
			s.Detail = noBucket
		}
		return s
	}
	return Step{
		Step: ABTest, Variant: t.variants[g], Test: t.test.name, TestGroup: t.test.groups[g], Applies: true,
		Detail: fmt.Sprintf("bucket %d is in this test group, the test is live until %s", b, t.test.end.UTC().Format(time.RFC3339Nano)),
	}
}

const noBucket = "the subject is in no bucket"

// explainOverrides lists the overrides of the subject's groups, the winner last.
func (f *feature) explainOverrides(groups []model.GroupID) []Step {
	first := f.nextOverride(0, groups)
	switch {
	case len(f.overrides) == 0:
		return []Step{{Step: Override, Detail: "no group overrides this feature"}}
	case first == len(f.overrides):
		return []Step{{Step: Override, Detail: "none of the subject's groups overrides this feature"}}
	}
	var steps []Step
	winner := &f.overrides[first]
	for i := first; i < len(f.overrides); i = f.nextOverride(i+1, groups) {
		o := &f.overrides[i]
		s := Step{Step: Override, Variant: o.variant, Group: o.name, Applies: i == first}
		switch {
		case s.Applies:
			s.Detail = "the subject is in this group"
		case o.priority < winner.priority:
			s.Detail = fmt.Sprintf("outranked by group %q, which has priority %d over %d", winner.name, winner.priority, o.priority)
		default:
			s.Detail = fmt.Sprintf("outranked by group %q, which sorts first at the same priority", winner.name)
		}
		steps = append(steps, s)
	}
	slices.Reverse(steps)
	return steps
}
