package edge

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	_ "github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/postgres"
)

func withTokens(c *Config) { c.Auth = AuthToken }

// flags queries in the plain form and in both routed ones with an Authorization header.
func (e edge) flags(authorization string, status int) {
	e.t.Helper()
	var header []string
	if authorization != "" {
		header = []string{"Authorization", authorization}
	}
	for _, path := range []string{"/v1/subject/flags?subject_id=42", "/v1/subject/flags?wait=1s&subject_id=42", "/v1/subjects/42/flags"} {
		if a := e.do("GET", path, "", header...); a.status != status || status == 401 && a.code(e.t) != "unauthenticated" || status == 403 && a.code(e.t) != "forbidden" {
			e.t.Errorf("%s with %.20q: %d %s, want %d", path, authorization, a.status, a.body, status)
		}
	}
}

func TestTokensOnEdges(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	w := openWriter(t, dbURL)
	ctx := t.Context()
	quickstart(t, w)
	create := func(role api.Role) (api.Token, int64) {
		r, err := w.CreateToken(ctx, api.NewToken{Name: "app", Role: role})
		return must(t, r, err)
	}
	client, revision := create(api.ClientRole)
	short := start(t, dbURL, withTokens).atWith(revision, client.Token)
	open := start(t, dbURL, nil).at(revision)

	short.flags("Bearer "+client.Token, 200)
	short.flags("bearer  "+client.Token, 200)
	short.flags("", 401)
	short.flags("Bearer ", 401)
	short.flags("Bearer "+client.Token[:20], 401)
	short.flags("Basic "+client.Token, 401)
	short.flags(client.Token, 401)
	open.flags("", 200)
	open.flags("Bearer whatever", 200)

	// A new one is known, and a revoked one refused, as soon as the edge serves the
	// revision.
	other, revision := create(api.EditorRole)
	short.atWith(revision, client.Token).flags("Bearer "+other.Token, 200)
	gone, err := w.RevokeToken(ctx, client.ID)
	_, revision = must(t, gone, err)
	short.atWith(revision, other.Token).flags("Bearer "+client.Token, 401)
	short.flags("Bearer "+other.Token, 200)

	// A token expires by the database's clock, without a revision.
	db, err := sql.Open("postgres", dbURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	last, revision := create(api.ClientRole)
	if _, err := db.ExecContext(ctx, `UPDATE token SET expires_at = now() - interval '1s' WHERE id = $1`, last.ID); err != nil {
		t.Fatal(err)
	}
	start(t, dbURL, withTokens).atWith(revision, other.Token).flags("Bearer "+last.Token, 401)
}

// atWith is at for an edge that requires a token.
func (e edge) atWith(revision int64, token string) edge {
	e.t.Helper()
	e.ready()
	for {
		a := e.do("GET", fmt.Sprintf("/v1/subject/flags?subject_id=42&wait=20s&min_revision=%d", revision), "", "Authorization", "Bearer "+token)
		switch a.status {
		case 200:
			return e
		case 401: // the token has not arrived yet
		default:
			e.t.Fatalf("waiting for revision %d: %d %s", revision, a.status, a.body)
		}
	}
}

// A snapshot file that was written without tokens locks nobody out, and an old one
// lets no revoked token in.
func TestSnapshotFileWithoutTokens(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	w := openWriter(t, dbURL)
	quickstart(t, w)
	create := func() (api.Token, int64) {
		r, err := w.CreateToken(t.Context(), api.NewToken{Name: "app", Role: api.ClientRole})
		return must(t, r, err)
	}
	revoked, _ := create()
	token, revision := create()
	file := filepath.Join(t.TempDir(), "snapshot")
	keep := func(c *Config) { c.SnapshotFile = file }
	keepTokens := func(c *Config) { keep(c); withTokens(c) }
	t.Run("open", func(t *testing.T) { start(t, dbURL, keep).at(revision) })
	t.Run("tokens", func(t *testing.T) { start(t, dbURL, keepTokens).atWith(revision, token.Token).flags("", 401) })
	t.Run("without the database", func(t *testing.T) {
		away := start(t, "postgres://nobody@127.0.0.1:1/none", keepTokens)
		away.ready()
		away.flags("Bearer "+token.Token, 200)
		away.flags("", 401)
	})

	gone, err := w.RevokeToken(t.Context(), revoked.ID)
	_, revision = must(t, gone, err)
	t.Run("open again", func(t *testing.T) { start(t, dbURL, keep).at(revision) })
	t.Run("tokens again", func(t *testing.T) {
		start(t, dbURL, keepTokens).atWith(revision, token.Token).flags("Bearer "+revoked.Token, 401)
	})
}

// The edge's database role may read what is needed to check a token, and no secret.
func TestRoleOfEdgesReadsTokens(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	w := openWriter(t, dbURL)
	quickstart(t, w)
	r, err := w.CreateToken(t.Context(), api.NewToken{Name: "app", Role: api.ClientRole})
	token, revision := must(t, r, err)
	owner, err := postgres.Open(t.Context(), dbURL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	role := pgtest.NewRole(t, dbURL)
	if err := owner.CreateRole(t.Context(), postgres.EdgeRights, role.Name, role.Password); err != nil {
		t.Fatal(err)
	}
	e := start(t, role.URL, withTokens)
	e.atWith(revision, token.Token).flags("", 401)

	db, err := sql.Open("postgres", role.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		`SELECT prefix FROM token`, `SELECT name FROM token`, `SELECT * FROM token`, `UPDATE token SET role = 'admin'`, `DELETE FROM token`,
		`SELECT actor FROM audit`, `UPDATE state SET revision = 0`, `INSERT INTO bucket (id) VALUES (99)`,
		// Statements that would block others, or replace a table.
		`LOCK TABLE bucket IN SHARE UPDATE EXCLUSIVE MODE`, `LOCK TABLE state IN SHARE UPDATE EXCLUSIVE MODE`, `LOCK TABLE bucket IN SHARE MODE`,
		`SELECT FROM state FOR SHARE`, `CREATE TEMP TABLE bucket (id integer)`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("an edge may %s", statement)
		}
	}
}
