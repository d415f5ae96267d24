package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// The values of --stage and --state.
var (
	stages        = []api.FeatureStage{api.StageNew, api.StageRolling, api.StageTesting, api.StageSettled, api.StageOff, api.StageExpired, api.StageArchived}
	featureStates = []api.FeatureState{api.StateDefault, api.StateRolling, api.StateTesting, api.StateEveryone, api.StateOff, api.StateArchived}
)

func featureList() verb {
	var stage, tag, state, query string
	var archived bool
	return verb{
		name:    "feature list",
		summary: "List features with their stages and who gets them.",
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&stage, "stage", "", "only features of this `stage`: new, rolling, testing, settled, off, expired, archived")
			fs.StringVar(&state, "state", "", "only features of this `state`: default, rolling, testing, everyone, off, archived")
			fs.StringVar(&tag, "tag", "", "only features with this `tag`")
			fs.StringVar(&query, "query", "", "only features with this `text` in name, description or tags")
			fs.BoolVar(&archived, "archived", false, "only archived features, which are not listed otherwise")
		},
		run: func(ctx context.Context, c *call) error {
			if err := command.Faults(oneOf("--stage", stage, stages), oneOf("--state", state, featureStates)); err != nil {
				return command.WithStatus(command.StatusUsage, err)
			}
			q := parameters("view", "summary", "stage", stage, "state", state, "tag", tag, "query", query)
			if archived {
				q.Set("archived", "true")
			}
			return printList(ctx, c, list[api.FeatureSummary]{
				query:  q,
				header: []string{"NAME", "STAGE", "DEFAULT", "ROLLOUT", "TEST", "CONTACT", "EXPIRES"},
				row: func(f api.FeatureSummary) []string {
					rollout, test := none, none
					if f.Rollout != nil {
						rollout = f.Rollout.Variant + " " + percent(f.Rollout.Proportion)
					}
					if f.Test != nil {
						test = f.Test.Name
					}
					return []string{f.Name, orNone(string(f.Stage)), text(f.DefaultVariant), rollout, test, orNone(f.Contact), text(f.Expires)}
				},
			}, "features")
		},
	}
}

// oneOf says what is wrong with the value of a setting that selects one of some; "" is
// none.
func oneOf[T ~string](setting, value string, accepted []T) error {
	if value == "" || slices.Contains(accepted, T(value)) {
		return nil
	}
	return fmt.Errorf("%s must be one of %s, is %q", setting, strings.Join(texts(accepted), ", "), value)
}

// texts are values as texts.
func texts[T ~string](values []T) (all []string) {
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}

// parameters are those of a query whose values are not empty.
func parameters(pairs ...string) url.Values {
	q := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			q.Set(pair[0], pair[1])
		}
	}
	return q
}

func featureShow() verb {
	return show("feature show", "FEATURE", "Show a feature with its variants and its rollout.", (*flaggery.Admin).Feature, fillFeature)
}

func fillFeature(t *table, f api.Feature) {
	var variants []string
	for _, v := range f.Variants {
		variants = append(variants, v.Name)
	}
	t.add("name", f.Name)
	t.add("description", orNone(f.Description))
	t.add("tags", orNone(strings.Join(f.Tags, ", ")))
	t.add("contact", orNone(f.Contact))
	t.add("expires", text(f.Expires))
	t.add("permanent", strconv.FormatBool(f.Permanent))
	t.add("variants", orNone(strings.Join(variants, ", ")))
	t.add("default", text(f.DefaultVariant))
	if r := f.Rollout; r != nil {
		t.add("rollout", r.Variant+" "+percent(r.Proportion)+", "+share(*r))
	} else {
		t.add("rollout", none)
	}
	t.add("off", strconv.FormatBool(f.Off))
	t.add("archived", strconv.FormatBool(f.Archived))
}

