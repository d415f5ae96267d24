package main

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// TestWrongPassword lets a server of its own ask one user for a password, as the
// tests' shared one asks nobody.
func TestWrongPassword(t *testing.T) {
	server := pgtest.Server(t)
	db := open(t, server.URL())
	exec(t, db, `CREATE ROLE flaggery SUPERUSER LOGIN PASSWORD 'right'`)
	askFor(t, db, "flaggery")
	as := func(password string) string {
		return strings.Replace(server.URL(), "postgres@", "flaggery:"+password+"@", 1)
	}
	// The server reads its file in its own time, and trusts everybody until then.
	for {
		status, _, stderr := run(t, as("wrong"), "", "migrate", "status")
		if status == 0 && t.Context().Err() == nil {
			continue
		}
		if status != 1 || !strings.Contains(stderr, "refuses the user or the password") || strings.Contains(stderr, "wrong") {
			t.Fatalf("status %d: %s", status, stderr)
		}
		break
	}
	if status, _, stderr := run(t, as("right"), "", "migrate", "status"); status != 0 {
		t.Errorf("with the right password: status %d: %s", status, stderr)
	}
}

// TestPasswordsAreNotLogged makes a role on a server that logs each statement, and
// lets it in by the password that was given.
func TestPasswordsAreNotLogged(t *testing.T) {
	server := pgtest.Server(t)
	db := open(t, server.URL())
	exec(t, db, `ALTER SYSTEM SET log_statement = 'all'`)
	askFor(t, db, "edges")
	log := func() (text string) {
		if err := db.QueryRowContext(t.Context(), `SELECT pg_read_file('../postgres.log')`).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	const first, second = "Ab1-of-edges'\\", "another one, ünicode"
	for _, password := range []string{first, second} {
		for logged := false; !logged; logged = strings.Contains(log(), `ROLE "edges" LOGIN PASSWORD 'SCRAM-SHA-256$`) {
			must(t, server.URL(), password+"\n", "migrate", "up", "--create-edge-role", "edges")
		}
		as := strings.Replace(server.URL(), "postgres@", url.UserPassword("edges", password).String()+"@", 1)
		must(t, as, "", "migrate", "status")
	}
	// In a URL it needs escapes, in libpq's variable it does not: the chart sets that one.
	t.Setenv("PGPASSWORD", second)
	must(t, strings.Replace(server.URL(), "postgres@", "edges@", 1), "", "migrate", "status")
	as := strings.Replace(server.URL(), "postgres@", url.UserPassword("edges", first).String()+"@", 1)
	if status, _, stderr := run(t, as, "", "migrate", "status"); status != 1 || !strings.Contains(stderr, "refuses the user or the password") {
		t.Errorf("with the password before: status %d: %s", status, stderr)
	}
	if text := log(); strings.Contains(text, "of-edges") || strings.Contains(text, "another one") {
		t.Error("the log has a password")
	}
}

// askFor has the server ask a role for a password, as soon as it has read its file
// again.
func askFor(t *testing.T, db *sql.DB, role string) {
	t.Helper()
	exec(t, db, `DO $$ BEGIN EXECUTE format($copy$
		COPY (VALUES ('host all `+role+` all scram-sha-256'), ('host all all all trust'), ('local all all trust')) TO %L
	$copy$, current_setting('hba_file')); END $$`)
	exec(t, db, `SELECT pg_reload_conf()`)
}

func exec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
