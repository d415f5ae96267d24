package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// maxMisspelling is how many letters of a misspelt name may be wrong.
const maxMisspelling = 2

func explain() verb {
	var at, with string
	return verb{
		name:      "explain",
		arguments: "SUBJECT [FEATURE]",
		summary:   "Explain why a subject gets its flags; with FEATURE, step by step.",
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&at, "at", "", "`moment` to explain: a time such as 2027-01-31T15:04:05Z, or how long ago it was, such as 24h")
			fs.StringVar(&with, "with", "", "`id` of another subject, to compare side by side")
		},
		run: func(ctx context.Context, c *call) error {
			moment, err := parseMoment("--at", at)
			if err != nil {
				return err
			}
			subjects := c.Args[:1]
			if with != "" {
				subjects = []string{c.Args[0], with}
			}
			var found []api.Explanation
			var answers []json.RawMessage
			for _, id := range subjects {
				e, err := c.admin.Explain(ctx, id, moment)
				if err != nil {
					return err
				}
				found, answers = append(found, e.Value), append(answers, e.Body)
			}
			features := slices.Sorted(maps.Keys(found[0].Features))
			if len(c.Args) == 2 {
				feature := c.Args[1]
				if _, ok := found[0].Features[feature]; !ok {
					suggestion := ""
					if nearest := model.Nearest(feature, features, maxMisspelling); nearest != "" {
						suggestion = ", did you mean " + nearest + "?"
					}
					when := ""
					if at != "" {
						when = " at that moment"
					}
					return fmt.Errorf("there is no feature %q for subject %s%s%s", feature, c.Args[0], when, suggestion)
				}
				features = []string{feature}
			}
			answer := []byte(answers[0])
			if with != "" {
				answer = listAnswer("subjects", answers)
			}
			return c.print(answer, features, explanation(features, found, len(c.Args) == 2))
		},
	}
}

// explanation is the table of one subject, or of several side by side.
func explanation(features []string, found []api.Explanation, steps bool) table {
	switch {
	case len(found) > 1:
		t := table{header: []string{"FEATURE"}}
		for _, e := range found {
			t.header = append(t.header, e.Subject.ID, "STEP")
		}
		for _, feature := range features {
			row := []string{feature}
			for _, e := range found {
				d := e.Features[feature]
				row = append(row, text(d.Variant), stepName(deciding(d)))
			}
			t.add(row...)
		}
		return t
	case steps:
		t := table{header: []string{"STEP", "VARIANT", "APPLIES", "DETAIL"}}
		for _, s := range found[0].Features[features[0]].Steps {
			t.add(stepName(s), orNone(s.Variant), strconv.FormatBool(s.Applies), orNone(s.Detail))
		}
		return t
	}
	t := table{header: []string{"FEATURE", "VARIANT", "STEP", "DETAIL"}}
	for _, feature := range features {
		d := found[0].Features[feature]
		t.add(feature, text(d.Variant), stepName(deciding(d)), orNone(deciding(d).Detail))
	}
	return t
}

// deciding is the last step that applies; no step if none does.
func deciding(d api.ExplainedDecision) (step api.ExplainedStep) {
	for _, s := range d.Steps {
		if s.Applies {
			step = s
		}
	}
	return step
}

// stepName is a step with the group or the test that it is about.
func stepName(s api.ExplainedStep) string {
	switch {
	case s.Group != "":
		return s.Step + " " + s.Group
	case s.Test != "":
		return s.Step + " " + s.Test + "/" + s.TestGroup
	}
	return orNone(s.Step)
}
