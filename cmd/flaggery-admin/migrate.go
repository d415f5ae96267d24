package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// onDatabase runs a command on a database.
func onDatabase(ctx context.Context, env command.Environment, url command.DatabaseURL, run func(db *postgres.DB) error) error {
	db, err := admin.OpenDB(ctx, url, env.Logger)
	if err != nil {
		return err
	}
	return errors.Join(run(db), db.Close())
}

func dbURLFlag(fs *flag.FlagSet, url *command.DatabaseURL) {
	fs.Var(url, "db-url", "`URL` of the database: postgres://user:password@host:5432/database?sslmode=verify-full")
}

// role is a database role that `migrate up` can create.
type role struct {
	who      string // uses it: "edges"
	setting  string // of its name
	secret   string // setting of its password
	rights   postgres.Rights
	name     string
	password command.Secret
}

func migrateUpCommand() command.Command {
	var (
		url        command.DatabaseURL
		printRoles bool
	)
	roles := []*role{
		{who: "edges", setting: "create-edge-role", secret: "edge-password", rights: postgres.EdgeRights},
		{who: "admins", setting: "create-admin-role", secret: "admin-password", rights: postgres.AdminRights},
		{who: "dashboards", setting: "create-dashboard-role", secret: "dashboard-password", rights: postgres.DashboardRights},
	}
	return command.Command{
		Name:    "migrate up",
		Summary: "Migrate the database's schema to this version, and create database roles for edges, admins and dashboards.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			fs.BoolVar(&printRoles, "print-roles", false, "also print the statements that create the roles that no setting names, for a database administrator to run")
			for _, r := range roles {
				fs.StringVar(&r.name, r.setting, "", "also create the database role `name` with only the rights that "+r.who+" need, or renew its rights and password")
				fs.Var(&r.password, r.secret, "`password` of the role of --"+r.setting+", better set by the environment; if left out and needed, a line is read from standard input")
			}
		},
		Once: []string{"print-roles"},
		Run: func(ctx context.Context, env command.Environment) error {
			return onDatabase(ctx, env, url, func(db *postgres.DB) error {
				if err := migrations.Up(ctx, db.SQL()); err != nil {
					return err
				}
				if err := printStatus(ctx, env, db); err != nil {
					return err
				}
				input := bufio.NewReader(env.Stdin)
				for _, r := range roles {
					var err error
					switch {
					case r.name != "":
						err = r.make(ctx, env, db, input)
					case printRoles:
						err = r.print(ctx, env, db)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// print shows the statements that create the role, for administrators who create roles
// themselves.
func (r *role) print(ctx context.Context, env command.Environment, db *postgres.DB) error {
	statements, err := db.Role(ctx, r.rights, "flaggery_"+strings.TrimSuffix(r.who, "s"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "\n-- Not executed: statements that create a role for %s with only the rights that they need. Run them yourself,\n"+
		"-- and set its password with psql's \\password, or use --%s for both.\n%s;\n",
		r.who, r.setting, strings.Join(statements, ";\n"))
	return err
}

// make creates the role.
func (r *role) make(ctx context.Context, env command.Environment, db *postgres.DB, input *bufio.Reader) error {
	if r.password == "" {
		needed, err := db.SetsPassword(ctx, r.name)
		if err != nil {
			return err
		}
		if needed {
			if err := r.askPassword(env, input); err != nil {
				return err
			}
		}
	}
	if err := db.CreateRole(ctx, r.rights, r.name, string(r.password)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(env.Stdout, "role %s has the rights that %s need\n", r.name, r.who)
	return err
}

// askPassword reads the password as a line: a person may type it, or a script read it
// from a file.
func (r *role) askPassword(env command.Environment, input *bufio.Reader) error {
	fmt.Fprintf(env.Stderr, "password of the role %s: ", r.name)
	line, err := input.ReadString('\n')
	r.password = command.Secret(strings.TrimRight(line, "\r\n"))
	if r.password != "" {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = nil // the input is empty, as the message says
	}
	return errors.Join(fmt.Errorf("the role %s needs a password: set %s, or write it as a line to standard input", r.name, command.Variable(r.secret)), err)
}

func migrateDownCommand() command.Command {
	var (
		url   command.DatabaseURL
		steps int
	)
	return command.Command{
		Name:    "migrate down",
		Summary: "Revert migrations, and delete the data that they added.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			fs.IntVar(&steps, "steps", 0, "`number` of migrations to revert, required because their data is deleted")
			fs.Lookup("steps").DefValue = ""
		},
		Once: []string{"steps"},
		Run: func(ctx context.Context, env command.Environment) error {
			if steps < 1 {
				return command.Usagef("--steps must be the number of migrations to revert, 1 or more: their data is deleted")
			}
			return onDatabase(ctx, env, url, func(db *postgres.DB) error {
				if err := migrations.Down(ctx, db.SQL(), steps); err != nil {
					return err
				}
				return printStatus(ctx, env, db)
			})
		},
	}
}

func migrateStatusCommand() command.Command {
	var url command.DatabaseURL
	return command.Command{
		Name:    "migrate status",
		Summary: "Compare the database's schema with the program's; exit with status 1 if they differ.",
		Flags:   func(fs *flag.FlagSet) { dbURLFlag(fs, &url) },
		Run: func(ctx context.Context, env command.Environment) error {
			return onDatabase(ctx, env, url, func(db *postgres.DB) error {
				return errors.Join(printStatus(ctx, env, db), migrations.Check(ctx, db.SQL()))
			})
		},
	}
}

func printStatus(ctx context.Context, env command.Environment, db *postgres.DB) error {
	s, err := migrations.CurrentStatus(ctx, db.SQL())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "schema: database at version %d, program at version %d\n", s.Database, s.Program)
	return err
}
