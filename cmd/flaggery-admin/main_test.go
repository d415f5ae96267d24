package main

import (
	"database/sql"
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/writer"
)

// run executes the program with a database, and returns its status and outputs.
func run(t *testing.T, dbURL, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	status = program().Execute(t.Context(), args, []string{"FLAGGERY_DB_URL=" + dbURL}, command.Environment{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs})
	return status, out.String(), errs.String()
}

// must is run, and fails the test if the program fails.
func must(t *testing.T, dbURL, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	status, stdout, stderr := run(t, dbURL, stdin, args...)
	if status != 0 {
		t.Fatalf("%v: status %d: %s", args, status, stderr)
	}
	return stdout, stderr
}

var update = flag.Bool("update", false, "rewrite the expected help texts")

// TestHelp compares the help texts with the expected ones.
func TestHelp(t *testing.T) {
	all, _ := must(t, "", "", "--help")
	for _, c := range program().Commands {
		help, _ := must(t, "", "", append(strings.Fields(c.Name), "--help")...)
		all += "\n$ flaggery-admin " + c.Name + " --help\n" + help
	}
	const golden = "testdata/help.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(all), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if all != string(want) {
		t.Errorf("%s differs from the help: run go test -run TestHelp -update, and read the difference", golden)
	}
}

func TestFailuresAreOneLine(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir()) // without contexts
	_, port, _ := net.SplitHostPort(busy.Addr().String())
	good, empty := pgtest.Open(t), pgtest.Empty(t)
	const away = "postgres://me:hunter2@127.0.0.1:1/flaggery"
	for _, row := range []struct {
		dbURL, args, stderr string
		status              int
	}{
		{"", "serve --admin-token \x01", "FLAGGERY_DB_URL (--db-url) is not set; FLAGGERY_ADMIN_TOKEN", 1},
		{good, "serve --port 0 --log-level error", "token create", 1},
		{good, "token create --name a --expires 1d", `flaggery-admin: --role must be viewer, editor, admin or client; --expires`, 2},
		{good, "token create --name flaggery --role admin", "--name must not be", 2},
		{good, "token create --name a --role admin --expires 1d", `--expires must be a duration such as 720h or a time such as 2027-12-31T00:00:00Z, is "1d"`, 2},
		{good, "token create --name a --role admin --expires -1h", "--expires must be in the future", 2},
		{good, "token create --name a --role admin --expires 2020-01-01T00:00:00Z", "--expires must be in the future", 2},
		{"", "token create --name a --role admin", "or set FLAGGERY_DB_URL", 2},
		{empty, "token list", "schema is at version 0", 1},
		{good, "token revoke", "token revoke takes ID: found 0", 2},
		{good, "token revoke flaggery_abc", "the id of a token", 2},
		{good, "token revoke 7", "there is no token 7", 1},
		{"", "serve --port x --admin-token a-token-for-tests-and-nothing-else", "-port", 1},
		{away, "serve --port 0 --db-wait=false --admin-token a-token-for-tests-and-nothing-else", "connection refused", 1},
		{away, "migrate status", "connection refused", 1},
		{away, "export", "postgres://me:***@127.0.0.1:1/flaggery", 1},
		{empty, "serve --port 0 --log-level error --admin-token a-token-for-tests-and-nothing-else", "schema is at version 0, behind the program's version", 1},
		{empty, "migrate status", "run 'flaggery-admin migrate up'", 1},
		{empty, "import --format csv -", "schema is at version 0", 1},
		{good, "serve --log-level error --admin-token a-token-for-tests-and-nothing-else --port " + port, "FLAGGERY_PORT (--host, --port): listen tcp 127.0.0.1:" + port, 1},
		{good, "migrate down", "--steps", 2},
		{good, "import", "import takes FILE", 2},
		{good, "import nothing.csv", "no such file", 1},
		{good, "import subjects.txt", "--format must be", 2},
		{good, "import --columns all subjects.csv", "--columns must be", 2},
		{good, "import --groups leave subjects.csv", `--groups must be join or replace, is "leave"`, 2},
		{good, "import --absent drop subjects.csv", `--absent must be keep or delete, is "drop"`, 2},
		{good, "import --expect-deleted -2 subjects.csv", "--expect-deleted must be 0 or more, is -2", 2},
		{good, "import --format csv -", "no bucket", 1},
		{good, "migrate up --create-edge-role edges", "FLAGGERY_EDGE_PASSWORD, or write it as a line to standard input\n", 1},
		{good, "migrate sideways", "migrate must be followed by up, down, status", 2},
	} {
		status, _, stderr := run(t, row.dbURL, "id\n1\n", strings.Fields(row.args)...)
		if strings.Contains(row.args, "create-edge-role") {
			status, _, stderr = run(t, row.dbURL, "", strings.Fields(row.args)...)
		}
		last := stderr[strings.LastIndex(strings.TrimSuffix(stderr, "\n"), "\n")+1:]
		if status != row.status || !strings.Contains(last, "flaggery-admin: ") || !strings.Contains(last, row.stderr) || strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: status %d: %s", row.args, status, stderr)
		}
	}
}

