package evaluation_test

import (
	"encoding/json"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

// example has 10 buckets and three features: foobar with every step, plain with
// only a default, and bare with nothing.
func example() *model.Configuration {
	return &model.Configuration{
		Buckets: 10,
		Features: []model.Feature{
			{Name: "bare"},
			{
				Name: "foobar",
				Variants: []model.Variant{
					{Name: "A", Payload: json.RawMessage(`{"any":"json"}`)}, {Name: "B"}, {Name: model.DisablingVariant},
				},
				Default: model.DisablingVariant,
				Rollout: &model.Rollout{Variant: "A", Buckets: []model.BucketID{3, 9}},
			},
			{Name: "plain", Variants: []model.Variant{{Name: "on"}}, Default: "on"},
			{Name: "stopped", Variants: []model.Variant{{Name: "on"}}, Default: "on", Off: true},
		},
		Tests: []model.ABTest{{
			Name: "trial", Start: hour(0), End: hour(2),
			Groups: []model.TestGroup{
				{Name: "control", Variants: map[string]string{"foobar": model.DisablingVariant}, Buckets: []model.BucketID{1, 2, 3, 4, 5, 6, 7, 8}},
				{Name: "experiment", Variants: map[string]string{"foobar": "B"}, Buckets: []model.BucketID{9, 10}},
			},
		}},
		Groups: []model.Group{
			{ID: 1, Name: "friends", Overrides: map[string]string{"foobar": "B"}},
			{ID: 3, Name: "others"},
			{ID: 2, Name: "staff", Priority: 5, Overrides: map[string]string{"foobar": "A"}},
			{ID: 4, Name: "zeal", Overrides: map[string]string{"foobar": "A"}},
		},
	}
}

func TestExplainSteps(t *testing.T) {
	byDefault := evaluation.Step{Step: evaluation.Default, Variant: model.DisablingVariant, Applies: true, Detail: "applies to every subject"}
	for _, c := range []struct {
		name  string
		class model.Class
		hour  int
		want  evaluation.Explanation
	}{
		{
			"override over all", model.Class{Bucket: 7, Groups: []model.GroupID{1}}, 1,
			evaluation.Explanation{Variant: "B", Reason: evaluation.Override, Steps: []evaluation.Step{
				byDefault,
				{Step: evaluation.Rollout, Variant: "A", Detail: "bucket 7 is not among the 2 assigned"},
				{Step: evaluation.ABTest, Variant: model.DisablingVariant, Test: "trial", TestGroup: "control", Applies: true,
					Detail: "bucket 7 is in this test group, the test is live until 2025-01-01T02:00:00Z"},
				{Step: evaluation.Override, Variant: "B", Group: "friends", Applies: true, Detail: "the subject is in this group"},
			}},
		},
		{
			"several overrides", model.Class{Bucket: 9, Groups: []model.GroupID{1, 2, 3, 4}}, 2,
			evaluation.Explanation{Variant: "A", Reason: evaluation.Override, Steps: []evaluation.Step{
				byDefault,
				{Step: evaluation.Rollout, Variant: "A", Applies: true, Detail: "bucket 9 is among the 2 assigned"},
				{Step: evaluation.ABTest, Detail: "no test of this feature is live at 2025-01-01T02:00:00Z"},
				{Step: evaluation.Override, Variant: "A", Group: "zeal", Detail: `outranked by group "staff", which has priority 5 over 0`},
				{Step: evaluation.Override, Variant: "B", Group: "friends", Detail: `outranked by group "staff", which has priority 5 over 0`},
				{Step: evaluation.Override, Variant: "A", Group: "staff", Applies: true, Detail: "the subject is in this group"},
			}},
		},
		{
			"equal priorities", model.Class{Groups: []model.GroupID{1, 4}}, 1,
			evaluation.Explanation{Variant: "B", Reason: evaluation.Override, Steps: []evaluation.Step{
				byDefault,
				{Step: evaluation.Rollout, Variant: "A", Detail: "the subject is in no bucket"},
				{Step: evaluation.ABTest, Test: "trial", Detail: "the subject is in no bucket"},
				{Step: evaluation.Override, Variant: "A", Group: "zeal", Detail: `outranked by group "friends", which sorts first at the same priority`},
				{Step: evaluation.Override, Variant: "B", Group: "friends", Applies: true, Detail: "the subject is in this group"},
			}},
		},
		{
			"groups that say nothing", model.Class{Bucket: 11, Groups: []model.GroupID{3, 9}}, 1,
			evaluation.Explanation{Variant: model.DisablingVariant, Reason: evaluation.Default, Steps: []evaluation.Step{
				byDefault,
				{Step: evaluation.Rollout, Variant: "A", Detail: "bucket 11 is not among the 2 assigned"},
				{Step: evaluation.ABTest, Test: "trial", Detail: "bucket 11 is in none of the test's groups"},
				{Step: evaluation.Override, Detail: "none of the subject's groups overrides this feature"},
			}},
		},
		{
			"off keeps what lies below", model.Class{Bucket: 9, Groups: []model.GroupID{1}}, 2,
			evaluation.Explanation{Feature: "stopped", Variant: model.DisablingVariant, Reason: evaluation.Off, Steps: []evaluation.Step{
				{Step: evaluation.Default, Variant: "on", Applies: true, Detail: "applies to every subject"},
				{Step: evaluation.Rollout, Detail: "feature has no rollout"},
				{Step: evaluation.ABTest, Detail: "no test of this feature is live at 2025-01-01T02:00:00Z"},
				{Step: evaluation.Override, Detail: "no group overrides this feature"},
				{Step: evaluation.Off, Variant: model.DisablingVariant, Applies: true, Detail: "the feature is switched off for every subject"},
			}},
		},
		{
			"nothing at all", model.Class{Bucket: 1}, 1,
			evaluation.Explanation{Feature: "bare", Steps: []evaluation.Step{
				{Step: evaluation.Default, Detail: "feature has no default variant"},
				{Step: evaluation.Rollout, Detail: "feature has no rollout"},
				{Step: evaluation.ABTest, Detail: "no test of this feature is live at 2025-01-01T01:00:00Z"},
				{Step: evaluation.Override, Detail: "no group overrides this feature"},
			}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want.Feature == "" {
				c.want.Feature = "foobar"
			}
			all := compile(t, example()).Explain(c.class, hour(c.hour))
			got := all[slices.IndexFunc(all, func(e evaluation.Explanation) bool { return e.Feature == c.want.Feature })]
			if got.Variant != c.want.Variant || got.Reason != c.want.Reason || !slices.Equal(got.Steps, c.want.Steps) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestExplainAgreesWithDecide(t *testing.T) {
	always := []evaluation.Reason{evaluation.Default, evaluation.Rollout, evaluation.ABTest, evaluation.Override}
	rapid.Check(t, func(t *rapid.T) {
		c := configuration(t)
		r := compile(t, c)
		class, at := class(t, c.Buckets), moment(t)
		for i, e := range r.Explain(class, at) {
			d, _ := r.DecideFeature(c.Features[i].Name, class, at)
			last, reasons := evaluation.Decision{Feature: e.Feature}, []evaluation.Reason(nil)
			for _, s := range e.Steps {
				if s.Applies {
					last = evaluation.Decision{Feature: e.Feature, Variant: s.Variant, Reason: s.Step, Test: s.Test, TestGroup: s.TestGroup, Group: s.Group}
				}
				if s.Detail == "" {
					t.Fatalf("step without a detail: %+v", s)
				}
				reasons = append(reasons, s.Step)
			}
			if last != d || e.Feature != d.Feature || e.Variant != d.Variant || e.Reason != d.Reason {
				t.Fatalf("explained as %+v, decided as %+v", e, d)
			}
			order := slices.Clone(always)
			if c.Features[i].Off {
				order = append(order, evaluation.Off)
			}
			if c.Features[i].Archived {
				order = append(order, evaluation.Archived)
			}
			if !slices.Equal(slices.Compact(reasons), order) {
				t.Fatalf("steps of %q are %v", e.Feature, reasons)
			}
		}
	})
}
