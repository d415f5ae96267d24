package writer

import (
	"context"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// ExportSubjects emits every subject in bytewise order of the ids, all of the one
// revision that begin hears before the first. It ends at the first error of
// either. Memory does not grow with the number of subjects.
func (w *Writer) ExportSubjects(ctx context.Context, begin func(revision int64) error, emit func(api.ImportLine) error) error {
	done, err := w.stream(ctx)
	if err != nil {
		return err
	}
	defer done()
	return w.db.Read(ctx, func(tx *postgres.Tx) error {
		if err := begin(tx.Revision); err != nil {
			return err
		}
		return tx.EachSubject(ctx, func(id string, weight int64, groups []string) error {
			return emit(api.ImportLine{ID: id, Weight: &weight, Groups: groups})
		})
	})
}

// Prune forgets what changed longer ago than given: readers that were away for
// longer load everything anew. Tokens that expired a month ago go too. It makes no
// revision, and the audit stays.
func (w *Writer) Prune(ctx context.Context, olderThan time.Duration) error {
	return w.db.Prune(ctx, olderThan)
}