// No error about a URL shows its password.
func TestNoFormOfURLShowsItsPassword(t *testing.T) {
	for _, dbURL := range []string{
		"host=127.0.0.1 port=1 user=me password=hunter2", "postgres://me:hunter2@127.0.0.1:1/x", "postgres://127.0.0.1:1/x?user=me&password=hunter2",
		"postgres://127.0.0.1:1/x?sslmode=disable;password=hunter2", "postgres://127.0.0.1:1/x?sslmode=disable password=hunter2",
		"postgres://127.0.0.1:1/x?sslmode=disable&password=hunter2%zz", "postgres://me:1/hunter2@127.0.0.1:1/x", "postgres://me:1?hunter2@127.0.0.1:1/x",
		"postgres://me:hunter2%@127.0.0.1:1/x", "postgres://me:hunter2@127.0.0.1:port/x",
		"postgres:me:hunter2@127.0.0.1", "mysql://me:hunter2@127.0.0.1:1/x", "127.0.0.1:1/x?password=hunter2", "postgres://me:hunter2@[::1/x",
	} {
		for _, args := range [][]string{{"serve", "--host", "127.0.0.1", "--port", "0", "--db-wait=false"}, {"migrate", "status"}} {
			status, stdout, stderr := run(t, dbURL, "", args...)
			if status != 1 || strings.Contains(stdout+stderr, "hunter2") {
				t.Errorf("%s with %s: status %d, %s", args[0], dbURL, status, stderr)
			}
		}
	}
}

func TestMigrate(t *testing.T) {
	dbURL := pgtest.Empty(t)
	if status, stdout, _ := run(t, dbURL, "", "migrate", "status"); status != 1 || !strings.Contains(stdout, "database at version 0") {
		t.Errorf("status %d: %s", status, stdout)
	}
	if stdout, _ := must(t, dbURL, "", "migrate", "up"); !regexp.MustCompile(`^schema: .*\n$`).MatchString(stdout) {
		t.Error(stdout)
	}
	stdout, _ := must(t, dbURL, "", "migrate", "up", "--print-roles")
	if !strings.Contains(stdout, `CREATE ROLE "flaggery_edge"`) || !strings.Contains(stdout, "GRANT SELECT") {
		t.Error(stdout)
	}
	must(t, dbURL, "", "migrate", "status")
	if stdout, _ := must(t, dbURL, "", "migrate", "down", "--steps", "1"); !strings.Contains(stdout, "database at version") {
		t.Error(stdout)
	}
}

func TestEdgeRoleReadsAndNothingElse(t *testing.T) {
	dbURL := pgtest.Open(t)
	role := pgtest.NewRole(t, dbURL)
	for range 2 { // the second time renews it
		stdout, stderr := must(t, dbURL, role.Password+"\n", "migrate", "up", "--create-edge-role", role.Name)
		if strings.Contains(stdout+stderr, role.Password) {
			t.Error("the password is shown")
		}
	}
	db := open(t, role.URL)
	for _, table := range []string{"state", "change", "tombstone", "bucket", "subject", "member", "feature", "variant", "rollout", "abtest", "abtest_group", "abtest_variant", "subject_group", "override", "schema_migrations"} {
		if _, err := db.ExecContext(t.Context(), "SELECT FROM "+pq.QuoteIdentifier(table)); err != nil {
			t.Errorf("%s: %v", table, err)
		}
	}
	for _, statement := range []string{"SELECT name FROM token", "SELECT FROM audit", "UPDATE state SET revision = 7", "DELETE FROM subject", "CREATE TABLE mine ()", "INSERT INTO bucket (id) VALUES (1)"} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("may %s", statement)
		}
	}
}

