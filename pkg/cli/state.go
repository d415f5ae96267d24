package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// stateFormats are the values of --format of state export.
var stateFormats = []string{"yaml", "json", "openfeature-manifest"}

func stateExport() verb {
	var filter flaggery.StateFilter
	return verb{
		name:    "state export",
		summary: "Write the configuration to standard output as a document, which state apply reads.",
		formats: rawFormats,
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&filter.Owner, "owner", "", "`owner`: only what this document manages")
			fs.Func("features", "`globs`, separated by commas: only these features, with their overrides and the tests of them alone", func(globs string) error {
				filter.Features = append(filter.Features, strings.Split(globs, ",")...)
				return nil
			})
			fs.BoolVar(&filter.Promotion, "promotion", false, "for another installation: leave out proportions, off, tests and archived features. Defaults and overrides stay, and can change everybody's flags there: read state diff first")
			fs.StringVar(&filter.Format, "format", "", "`format` of the document: yaml (unless set), json, or openfeature-manifest; -o selects yaml and json too")
		},
		run: func(ctx context.Context, c *call) error {
			switch {
			case slices.Contains(filter.Features, ""):
				return command.Usagef("--features must hold globs, separated by commas")
			case c.format == "raw": // as --format says
			case filter.Format != "":
				return command.Usagef("--format and -o exclude each other")
			default:
				filter.Format = c.format
			}
			result, err := c.admin.State(ctx, filter)
			if err != nil {
				return err
			}
			_, err = c.Stdout.Write(result.Value)
			return err
		},
	}
}

func stateSchema() verb {
	return verb{
		name:    "state schema",
		summary: "Write the JSON Schema of documents to standard output, for editors.",
		formats: rawFormats,
		run: func(ctx context.Context, c *call) error {
			result, err := c.admin.StateSchema(ctx)
			if err != nil {
				return err
			}
			return c.printRaw(result.Value)
		},
	}
}

// applying are the settings of an application of a document.
type applying struct{ prune, force bool }

func (a *applying) declare(fs *flag.FlagSet) {
	fs.BoolVar(&a.prune, "prune", false, "archive features and delete groups and ended tests that the document's owner manages and the document lacks; requires role admin")
	fs.BoolVar(&a.force, "force", false, "take over what other owners manage; requires role admin")
}

func (a *applying) options() (options []flaggery.WriteOption) {
	if a.prune {
		options = append(options, flaggery.Prune())
	}
	if a.force {
		options = append(options, flaggery.Force())
	}
	return options
}

// readDocument reads the document that the argument names. An empty file would be a
// request without a body.
func (c *call) readDocument() ([]byte, error) {
	document, err := c.readFile("FILE", c.Args[0])
	if err == nil && len(document) == 0 {
		err = command.WithStatus(command.StatusRefused, fmt.Errorf("%s is empty: the least is version: 1", c.Args[0]))
	}
	return document, err
}

func stateDiff() verb {
	var how applying
	return verb{
		name:      "state diff",
		arguments: "FILE",
		summary:   "Show what state apply would change. The exit status is 3 if there are changes.",
		flags:     how.declare,
		run: func(ctx context.Context, c *call) error {
			document, err := c.readDocument()
			if err != nil {
				return err
			}
			result, err := c.admin.ApplyState(ctx, document, append(how.options(), flaggery.DryRun())...)
			if err != nil {
				return inFile(c.Args[0], err)
			}
			names := changedResources(result.Value)
			if err := c.print(result.Body, names, differences(result.Value)); err != nil || len(names) == 0 {
				return err
			}
			return command.WithStatus(command.StatusDiffers, errors.New(stateSummary(result.Value)+"; "+affected(result.Receipt)))
		},
	}
}

