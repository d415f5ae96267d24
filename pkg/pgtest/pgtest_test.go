package pgtest

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// increase adds one to the revision of a database and returns it.
func increase(t *testing.T, url string) (revision int) {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`UPDATE state SET revision = revision + 1 RETURNING revision`).Scan(&revision); err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestOpenMakesADatabaseForEachTest(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			if got := increase(t, Open(t)); got != 1 {
				t.Errorf("revision %d, want 1: the database is not new", got)
			}
		})
	}
}

func TestADatabaseIsDroppedWhileConnected(t *testing.T) {
	t.Parallel()
	var db *sql.DB
	t.Run("", func(t *testing.T) {
		var err error
		if db, err = sql.Open("postgres", Open(t)); err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(); err != nil {
			t.Fatal(err)
		}
	})
	defer db.Close()
	if err := db.Ping(); err == nil {
		t.Error("the database is still there after its test")
	}
}

func TestAPrivateServerKeepsItsDataAndPlace(t *testing.T) {
	t.Parallel()
	s := Server(t)
	url := s.URL()
	increase(t, url)
	for i, end := range []func() error{s.Stop, func() error { s.Kill(); return nil }} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := exec(t.Context(), url, "SELECT"); err == nil {
			t.Fatal("an ended server answers")
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if s.URL() != url {
			t.Errorf("URL %s after a restart, want %s", s.URL(), url)
		}
		if got := increase(t, url); got != i+2 {
			t.Errorf("revision %d after restart %d, want %d", got, i+1, i+2)
		}
	}
}

// A shared server serves all processes, and ends after the last of them. The test
// uses a server of its own.
func TestASharedServerEndsAfterItsLastUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lease, err := lockFile(filepath.Join(dir, "users"), syscall.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	url := find(t, dir)
	if again := find(t, dir); again != url {
		t.Errorf("the second user got %s, the first one %s", again, url)
	}
	lease.Close()
	await(t, func() bool {
		_, err := os.Stat(filepath.Join(dir, "server"))
		return errors.Is(err, fs.ErrNotExist)
	})
	if err := exec(t.Context(), url, "SELECT"); err == nil {
		t.Error("the server runs on without users")
	}
}

func TestASharedServerIsReplacedWhenItCrashes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lease, err := lockFile(filepath.Join(dir, "users"), syscall.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	find(t, dir)
	text, err := os.ReadFile(filepath.Join(dir, "server", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(text), "\n")
	id, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	find(t, dir)
	lease.Close()
	await(t, func() bool {
		_, err := os.Stat(filepath.Join(dir, "server"))
		return errors.Is(err, fs.ErrNotExist)
	})
}

// find finds or starts the shared server of a folder. The server ends as soon as
// nobody uses it.
func find(t *testing.T, dir string) string {
	t.Helper()
	url, err := findOrStart(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := exec(t.Context(), url, "SELECT"); err != nil {
		t.Fatal(err)
	}
	return url
}

// await polls until yes returns true: another process sends no signal.
func await(t *testing.T, yes func() bool) {
	t.Helper()
	tick, late := time.NewTicker(10*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("waited in vain")
		}
	}
}
