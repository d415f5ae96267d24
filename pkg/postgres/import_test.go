package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/model"
)

// Another write adds a subject while an import is adding it too. The import is retried,
// and then skips such subjects.
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
			for waiting := false; !waiting; { // until the import waits for the other write's row
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

// While an import catches up with others, they wait. So it reads only the rows that they
// changed, not all subjects and lines, whatever the statistics are.
func TestCatchUpReadsLittle(t *testing.T) {
	t.Parallel()
	db, ctx := open(t), t.Context()
	const many, few = 20_000, 5
	change(t, db, true, `INSERT INTO bucket (id) VALUES (1)`,
		fmt.Sprintf(`INSERT INTO subject (id, weight, bucket_id, born, label) SELECT i, 1, 1, $label, $label FROM generate_series(1, %d) i`, many))
	for _, statistics := range []string{`SELECT`, `ANALYZE`} { // no statistics, and those with one label
		if _, err := db.SQL().Exec(statistics); err != nil {
			t.Fatal(err)
		}
		rows, err := db.OpenImport(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		err = rows.Stage(ctx, func(yield func(ImportRow, error) bool) {
			for i := range int64(many) {
				if !yield(ImportRow{Line: i + 1, ID: fmt.Sprint(i + 1), Weight: 1}, nil) {
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
		err = rows.Write(ctx, func(tx *Tx) error {
			const read = `SELECT sum(seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_xact_all_tables WHERE relname IN ('subject', 'staged', 'tombstone', 'change')`
			var before, after int64
			if err := tx.get(ctx, "count what was read", &before, read); err != nil {
				return err
			}
			since := tx.Revision
			for i := range few {
				change(t, db, false, fmt.Sprintf(`UPDATE subject SET label = $label WHERE id = '%d'`, i))
				change(t, db, false, fmt.Sprintf(`UPDATE subject SET label = $label WHERE id = '%d'`, i+1))
			}
			lines, upTo, err := rows.CatchUp(ctx, tx, since)
			if err != nil || lines != few || upTo != since+2*few {
				t.Errorf("%d lines, up to revision %d after %d, %v", lines, upTo, since, err)
			}
			if err := tx.get(ctx, "count what was read", &after, read); err != nil || after-before > 20*few {
				t.Errorf("%s: %d rows read for %d changes, %v", statistics, after-before, 2*few, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A body that PostgreSQL ends to resolve a deadlock runs again.
func TestDeadlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	db, ctx := open(t), t.Context()
	change(t, db, true, `INSERT INTO bucket (id, subjects) VALUES (1, 2)`, insertSubject("a"), insertSubject("b"))
	const lock = `SELECT FROM subject WHERE id = $1 FOR UPDATE`
	other, err := db.pool.BeginTxx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The transaction that waits longer before it checks for a deadlock is not the victim.
	for _, statement := range []string{`SET LOCAL deadlock_timeout = '1min'`, strings.Replace(lock, "$1", "'b'", 1)} {
		if _, err := other.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.OpenImport(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	tries, ended := 0, make(chan error, 1)
	err = rows.Write(ctx, func(tx *Tx) error {
		tries++
		if err := tx.exec(ctx, "lock a", lock, "a"); err != nil {
			return err
		}
		if tries == 1 {
			go func() {
				_, err := other.ExecContext(ctx, lock, "a")
				ended <- errors.Join(err, other.Rollback())
			}()
		}
		return tx.exec(ctx, "lock b", lock, "b")
	})
	if err != nil || tries < 2 { // the second try may be faster than the other transaction, and need a third
		t.Errorf("%d tries, error %v; want more than one, of which the last succeeds", tries, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the other transaction: %v", err)
	}
}
