package main

import (
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// TestWrongPassword lets a server of its own ask one user for a password, as the
// tests' shared one asks nobody.
func TestWrongPassword(t *testing.T) {
	server := pgtest.Server(t)
	db := open(t, server.URL())
	for _, statement := range []string{
		`CREATE ROLE flaggery SUPERUSER LOGIN PASSWORD 'right'`,
		`DO $$ BEGIN EXECUTE format($copy$
			COPY (VALUES ('host all flaggery all scram-sha-256'), ('host all all all trust'), ('local all all trust')) TO %L
		$copy$, current_setting('hba_file')); END $$`,
		`SELECT pg_reload_conf()`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	as := func(password string) string {
		return strings.Replace(server.URL(), "postgres@", "flaggery:"+password+"@", 1)
	}
	// The server reads the file in its own time, and trusts everybody until then.
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
