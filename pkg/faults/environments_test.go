package faults

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/pgserver"
)

// Staging and production share a PostgreSQL server, as deploy/compose/environments.yml
// sets it up. Neither reaches the other's database, with any of its roles, and their
// admins know only their own edges.
func TestEnvironmentsShareAServer(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "", nil)
	super, err := sql.Open("postgres", db.server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { super.Close() })
	// Passwords count, except that of the superuser.
	const hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(db.config.Dir, "data", "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		t.Fatal(err)
	}
	mustExec(t, super, `SELECT pg_reload_conf()`)

	const compose = "../../deploy/compose/"
	programs, err := pgserver.Programs()
	if err != nil {
		t.Fatal(err)
	}
	execute := func(env []string, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append([]string{"PATH=" + programs + ":" + os.Getenv("PATH")}, env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	shares := t.TempDir()
	execute(nil, "sh", compose+"environments-secrets.sh", t.TempDir(), shares)
	execute([]string{"PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", db.server.Port()), "POSTGRES_USER=postgres"},
		"sh", compose+"environments.sh", filepath.Join(shares, "postgres"), "../../deploy/postgres/environment.sql")

	share := func(environment, service, file string) string {
		return filepath.Join(shares, environment+"-"+service, file)
	}
	dbURL := func(environment, service, file string) string {
		text, err := os.ReadFile(share(environment, service, file))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Replace(strings.TrimSpace(string(text)), "postgres:5432", fmt.Sprintf("127.0.0.1:%d", db.server.Port()), 1)
	}
	file, err := os.ReadFile(compose + "environments.yml")
	if err != nil {
		t.Fatal(err)
	}
	environments := []string{"staging", "production"}
	var admins, edges []*service
	for _, environment := range environments {
		command := regexp.MustCompile(environment + `-migrate:\n.*\n    command: \[(.*)\]`).FindSubmatch(file)
		if command == nil {
			t.Fatalf("environments.yml does not migrate %s", environment)
		}
		out := execute([]string{
			"FLAGGERY_DB_URL=" + dbURL(environment, "migrate", "database-url"),
			"FLAGGERY_EDGE_PASSWORD_FILE=" + share(environment, "migrate", "edge-password"),
			"FLAGGERY_ADMIN_PASSWORD_FILE=" + share(environment, "migrate", "admin-password"),
		}, program(t, "flaggery-admin"), strings.Split(string(command[1]), ", ")...)
		if strings.Count(out, "has the rights that") != 2 {
			t.Errorf("%s: %s", environment, out)
		}
		a := newService(t, "flaggery-admin", "127.0.0.1",
			"FLAGGERY_DB_URL="+dbURL(environment, "admin", "admin-database-url"), "FLAGGERY_ADMIN_TOKEN="+token).run()
		c := client{addr: a.addr, token: token}
		t.Cleanup(c.close)
		if _, err := c.send("POST", "/v1/buckets", object{"amount": 1}); err != nil {
			t.Fatal(err)
		}
		stored, err := c.send("POST", "/v1/subjects", object{"id": environment})
		if err != nil || stored.status != 201 {
			t.Fatalf("%s: %d %s %v", environment, stored.status, stored.body, err)
		}
		e := newService(t, "flaggery-edge", "127.0.0.1",
			"FLAGGERY_DB_URL="+dbURL(environment, "edge", "edge-database-url"), "FLAGGERY_EDGE_NAME=edge-of-"+environment).run()
		admins, edges = append(admins, a), append(edges, e)
	}
	for i, environment := range environments {
		other := environments[1-i]
		edge := client{addr: edges[i].addr}
		t.Cleanup(edge.close)
		for id, status := range map[string]int{environment: 200, other: 404} {
			if a, err := edge.get("/v1/subject/flags?subject_id=" + id); err != nil || a.status != status {
				t.Errorf("the edge of %s answers for a subject of %s: %d %v", environment, id, a.status, err)
			}
		}
		admin := client{addr: admins[i].addr, token: token}
		t.Cleanup(admin.close)
		eventually(t, waitLimit, environment+" lists its edge alone", func() error {
			a, err := admin.get("/v1/edges")
			names := regexp.MustCompile(`edge-of-[a-z]+`).FindAllString(string(a.body), -1)
			if err == nil && !slices.Equal(names, []string{"edge-of-" + environment}) {
				err = fmt.Errorf("%s", a.body)
			}
			return err
		})
		for of, file := range map[string]string{"migrate": "database-url", "admin": "admin-database-url", "edge": "edge-database-url"} {
			own, err := url.Parse(dbURL(environment, of, file))
			if err != nil {
				t.Fatal(err)
			}
			theirs := *own
			theirs.Path = "/flaggery_" + other
			if err := connects(t, own.String()); err != nil {
				t.Errorf("%s of %s: %v", of, environment, err)
			}
			if err := connects(t, theirs.String()); pq.As(err, pqerror.InsufficientPrivilege) == nil {
				t.Errorf("%s of %s connects to the database of %s: %v", of, environment, other, err)
			}
		}
	}
	var powerful []string
	rows, err := super.Query(`SELECT rolname FROM pg_roles WHERE rolname ~ '^flaggery_(staging|production)' AND (rolsuper OR rolcreaterole OR rolcreatedb)`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		powerful = append(powerful, name)
	}
	if err := rows.Err(); err != nil || len(powerful) > 0 {
		t.Errorf("roles %q may change others, %v", powerful, err)
	}
}

// connects returns the error of a connection, without a query.
func connects(t *testing.T, dbURL string) error {
	t.Helper()
	db, err := sql.Open("postgres", dbURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return db.Ping()
}
