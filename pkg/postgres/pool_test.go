package postgres

import (
	"net/url"
	"testing"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// Parameters are set on each connection, those of the URL too, and an import that
// changed some gives its connection back with them.
func TestConnectionSettings(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(pgtest.Open(t))
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("search_path", `"$user", public`)
	query.Set("statement_timeout", "12345")
	u.RawQuery = query.Encode()
	db, err := Open(t.Context(), u.String(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.pool.SetMaxOpenConns(1)
	for range 2 {
		for name, want := range map[string]string{
			"statement_timeout": "12345ms", "search_path": `"$user", public`, "tcp_keepalives_idle": "30", "jit": "off", "TimeZone": "UTC", "work_mem": "4MB",
		} {
			var got string
			if err := db.pool.Get(&got, `SELECT current_setting($1)`, name); err != nil || got != want {
				t.Errorf("%s is %s, want %s, error %v", name, got, want, err)
			}
		}
		rows, err := db.OpenImport(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
}
