package writer

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// collect also fails if anything comes after an error.
func collect[T any](items iter.Seq2[T, error]) (got []T, last error) {
	for item, err := range items {
		switch {
		case last != nil:
			return got, fmt.Errorf("%v came after %w", item, last)
		case err != nil:
			last = err
		default:
			got = append(got, item)
		}
	}
	return got, last
}

// A loop that is left early gives connection and slot back: there are fewer of
// both than loops here.
func TestExportsEndWithTheirLoop(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 1))
	must[api.Imported](t)(w.ImportSubjects(ctx, lines(1000)))
	subjects, audit := w.ExportSubjects(ctx, nil), w.ExportAudit(ctx, AuditFilter{}, nil)
	for range 6 {
		for _, err := range subjects {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		for _, err := range audit {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		func() {
			defer func() { _ = recover() }()
			for range subjects {
				panic("the reader fails")
			}
		}()
	}
	if n := w.db.SQL().Stats().InUse; n != 0 {
		t.Errorf("%d connections are still in use", n)
	}
	if all, err := collect(subjects); len(all) != 1000 || err != nil {
		t.Errorf("%d subjects, %v", len(all), err)
	}
	if all, err := collect(audit); len(all) != 2 || err != nil {
		t.Errorf("%d entries, %v", len(all), err)
	}
}

func TestExportsEndWithTheFirstError(t *testing.T) {
	w := newFixture(t)
	broken := errors.New("broken")
	begun := 0
	got, err := collect(export(t.Context(), w.Writer, func(int64) { begun++ }, func(_ *postgres.Tx, yield func(int) bool) error {
		_ = yield(1) && yield(2)
		return broken
	}))
	if !slices.Equal(got, []int{1, 2}) || !errors.Is(err, broken) || begun != 1 {
		t.Errorf("%v, %v, begun %d times", got, err, begun)
	}

	// What the database says is translated.
	if _, err := w.sql.ExecContext(t.Context(), `ALTER TABLE member RENAME TO gone`); err != nil {
		t.Fatal(err)
	}
	if got, err := collect(w.ExportSubjects(t.Context(), nil)); len(got) != 0 || err == nil || !strings.Contains(err.Error(), "migrate up") {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := w.sql.ExecContext(t.Context(), `ALTER TABLE gone RENAME TO member`); err != nil {
		t.Fatal(err)
	}
}

func TestExportAuditReadsAllPages(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	const n = maxLimit + 1
	for i := range n {
		must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: fmt.Sprintf("group-%04d", i)}, By("maker")))
	}
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "another"}, By("somebody else")))
	revision := int64(0)
	entries, err := collect(w.ExportAudit(ctx, AuditFilter{Actor: "maker"}, func(r int64) { revision = r }))
	if err != nil || len(entries) != n || revision != n+1 {
		t.Fatalf("%d entries of revision %d, %v", len(entries), revision, err)
	}
	for i, e := range entries {
		if want := fmt.Sprintf("groups/group-%04d", n-1-i); e.Resource != want {
			t.Fatalf("entry %d is of %s, not %s", i, e.Resource, want)
		}
	}
}
