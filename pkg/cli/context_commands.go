package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

func contextCommands() []command.Command {
	return []command.Command{contextAdd(), contextUse(), contextList(), contextDelete()}
}

// completeContext completes names of contexts.
func completeContext(_ context.Context, _ []string, what, _ string) []string {
	if what != "CONTEXT" {
		return nil
	}
	return contextNames()
}

func contextNames() []string {
	all, _ := loadContexts() // completion is silent
	return slices.Sorted(maps.Keys(all.Contexts))
}

func contextAdd() command.Command {
	var s server
	var token command.Secret
	flags := func(fs *flag.FlagSet) {
		fs.StringVar(&s.URL, "url", "", "`URL` of the admin, such as https://flags.example.com")
		fs.StringVar(&s.TokenFile, "token-file", "", "`file` with the token, read for each command")
		fs.StringVar(&s.TokenCommand, "token-command", "", "`command` that prints the token, run by sh for each command")
		fs.BoolVar(&s.Protected, "protected", false, "show the effect of each change and ask before it is made")
	}
	return command.Command{
		Name:      "context add",
		Arguments: "CONTEXT",
		Summary:   "Add an admin to the contexts of this user, or replace one. The first becomes the current one.",
		Once:      once(flags),
		Flags: func(fs *flag.FlagSet) {
			flags(fs)
			fs.Var(&token, "token", "`secret` to store in the file of contexts, if there is neither --token-file nor --token-command; better set by the environment")
		},
		Complete: completeContext,
		Run: func(_ context.Context, env command.Environment) error {
			if s.TokenFile != "" && s.TokenCommand != "" {
				return command.Usagef("--token-file and --token-command exclude each other")
			}
			if _, err := flaggery.NewAdmin(s.URL, ""); err != nil {
				return command.Usagef("--url: %w", err)
			}
			if s.TokenFile != "" {
				path, err := filepath.Abs(s.TokenFile) // commands run in any folder
				if err != nil {
					return err
				}
				s.TokenFile = path
				if _, err := os.ReadFile(path); err != nil {
					fmt.Fprintf(env.Stderr, "the token of context %s cannot be read yet: %v\n", env.Args[0], err)
				}
			}
			if s.TokenFile == "" && s.TokenCommand == "" {
				s.Token = string(token)
			}
			if s.tokenSource() == noToken {
				fmt.Fprintf(env.Stderr, "context %s has no token, so the admin will reject its calls unless a proxy adds one: add it again with --token-file, --token-command or FLAGGERY_TOKEN\n", env.Args[0])
			}
			name := env.Args[0]
			return changeContexts(func(all *contexts) (string, error) {
				verb := "added"
				if _, replaced := all.Contexts[name]; replaced {
					verb = "replaced"
				}
				all.Contexts[name] = s
				if all.Current == "" {
					all.Current = name
				}
				return fmt.Sprintf("context %s is %s, token: %s; current context: %s", name, verb, s.tokenSource(), all.Current), nil
			}, env)
		},
	}
}

// changeContexts changes the file of contexts and prints what was changed.
func changeContexts(edit func(all *contexts) (string, error), env command.Environment) error {
	all, err := loadContexts()
	if err != nil {
		return err
	}
	line, err := edit(&all)
	if err != nil {
		return err
	}
	if err := all.save(); err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.Stdout, line)
	return err
}

func contextUse() command.Command {
	return command.Command{
		Name:      "context use",
		Arguments: "CONTEXT",
		Summary:   "Make a context the current one.",
		Complete:  completeContext,
		Run: func(_ context.Context, env command.Environment) error {
			return changeContexts(func(all *contexts) (string, error) {
				s, err := all.find(env.Args[0])
				all.Current = env.Args[0]
				return fmt.Sprintf("current context: %s, %s", all.Current, s.shownURL()), err
			}, env)
		},
	}
}

func contextDelete() command.Command {
	return command.Command{
		Name:      "context delete",
		Arguments: "CONTEXT",
		Summary:   "Delete a context of this user, but nothing on its admin.",
		Complete:  completeContext,
		Run: func(_ context.Context, env command.Environment) error {
			return changeContexts(func(all *contexts) (string, error) {
				name := env.Args[0]
				_, err := all.find(name)
				delete(all.Contexts, name)
				if all.Current == name {
					all.Current = ""
				}
				return fmt.Sprintf("context %s is deleted", name), err
			}, env)
		},
	}
}

func contextList() command.Command {
	var s settings
	return command.Command{
		Name:     "context list",
		Summary:  "List the contexts of this user, without tokens.",
		Once:     []string{"o"},
		Flags:    func(fs *flag.FlagSet) { s.declareFormat(fs, tableFormats) },
		Validate: s.validate,
		Run: func(_ context.Context, env command.Environment) error {
			all, err := loadContexts()
			if err != nil {
				return err
			}
			t := table{header: []string{"NAME", "URL", "PROTECTED", "TOKEN", "CURRENT"}}
			var items []json.RawMessage
			names := slices.Sorted(maps.Keys(all.Contexts))
			for _, name := range names {
				s, current := all.Contexts[name], name == all.Current
				t.add(name, s.shownURL(), strconv.FormatBool(s.Protected), s.tokenSource(), strconv.FormatBool(current))
				item, err := json.Marshal(map[string]any{"name": name, "url": s.shownURL(), "protected": s.Protected, "token": s.tokenSource(), "current": current})
				if err != nil {
					return err
				}
				items = append(items, item)
			}
			c := call{settings: &s, Environment: env}
			return c.print(listAnswer("items", items), names, t)
		},
	}
}
