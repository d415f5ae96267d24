package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/golang-migrate/migrate/v4/database"
)

// waitForTables bounds how long a migration waits for tables that others read. While it
// waits, everybody who comes later waits behind it; and a reader may hold them for any
// time.
const waitForTables = "5s"

// driver is the tool's, but for what a role that can only read could hold up.
type driver struct {
	database.Driver
	conn   *sql.Conn
	before int // the version that a migration started from
}

// Lock waits for others that migrate for as long as the tool says, and bounds what
// comes then.
func (d *driver) Lock() error {
	if err := d.Driver.Lock(); err != nil {
		return err
	}
	return d.exec(`SET lock_timeout = '` + waitForTables + `'`)
}

func (d *driver) Unlock() error { return errors.Join(d.exec(`RESET lock_timeout`), d.Driver.Unlock()) }

// SetVersion does not empty the table by TRUNCATE, as that waits for its readers.
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

// Run takes the mark of a running migration back where none ran, for want of a table.
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
