package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// suggestionDistance is how many letters of a mistyped command or flag may be wrong.
const suggestionDistance = 2

// tree is the program for cobra, which finds commands, completes and suggests. It
// leaves flags to parseSettings: decision 49 says why.
func (p Program) tree(environ []string, env Environment) *cobra.Command {
	root := p.node(p.Name)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true // ours has settings, help and errors as all others do
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	p.Commands = p.allCommands(root)
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { p.help(env.Stdout, c) })
	for i := range p.Commands {
		command, leaf := &p.Commands[i], root
		for word := range strings.FieldsSeq(command.Name) {
			at := slices.IndexFunc(leaf.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
			if at < 0 {
				node := p.node(word)
				leaf.AddCommand(node)
				leaf = node
			} else {
				leaf = leaf.Commands()[at]
			}
		}
		leaf.Short = command.Summary
		leaf.RunE = func(c *cobra.Command, args []string) error {
			return p.runCommand(c.Context(), command, args, environ, env)
		}
		leaf.ValidArgsFunction = func(c *cobra.Command, args []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return command.complete(c.Context(), args, text, environ)
		}
		leaf.SetHelpFunc(func(*cobra.Command, []string) { p.describe(env.Stdout, command) })
	}
	return root
}

// node is the part of the tree that a word leads to. Without more words it is no
// command.
func (p Program) node(word string) *cobra.Command {
	return &cobra.Command{
		Use: word, DisableFlagParsing: true, Args: cobra.ArbitraryArgs, SuggestionsMinimumDistance: suggestionDistance,
		RunE: p.mistyped, ValidArgsFunction: cobra.NoFileCompletions,
	}
}

// isService reports whether args call a service.
func (p Program) isService(args []string) bool {
	return slices.ContainsFunc(p.Commands, func(c Command) bool {
		words := strings.Fields(c.Name)
		return c.Service && len(args) >= len(words) && slices.Equal(args[:len(words)], words)
	})
}

// allCommands are those of the program and those that every program has.
func (p Program) allCommands(root *cobra.Command) []Command {
	return append(slices.Clone(p.Commands),
		Command{
			Name:      "completion",
			Arguments: "bash|zsh|fish",
			Summary:   "Print a script that completes commands, settings and names in a shell: source <(" + p.Name + " completion bash)",
			Run: func(_ context.Context, env Environment) error {
				switch env.Args[0] {
				case "bash":
					return root.GenBashCompletionV2(env.Stdout, true)
				case "zsh":
					return root.GenZshCompletion(env.Stdout)
				case "fish":
					return root.GenFishCompletion(env.Stdout, true)
				}
				return Usagef("completion takes bash, zsh or fish, found %q", env.Args[0])
			},
		},
		Command{Name: "version", Summary: "Print the version.", Run: p.printVersion},
	)
}

func isHelp(arg string) bool { return strings.TrimLeft(arg, "-") == "help" || arg == "-h" }

// mistyped answers args that begin with words of commands, and name none of them. It
// shows no more of them than a word, as others may be secrets.
func (p Program) mistyped(c *cobra.Command, args []string) error {
	if slices.ContainsFunc(args, isHelp) || len(args) == 0 && !c.HasParent() {
		return c.Help()
	}
	suggestion := ""
	if len(args) > 0 {
		if found := c.SuggestionsFor(args[0]); len(found) > 0 {
			suggestion = ", did you mean " + strings.Join(found, " or ") + "?"
		}
	}
	path := c.CommandPath()
	if _, words, below := strings.Cut(path, " "); below {
		return Usagef("%s must be followed by %s%s, see %s --help", words, strings.Join(p.following(words+" "), ", "), suggestion, path)
	}
	return Usagef("there is no command %q%s, see %s --help", args[0], suggestion, path)
}

// help lists the commands below a node of the tree.
func (p Program) help(w io.Writer, node *cobra.Command) {
	fmt.Fprintf(w, "%s\n\nUsage: %s COMMAND [settings]\n\n", p.Summary, node.CommandPath())
	names := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	words := strings.TrimPrefix(node.CommandPath()+" ", p.Name+" ") // "" or "migrate "
	listed := map[string]bool{}
	for _, c := range p.Commands {
		rest, below := strings.CutPrefix(c.Name, words)
		name, _, group := strings.Cut(rest, " ")
		switch {
		case !below || listed[name]:
		case group:
			listed[name] = true
			fmt.Fprintf(names, "  %s\t%s\n", words+name, strings.Join(p.following(words+name+" "), ", "))
		default:
			fmt.Fprintf(names, "  %s\t%s\n", c.Name, c.Summary)
		}
	}
	_ = names.Flush() // a reader that is gone needs no help
	fmt.Fprintf(w, "\n%s COMMAND --help lists a command's settings, %s version prints the version.\n", node.CommandPath(), p.Name)
}

