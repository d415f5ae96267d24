package e2e

import (
	"database/sql"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/flaggery"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// The dashboards mark changes by the audit. The test runs their queries, as Grafana
// expands them, as the role made for them, and checks that role's rights.
func TestDashboardsMarkChanges(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	w := NewFixture(dbURL, slog.New(slog.DiscardHandler))
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	adminURL, err := w.StartAdmin()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := flaggery.NewAdmin(adminURL, Token)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	write := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(admin.IncreaseBuckets(ctx, 1))
	write(admin.AddFeature(ctx, api.CreateFeature{Name: "foobar"}, flaggery.Comment("for the spring sale")))
	write(admin.AddGroup(ctx, api.CreateGroup{Name: "friends"}))
	// There may be very many of these.
	write(admin.AddSubject(ctx, api.CreateSubject{ID: "42"}))
	write(admin.AddSubjectToGroup(ctx, "friends", "42"))
	write(admin.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.ViewerRole}))

	owner, err := postgres.Open(ctx, dbURL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	role := pgtest.NewRole(t, dbURL)
	if err := owner.CreateRole(ctx, postgres.DashboardRights, role.Name, role.Password); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("postgres", role.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()

	files, err := filepath.Glob("../../deploy/helm/flaggery/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("dashboards %v, %v", files, err)
	}
	const want = "create groups/friends, by FLAGGERY_ADMIN_TOKEN [create,groups]\n" +
		"create features/foobar, by FLAGGERY_ADMIN_TOKEN: for the spring sale [create,features]\n" +
		"create buckets, by FLAGGERY_ADMIN_TOKEN [create,buckets]\n"
	for _, file := range files {
		if got := marks(t, db, file); got != want {
			t.Errorf("%s marks:\n%s\nwant:\n%s", file, got, want)
		}
	}
	for _, statement := range []string{
		`SELECT after FROM audit`, `SELECT before FROM audit`, `SELECT FROM token`, `SELECT FROM subject`, `DELETE FROM audit`, `CREATE TEMP TABLE audit ()`,
		`INSERT INTO audit (revision, at, actor, action, resource) VALUES (99, now(), '', '', '')`,
	} {
		if _, err := db.ExecContext(ctx, statement); err == nil {
			t.Errorf("a dashboard may %s", statement)
		}
	}
}

// marks are the marks of all changes in a dashboard, one per line.
func marks(t *testing.T, db *sql.DB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Annotations struct {
			List []struct{ Target struct{ RawSQL string } }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var lines strings.Builder
	for _, annotation := range dashboard.Annotations.List {
		query := strings.ReplaceAll(annotation.Target.RawSQL, "$__timeFilter(at)", "at BETWEEN now() - interval '1 hour' AND now()")
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		defer rows.Close()
		for rows.Next() {
			var at sql.NullTime
			var text, tags string
			if err := rows.Scan(&at, &text, &tags); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			lines.WriteString(text + " [" + tags + "]\n")
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return lines.String()
}
