package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

func TestForget(t *testing.T) {
	dbURL := pgtest.Open(t)
	if _, err := open(t, dbURL).ExecContext(t.Context(), `INSERT INTO bucket (id) VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	must(t, dbURL, `{"id": "42"}`, "import", "-", "--format", "ndjson")
	stdout, _ := must(t, dbURL, "", "forget", "42")
	if !regexp.MustCompile(`^subject: deleted now
history: 1 rows name (forgotten-[a-z0-9]{26}) now
audit: 0 rows name forgotten-[a-z0-9]{26} now
`).MatchString(stdout) {
		t.Error(stdout)
	}
	for args, says := range map[string]string{"forget 42": `nothing is recorded of a subject "42"`, "forget": "forget takes ID", "forget 1 2": "forget takes ID"} {
		want := command.StatusUsage
		if args == "forget 42" {
			want = command.StatusFailed
		}
		if status, _, stderr := run(t, dbURL, "", strings.Fields(args)...); status != want || !strings.Contains(stderr, says) {
			t.Errorf("%s: status %d: %s", args, status, stderr)
		}
	}

	role := pgtest.NewRole(t, dbURL)
	must(t, dbURL, role.Password+"\n", "migrate", "up", "--create-admin-role", role.Name)
	must(t, role.URL, `{"id": "43"}`, "import", "-", "--format", "ndjson")
	if status, _, stderr := run(t, role.URL, "", "forget", "43"); status != 1 || !strings.Contains(stderr, "which only the owner of the schema can") {
		t.Errorf("with the role of an admin: status %d: %s", status, stderr)
	}
}
