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
	"path/filepath"
	"strings"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/api"
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
		format string
		flags  importFlags
	)
	return command.Command{
		Name:      "import",
		Arguments: "FILE",
		Summary:   "Import subjects from an NDJSON or CSV file (- for standard input), all or nothing.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			fs.StringVar(&format, "format", "", "`format` of the file: ndjson or csv; if left out, by the file's extension")
			flags.declare(fs)
		},
		Once: []string{"format", "columns", "groups", "absent", "expect-deleted", "dry-run"},
		Run: func(ctx context.Context, env command.Environment) error {
			mediaType, err := mediaTypeOf(format, env.Args[0])
			if err != nil {
				return command.WithStatus(command.StatusUsage, err)
			}
			options, err := flags.options()
			if err != nil {
				return command.WithStatus(command.StatusUsage, err)
			}
			file := io.NopCloser(env.Stdin)
			if env.Args[0] != "-" {
				if file, err = os.Open(env.Args[0]); err != nil {
					return err
				}
			}
			defer file.Close()
			lines, err := transfer.Read(file, transfer.Format{MediaType: mediaType, IgnoreColumns: flags.columns == "ignore"})
			if err != nil {
				return err
			}
			return withWriter(ctx, env, url, func(w *writer.Writer) error {
				result, err := w.ImportSubjects(ctx, counted(env.Stderr, "read", lines), options...)
				if err != nil {
					return asFlag(err)
				}
				if flags.dryRun {
					return json.NewEncoder(env.Stdout).Encode(api.DryRun[api.Imported]{DryRun: true, Effect: result.Effect, Result: result.Value})
				}
				return json.NewEncoder(env.Stdout).Encode(result.Value)
			})
		},
	}
}

// importFlags are the options of an import.
type importFlags struct {
	columns, groups, absent string
	expectDeleted           int64 // noCount if it is not given
	dryRun                  bool
}

const noCount = -1

func (f *importFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&f.columns, "columns", "refuse", "`action` on CSV columns other than id, weight and groups: refuse the import, or ignore them")
	fs.StringVar(&f.groups, "groups", "join", "`action` on groups: join those that a line names, or replace all others by them; a line without groups changes none")
	fs.StringVar(&f.absent, "absent", "keep", "`action` on subjects that are not in the file: keep or delete")
	fs.Int64Var(&f.expectDeleted, "expect-deleted", noCount, "`number` of subjects that --absent delete deletes, as printed by --dry-run")
	fs.Lookup("expect-deleted").DefValue = ""
	fs.BoolVar(&f.dryRun, "dry-run", false, "check the import, store nothing")
}

func (f *importFlags) options() ([]writer.Option, error) {
	options := []writer.Option{writer.By("flaggery-admin import")}
	for _, choice := range []struct {
		name, value, first, second string
		option                     writer.Option // of the second
	}{
		{"columns", f.columns, "refuse", "ignore", nil},
		{"groups", f.groups, "join", "replace", writer.ReplaceGroups()},
		{"absent", f.absent, "keep", "delete", writer.DeleteAbsent()},
	} {
		switch {
		case choice.value != choice.first && choice.value != choice.second:
			return nil, fmt.Errorf("--%s must be %s or %s, is %q", choice.name, choice.first, choice.second, choice.value)
		case choice.value == choice.second && choice.option != nil:
			options = append(options, choice.option)
		}
	}
	switch {
	case f.expectDeleted < noCount:
		return nil, fmt.Errorf("--expect-deleted must be 0 or more, is %d", f.expectDeleted)
	case f.expectDeleted != noCount:
		options = append(options, writer.ExpectDeleted(f.expectDeleted))
	}
	if f.dryRun {
		options = append(options, writer.DryRun())
	}
	return options, nil
}

// asFlag names the flag instead of the parameter of the HTTP contract.
func asFlag(err error) error {
	var e *model.Error
	if errors.As(err, &e) && len(e.Fields) == 1 && e.Fields[0].Location == "query.expect_deleted" {
		return fmt.Errorf("%s: --expect-deleted %s", e.Detail, e.Fields[0].Message)
	}
	return err
}

func mediaTypeOf(format, name string) (string, error) {
	if format == "" {
		format = strings.TrimPrefix(strings.ToLower(filepath.Ext(name)), ".")
	}
	switch format {
	case "csv":
		return api.MediaCSV, nil
	case "ndjson", "jsonl":
		return api.MediaNDJSON, nil
	}
	return "", fmt.Errorf("--format must be ndjson or csv if the file has neither extension, is %q", format)
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
	return command.Command{
		Name:    "export",
		Summary: "Write all subjects of one revision to standard output as NDJSON, in id order.",
		Flags:   func(fs *flag.FlagSet) { dbURLFlag(fs, &url) },
		Run: func(ctx context.Context, env command.Environment) error {
			return withWriter(ctx, env, url, func(w *writer.Writer) error {
				return transfer.Write(env.Stdout, counted(env.Stderr, "written", w.ExportSubjects(ctx, nil)))
			})
		},
	}
}
