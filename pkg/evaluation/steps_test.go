package evaluation_test

import (
	"slices"
	"testing"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestSteps(t *testing.T) {
	off := example()
	off.Features[1].Off, off.Features[1].Archived = true, true
	foobar := func(variant string, reason evaluation.Reason, testGroup, group string) evaluation.Decision {
		d := evaluation.Decision{Feature: "foobar", Variant: variant, Reason: reason, TestGroup: testGroup, Group: group}
		if testGroup != "" {
			d.Test = "trial"
		}
		return d
	}
	lower := []evaluation.Decision{
		foobar(model.DisablingVariant, evaluation.Default, "", ""),
		foobar("A", evaluation.Rollout, "", ""),
	}
	tested := append(slices.Clip(lower),
		foobar(model.DisablingVariant, evaluation.ABTest, "control", ""),
		foobar("B", evaluation.ABTest, "experiment", ""))
	overrides := []evaluation.Decision{
		foobar("A", evaluation.Override, "", "zeal"),
		foobar("B", evaluation.Override, "", "friends"),
		foobar("A", evaluation.Override, "", "staff"),
	}
	for _, c := range []struct {
		feature string
		config  *model.Configuration
		hour    int
		want    []evaluation.Decision
	}{
		{"bare", example(), 1, []evaluation.Decision{{Feature: "bare"}}},
		{"foobar", example(), 1, slices.Concat(tested, overrides)},
		{"foobar", example(), 2, slices.Concat(lower, overrides)},
		{"foobar", off, 2, slices.Concat(lower, overrides, []evaluation.Decision{
			foobar(model.DisablingVariant, evaluation.Off, "", ""), foobar("", evaluation.Archived, "", ""),
		})},
		{"other", example(), 1, nil},
	} {
		if got, _ := compile(t, c.config).Steps(c.feature, hour(c.hour)); !slices.Equal(got, c.want) {
			t.Errorf("%s, hour %d: %+v, want %+v", c.feature, c.hour, got, c.want)
		}
	}
}
