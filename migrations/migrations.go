// Package migrations holds the database schema as numbered SQL files, each with a
// way up and a way down, and applies them. No other package imports golang-migrate.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database/postgres"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

// Files are the migrations, named 000001_title.up.sql and 000001_title.down.sql.
//
//go:embed *.sql
var Files embed.FS

// table holds the version of the database's schema.
const table = "schema_migrations"

// lockTimeout bounds the wait for another program that is migrating. It is
// long, because the other one may be rewriting a large table.
const lockTimeout = 10 * time.Minute

// Status compares a database's schema with the program's. Version 0 is an empty
// database.
type Status struct {
	Database uint
	Program  uint
	Dirty    bool // a migration to or from version Database is running or failed halfway
}

// Up brings the schema to the program's version. Programs that do so at the same
// time wait for each other; the first one migrates, the others find nothing to do.
// A schema ahead of the program is an error. The migration that is running when ctx
// ends is finished, and the next one is not begun.
func Up(ctx context.Context, db *sql.DB) error {
	return run(ctx, db, func(m *migrate.Migrate, _ Status) error { return m.Up() })
}

// Down reverts the given number of migrations, the last first, together with their
// data. If the database has fewer, it reverts none.
func Down(ctx context.Context, db *sql.DB, steps int) error {
	return run(ctx, db, func(m *migrate.Migrate, s Status) error {
		if steps < 1 || uint(steps) > s.Database { // versions count up by one
			return fmt.Errorf("cannot revert %d migrations of a schema at version %d", steps, s.Database)
		}
		return m.Steps(-steps)
	})
}

func run(ctx context.Context, db *sql.DB, apply func(*migrate.Migrate, Status) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("migrate: %w", err)
		}
	}()
	s, err := CurrentStatus(ctx, db)
	if err != nil {
		return err
	}
	if s.Database > s.Program {
		return s.Err() // golang-migrate's own error only names the unknown version
	}
	source, err := iofs.New(Files, ".")
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	// On a connection of its own the driver closes that connection and not db.
	tool, err := postgres.WithConnection(ctx, conn, &postgres.Config{MigrationsTable: table})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	m, err := migrate.NewWithInstance("embedded", source, "postgres", &driver{Driver: tool, conn: conn})
	if err != nil {
		return errors.Join(err, tool.Close())
	}
	m.LockTimeout = lockTimeout
	stop := context.AfterFunc(ctx, func() { m.GracefulStop <- true })
	defer stop()
	err = apply(m, s)
	// Under golang-migrate's lock, dirty means failed. Without the lock it may also
	// mean that another program is migrating.
	if dirty := (migrate.ErrDirty{}); errors.As(err, &dirty) {
		s.Database, s.Dirty = uint(dirty.Version), true
		err = s.Err()
	}
	if errors.Is(err, migrate.ErrNoChange) {
		err = nil
	}
	if err == nil {
		err = ctx.Err() // golang-migrate reports no error for a graceful stop
	}
	sourceErr, driverErr := m.Close()
	return errors.Join(err, sourceErr, driverErr)
}

// CurrentStatus reads the database's version. It changes nothing, so a read-only
// role may call it.
func CurrentStatus(ctx context.Context, db *sql.DB) (Status, error) {
	s := Status{Program: latest()}
	var exists bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, table).Scan(&exists); err != nil {
		return Status{}, fmt.Errorf("read the schema version: %w", err)
	}
	if !exists {
		return s, nil
	}
	err := db.QueryRowContext(ctx, `SELECT version, dirty FROM `+table).Scan(&s.Database, &s.Dirty)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // no row: every migration was reverted
		return Status{}, fmt.Errorf("read the schema version: %w", err)
	}
	return s, nil
}

// Check fails if the schemas of database and program differ. Its error says what to
// do.
func Check(ctx context.Context, db *sql.DB) error {
	s, err := CurrentStatus(ctx, db)
	if err != nil {
		return err
	}
	return s.Err()
}

// Err is nil if the two versions agree.
func (s Status) Err() error {
	switch {
	case s.Dirty:
		return fmt.Errorf("database schema: a migration is running, or failed halfway, at version %d (the program's is %d): "+
			"if none is running, restore the backup or repair the schema by hand, set %s.dirty to false, then run 'flaggery-admin migrate up'",
			s.Database, s.Program, table)
	case s.Database < s.Program:
		return fmt.Errorf("database schema is at version %d, behind the program's version %d: "+
			"run 'flaggery-admin migrate up' or set FLAGGERY_DB_AUTO_UPGRADE=true", s.Database, s.Program)
	case s.Database > s.Program:
		return fmt.Errorf("database schema is at version %d, ahead of the program's version %d: "+
			"run a newer program, or 'flaggery-admin migrate down' of the one that made this schema", s.Database, s.Program)
	}
	return nil
}

// latest is the highest number among the files.
func latest() (version uint) {
	names, _ := fs.Glob(Files, "*.up.sql") // fails for a malformed pattern only
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		n, _ := strconv.ParseUint(number, 10, 32) // a test holds the names to their form
		version = max(version, uint(n))
	}
	return version
}
