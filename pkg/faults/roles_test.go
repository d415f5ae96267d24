package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgserver"
)

// A DBA makes database and roles by the statements of docs/operations.md, and the
// owner may not create roles. `migrate up` grants the roles their rights; if a role
// is missing, the error shows the statements for the DBA.
func TestRolesMadeByDBA(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, documented, _ := strings.Cut(string(text), "**Made by a DBA.**")
	_, documented, _ = strings.Cut(documented, "```sql\n")
	documented, _, found := strings.Cut(documented, "```")
	if !found {
		t.Fatal("docs/operations.md does not say how a DBA makes the roles")
	}
	programs, err := pgserver.Programs()
	if err != nil {
		t.Fatal(err)
	}
	db := newDatabase(t, "", nil)
	asDBA := func(database, statements string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(programs, "psql"), "-Xqv", "ON_ERROR_STOP=1", "-f", "-", db.server.URL(database))
		cmd.Stdin = strings.NewReader(statements)
		out, err := cmd.CombinedOutput()
		t.Logf("psql %s\n%s%s", database, statements, out)
		if err != nil {
			t.Fatal(err)
		}
	}
	as := func(user string) string {
		return strings.Replace(db.url(), "postgres://postgres@", "postgres://"+user+"@", 1)
	}
	migrate := func() (string, error) {
		args := []string{"migrate", "up", "--create-edge-role", "flaggery_edge", "--create-admin-role", "flaggery_admin"}
		cmd := exec.Command(program(t, "flaggery-admin"), args...)
		cmd.Env = []string{"FLAGGERY_DB_URL=" + as("flaggery"), "FLAGGERY_EDGE_PASSWORD=secret", "FLAGGERY_ADMIN_PASSWORD=secret"}
		out, err := cmd.CombinedOutput()
		t.Logf("flaggery-admin %s\n%s", strings.Join(args, " "), out)
		if strings.Contains(string(out), "secret") {
			t.Error("a password is shown")
		}
		return string(out), err
	}

	asDBA("postgres", "DROP DATABASE flaggery;\n"+documented+"DROP ROLE flaggery_edge;\n")
	out, err := migrate()
	_, missing, says := strings.Cut(out, "the role flaggery may not create the role flaggery_edge with all its rights; as a role that may, such as a superuser, run: ")
	if err == nil || !says || !strings.Contains(missing, "CREATE ROLE") || !strings.Contains(missing, "GRANT SELECT ON TABLE") {
		t.Fatalf("%v: %s", err, out)
	}
	asDBA("flaggery", missing)
	for range 2 { // also after each upgrade
		out, err = migrate()
		if err != nil || strings.Count(out, "the role exists and keeps its password") != 2 || strings.Count(out, "has the rights that") != 2 {
			t.Fatalf("%v: %s", err, out)
		}
	}

	f := newFixture(t, db.url())
	mustExec(t, f.db, `GRANT INSERT ON faults_history TO flaggery_admin`)
	f.newAdmin(as("flaggery_admin")).run()
	f.fill()
	edge := f.newEdge(as("flaggery_edge")).run()
	f.read(2, 2*time.Millisecond, edge)
	f.aChange()
	f.finish()

	// Rights that the owner may not grant and nobody has granted.
	asDBA("flaggery", "ALTER DATABASE flaggery OWNER TO postgres;\nREVOKE CONNECT ON DATABASE flaggery FROM PUBLIC, flaggery_edge;\nGRANT CONNECT ON DATABASE flaggery TO flaggery;\n")
	const connect = `run: GRANT CONNECT ON DATABASE "flaggery" TO "flaggery_edge";` + "\n"
	if out, err := migrate(); err == nil || !strings.HasSuffix(out, connect) {
		t.Errorf("%v: %s", err, out)
	}
}
