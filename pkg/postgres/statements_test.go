package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// Statements are prepared by many writes at once, on connections of which most
// wait for the state row: who holds it must wait for none of them.
func TestStatementsOfManyWriters(t *testing.T) {
	t.Parallel()
	url := pgtest.Open(t)
	for round := range 12 {
		db, err := New(url) // with nothing prepared
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var writers sync.WaitGroup
		for range 40 {
			writers.Go(func() {
				for i := range 3 {
					err := db.Write(ctx, func(tx *Tx) error {
						for j := range 3 { // few are known to all, more come later
							if _, err := tx.ExecContext(ctx, fmt.Sprintf(`SELECT %d, $1::bigint`, i+j), i); err != nil {
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
