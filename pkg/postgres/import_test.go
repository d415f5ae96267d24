package postgres

import (
	"fmt"
	"testing"

	"github.com/flaggery/flaggery/pkg/model"
)

// Another write makes a subject while an import is about to make it too. The
// import begins again, and the second time around leaves such subjects to others.
func TestImportIsContested(t *testing.T) {
	t.Parallel()
	db, ctx := open(t), t.Context()
	change(t, db, true, `INSERT INTO bucket (id) VALUES (1)`)
	rows, err := db.OpenImport(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	err = rows.Stage(ctx, func(yield func(ImportRow, error) bool) {
		for i, id := range []string{"x1", "x2", "y", "z"} {
			if !yield(ImportRow{Line: int64(i + 1), ID: id, Weight: 5}, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if duplicates, err := rows.Index(ctx, 1); err != nil || duplicates != nil {
		t.Fatal(duplicates, err)
	}

	tries, created, gain := 0, int64(0), BucketChange{}
	committed := make(chan error, 2)
	err = rows.Write(ctx, func(tx *Tx) (err error) {
		tries++
		other, err := db.pool.Beginx()
		if err != nil {
			return err
		}
		if _, err := other.ExecContext(ctx, fmt.Sprintf(`INSERT INTO subject VALUES ('x%d', 1, 1, 1, 1)`, tries)); err != nil {
			return err
		}
		go func() {
			for waiting := false; !waiting; { // the import, for the row of the other
				err := db.pool.GetContext(ctx, &waiting, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'
					AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database()))`)
				if err != nil {
					committed <- err
					return
				}
			}
			committed <- other.Commit()
		}()
		created, err = rows.Place(ctx, tx, All, func(int64) model.BucketID { return 1 }, func(c BucketChange) { gain = c })
		return err
	})
	if err != nil || tries != 2 {
		t.Fatalf("%d tries, error %v", tries, err)
	}
	for range tries {
		if err := <-committed; err != nil {
			t.Error(err)
		}
	}
	if want := (BucketChange{ID: 1, Subjects: 2, Weight: 10}); created != 2 || gain != want {
		t.Errorf("%d subjects created, the bucket gains %+v; want %+v", created, gain, want)
	}
	var subjects int
	if err := db.pool.Get(&subjects, `SELECT count(*) FROM subject`); err != nil || subjects != 4 {
		t.Errorf("%d subjects, error %v", subjects, err)
	}
}
