package postgres

import (
	"net/url"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

// Settings are made on each connection, those of the URL too. An import that changed
// some restores them on its connection.
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

// At the connection limit of its role, a DB uses the connection in reserve for short
// work, not for long work.
func TestReserve(t *testing.T) {
	t.Parallel()
	owner, ctx := open(t), t.Context()
	role := pgtest.NewRole(t, owner.url)
	if err := owner.CreateRole(ctx, AdminRights, role.Name, role.Password); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.pool.Exec(`ALTER ROLE ` + pq.QuoteIdentifier(role.Name) + ` CONNECTION LIMIT 4`); err != nil {
		t.Fatal(err)
	}
	db, err := Open(ctx, role.URL, Options{Reserve: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for {
		conn, err := db.pool.Connx(ctx)
		if tooManyConnections(err) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	work := func(*Tx) error { return nil }
	_, _, find := db.FindToken(ctx, auth.TokenHash{})
	_, connections := db.Connections(ctx)
	for name, err := range map[string]error{
		"Write": db.Write(ctx, work), "Read": db.Read(ctx, work), "Ping": db.Ping(ctx), "FindToken": find, "Connections": connections,
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := db.ReadLong(ctx, work); !tooManyConnections(err) || !IsUnavailable(err) || !strings.Contains(err.Error(), "connection limit") {
		t.Errorf("ReadLong: %v", err)
	}
}
