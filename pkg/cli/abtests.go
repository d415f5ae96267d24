package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// testStates are the values of --state.
var testStates = []api.TestState{api.Scheduled, api.Live, api.Ended}

func testList() verb {
	var state, feature string
	return verb{
		name:    "test list",
		summary: "List A/B tests.",
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&state, "state", "", "only tests in this `state`: scheduled, live, ended")
			fs.StringVar(&feature, "feature", "", "only tests of this `feature`")
		},
		run: func(ctx context.Context, c *call) error {
			if err := oneOf("--state", state, testStates); err != nil {
				return command.WithStatus(command.StatusUsage, err)
			}
			return printList(ctx, c, list[api.ABTest]{
				query:  parameters("state", state, "feature", feature),
				header: []string{"NAME", "STATE", "START", "END", "FEATURES", "GROUPS"},
				row: func(t api.ABTest) []string {
					var groups []string
					for _, g := range t.Groups {
						groups = append(groups, g.Name)
					}
					return []string{t.Name, orNone(string(t.State)), moment(&t.Start), moment(&t.End), orNone(strings.Join(testFeatures(t), ", ")), strings.Join(groups, ", ")}
				},
			}, "abtests")
		},
	}
}

// testFeatures are the features of a test, which all its groups have.
func testFeatures(t api.ABTest) []string {
	if len(t.Groups) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(t.Groups[0].Variants))
}

func testShow() verb {
	return show("test show", "TEST", "Show an A/B test with its groups.", (*flaggery.Admin).ABTest, fillTest)
}

func fillTest(t *table, test api.ABTest) {
	t.add("name", test.Name)
	t.add("description", orNone(test.Description))
	t.add("state", orNone(string(test.State)))
	t.add("start", moment(&test.Start))
	t.add("end", moment(&test.End))
	for _, g := range test.Groups {
		t.add("group "+g.Name, fmt.Sprintf("%s of weight (set: %s), %s, %s", percent(g.EffectiveProportion), percent(g.Proportion), count(g.Subjects, "subject"), byFeature(g.Variants)))
	}
	for _, w := range test.Warnings {
		t.add("warning", w.Message)
	}
}

func testCreate() verb {
	var file string
	return verb{
		name:    "test create",
		summary: "Create an A/B test from a JSON file: name, start, end and groups, as POST /v1/abtests takes them.",
		writes:  true,
		flags:   func(fs *flag.FlagSet) { fs.StringVar(&file, "f", "", "`file` with the test, - for standard input") },
		run: func(ctx context.Context, c *call) error {
			body, err := c.readFile("-f", file)
			if err != nil {
				return err
			}
			var create api.CreateABTest
			if err := api.DecodeExact(body, &create); err != nil {
				return command.Usagef("%s: %w", file, err)
			}
			return write(ctx, c, testChange(create.Name, "is created", func(opts ...flaggery.WriteOption) (flaggery.Result[api.ABTest], error) {
				return c.admin.AddABTest(ctx, create, opts...)
			}))
		},
	}
}

// readFile reads the file of a setting.
func (c *call) readFile(setting, name string) ([]byte, error) {
	switch name {
	case "":
		return nil, command.Usagef("%s must be a file, or - for standard input", setting)
	case "-":
		return io.ReadAll(c.Stdin)
	}
	return os.ReadFile(name)
}

// testChange is a change of a test, with the warnings about the test as it is then.
func testChange(name, becomes string, do func(opts ...flaggery.WriteOption) (flaggery.Result[api.ABTest], error)) change[api.ABTest] {
	return change[api.ABTest]{
		name: name,
		do:   do,
		done: func(t api.ABTest) string {
			line := fmt.Sprintf("test %s %s, from %s to %s", name, becomes, moment(&t.Start), moment(&t.End))
			for _, w := range t.Warnings {
				line += "; warning: " + w.Message
			}
			return line
		},
	}
}

func testExtend() verb {
	return verb{
		name:      "test extend",
		arguments: "TEST END",
		summary:   "Move the end of an A/B test, to a time or by a duration such as 168h.",
		writes:    true,
		changes:   true,
		run: func(ctx context.Context, c *call) error {
			test, err := c.admin.ABTest(ctx, c.Args[0])
			if err != nil {
				return err
			}
			end, err := parseEnd(c.Args[1], test.Value.End)
			if err != nil {
				return err
			}
			return write(ctx, c, testChange(c.Args[0], "is extended", func(opts ...flaggery.WriteOption) (flaggery.Result[api.ABTest], error) {
				return c.admin.PatchABTest(ctx, c.Args[0], api.PatchABTest{End: &end}, opts...)
			}))
		},
	}
}

func testStop() verb {
	return verb{
		name:      "test stop",
		arguments: "TEST",
		summary:   "End a live A/B test now.",
		writes:    true,
		changes:   true,
		run: func(ctx context.Context, c *call) error {
			return write(ctx, c, testChange(c.Args[0], "is stopped", func(opts ...flaggery.WriteOption) (flaggery.Result[api.ABTest], error) {
				return c.admin.StopABTest(ctx, c.Args[0], opts...)
			}))
		},
	}
}

func testDelete() verb {
	return remove("test delete", "TEST", "Delete an A/B test that is not live.", "test %s is deleted", (*flaggery.Admin).DeleteABTest)
}