// following are the words that may follow some words.
func (p Program) following(words string) (names []string) {
	for _, c := range p.Commands {
		if rest, ok := strings.CutPrefix(c.Name, words); ok {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
		}
	}
	return slices.Compact(names)
}

// describe prints a command's help.
func (p Program) describe(w io.Writer, command *Command) {
	fmt.Fprintf(w, "%s\n\nUsage: %s\n\nSettings. Those with a [VARIABLE] can also be set by it, or by a file whose path is in VARIABLE_FILE:\n",
		command.Summary, strings.TrimSpace(p.Name+" "+command.Name+" [settings] "+command.Arguments))
	writeUsage(command.FlagSet(), command.Once, w)
}

const repeated = "…"

// checkArguments says what is wrong with the arguments. It does not show them: they may
// be secrets. None may be empty, as one of an unset variable in a script is.
func (c *Command) checkArguments(args []string) error {
	n := len(args)
	least, most := 0, 0
	for word := range strings.FieldsSeq(c.Arguments) {
		most++
		if !strings.HasPrefix(word, "[") {
			least++
		}
		if strings.HasSuffix(strings.TrimSuffix(word, "]"), repeated) {
			most = math.MaxInt
		}
	}
	switch {
	case n >= least && n <= most:
		if i := slices.Index(args, ""); i >= 0 {
			return fmt.Errorf("%s: %s must not be empty", c.Name, c.argument(i))
		}
		return nil
	case c.Arguments == "":
		return fmt.Errorf("%s takes settings only, such as --log-level debug, but no arguments: found %d", c.Name, n)
	}
	plural := "s"
	if n == 1 {
		plural = ""
	}
	return fmt.Errorf("%s takes %s: found %d argument%s", c.Name, c.Arguments, n, plural)
}

// argument is the word in Arguments of the argument that follows n others, "" if none
// may follow.
func (c *Command) argument(n int) string {
	words := strings.Fields(c.Arguments)
	if last := len(words) - 1; n > last && last >= 0 && strings.Contains(words[last], repeated) {
		n = last
	}
	if n >= len(words) {
		return ""
	}
	return strings.Trim(words[n], "[]"+repeated)
}

// complete lists what text may be the beginning of, if args come before it.
func (c *Command) complete(ctx context.Context, args []string, text string, environ []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	fs := c.FlagSet()
	if strings.HasPrefix(text, "-") {
		return flagNames(fs, text), cobra.ShellCompDirectiveNoFileComp
	}
	what, isFile := "", false
	if last := len(args) - 1; last >= 0 && strings.HasPrefix(args[last], "-") {
		if f := fs.Lookup(strings.TrimLeft(args[last], "-")); f != nil && !isBool(f) {
			value, _ := flag.UnquoteUsage(f)
			what, isFile, args = dashed(f.Name), slices.Contains([]string{"file", "path", "folder"}, value), args[:last]
		}
	}
	rest, _ := parseSettings(fs, c.Once, args, environ) // faults are for the run to report
	if what == "" {
		what = c.argument(len(rest))
		isFile = what == "FILE"
	}
	var values []string
	switch {
	case isFile:
		return nil, cobra.ShellCompDirectiveDefault
	case strings.Contains(what, "|"):
		values = strings.Split(what, "|")
	case what == "--log-level":
		values = logLevels
	case what == "--log-format":
		values = logFormats
	case c.Complete != nil && what != "":
		values = c.Complete(ctx, rest, what, text)
	}
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return !strings.HasPrefix(v, text) }), cobra.ShellCompDirectiveNoFileComp
}

// flagNames are the flags that begin with text, each with its description.
func flagNames(fs *flag.FlagSet, text string) (names []string) {
	fs.VisitAll(func(f *flag.Flag) {
		if name := dashed(f.Name); strings.HasPrefix(name, text) {
			_, usage := flag.UnquoteUsage(f)
			names = append(names, cobra.CompletionWithDesc(name, usage))
		}
	})
	return names
}

// dashed is a flag as it is written in help: -o, --output.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}
