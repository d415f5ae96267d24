package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// Remote is the admin of a command that works straight on a database if it is given one.
type Remote struct{ settings }

// Connection declares the settings that select the admin.
func (r *Remote) Connection(fs *flag.FlagSet) { r.connection(fs) }

// Flags declares the settings of a write.
func (r *Remote) Flags(fs *flag.FlagSet) {
	r.connection(fs)
	r.writing.declare(fs)
}

// Once lists the flags of a single run: those of Flags, and the command's.
func (r *Remote) Once(flags ...string) []string {
	return append(flags, "dry-run", "yes", "wait", "comment")
}

// DryRun reports whether nothing is to be stored.
func (r *Remote) DryRun() bool { return r.dryRun }

// Comment is the reason for the audit.
func (r *Remote) Comment() string { return r.comment }

// Complete completes values of the flags.
func (r *Remote) Complete(ctx context.Context, _ []string, what, text string) []string {
	return r.complete(ctx, "", "", what, text)
}

// Validate reports every setting at fault, such as those of an admin beside a database.
func (r *Remote) Validate(database bool) error {
	fault := r.validate()
	switch {
	case fault != nil || !database:
		return fault
	case r.context != "" || r.url != "":
		return errors.New("FLAGGERY_DB_URL (--db-url) excludes a context and a URL of an admin: unset one")
	case r.wait != 0 && r.wait != defaultWait:
		return errors.New("--wait is for an admin, not for a database")
	}
	return nil
}

// run connects and calls; the answer is printed in a format.
func (r *Remote) run(ctx context.Context, env command.Environment, format string, run func(c *call) error) error {
	r.format = format
	c, err := r.connect(ctx, env)
	if errors.Is(err, errNoAdmin) {
		return fmt.Errorf("%w; or set FLAGGERY_DB_URL, to work straight on its database", err)
	}
	if err != nil {
		return err
	}
	return c.failure(run(c))
}

// CreateToken prints a new token to standard output.
func (r *Remote) CreateToken(ctx context.Context, env command.Environment, create api.NewToken) error {
	return r.run(ctx, env, "silent", func(c *call) error {
		var secret string
		err := write(ctx, c, change[api.Token]{
			do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.Token], error) {
				result, err := c.admin.CreateToken(ctx, create, opts...)
				secret = result.Value.Token
				return result, err
			},
			done: func(t api.Token) string {
				expires := "never"
				if t.ExpiresAt != nil {
					expires = moment(t.ExpiresAt)
				}
				line := fmt.Sprintf("token of %s, role %s, expires: %s", t.Name, t.Role, expires)
				if !c.dryRun {
					line += "; it is shown only this once"
				}
				return line
			},
			unseen: true,
		})
		if err == nil && secret != "" { // a dry run makes none
			_, err = fmt.Fprintln(c.Stdout, secret)
		}
		return err
	})
}

// ListTokens lists all tokens, without their secrets.
func (r *Remote) ListTokens(ctx context.Context, env command.Environment) error {
	return r.run(ctx, env, "table", func(c *call) error {
		return printList(ctx, c, list[api.Token]{
			header: []string{"ID", "NAME", "ROLE", "PREFIX", "CREATED", "EXPIRES", "USED", "SCOPE"},
			row: func(t api.Token) []string {
				return []string{number(t.ID), t.Name, string(t.Role), t.Prefix, moment(&t.CreatedAt), moment(t.ExpiresAt), moment(t.UsedAt), strings.Join(t.Scope, ",")}
			},
		}, "tokens")
	})
}

// RevokeToken revokes a token.
func (r *Remote) RevokeToken(ctx context.Context, env command.Environment, id int64) error {
	return r.run(ctx, env, "table", func(c *call) error {
		return write(ctx, c, change[struct{}]{
			name: strconv.FormatInt(id, 10),
			do: removal(func(opts ...flaggery.WriteOption) (flaggery.Receipt, error) {
				return c.admin.RevokeToken(ctx, id, opts...)
			}),
			done:   always[struct{}]("token %d is revoked", id),
			unseen: true,
		})
	})
}

// Import sends the file of the first argument, and prints the outcome as JSON.
func (r *Remote) Import(ctx context.Context, env command.Environment, i *Import) error {
	return r.run(ctx, env, "json", func(c *call) error { return i.send(ctx, c) })
}

// Export writes all subjects to standard output.
func (r *Remote) Export(ctx context.Context, env command.Environment) error {
	return r.run(ctx, env, "", func(c *call) error {
		_, err := c.admin.ExportSubjectsTo(ctx, c.Stdout)
		return err
	})
}