func featureCreate() verb {
	var create api.CreateFeature
	var variants, tags, initial, rollout string
	return verb{
		name:      "feature create",
		arguments: "FEATURE",
		summary:   "Create a feature.",
		writes:    true,
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&variants, "variants", "", "`names` of its variants, separated by commas; __DISABLE__ is one of them if it is the default")
			fs.StringVar(&initial, "default", "", "`variant` of subjects that nothing else applies to; none if left out")
			fs.StringVar(&rollout, "rollout-variant", "", "`variant` of a rollout, which begins at 0 %")
			fs.StringVar(&create.Description, "description", "", "`text` for people")
			fs.StringVar(&tags, "tags", "", "`tags`, separated by commas")
			fs.StringVar(&create.Contact, "contact", "", "`text` that names who answers for it")
			fs.StringVar(&create.Expires, "expires", "", "`date` from which it should be gone, such as 2027-01-31")
			fs.BoolVar(&create.Permanent, "permanent", false, "it stays for good")
		},
		run: func(ctx context.Context, c *call) error {
			create.Name, create.Tags = c.Args[0], split(tags)
			for _, name := range split(variants) {
				if name != api.DisablingVariant {
					create.Variants = append(create.Variants, api.NewVariant{Name: name})
				}
			}
			create.DisablingVariant = slices.Contains(append(split(variants), initial, rollout), api.DisablingVariant)
			if initial != "" {
				create.DefaultVariant = &initial
			}
			if rollout != "" {
				create.Rollout = &api.CreateRollout{Variant: rollout}
			}
			return write(ctx, c, change[api.Feature]{
				name: create.Name,
				do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.Feature], error) {
					return c.admin.AddFeature(ctx, create, opts...)
				},
				done:   always[api.Feature]("feature %s is created", create.Name),
				effect: affectedAtZero[api.Feature],
			})
		},
	}
}

// split reads a list separated by commas.
func split(text string) (items []string) {
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func featureEdit() verb {
	var patch api.PatchFeature
	return verb{
		name:      "feature edit",
		arguments: "FEATURE",
		summary:   "Change the description, tags, contact or dates of a feature.",
		writes:    true,
		changes:   true,
		flags: func(fs *flag.FlagSet) {
			given(fs, &patch.Description, "description", "`text` for people")
			fs.Func("tags", "`tags`, separated by commas, instead of the present ones", func(s string) error {
				tags := append([]string{}, split(s)...)
				patch.Tags = &tags
				return nil
			})
			given(fs, &patch.Contact, "contact", "`text` that names who answers for it")
			given(fs, &patch.Expires, "expires", "`date` from which it should be gone, such as 2027-01-31; empty for none")
			fs.BoolFunc("permanent", "it stays for good; --permanent=false: it does not", func(s string) error {
				permanent, err := strconv.ParseBool(s)
				if err != nil {
					return errors.New("must be true or false")
				}
				patch.Permanent = &permanent
				return nil
			})
		},
		run: func(ctx context.Context, c *call) error {
			if patch == (api.PatchFeature{}) {
				return command.Usagef("there is nothing to change: give --description, --tags, --contact, --expires or --permanent")
			}
			return patchFeature(ctx, c, patch, "changed")
		},
	}
}

// given declares a flag that may be set to the empty text.
func given(fs *flag.FlagSet, value **string, name, usage string) {
	fs.Func(name, usage, func(s string) error { *value = &s; return nil })
}

func patchFeature(ctx context.Context, c *call, patch api.PatchFeature, becomes string) error {
	return write(ctx, c, change[api.Feature]{
		name: c.Args[0],
		do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.Feature], error) {
			return c.admin.PatchFeature(ctx, c.Args[0], patch, opts...)
		},
		done: always[api.Feature]("feature %s is %s", c.Args[0], becomes),
	})
}

func featureSwitch(becomes string, off bool) verb {
	summary := "Give everybody __DISABLE__, whatever else applies, until it is on again."
	if !off {
		summary = "Let the feature apply again as before it was off."
	}
	return verb{
		name:      "feature " + becomes,
		arguments: "FEATURE",
		summary:   summary,
		writes:    true,
		changes:   true,
		run: func(ctx context.Context, c *call) error {
			return patchFeature(ctx, c, api.PatchFeature{Off: &off}, becomes)
		},
	}
}

func featureArchive() verb {
	return act("feature archive", "FEATURE", "Stop serving a feature, and keep all of it.", "feature %s is archived", (*flaggery.Admin).ArchiveFeature)
}

func featureRestore() verb {
	return act("feature restore", "FEATURE", "Serve an archived feature again, to the same subjects.", "feature %s is restored", (*flaggery.Admin).RestoreFeature)
}

func featureDelete() verb {
	var cascade bool
	return verb{
		name:      "feature delete",
		arguments: "FEATURE",
		summary:   "Delete a feature.",
		writes:    true,
		changes:   true,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&cascade, "cascade", false, "delete its variants, its rollout and its overrides too")
		},
		run: func(ctx context.Context, c *call) error {
			return write(ctx, c, change[struct{}]{
				name: c.Args[0],
				do: removal(func(opts ...flaggery.WriteOption) (flaggery.Receipt, error) {
					if cascade {
						return c.admin.DeleteWholeFeature(ctx, c.Args[0], opts...)
					}
					return c.admin.DeleteFeature(ctx, c.Args[0], opts...)
				}),
				done: always[struct{}]("feature %s is deleted", c.Args[0]),
			})
		},
	}
}
