package writer

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// Limits of a search. Subjects leave space for features, tests and groups, and those leave
// some for subjects.
const (
	maxFound     = 20
	leftSubjects = 5
)

// Search finds features, tests and groups by a part of their name, archived features too,
// and subjects by the beginning of their id. Names that begin with the text come first;
// then the order is by name. Only ids are case sensitive. An empty text finds nothing.
func (w *Writer) Search(ctx context.Context, text string) (Result[[]api.Found], error) {
	return read(ctx, w, func(tx *postgres.Tx) ([]api.Found, int64, error) {
		all := []api.Found{}
		if text == "" {
			return all, 0, nil
		}
		named, err := tx.Search(ctx, text, maxFound)
		if err != nil {
			return nil, 0, err
		}
		subjects, err := tx.SearchSubjects(ctx, text, maxFound)
		if err != nil {
			return nil, 0, err
		}
		subjects = subjects[:min(len(subjects), max(maxFound-len(named), leftSubjects))]
		for _, f := range append(named[:min(len(named), maxFound-len(subjects))], subjects...) {
			all = append(all, api.Found(f))
		}
		begins := func(f api.Found) int {
			if strings.HasPrefix(strings.ToLower(f.Name), strings.ToLower(text)) {
				return 0
			}
			return 1
		}
		slices.SortStableFunc(all, func(a, b api.Found) int {
			return cmp.Or(cmp.Compare(begins(a), begins(b)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
		})
		return all, 0, nil
	})
}
