package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/cli"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/writer"
)

// With the URL of a database the token commands need no token: an operator creates the
// first one with them. Otherwise they use the admin of the context.

// roles are the values of --role.
var roles = []string{string(auth.ViewerRole), string(auth.EditorRole), string(auth.AdminRole), string(auth.ClientRole)}

func tokenCreateCommand() command.Command {
	var (
		url     command.DatabaseURL
		remote  cli.Remote
		create  api.NewToken
		expires string
	)
	return command.Command{
		Name:    "token create",
		Summary: "Create a token and print it to standard output. It cannot be printed again.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			remote.Flags(fs)
			fs.StringVar(&create.Name, "name", "", "`text` that names who or what will use it, for the audit, such as ci")
			fs.StringVar((*string)(&create.Role), "role", "", "`role` of its holder: viewer, editor, admin or client")
			fs.Func("scope", "`globs`, separated by commas, of the names of features, tests and groups that it may write, such as 'checkout.*': for role editor; all if left out", func(globs string) error {
				create.Scope = append(create.Scope, strings.Split(globs, ",")...)
				return nil
			})
			fs.StringVar(&expires, "expires", "", "`when` it expires: a duration such as 720h, or a time such as 2027-12-31T00:00:00Z; never if left out")
		},
		Once: remote.Once("name", "role", "scope", "expires"),
		Complete: func(ctx context.Context, args []string, what, text string) []string {
			if what == "--role" {
				return roles
			}
			return remote.Complete(ctx, args, what, text)
		},
		Validate: func() (err error) {
			create.ExpiresAt, err = parseExpiry(expires, time.Now())
			return command.Faults(
				remote.Validate(url != ""),
				fault("--name", model.CheckTokenName(create.Name)),
				fault("--role", auth.CheckRole(create.Role)),
				fault("--scope", auth.CheckScope(create.Scope, create.Role)),
				fault("--expires", err),
			)
		},
		Run: func(ctx context.Context, env command.Environment) error {
			if url == "" {
				return remote.CreateToken(ctx, env, create)
			}
			return withWriter(ctx, env, url, func(w *writer.Writer) error {
				made, err := w.CreateToken(ctx, create, writeOptions(&remote, "flaggery-admin token create")...)
				if err != nil {
					return err
				}
				t := made.Value
				if remote.DryRun() {
					_, err = fmt.Fprintf(env.Stderr, "dry run, nothing is stored: token of %s, role %s, expires: %s\n", t.Name, t.Role, moment(t.ExpiresAt))
					return err
				}
				fmt.Fprintf(env.Stderr, "token %d of %s, role %s, expires: %s; it is shown only this once:\n", t.ID, t.Name, t.Role, moment(t.ExpiresAt))
				_, err = fmt.Fprintln(env.Stdout, t.Token)
				return err
			})
		},
	}
}

// fault adds the name of a setting to err, which may be nil.
func fault(setting string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s %w", setting, err)
	}
	return err
}

func parseExpiry(text string, now time.Time) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		after, err := time.ParseDuration(text)
		if err != nil {
			return nil, fmt.Errorf("must be a duration such as 720h or a time such as 2027-12-31T00:00:00Z, is %q", text)
		}
		at = now.Add(after)
	}
	if !at.After(now) {
		return nil, fmt.Errorf("must be in the future, is %q", text)
	}
	return &at, nil
}

// moment formats a time for people; nil is never.
func moment(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return at.Format(time.RFC3339)
}

func tokenListCommand() command.Command {
	var url command.DatabaseURL
	var remote cli.Remote
	return command.Command{
		Name:    "token list",
		Summary: "List all tokens, without their secrets.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			remote.Connection(fs)
		},
		Validate: func() error { return remote.Validate(url != "") },
		Complete: remote.Complete,
		Run: func(ctx context.Context, env command.Environment) error {
			if url == "" {
				return remote.ListTokens(ctx, env)
			}
			return withWriter(ctx, env, url, func(w *writer.Writer) error {
				table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(table, "ID\tNAME\tROLE\tPREFIX\tCREATED\tEXPIRES\tUSED\tSCOPE")
				for page := (writer.Page{}); ; {
					tokens, err := w.Tokens(ctx, page)
					if err != nil {
						return err
					}
					for _, t := range tokens.Value.Items {
						fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
							t.ID, t.Name, t.Role, t.Prefix, moment(&t.CreatedAt), moment(t.ExpiresAt), moment(t.UsedAt), cmp.Or(strings.Join(t.Scope, ","), "-"))
					}
					if page.After = tokens.Value.Next; page.After == "" {
						return table.Flush()
					}
				}
			})
		},
	}
}

func tokenRevokeCommand() command.Command {
	var url command.DatabaseURL
	var remote cli.Remote
	return command.Command{
		Name:      "token revoke",
		Arguments: "ID",
		Summary:   "Revoke a token by its id, as printed by `token list`. Admins reject it at once, edges as soon as they serve the revision.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			remote.Flags(fs)
		},
		Once:     remote.Once(),
		Validate: func() error { return remote.Validate(url != "") },
		Complete: remote.Complete,
		Run: func(ctx context.Context, env command.Environment) error {
			id, err := strconv.ParseInt(env.Args[0], 10, 64)
			if err != nil || id < 1 {
				return command.Usagef("ID must be the id of a token, as printed by token list") // it may be a secret
			}
			if url == "" {
				return remote.RevokeToken(ctx, env, id)
			}
			return withWriter(ctx, env, url, func(w *writer.Writer) error {
				revoked, err := w.RevokeToken(ctx, id, writeOptions(&remote, "flaggery-admin token revoke")...)
				if err != nil {
					return err
				}
				line := "token %d of %s, role %s, is revoked\n"
				if remote.DryRun() {
					line = "dry run, nothing is stored: " + line
				}
				_, err = fmt.Fprintf(env.Stdout, line, id, revoked.Value.Name, revoked.Value.Role)
				return err
			})
		},
	}
}
