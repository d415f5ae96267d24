package writer

import (
	"context"
	"iter"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// ExportSubjects yields every subject in bytewise order of the ids. All are of one
// revision, with which begin is called before the first subject, unless it is nil. An
// error comes last. Memory does not grow with the number of subjects.
func (w *Writer) ExportSubjects(ctx context.Context, begin func(revision int64)) iter.Seq2[api.ImportLine, error] {
	return export(ctx, w, begin, func(tx *postgres.Tx, yield func(api.ImportLine) bool) error {
		for s, err := range tx.EachSubject(ctx) {
			weight := s.Weight
			if err != nil || !yield(api.ImportLine{ID: s.ID, Weight: &weight, Groups: s.Groups}) {
				return err
			}
		}
		return nil
	})
}

// Revision returns the last committed revision.
func (w *Writer) Revision(ctx context.Context) (int64, error) {
	result, err := read(ctx, w, func(*postgres.Tx) (struct{}, int64, error) { return struct{}{}, 0, nil })
	return result.Revision, err
}

// export yields the items of read. It holds a transaction and a slot until the iteration
// ends.
func export[T any](ctx context.Context, w *Writer, begin func(revision int64), read func(tx *postgres.Tx, yield func(T) bool) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		stopped := false
		done, err := w.exports.take(ctx)
		if err == nil {
			defer done()
			err = w.db.ReadLong(ctx, func(tx *postgres.Tx) error {
				if begin != nil {
					begin(tx.Revision)
				}
				return read(tx, func(item T) bool {
					stopped = !yield(item, nil)
					return !stopped
				})
			})
		}
		if err != nil && !stopped {
			var none T
			yield(none, err)
		}
	}
}

// Prune deletes changes that are older than olderThan: readers that were disconnected
// for longer load everything again. Tokens that expired a month ago are deleted too. It
// makes no revision, and the audit stays.
func (w *Writer) Prune(ctx context.Context, olderThan time.Duration) error {
	return w.db.Prune(ctx, olderThan)
}

// PruneHistory deletes history that ended longer ago than olderThan. Explain then fails
// for those moments. It makes no revision, and the audit stays.
func (w *Writer) PruneHistory(ctx context.Context, olderThan time.Duration) error {
	return w.db.PruneHistory(ctx, olderThan)
}
