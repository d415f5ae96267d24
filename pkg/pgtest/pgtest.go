// Package pgtest gives tests databases of their own on a real PostgreSQL.
//
//	db, err := sql.Open("postgres", pgtest.Open(t))
//
// Only PostgreSQL's programs have to be installed: the first test process starts a
// server. All test processes of the user share it, and it ends soon after the last
// of them. Databases are cloned from a migrated template, so each test can have its
// own and run in parallel.
package pgtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"testing"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/migrations"
)

// Open makes a database with the program's schema and returns its URL. It is
// dropped when the test ends, even if sessions are still connected.
func Open(t testing.TB) string {
	t.Helper()
	server := shared(t)
	return create(t, server, server.template)
}

// Role is a role for a test to create, with a name and a password of awkward
// characters.
type Role struct {
	Name, Password string
	URL            string // of the database, for connections as this role
}

// NewRole names a role that does not exist yet. If it exists when the test ends, it
// is dropped: roles belong to the server, not to the database.
func NewRole(t testing.TB, dbURL string) Role {
	t.Helper()
	u, err := url.Parse(dbURL)
	if err != nil {
		t.Fatal(err)
	}
	r := Role{Name: `test "` + rand.Text() + `" $do$ '; --`, Password: `it's "quoted" \`}
	u.User = url.UserPassword(r.Name, r.Password)
	r.URL = u.String()
	t.Cleanup(func() {
		name := pq.QuoteIdentifier(r.Name)
		for _, statement := range []string{
			"CREATE ROLE " + name, // the test may have ended before creating it
			"DROP OWNED BY " + name, "DROP ROLE " + name,
		} {
			err := exec(context.Background(), dbURL, statement)
			if exists := pq.As(err, pqerror.DuplicateObject) != nil; err != nil && !exists {
				t.Error(err)
			}
		}
	})
	return r
}

// Empty is Open without the schema.
func Empty(t testing.TB) string {
	t.Helper()
	return create(t, shared(t), "template0")
}

func shared(t testing.TB) lease {
	t.Helper()
	l, err := takeLease()
	if err != nil {
		t.Fatalf("the PostgreSQL that tests share: %v", err)
	}
	return l
}

// Make is Open for examples, which are no tests: they drop the database
// themselves.
func Make(ctx context.Context) (url string, drop func() error, err error) {
	server, err := takeLease()
	if err != nil {
		return "", nil, fmt.Errorf("the PostgreSQL that tests share: %w", err)
	}
	return clone(ctx, server, server.template)
}

func create(t testing.TB, server lease, template string) string {
	t.Helper()
	url, drop, err := clone(t.Context(), server, template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Error(err)
		}
	})
	return url
}

func clone(ctx context.Context, server lease, template string) (url string, drop func() error, err error) {
	name := "test_" + strings.ToLower(rand.Text())
	if err := exec(ctx, server.url, "CREATE DATABASE "+name+" TEMPLATE "+template+server.strategy); err != nil {
		return "", nil, err
	}
	return withDatabase(server.url, name), func() error {
		return exec(context.Background(), server.url, "DROP DATABASE "+name+" WITH (FORCE)")
	}, nil
}

// copyStrategy makes PostgreSQL copy databases file by file. Without fsync that
// takes a fourth of the time of the default since version 15. Earlier versions
// always copy files.
func copyStrategy(ctx context.Context, server string) (string, error) {
	db, err := sql.Open("postgres", server)
	if err != nil {
		return "", err
	}
	defer db.Close()
	var version int
	err = db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version)
	if err != nil || version < 150000 {
		return "", err
	}
	return " STRATEGY file_copy", nil
}

// makeTemplate creates the template if it does not exist yet and returns its name.
// The name depends on the schema, because checkouts share a server.
func makeTemplate(ctx context.Context, server string) (string, error) {
	name, err := templateName()
	if err != nil {
		return "", err
	}
	db, err := sql.Open("postgres", server)
	if err != nil {
		return "", err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// One process at a time; the lock ends with the connection.
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock(hashtext($1))`, name); err != nil {
		return "", err
	}
	var exists bool
	err = conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists)
	if err != nil || exists {
		return name, err
	}
	// Renamed when complete, so that an interrupted attempt is never used.
	aside := name + "_aside"
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + aside, "CREATE DATABASE " + aside + " TEMPLATE template0"} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return "", err
		}
	}
	if err := migrateUp(ctx, withDatabase(server, aside)); err != nil {
		return "", err
	}
	_, err = conn.ExecContext(ctx, "ALTER DATABASE "+aside+" RENAME TO "+name)
	return name, err
}

func templateName() (string, error) {
	hash := sha256.New()
	names, err := fs.Glob(migrations.Files, "*")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		text, err := fs.ReadFile(migrations.Files, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s\n%d\n%s", name, len(text), text)
	}
	return fmt.Sprintf("flaggery_%x", hash.Sum(nil)[:8]), nil
}

func migrateUp(ctx context.Context, url string) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer db.Close()
	return migrations.Up(ctx, db)
}

// exec runs a statement on a connection of its own and closes it: tests that look
// for leaked goroutines find none.
func exec(ctx context.Context, url, statement string) error {
	connector, err := pq.NewConnector(url)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// withDatabase is the URL of another database on the same server.
func withDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic(err) // pgserver makes only valid URLs
	}
	u.Path = "/" + name
	return u.String()
}
