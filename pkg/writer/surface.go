package writer

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
)

// WaitForEdges waits until every connected edge serves the revision, or the time
// is up.
func (w *Writer) WaitForEdges(ctx context.Context, revision int64, atMost time.Duration) (api.Propagation, error) {
	return api.Propagation{}, errors.ErrUnsupported
}

// ExportSubjects emits every subject in id order, all of one revision, which
// begin hears before.
func (w *Writer) ExportSubjects(ctx context.Context, begin func(revision int64) error, emit func(api.ImportLine) error) error {
	return errors.ErrUnsupported
}

// Prune forgets change rows and tombstones older than given.
func (w *Writer) Prune(ctx context.Context, olderThan time.Duration) error {
	return errors.ErrUnsupported
}

// ImportSubjects …
func (w *Writer) ImportSubjects(ctx context.Context, lines iter.Seq2[api.ImportLine, error], opts ...Option) (Result[api.Imported], error) {
	return Result[api.Imported]{}, errors.ErrUnsupported
}

// Edges …
func (w *Writer) Edges(ctx context.Context) (Result[[]api.Edge], error) {
	return Result[[]api.Edge]{}, errors.ErrUnsupported
}