func stateApply() verb {
	var how applying
	return verb{
		name:      "state apply",
		arguments: "FILE",
		summary:   "Apply a document: make the configuration as it says, in one revision, or in none if there are no changes.",
		writes:    true,
		flags:     how.declare,
		run: func(ctx context.Context, c *call) error {
			document, err := c.readDocument()
			if err != nil {
				return err
			}
			var applied api.AppliedState
			shown := false
			err = write(ctx, c, change[api.AppliedState]{
				names: changedResources,
				do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.AppliedState], error) {
					result, err := c.admin.ApplyState(ctx, document, append(opts, how.options()...)...)
					applied = result.Value
					if len(applied.Changes) == 0 {
						result.Propagation = nil // nothing has to become live
					}
					return result, inFile(c.Args[0], err)
				},
				done: stateSummary,
				effect: func(dry flaggery.Result[api.AppliedState]) string {
					if shown = c.asks(); shown {
						_ = differences(dry.Value).write(c.Stderr) // a terminal that is gone cannot confirm
					}
					if len(dry.Value.Changes) == 0 {
						return ""
					}
					return affected(dry.Receipt)
				},
			})
			if err != nil || c.format != "table" || shown {
				return err
			}
			return differences(applied).write(c.Stdout)
		},
	}
}

// faultLine matches how the message of a fault in a document begins.
var faultLine = regexp.MustCompile(`^line ([0-9]+): `)

// inFile names the places of the faults in a document as tools do: flags.yaml:20.
func inFile(name string, err error) error {
	var problem *api.Problem
	if !errors.As(err, &problem) {
		return err
	}
	if name == "-" {
		name = "standard input"
	}
	for i, f := range problem.Errors {
		line := faultLine.FindStringSubmatch(f.Message)
		if line == nil {
			continue // of a parameter
		}
		problem.Detail = name + " is not valid"
		message := f.Message[len(line[0]):]
		if path := strings.TrimPrefix(strings.TrimPrefix(f.Location, "body"), "."); path != "" {
			message = path + ": " + message
		}
		problem.Errors[i] = api.FieldError{Location: name + ":" + line[1], Message: message}
	}
	return err
}

func changedResources(applied api.AppliedState) (names []string) {
	for _, k := range applied.Changes {
		names = append(names, k.Resource)
	}
	return names
}

func stateSummary(applied api.AppliedState) string {
	if len(applied.Changes) == 0 {
		return "nothing to change"
	}
	return count(len(applied.Changes), "change")
}

// differences lists what a document changes, and what it lacks.
func differences(applied api.AppliedState) table {
	t := table{header: []string{"ACTION", "RESOURCE", "FIELDS"}}
	for _, k := range applied.Changes {
		t.add(k.Action, k.Resource, strings.Join(fields(k), "; "))
	}
	for _, u := range applied.Unmanaged {
		action, why := "unmanaged", "the document lacks it"
		if u.Prune != nil {
			action = "would " + *u.Prune
			why += ", see --prune"
		}
		t.add(action, u.Resource, why)
	}
	if len(t.rows) == 0 {
		t.header = nil
	}
	return t
}

// follows are fields that the path names, that follow from others, or that have a change
// of their own.
var follows = []string{
	"name", "feature", "disabling", "revision", "buckets", "effective_proportion", "effective_weight", "total_weight", "members", "state",
	"variants", "default_variant", "rollout", "overrides", "aside", "design", "warnings",
}

// empty are values that a new resource has of itself.
var empty = []string{"null", `""`, "false", "[]", "{}"}

// fields says which fields of a resource change, and how.
func fields(k api.ResourceChange) (lines []string) {
	before, after := members(k.Before), members(k.After)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		was, is := shownValue(name, before[name]), shownValue(name, after[name])
		switch {
		case was == is || slices.Contains(follows, name):
		case before != nil:
			lines = append(lines, fmt.Sprintf("%s: %s → %s", name, was, is))
		case !slices.Contains(empty, is):
			lines = append(lines, name+": "+is)
		}
	}
	return lines
}

// shownValue is the value of a field, without the buckets of the groups of a test.
func shownValue(name string, value json.RawMessage) string {
	var groups []api.CreateTestGroup
	if name != "groups" || json.Unmarshal(value, &groups) != nil {
		return string(value)
	}
	text, _ := json.Marshal(groups) // which were JSON
	return string(text)
}

func members(form any) (members map[string]json.RawMessage) {
	if text, ok := form.(json.RawMessage); ok {
		_ = json.Unmarshal(text, &members) // every form is an object
	}
	return members
}
