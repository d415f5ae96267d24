package cli

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

func rolloutSet() verb {
	var variant string
	return verb{
		name:      "rollout set",
		arguments: "FEATURE PERCENT",
		summary:   "Give a variant to a share of the traffic, such as 25% or 0.25. More only adds subjects, less only removes some.",
		writes:    true,
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&variant, "variant", "", "`variant` of the rollout; required if the feature has no rollout yet")
		},
		run: func(ctx context.Context, c *call) error {
			proportion, err := parsePercent(c.Args[1])
			if err != nil {
				return err
			}
			feature := c.Args[0]
			_, err = c.admin.Rollout(ctx, feature)
			switch {
			case flaggery.CodeOf(err) == api.RolloutNotFound && variant == "":
				return command.Usagef("feature %s has no rollout yet: add --variant, the variant to roll out", feature)
			case flaggery.CodeOf(err) == api.RolloutNotFound:
				return beginRollout(ctx, c, feature, variant, proportion)
			case err != nil:
				return err
			}
			return setRollout(ctx, c, feature, variant, proportion)
		},
	}
}

// parsePercent reads a share of the traffic: "25%" or "0.25".
func parsePercent(text string) (float64, error) {
	number, isPercent := strings.CutSuffix(strings.TrimSpace(text), "%")
	share, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if isPercent {
		share /= 100
	}
	if err != nil || !(share >= 0 && share <= 1) {
		return 0, command.Usagef("PERCENT must be between 0%% and 100%%, or between 0 and 1, is %q", text)
	}
	return share, nil
}

// beginRollout creates a rollout, which begins with nobody, and sets its proportion.
func beginRollout(ctx context.Context, c *call, feature, variant string, proportion float64) error {
	begin := change[api.Rollout]{
		name: feature,
		do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.Rollout], error) {
			return c.admin.AddRollout(ctx, feature, variant, opts...)
		},
		done:   always[api.Rollout]("rollout of %s in %s begins", variant, feature),
		effect: func(flaggery.Result[api.Rollout]) string { return "its buckets are drawn when it is stored" },
	}
	if c.dryRun || proportion == 0 {
		return write(ctx, c, begin)
	}
	if err := c.mayAsk(); err != nil {
		return err
	}
	if err := c.confirm(ctx, fmt.Sprintf("rolls %s out to %s of the weight", variant, percent(proportion))); err != nil {
		return err
	}
	if _, err := begin.do(flaggery.Comment(c.comment)); err != nil {
		return err
	}
	c.yes = true // it was asked
	return setRollout(ctx, c, feature, "", proportion)
}

func setRollout(ctx context.Context, c *call, feature, variant string, proportion float64) error {
	patch := api.PatchRollout{Proportion: &proportion}
	if variant != "" {
		patch.Variant = &variant
	}
	return write(ctx, c, change[api.Rollout]{
		name: feature,
		do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.Rollout], error) {
			return c.admin.PatchRollout(ctx, feature, patch, opts...)
		},
		done: share,
		effect: func(dry flaggery.Result[api.Rollout]) string {
			var gain, lose int64
			for _, change := range dry.Changes {
				switch {
				case change.To != nil && *change.To == dry.Value.Variant:
					gain += change.Subjects
				default:
					lose += change.Subjects
				}
			}
			verb := "gain"
			if gain == 1 {
				verb = "gains"
			}
			return fmt.Sprintf("%s %s, %d lose", count(gain, "subject"), verb, lose)
		},
	})
}

// share is what a rollout reaches: "14 buckets, 9.8 % of weight".
func share(r api.Rollout) string {
	return fmt.Sprintf("%s, %s of weight", count(len(r.Buckets), "bucket"), percent(r.EffectiveProportion))
}

func rolloutShow() verb {
	return show("rollout show", "FEATURE", "Show the rollout of a feature.", (*flaggery.Admin).Rollout, func(t *table, r api.Rollout) {
		t.add("feature", r.Feature)
		t.add("variant", r.Variant)
		t.add("proportion", percent(r.Proportion))
		t.add("reaches", share(r))
	})
}

func rolloutDelete() verb {
	return remove("rollout delete", "FEATURE", "End the rollout of a feature.", "rollout of %s is deleted", (*flaggery.Admin).DeleteRollout)
}
