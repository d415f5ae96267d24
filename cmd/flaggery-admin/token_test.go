package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/writer"
)

func TestTokenCommands(t *testing.T) {
	dbURL := pgtest.Open(t)
	w, err := writer.Open(t.Context(), dbURL, writer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()

	// The secret alone goes to standard output, for a script to take.
	secret, stderr := must(t, dbURL, "", "token", "create", "--name", "me & you", "--role", "admin")
	if !regexp.MustCompile(`^flaggery_[A-Za-z0-9_-]{48}\n$`).MatchString(secret) || stderr != "token 1 of me & you, role admin, expires: never; it is shown only this once:\n" {
		t.Errorf("%q %q", secret, stderr)
	}
	if token, err := w.Authenticate(t.Context(), strings.TrimSpace(secret)); err != nil || token.Role != api.AdminRole {
		t.Errorf("%+v, error %v", token, err)
	}
	for range 150 { // more than a page of the list
		if _, err := w.CreateToken(t.Context(), api.NewToken{Name: "shop", Role: api.ClientRole}); err != nil {
			t.Fatal(err)
		}
	}
	_, stderr = must(t, dbURL, "", "token", "create", "--name", "ci", "--role", "editor", "--expires", "2100-01-01T01:00:00+01:00")
	if !strings.Contains(stderr, "expires: 2100-01-01T00:00:00Z;") {
		t.Error(stderr)
	}
	must(t, dbURL, "", "token", "create", "--name", "ci", "--role", "editor", "--expires", "720h", "--scope", "checkout.*,web-?", "--scope", "api")

	list, _ := must(t, dbURL, "", "token", "list")
	lines := strings.Split(strings.TrimSpace(list), "\n")
	if len(lines) != 154 || strings.Contains(list, strings.TrimSpace(secret)) {
		t.Errorf("%d lines:\n%.500s", len(lines), list)
	}
	for i, want := range map[int]string{
		0:   `^ID +NAME +ROLE +PREFIX +CREATED +EXPIRES +USED +SCOPE$`,
		1:   `^1 +me & you +admin +` + secret[:15] + ` +20\d\d-\S+Z +never +20\d\d-\S+Z +-$`,
		151: `^151 +shop +client +flaggery_\S{6} +20\S+Z +never +never +-$`,
		152: `^152 +ci +editor +flaggery_\S{6} +20\S+Z +2100-01-01T00:00:00Z +never +-$`,
		153: `^153 +ci +editor +.*never +checkout\.\*,web-\?,api$`,
	} {
		if !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("line %d is %q, want %s", i, lines[i], want)
		}
	}

	if stdout, _ := must(t, dbURL, "", "token", "revoke", "1"); stdout != "token 1 of me & you, role admin, is revoked\n" {
		t.Error(stdout)
	}
	if _, err := w.Authenticate(t.Context(), strings.TrimSpace(secret)); err == nil {
		t.Error("a revoked token is accepted")
	}
	audit, err := w.Audit(t.Context(), writer.AuditFilter{Resource: "tokens/1"}, writer.Page{})
	if err != nil || len(audit.Value.Items) != 2 || audit.Value.Items[0].Actor != "flaggery-admin token revoke" || audit.Value.Items[1].Actor != "flaggery-admin token create" {
		t.Errorf("audit %+v, error %v", audit.Value.Items, err)
	}
}
