package pgtest_test

import (
	"database/sql"
	"testing"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

func TestOpenMakesADatabaseForEachTest(t *testing.T) {
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			db, err := sql.Open("postgres", pgtest.Open(t))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var revision int
			if err := db.QueryRow(`UPDATE state SET revision = revision + 1 RETURNING revision`).Scan(&revision); err != nil {
				t.Fatal(err)
			}
			if revision != 1 {
				t.Errorf("revision %d, want 1: the database is not new", revision)
			}
		})
	}
}
