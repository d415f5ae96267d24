package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

func subjectShow() verb {
	return show("subject show", "SUBJECT", "Show a subject with its bucket and its groups.", (*flaggery.Admin).Subject, func(t *table, s api.Subject) {
		t.add("id", s.ID)
		t.add("weight", number(s.Weight))
		t.add("bucket", number(int64(s.BucketID)))
		t.add("groups", orNone(strings.Join(s.Groups, ", ")))
	})
}

func subjectAdd() verb {
	var weight int64
	return verb{
		name:      "subject add",
		arguments: "SUBJECT",
		summary:   "Add a subject, in the lightest bucket.",
		writes:    true,
		flags: func(fs *flag.FlagSet) {
			fs.Int64Var(&weight, "weight", 1, "`number`: its share of the traffic, relative to other subjects")
		},
		run: func(ctx context.Context, c *call) error {
			return write(ctx, c, change[api.Subject]{
				name: c.Args[0],
				do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.Subject], error) {
					return c.admin.AddSubject(ctx, api.CreateSubject{ID: c.Args[0], Weight: &weight}, opts...)
				},
				done: func(s api.Subject) string {
					return fmt.Sprintf("subject %s of weight %d is in bucket %d", s.ID, s.Weight, s.BucketID)
				},
			})
		},
	}
}

func subjectDelete() verb {
	return remove("subject delete", "SUBJECT", "Delete a subject, from its groups too. History keeps its id: forget erases it.", "subject %s is deleted", (*flaggery.Admin).DeleteSubject)
}

func subjectImport() verb {
	var i Import
	return verb{
		name:      "subject import",
		arguments: "FILE",
		summary:   "Import subjects from an NDJSON or CSV file (- for standard input), all or nothing.",
		writes:    true,
		flags:     i.Flags,
		run:       i.send,
	}
}

// Import are the settings of an import of subjects.
type Import struct {
	Format, Columns, Groups, Absent string
	ExpectDeleted                   int64 // NoCount if it is not given
}

// NoCount says that no number of subjects was given.
const NoCount = -1

// The values that the settings of an import accept.
var (
	importFormats = []string{"ndjson", "csv"}
	columnActions = []string{"refuse", "ignore"}
	groupActions  = []string{"join", "replace"}
	absentActions = []string{"keep", "delete"}
)

// Flags declares the settings.
func (i *Import) Flags(fs *flag.FlagSet) {
	fs.StringVar(&i.Format, "format", "", "`format` of the file: ndjson or csv; if left out, by the file's extension")
	fs.StringVar(&i.Columns, "columns", "refuse", "`action` on CSV columns other than id, weight and groups: refuse the import, or ignore them")
	fs.StringVar(&i.Groups, "groups", "join", "`action` on groups: join those that a line names, or replace all others by them; a line without groups changes none")
	fs.StringVar(&i.Absent, "absent", "keep", "`action` on subjects that are not in the file: keep or delete")
	fs.Int64Var(&i.ExpectDeleted, "expect-deleted", NoCount, "`number` of subjects that --absent delete deletes, as printed by --dry-run")
	fs.Lookup("expect-deleted").DefValue = ""
}

// MediaType reports the setting at fault, or returns the media type of a file.
func (i *Import) MediaType(name string) (string, error) {
	for _, choice := range []struct {
		name, value string
		accepted    []string
	}{
		{"columns", i.Columns, columnActions},
		{"groups", i.Groups, groupActions},
		{"absent", i.Absent, absentActions},
	} {
		if !slices.Contains(choice.accepted, choice.value) {
			return "", command.Usagef("--%s must be %s, is %q", choice.name, strings.Join(choice.accepted, " or "), choice.value)
		}
	}
	if i.ExpectDeleted < NoCount {
		return "", command.Usagef("--expect-deleted must be 0 or more, is %d", i.ExpectDeleted)
	}
	format := i.Format
	if format == "" {
		format = strings.TrimPrefix(strings.ToLower(filepath.Ext(name)), ".")
	}
	switch format {
	case "csv":
		return api.MediaCSV, nil
	case "ndjson", "jsonl":
		return api.MediaNDJSON, nil
	}
	return "", command.Usagef("--format must be ndjson or csv if the file has neither extension, is %q", format)
}

func (i *Import) options() (options []flaggery.WriteOption) {
	if i.Columns == "ignore" {
		options = append(options, flaggery.IgnoreColumns())
	}
	if i.Groups == "replace" {
		options = append(options, flaggery.ReplaceGroups())
	}
	if i.Absent == "delete" {
		options = append(options, flaggery.DeleteAbsent())
	}
	if i.ExpectDeleted != NoCount {
		options = append(options, flaggery.ExpectDeleted(i.ExpectDeleted))
	}
	return options
}

func (i *Import) send(ctx context.Context, c *call) error {
	name := c.Args[0]
	mediaType, err := i.MediaType(name)
	if err != nil {
		return err
	}
	return write(ctx, c, change[api.Imported]{
		names: func(api.Imported) []string { return nil },
		do: func(opts ...flaggery.WriteOption) (result flaggery.Result[api.Imported], err error) {
			file := io.NopCloser(c.Stdin)
			if name != "-" {
				if file, err = os.Open(name); err != nil {
					return result, err
				}
			}
			defer file.Close()
			return c.admin.ImportSubjectsFrom(ctx, file, mediaType, append(opts, i.options()...)...)
		},
		done: func(r api.Imported) string {
			return fmt.Sprintf("subjects: %d created, %d updated, %d unchanged, %d deleted", r.Created, r.Updated, r.Unchanged, r.Deleted)
		},
		unseen: !c.asks(), // a dry run costs as much as the import
	})
}

func subjectExport() verb {
	return verb{
		name:    "subject export",
		summary: "Write all subjects of one revision to standard output as NDJSON, in id order.",
		formats: []string{"ndjson"},
		run: func(ctx context.Context, c *call) error {
			_, err := c.admin.ExportSubjectsTo(ctx, c.Stdout)
			return err
		},
	}
}
