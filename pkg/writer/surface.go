package writer

import (
	"context"
	"errors"
	"iter"

	"github.com/flaggery/flaggery/pkg/api"
)

// ImportSubjects …
func (w *Writer) ImportSubjects(ctx context.Context, lines iter.Seq2[api.ImportLine, error], opts ...Option) (Result[api.Imported], error) {
	return Result[api.Imported]{}, errors.ErrUnsupported
}
