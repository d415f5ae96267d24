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
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/transfer"
	"github.com/flaggery/flaggery/pkg/writer"
)

// progressEvery is the number of lines after which a transfer says so.
const progressEvery = 10_000

// withWriter runs a command on a database whose schema is the program's.
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
		url     command.DatabaseURL
		format  string
		columns string
		dryRun  bool
	)
	return command.Command{
		Name:      "import",
		Arguments: "FILE",
		Summary:   "Import subjects from an NDJSON or CSV file (- for standard input), all or nothing.",
		Flags: func(fs *flag.FlagSet) {
			dbURLFlag(fs, &url)
			fs.StringVar(&format, "format", "", "`format` of the file: ndjson, csv; told by its name when left out")
			fs.StringVar(&columns, "columns", "refuse", "what to `do` about columns of a CSV other than id, weight and groups: refuse, ignore")
			fs.BoolVar(&dryRun, "dry-run", false, "check everything, store nothing")
		},
		Run: func(ctx context.Context, env command.Environment) error {
			if len(env.Args) != 1 {
				return errors.New("import takes one file, or - for standard input")
			}
			mediaType, err := mediaTypeOf(format, env.Args[0])
			if err != nil {
				return err
			}
			if columns != "refuse" && columns != "ignore" {
				return fmt.Errorf("--columns must be refuse or ignore, is %q", columns)
			}
			file := io.NopCloser(env.Stdin)
			if env.Args[0] != "-" {
				if file, err = os.Open(env.Args[0]); err != nil {
					return err
				}
			}
			defer file.Close()
			lines, err := transfer.Read(file, transfer.Format{MediaType: mediaType, IgnoreColumns: columns == "ignore"})
			if err != nil {
				return err
			}
			options := []writer.Option{writer.By("flaggery-admin import")}
			if dryRun {
				options = append(options, writer.DryRun())
			}
			return withWriter(ctx, env, url, func(w *writer.Writer) error {
				result, err := w.ImportSubjects(ctx, counted(env.Stderr, "read", lines), options...)
				if err != nil {
					return err
				}
				if dryRun {
					return json.NewEncoder(env.Stdout).Encode(api.DryRun[api.Imported]{DryRun: true, Effect: result.Effect, Result: result.Value})
				}
				return json.NewEncoder(env.Stdout).Encode(result.Value)
			})
		},
	}
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
	return "", fmt.Errorf("--format must be ndjson or csv where the name of the file does not tell, is %q", format)
}

// counted shows how many lines have passed, on one line of a terminal.
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
		Summary: "Write all subjects to standard output as NDJSON, in id order, of one revision.",
		Flags:   func(fs *flag.FlagSet) { dbURLFlag(fs, &url) },
		Run: func(ctx context.Context, env command.Environment) error {
			return withWriter(ctx, env, url, func(w *writer.Writer) error {
				return transfer.Write(env.Stdout, counted(env.Stderr, "written", w.ExportSubjects(ctx, nil)))
			})
		},
	}
}
