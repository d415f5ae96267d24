package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/pgserver"
)

// database is a PostgreSQL of one test alone, which may stop, kill, restart and
// replace it. It keeps its port and its data. In full runs nothing is relaxed for
// speed.
type database struct {
	t      *testing.T
	config pgserver.Config
	server *pgserver.Server
	dead   bool
}

const databaseName = "flaggery"

// newDatabase starts a server with the program's schema, in dir if that is given.
func newDatabase(t *testing.T, dir string, settings map[string]string) *database {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	if settings == nil {
		settings = map[string]string{}
	}
	if !*full {
		settings["fsync"] = "off" // the machine does not crash, and a recovery begins with flushing every file
	}
	d := &database{t: t, config: pgserver.Config{Dir: filepath.Join(dir, "pg"), Settings: settings}}
	if err := os.Mkdir(d.config.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.copyFrom(cluster(t))
	d.start()
	t.Cleanup(func() {
		if !d.dead {
			_ = d.server.Stop() // the test's last fault may have damaged it
		}
		if log, err := os.ReadFile(filepath.Join(d.config.Dir, "postgres.log")); err == nil && t.Failed() {
			t.Logf("log of PostgreSQL:\n%s", tail(string(log)))
		}
	})
	return d
}

// template is a stopped server's data with the program's schema, made once a run:
// copying it takes a tenth of the time.
var template struct {
	sync.Mutex
	data string
}

func cluster(t *testing.T) string {
	t.Helper()
	template.Lock()
	defer template.Unlock()
	if template.data != "" {
		return template.data
	}
	dir := filepath.Join(scratch(t), "cluster")
	s, err := pgserver.Start(t.Context(), pgserver.Config{Dir: dir, Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, connect(t, s.URL("postgres")), "CREATE DATABASE "+databaseName)
	if err := migrations.Up(t.Context(), connect(t, s.URL(databaseName))); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	template.data = filepath.Join(dir, "data")
	return template.data
}

func (d *database) url() string { return d.server.URL(databaseName) }

// start returns how long the server took, recovery included.
func (d *database) start() time.Duration {
	d.t.Helper()
	began := time.Now()
	s, err := pgserver.Start(context.Background(), d.config)
	if err != nil {
		d.t.Fatal(err)
	}
	d.server, d.config.Port, d.dead = s, s.Port(), false
	return time.Since(began)
}

// kill ends the server with SIGKILL.
func (d *database) kill() {
	d.server.Kill()
	d.dead = true
}

func (d *database) stop() {
	d.t.Helper()
	if err := d.server.Stop(); err != nil {
		d.t.Fatal(err)
	}
	d.dead = true
}

// killBackend kills one server process that meets a condition on
// pg_stat_activity. PostgreSQL then ends all sessions and recovers; killBackend
// returns how long it took until the server answered again.
func (d *database) killBackend(db *sql.DB, where string) time.Duration {
	d.t.Helper()
	var pid int
	eventually(d.t, waitLimit, "a backend with "+where, func() error {
		return db.QueryRow(`SELECT pid FROM pg_stat_activity
			WHERE pid <> pg_backend_pid() AND datname = $1 AND (`+where+`) LIMIT 1`, databaseName).Scan(&pid)
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		d.t.Fatal(err)
	}
	began := time.Now()
	eventually(d.t, waitLimit, "PostgreSQL recovers", func() error {
		var left int
		err := db.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, pid).Scan(&left)
		if err == nil && left > 0 {
			err = errors.New("the killed process is still there")
		}
		return err
	})
	return time.Since(began)
}

// copyTo copies the stopped server's data, as a backup does; copyFrom puts it
// back.
func (d *database) copyTo(dir string)   { d.copy(filepath.Join(d.config.Dir, "data"), dir) }
func (d *database) copyFrom(dir string) { d.copy(dir, filepath.Join(d.config.Dir, "data")) }

func (d *database) copy(from, to string) {
	d.t.Helper()
	if err := os.RemoveAll(to); err != nil {
		d.t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		d.t.Fatalf("cp: %v: %s", err, out)
	}
}

// connect opens a pool of the test's own.
func connect(t *testing.T, dbURL string) *sql.DB {
	t.Helper()
	connector, err := pq.NewConnector(dbURL)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { db.Close() })
	return db
}

// through is a database's URL by way of a relay or another address.
func through(t testing.TB, dbURL, addr string) string {
	t.Helper()
	u, err := url.Parse(dbURL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = addr
	return u.String()
}

func hostOf(t testing.TB, dbURL string) string {
	t.Helper()
	u, err := url.Parse(dbURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func mustExec(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", statement, err))
	}
}