// An owner who may not create roles grants an existing one its rights, and cannot set
// its password.
func TestAPasswordIsReadOnlyToSetIt(t *testing.T) {
	dbURL := pgtest.Empty(t)
	superuser, owner, edge := open(t, dbURL), pgtest.NewRole(t, dbURL), pgtest.NewRole(t, dbURL)
	for _, r := range []pgtest.Role{owner, edge} {
		if _, err := superuser.ExecContext(t.Context(), "CREATE ROLE "+pq.QuoteIdentifier(r.Name)+" LOGIN PASSWORD "+pq.QuoteLiteral(r.Password)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := superuser.ExecContext(t.Context(), "GRANT CREATE ON SCHEMA public TO "+pq.QuoteIdentifier(owner.Name)); err != nil {
		t.Fatal(err)
	}
	args := []string{"migrate", "up", "--create-edge-role", edge.Name}
	stdout, stderr := must(t, owner.URL, "", args...)
	if !strings.Contains(stdout, "has the rights that edges need") || strings.Contains(stderr, "password of the role") || !strings.Contains(stderr, "keeps its password") {
		t.Errorf("%s%s", stdout, stderr)
	}
	if status, _, stderr := run(t, dbURL, "", args...); status != 1 || !strings.Contains(stderr, "needs a password") {
		t.Errorf("a superuser, who can set it: status %d: %s", status, stderr)
	}
}

func open(t *testing.T, dbURL string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", dbURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestImportAndExport(t *testing.T) {
	dbURL := pgtest.Open(t)
	w, err := writer.Open(t.Context(), dbURL, writer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.IncreaseBuckets(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "subjects.CSV")
	if err := os.WriteFile(file, []byte("id,weight\na,1\n\"b/\"\"c\"\"\",2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, _ := must(t, dbURL, "", "import", "--dry-run", file)
	var dry api.DryRun[api.Imported]
	if err := json.Unmarshal([]byte(stdout), &dry); err != nil || !dry.DryRun || dry.Result.Created != 2 {
		t.Errorf("%v %s", err, stdout)
	}
	if stdout, stderr := must(t, dbURL, "", "import", file); stdout != `{"created":2,"updated":0,"unchanged":0,"deleted":0}`+"\n" || !strings.Contains(stderr, "2 lines read\n") {
		t.Errorf("%s %s", stdout, stderr)
	}
	exported, stderr := must(t, dbURL, "", "export")
	if want := `{"id":"a","weight":1}` + "\n" + `{"id":"b/\"c\"","weight":2}` + "\n"; exported != want || !strings.Contains(stderr, "2 lines written\n") {
		t.Errorf("%s %s", exported, stderr)
	}
	if stdout, _ := must(t, dbURL, exported, "import", "-", "--format", "ndjson"); stdout != `{"created":0,"updated":0,"unchanged":2,"deleted":0}`+"\n" {
		t.Error(stdout)
	}
	const spreadsheet = "\xef\xbb\xbfname;id\nAnna;a\n;\n"
	if stdout, _ := must(t, dbURL, spreadsheet, "import", "-", "--format", "csv", "--columns", "ignore"); stdout != `{"created":0,"updated":0,"unchanged":1,"deleted":0}`+"\n" {
		t.Error(stdout)
	}
	for text, says := range map[string]string{spreadsheet: `line 1: has columns other than id, weight and groups`, "": "line 1: is missing: the import has no line", "id\n": "line 2: is missing: the import has no line"} {
		if status, _, stderr := run(t, dbURL, text, "import", "-", "--format", "csv"); status != 1 || !strings.Contains(stderr, says) {
			t.Errorf("%q: status %d: %s", text, status, stderr)
		}
	}
	replace := []string{"import", "-", "--format", "ndjson", "--groups", "replace", "--absent", "delete"}
	const onlyA = `{"id":"a","groups":[]}`
	if status, _, stderr := run(t, dbURL, onlyA, replace...); status != 1 || !strings.Contains(stderr, "nothing was imported\n  --expect-deleted: must be 1, as the import would delete 1 subjects, is missing") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if status, _, stderr := run(t, dbURL, onlyA, append(replace, "--expect-deleted", "2")...); status != 1 || !strings.Contains(stderr, "\n  --expect-deleted: must be 1, as the import would delete 1 subjects, is 2\n") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if stdout, _ := must(t, dbURL, onlyA, append(replace, "--dry-run")...); !strings.Contains(stdout, `"deleted":1`) {
		t.Error(stdout)
	}
	if stdout, _ := must(t, dbURL, onlyA, append(replace, "--expect-deleted", "1")...); stdout != `{"created":0,"updated":0,"unchanged":1,"deleted":1}`+"\n" {
		t.Error(stdout)
	}
	status, _, stderr := run(t, dbURL, "{\"id\":\"\"}\nx\n", "import", "-", "--format", "ndjson")
	if status != 1 || !strings.Contains(stderr, "\n  line 1: ") || !strings.Contains(stderr, "\n  line 2: ") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestEveryCommandHelps(t *testing.T) {
	for _, command := range program().Commands {
		args := append(strings.Fields(command.Name), "--help")
		if stdout, _ := must(t, "", "", args...); !strings.Contains(stdout, command.Summary) || !strings.Contains(stdout, "FLAGGERY_LOG_LEVEL") {
			t.Errorf("%s: %s", command.Name, stdout)
		}
		if stdout, _ := must(t, "", "", append(strings.Fields(command.Name), "--version")...); !strings.HasPrefix(stdout, "flaggery-admin ") {
			t.Errorf("%s: %s", command.Name, stdout)
		}
	}
	for _, group := range []string{"migrate", "token"} {
		stdout, _ := must(t, "", "", group, "--help")
		for _, command := range program().Commands {
			if listed := strings.Contains(stdout, command.Summary); listed != strings.HasPrefix(command.Name, group+" ") {
				t.Errorf("%s --help lists %s: %t", group, command.Name, listed)
			}
		}
	}
}
