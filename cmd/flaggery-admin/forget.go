package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/writer"
)

func forgetCommand() command.Command {
	var url command.DatabaseURL
	return command.Command{
		Name:      "forget",
		Arguments: "ID",
		Summary:   "Delete a subject and replace its id by a pseudonym in history and audit, permanently. Requires the role that owns the schema.",
		Flags:     func(fs *flag.FlagSet) { dbURLFlag(fs, &url) },
		Run: func(ctx context.Context, env command.Environment) error {
			return withWriter(ctx, env, url, func(w *writer.Writer) error {
				result, err := w.Forget(ctx, env.Args[0], writer.By("flaggery-admin forget"))
				if err != nil {
					return err
				}
				f, subject := result.Value, "deleted before"
				if f.Deleted {
					subject = "deleted now"
				}
				_, err = fmt.Fprintf(env.Stdout, "subject: %s\nhistory: %d rows name %s now\naudit: %d rows name %[3]s now\n"+
					"kept for 48 hours, for edges: tombstones; not searched: comments in the audit, logs, snapshot files, backups\n",
					subject, f.HistoryRows, f.Pseudonym, f.AuditRows)
				return err
			})
		},
	}
}
