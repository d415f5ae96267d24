// Package cli provides the commands of a program that work against a running admin.
// Each is a verb, and knows the server by package flaggery alone.
//
// A verb selects the admin by a context of the user's configuration file, or by a URL
// and a token. It prints tables for people and the admin's answers for programs. A verb
// that writes makes a dry run first, so that it can say who is affected.
package cli

import (
	"context"
	"flag"
	"regexp"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// verb is a command that works against a running admin.
type verb struct {
	name      string
	arguments string
	summary   string
	writes    bool
	changes   bool                   // writes to what show prints the revision of: --if-revision
	asks      bool                   // may write, and has no other settings for that
	formats   []string               // of the output, nil for those of tables
	flags     func(fs *flag.FlagSet) // of this verb alone; nil for none
	run       func(ctx context.Context, c *call) error
}

// Commands are the verbs.
func Commands() []command.Command {
	verbs := []verb{
		featureList(), featureShow(), featureCreate(), featureEdit(),
		featureSwitch("off", true), featureSwitch("on", false),
		featureArchive(), featureRestore(), featureDelete(),
		rolloutSet(), rolloutShow(), rolloutDelete(),
		testList(), testShow(), testCreate(), testExtend(), testStop(), testDelete(),
		groupList(), groupShow(), groupCreate(), groupDelete(), groupMembers(),
		groupChange("add", "Add up to 10,000 subjects to a group, in one revision.", "added to", false),
		groupChange("remove", "Remove up to 10,000 subjects from a group, in one revision.", "removed from", true),
		overrideSet(), overrideDelete(),
		subjectShow(), subjectAdd(), subjectDelete(), subjectImport(), subjectExport(),
		explain(),
		edges(), audit(), revert(), about(), me(), callAPI(),
		stateExport(), stateDiff(), stateApply(), stateSchema(),
	}
	commands := contextCommands()
	for _, v := range verbs {
		commands = append(commands, v.command())
	}
	return commands
}

func (v verb) command() command.Command {
	s := new(settings)
	if v.formats == nil {
		v.formats = tableFormats
	}
	c := command.Command{
		Name:      v.name,
		Arguments: v.arguments,
		Summary:   v.summary,
		Flags: func(fs *flag.FlagSet) {
			s.connection(fs)
			s.declareFormat(fs, v.formats)
			if v.writes {
				s.writing.declare(fs)
			}
			if v.changes {
				s.declareIfRevision(fs)
			}
			if v.asks {
				s.declareYes(fs)
			}
			if v.flags != nil {
				v.flags(fs)
			}
		},
		Validate: s.validate,
		Complete: func(ctx context.Context, args []string, what, text string) []string {
			return s.complete(ctx, v.name, v.feature(args), what, text)
		},
		Run: func(ctx context.Context, env command.Environment) error {
			c, err := s.connect(ctx, env)
			if err != nil {
				return err
			}
			return c.failure(v.run(ctx, c))
		},
	}
	c.Once = once(v.flags, "o", "dry-run", "yes", "wait", "comment", "if-revision")
	return c
}

// feature is the argument that names a feature; "" if it is not given yet.
func (v verb) feature(args []string) string {
	at := slices.Index(strings.Fields(v.arguments), "FEATURE")
	if at < 0 || at >= len(args) {
		return ""
	}
	return args[at]
}

// once lists flags of a single run: some, and all that are declared.
func once(declare func(fs *flag.FlagSet), names ...string) []string {
	if declare != nil {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		declare(fs)
		fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	}
	return names
}

// tagged matches the revision in an ETag, which a compression or a proxy may have changed:
// "17-gzip", W/"17".
var tagged = regexp.MustCompile(`^(?:W/)?"([0-9]+)`)

// revisionOf is what --if-revision takes of a resource with this ETag.
func revisionOf(etag string) string {
	if found := tagged.FindStringSubmatch(etag); found != nil {
		return found[1]
	}
	return none
}

// show is a verb that shows the resource that its argument names, with its revision.
func show[T any](name, arguments, summary string, read func(*flaggery.Admin, context.Context, string) (flaggery.Result[T], error), fill func(t *table, value T)) verb {
	return verb{
		name:      name,
		arguments: arguments,
		summary:   summary,
		run: func(ctx context.Context, c *call) error {
			result, err := read(c.admin, ctx, c.Args[0])
			if err != nil {
				return err
			}
			var t table
			fill(&t, result.Value)
			t.add("revision", revisionOf(result.ETag))
			return c.print(result.Body, c.Args, t)
		},
	}
}

// act is a verb that changes the resource that its argument names. done has a %s for
// that name.
func act[T any](name, arguments, summary, done string, do func(*flaggery.Admin, context.Context, string, ...flaggery.WriteOption) (flaggery.Result[T], error)) verb {
	return verb{
		name:      name,
		arguments: arguments,
		summary:   summary,
		writes:    true,
		changes:   true,
		run: func(ctx context.Context, c *call) error {
			return write(ctx, c, change[T]{
				name: c.Args[0],
				do: func(opts ...flaggery.WriteOption) (flaggery.Result[T], error) {
					return do(c.admin, ctx, c.Args[0], opts...)
				},
				done: always[T](done, c.Args[0]),
			})
		},
	}
}

// remove is act for a resource that is deleted.
func remove(name, arguments, summary, done string, do func(*flaggery.Admin, context.Context, string, ...flaggery.WriteOption) (flaggery.Receipt, error)) verb {
	return act(name, arguments, summary, done, func(a *flaggery.Admin, ctx context.Context, resource string, opts ...flaggery.WriteOption) (flaggery.Result[struct{}], error) {
		receipt, err := do(a, ctx, resource, opts...)
		return flaggery.Result[struct{}]{Receipt: receipt}, err
	})
}
