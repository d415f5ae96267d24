package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

// Many writes prepare statements at once, while most connections wait for the state row.
// The holder of the row must not wait for any of them.
func TestStatementsOfManyWriters(t *testing.T) {
	t.Parallel()
	url := pgtest.Open(t)
	for round := range 12 {
		db, err := New(url, Options{}) // with nothing prepared
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var writers sync.WaitGroup
		for range 40 {
			writers.Go(func() {
				for i := range 3 {
					err := db.Write(ctx, func(tx *Tx) error {
						for j := range 3 { // few at first, more later
							if err := tx.exec(ctx, "select", fmt.Sprintf(`SELECT %d, $1::bigint`, i+j), i); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Errorf("round %d: %v", round, err)
						return
					}
				}
			})
		}
		writers.Wait()
		cancel()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			return
		}
	}
}

// A migration or a restoration under a running program changes the result types of a
// prepared statement. A write notices that and is retried; an update fails once.
func TestStatementsOutliveOtherTypes(t *testing.T) {
	t.Parallel()
	db := open(t)
	ctx := t.Context()
	write := func() error {
		return db.Write(ctx, func(tx *Tx) error {
			var members int64
			err := tx.get(ctx, "read a count", &members, `SELECT members FROM subject_group WHERE name = $1`, "friends")
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			return err
		})
	}
	follow := func() error {
		return db.feed.Update(ctx, model.Position{}, func(*model.Update) error { return nil })
	}
	for _, kind := range []string{"integer", "bigint", "integer"} {
		if _, err := db.pool.ExecContext(ctx, `ALTER TABLE subject_group ALTER members TYPE `+kind); err != nil {
			t.Fatal(err)
		}
		for range 3 { // used, prepared, planned generically
			if err := write(); err != nil {
				t.Errorf("write with %s: %v", kind, err)
			}
		}
		if err := follow(); err != nil && !outdated(err) {
			t.Errorf("update with %s: %v", kind, err)
		}
		for range 3 {
			if err := follow(); err != nil {
				t.Errorf("update again with %s: %v", kind, err)
			}
		}
	}
}

// Writes in progress do not fail if another one finds the statements outdated.
func TestStatementsAreForgottenUnderWrites(t *testing.T) {
	t.Parallel()
	db := open(t)
	ctx := t.Context()
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 30 {
				db.statements.forget()
				err := db.Write(ctx, func(tx *Tx) error {
					for range 3 {
						if err := tx.exec(ctx, "select", `SELECT revision FROM state WHERE revision < $1`, 0); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				db.statements.prepare(ctx, db.pool)
			}
		})
	}
	writers.Wait()
}
