package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/golang-migrate/migrate/v4/database"
)

// waitForTables bounds how long a migration waits for tables that others read.
// While it waits, every later session queues behind it, and a reader may hold its
// tables for any time.
const waitForTables = "5s"

// driver is golang-migrate's, without the statements that wait for sessions which
// only read.
type driver struct {
	database.Driver
	conn   *sql.Conn
	before int // the version that a migration started from
}

// Lock waits for other migrating programs, as long as golang-migrate allows. It
// then bounds the waits of the migration itself.
func (d *driver) Lock() error {
	if err := d.Driver.Lock(); err != nil {
		return err
	}
	return d.exec(`SET lock_timeout = '` + waitForTables + `'`)
}

func (d *driver) Unlock() error { return errors.Join(d.exec(`RESET lock_timeout`), d.Driver.Unlock()) }

// SetVersion empties the table by DELETE: TRUNCATE would wait for its readers.
func (d *driver) SetVersion(version int, dirty bool) error {
	if dirty {
		var err error
		if d.before, _, err = d.Version(); err != nil {
			return err
		}
	}
	statements := `DELETE FROM ` + table
	if version >= 0 || dirty {
		statements += fmt.Sprintf(`; INSERT INTO %s (version, dirty) VALUES (%d, %t)`, table, version, dirty)
	}
	return d.exec(statements) // all or nothing, as one query
}

// Run removes the dirty mark again if no statement ran because a table was locked.
func (d *driver) Run(migration io.Reader) error {
	err := d.Driver.Run(migration)
	var failed database.Error
	var state interface{ SQLState() string }
	if errors.As(err, &failed) && errors.As(failed.OrigErr, &state) && state.SQLState() == lockNotAvailable {
		err = errors.Join(fmt.Errorf("other sessions kept tables for more than %s, nothing was changed: end them (pg_stat_activity), and try again", waitForTables),
			d.SetVersion(d.before, false))
	}
	return err
}

const lockNotAvailable = "55P03"

func (d *driver) exec(statements string) error {
	_, err := d.conn.ExecContext(context.Background(), statements)
	return err
}
