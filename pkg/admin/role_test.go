package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// An admin can do all its work as a role that owns nothing, and as that role it
// cannot take back what the audit has.
func TestRoleOfAdmins(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	owner, err := postgres.Open(t.Context(), dbURL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	role := pgtest.NewRole(t, dbURL)
	if err := owner.CreateRole(t.Context(), postgres.AdminRights, role.Name, role.Password); err != nil {
		t.Fatal(err)
	}

	c := startOn(t, role.URL)
	populate(c)
	var lines strings.Builder
	for i := range 3000 { // enough for every way that an import takes
		lines.WriteString(`{"id": "` + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26) + `", "groups": ["friends"]}` + "\n")
	}
	for range 2 {
		c.must("POST", "/v1/import/subjects", lines.String(), "Content-Type", "application/x-ndjson")
	}
	c.must("GET", "/v1/export/subjects", nil)
	for _, call := range []string{
		`PUT /v1/subjects/1 {"weight": 7}`, `DELETE /v1/subjects/1`, `POST /v1/buckets {"amount": 3}`,
		`PATCH /v1/features/foobar {"description": "d"}`, `PATCH /v1/features/foobar/variants/A {"payload": 1}`, `PATCH /v1/features/foobar/rollout {"proportion": 0.5}`,
		`DELETE /v1/groups/friends/overrides/foobar`, `DELETE /v1/groups/friends/subjects/42`, `PATCH /v1/groups/friends {"priority": 3}`, `DELETE /v1/groups/friends`,
		`POST /v1/abtests/live/stop`, `DELETE /v1/abtests/live`, `DELETE /v1/features/foobar/rollout`, `DELETE /v1/features/foobar/default_variant`,
		`DELETE /v1/features/foobar/variants/A`, `DELETE /v1/features/foobar/variants/B`, `DELETE /v1/features/foobar`,
		`POST /v1/tokens {"name": "ci", "role": "viewer"}`, `DELETE /v1/tokens/1`, `POST /v1/groups?dry_run=true {"name": "others"}`,
		`GET /v1/audit`, `GET /v1/edges`, `GET /v1/about`, `GET /v1/search?q=f`, `GET /v1/subjects/42/explain`,
	} {
		words := strings.SplitN(call, " ", 3)
		body := any(nil)
		if len(words) == 3 {
			body = words[2]
		}
		c.must(words[0], words[1], body)
	}
	_, token := c.makeToken(api.EditorRole)
	kept := signIn(c, token.Token, "localhost")
	c.must("DELETE", fmt.Sprintf("/v1/tokens/%d", token.ID), nil)
	if a := c.sessionOf(kept); a.Status != 401 {
		t.Errorf("a session without its token: %d", a.Status)
	}
	restricted, err := postgres.Open(t.Context(), role.URL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer restricted.Close()
	if err := restricted.Prune(t.Context(), 0); err != nil {
		t.Errorf("prune: %v", err)
	}
	for _, statement := range []string{
		`UPDATE audit SET actor = 'somebody'`, `DELETE FROM audit`, `TRUNCATE audit`, `ALTER TABLE audit DISABLE TRIGGER append_only`,
		`SET session_replication_role = replica`, `DROP TABLE audit`, `CREATE TABLE public.mine ()`, `UPDATE schema_migrations SET version = 1`,
	} {
		if _, err := restricted.SQL().ExecContext(t.Context(), statement); err == nil {
			t.Errorf("an admin may %s", statement)
		}
	}
	var may bool
	if err := restricted.SQL().QueryRowContext(t.Context(), `SELECT has_table_privilege('audit', 'INSERT') AND has_table_privilege('audit', 'SELECT')
		AND NOT has_table_privilege('audit', 'UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')`).Scan(&may); err != nil || !may {
		t.Errorf("the privileges on the audit are not INSERT and SELECT alone: %t, %v", may, err)
	}
}
