package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/cli"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/transfer"
	"github.com/flaggery/flaggery/pkg/writer"
)

// progressEvery is the number of lines between updates of the progress.
const progressEvery = 10_000

// withWriter runs a command on a database, after checking the version of its schema.
func withWriter(ctx context.Context, env command.Environment, url command.DatabaseURL, run func(w *writer.Writer) error) error {
	return onDatabase(ctx, env, url, func(db *postgres.DB) error {
		if err := migrations.Check(ctx, db.SQL()); err != nil {
			return err
		}
		return run(writer.New(db, writer.Options{Logger: env.Logger}))
	})
}

func importCommand() command.Command {
	var (
		url    command.DatabaseURL
		remote cli.Remote
		flags  cli.Import
	)
	return command.Command{
		Name:      "import",
		Arguments: "FILE",
		Summary:   "Import subjects from an NDJSON or CSV file (- for standard input), all or nothing.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			remote.Flags(fs)
			flags.Flags(fs)
		},
		Once:     remote.Once("format", "columns", "groups", "absent", "expect-deleted"),
		Validate: func() error { return remote.Validate(url != "") },
		Complete: remote.Complete,
		Run: func(ctx context.Context, env command.Environment) error {
			if url == "" {
				return remote.Import(ctx, env, &flags)
			}
			mediaType, err := flags.MediaType(env.Args[0])
			if err != nil {
				return err
			}
			file := io.NopCloser(env.Stdin)
			if env.Args[0] != "-" {
				if file, err = os.Open(env.Args[0]); err != nil {
					return err
				}
			}
			defer file.Close()
			lines, err := transfer.Read(file, transfer.Format{MediaType: mediaType, IgnoreColumns: flags.Columns == "ignore"})
			if err != nil {
				return err
			}
			return withWriter(ctx, env, url, func(w *writer.Writer) error {
				result, err := w.ImportSubjects(ctx, counted(env.Stderr, "read", lines), importOptions(&remote, &flags)...)
				if err != nil {
					return asFlag(err)
				}
				if remote.DryRun() {
					return json.NewEncoder(env.Stdout).Encode(api.DryRun[api.Imported]{DryRun: true, Effect: result.Effect, Result: result.Value})
				}
				return json.NewEncoder(env.Stdout).Encode(result.Value)
			})
		},
	}
}

// writeOptions are those of a write straight on a database.
func writeOptions(remote *cli.Remote, actor string) []writer.Option {
	options := []writer.Option{writer.By(actor), writer.Comment(remote.Comment())}
	if remote.DryRun() {
		options = append(options, writer.DryRun())
	}
	return options
}

func importOptions(remote *cli.Remote, flags *cli.Import) []writer.Option {
	options := writeOptions(remote, "flaggery-admin import")
	if flags.Groups == "replace" {
		options = append(options, writer.ReplaceGroups())
	}
	if flags.Absent == "delete" {
		options = append(options, writer.DeleteAbsent())
	}
	if flags.ExpectDeleted != cli.NoCount {
		options = append(options, writer.ExpectDeleted(flags.ExpectDeleted))
	}
	return options
}

// asFlag names the flag instead of the parameter of the HTTP contract.
func asFlag(err error) error {
	var e *model.Error
	if errors.As(err, &e) && len(e.Fields) == 1 && e.Fields[0].Location == "query.expect_deleted" {
		e.Fields[0].Location = "--expect-deleted"
	}
	return err
}

// counted prints the number of lines so far, on one line of a terminal.
func counted(w io.Writer, verb string, lines iter.Seq2[api.ImportLine, error]) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		n := 0
		defer func() { fmt.Fprintf(w, "\r%d lines %s\n", n, verb) }()
		for line, err := range lines {
			if !yield(line, err) {
				return
			}
			if n++; n%progressEvery == 0 {
				fmt.Fprintf(w, "\r%d lines %s", n, verb)
			}
		}
	}
}

func exportCommand() command.Command {
	var url command.DatabaseURL
	var remote cli.Remote
	return command.Command{
		Name:    "export",
		Summary: "Write all subjects of one revision to standard output as NDJSON, in id order.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			remote.Connection(fs)
		},
		Validate: func() error { return remote.Validate(url != "") },
		Complete: remote.Complete,
		Run: func(ctx context.Context, env command.Environment) error {
			if url == "" {
				return remote.Export(ctx, env)
			}
			return withWriter(ctx, env, url, func(w *writer.Writer) error {
				return transfer.Write(env.Stdout, counted(env.Stderr, "written", w.ExportSubjects(ctx, nil)))
			})
		},
	}
}
