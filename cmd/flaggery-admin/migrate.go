package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/web"
)

// onDatabase runs a command that needs nothing but the database.
func onDatabase(ctx context.Context, url web.DatabaseURL, run func(db *postgres.DB) error) error {
	db, err := admin.OpenDB(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(run(db), db.Close())
}

func dbURLFlag(fs *flag.FlagSet, url *web.DatabaseURL) {
	fs.Var(url, "db-url", "the database: `postgres://`user:password@host:5432/database?sslmode=verify-full")
}

func migrateUpCommand() web.Command {
	var (
		url      web.DatabaseURL
		role     string
		password web.Secret
	)
	return web.Command{
		Name:    "migrate up",
		Summary: "Bring the database's schema up to date; make the role for edges.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			fs.StringVar(&role, "create-edge-role", "", "also make the role `name`, which can only read what edges need, or renew its rights and password")
			fs.Var(&password, "edge-password", "the `password` of that role, better set by the environment; else a line is read from standard input")
		},
		Run: func(ctx context.Context, env web.Environment) error {
			return onDatabase(ctx, url, func(db *postgres.DB) error {
				if err := migrations.Up(ctx, db.SQL()); err != nil {
					return err
				}
				if err := printStatus(ctx, env, db); err != nil {
					return err
				}
				if role == "" {
					return printEdgeRole(ctx, env, db)
				}
				if password == "" {
					var err error
					if password, err = readPassword(env, role); err != nil {
						return err
					}
				}
				if err := db.CreateEdgeRole(ctx, role, string(password)); err != nil {
					return err
				}
				_, err := fmt.Fprintf(env.Stdout, "role %s can connect and read what edges need\n", role)
				return err
			})
		},
	}
}

// readPassword takes a line from standard input, as `migrate up` may be run by a
// person or by a script that has the password in a file.
func readPassword(env web.Environment, role string) (web.Secret, error) {
	fmt.Fprintf(env.Stderr, "password of the role %s: ", role)
	line, err := bufio.NewReader(env.Stdin).ReadString('\n')
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return "", errors.Join(errors.New("a password is needed: on standard input or in FLAGGERY_EDGE_PASSWORD"), err)
	}
	return web.Secret(password), nil
}

// printEdgeRole is for administrators who make roles themselves.
func printEdgeRole(ctx context.Context, env web.Environment, db *postgres.DB) error {
	statements, err := db.EdgeRole(ctx, "flaggery_edge", "choose one")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "\n-- A role for edges, which can only read (or let --create-edge-role make it):\n%s;\n", strings.Join(statements, ";\n"))
	return err
}

func migrateDownCommand() web.Command {
	var (
		url   web.DatabaseURL
		steps int
	)
	return web.Command{
		Name:    "migrate down",
		Summary: "Take back migrations, and with them the data that they made room for.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			fs.IntVar(&steps, "steps", 0, "how `many`; there is no default, as data is lost")
		},
		Run: func(ctx context.Context, env web.Environment) error {
			if steps < 1 {
				return errors.New("say with --steps how many migrations to take back: their data is lost")
			}
			return onDatabase(ctx, url, func(db *postgres.DB) error {
				if err := migrations.Down(ctx, db.SQL(), steps); err != nil {
					return err
				}
				return printStatus(ctx, env, db)
			})
		},
	}
}

func migrateStatusCommand() web.Command {
	var url web.DatabaseURL
	return web.Command{
		Name:    "migrate status",
		Summary: "Compare the database's schema with the program's; exit status 1 where they differ.",
		Flags:   func(fs *flag.FlagSet) { dbURLFlag(fs, &url) },
		Run: func(ctx context.Context, env web.Environment) error {
			return onDatabase(ctx, url, func(db *postgres.DB) error {
				return errors.Join(printStatus(ctx, env, db), migrations.Check(ctx, db.SQL()))
			})
		},
	}
}

func printStatus(ctx context.Context, env web.Environment, db *postgres.DB) error {
	s, err := migrations.CurrentStatus(ctx, db.SQL())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "schema: database at version %d, program at version %d\n", s.Database, s.Program)
	return err
}
