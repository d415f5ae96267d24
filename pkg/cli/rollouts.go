package cli

import (
	"context"
	"flag"
	"fmt"
	"math"
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
		summary:   "Give a variant to a share of the traffic, such as 25% or 0.25. A higher share only adds subjects, a lower one only removes some.",
		writes:    true,
		changes:   true,
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&variant, "variant", "", "`variant` of the rollout; required if the feature has no rollout yet")
		},
		run: func(ctx context.Context, c *call) error {
			proportion, err := parsePercent(c.Args[1])
			if err != nil {
				return err
			}
			feature, err := c.admin.Feature(ctx, c.Args[0])
			switch {
			case err != nil:
				return err
			case feature.Value.Rollout == nil && variant == "":
				return command.Usagef("feature %s has no rollout yet: add --variant, the variant to roll out", c.Args[0])
			case feature.Value.Rollout == nil && c.ifRevision > 0:
				return command.Usagef("feature %s has no rollout yet, and to begin one takes no revision: leave --if-revision out", c.Args[0])
			case feature.Value.Rollout == nil:
				return beginRollout(ctx, c, feature.Value, variant, proportion)
			}
			return setRollout(ctx, c, feature.Value, variant, proportion)
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
	goSyntax := strings.ContainsAny(number, "_xX") // 1_0 would be 10, and 0x1 be 1
	if err != nil || goSyntax || !(share >= 0 && share <= 1) {
		hint := ""
		if !isPercent && !goSyntax && share > 1 && share <= 100 {
			hint = ": did you mean " + number + "%?"
		}
		return 0, command.Usagef("PERCENT must be between 0%% and 100%%, or between 0 and 1, is %q%s", text, hint)
	}
	return share, nil
}

// beginRollout creates a rollout, which begins with nobody, and sets its proportion.
func beginRollout(ctx context.Context, c *call, feature api.Feature, variant string, proportion float64) error {
	begin := change[api.Rollout]{
		name: feature.Name,
		do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.Rollout], error) {
			return c.admin.AddRollout(ctx, feature.Name, variant, opts...)
		},
		done:   always[api.Rollout]("rollout of %s in %s begins", variant, feature.Name),
		effect: affectedAtZero[api.Rollout],
	}
	if proportion > 0 {
		begin.effect = func(flaggery.Result[api.Rollout]) string { return "its buckets are drawn when it is stored" }
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
	c.stores = true
	if _, err := begin.do(flaggery.Comment(c.comment)); err != nil {
		return err
	}
	c.yes = true // it was asked
	return setRollout(ctx, c, feature, "", proportion)
}

func setRollout(ctx context.Context, c *call, feature api.Feature, variant string, proportion float64) error {
	patch := api.PatchRollout{Proportion: &proportion}
	if variant != "" {
		patch.Variant = &variant
	}
	return write(ctx, c, change[api.Rollout]{
		name: feature.Name,
		do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.Rollout], error) {
			return c.admin.PatchRollout(ctx, feature.Name, patch, opts...)
		},
		done: func(r api.Rollout) string {
			line := share(r)
			if math.Abs(r.EffectiveProportion-proportion) > noticeable {
				line += fmt.Sprintf(" (%s asked)", percent(proportion))
			}
			return line + whyNobody(ctx, c, feature, r)
		},
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

// noticeable is the difference between the share asked and the effective one from which
// both are shown.
const noticeable = 0.01

// whyNobody says why a rollout of some share reaches nobody; "" if it does.
func whyNobody(ctx context.Context, c *call, feature api.Feature, r api.Rollout) (why string) {
	if r.Proportion == 0 {
		return ""
	}
	if len(r.Buckets) == 0 {
		about, err := c.admin.About(ctx)
		if err == nil && about.Value.Buckets == 0 {
			why = "; there are no buckets yet: " + addBuckets
		}
	}
	if feature.Off {
		why += fmt.Sprintf("; %s is off: nobody gets this until feature on %[1]s", feature.Name)
	}
	return why
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
