// Package postgres holds all SQL of Flaggery: transactions and statements of the
// writer, and what edges need to follow (load, changes since a revision,
// listen). Driver errors are told by their code and translated here; no caller
// sees one.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// DB is a pool of connections to Flaggery's database.
type DB struct {
	pool   *sqlx.DB
	dsn    string
	dialer *dialer
	now    func() time.Time // nil: the database's clock
	tokens bool             // updates have credentials

	statements statements
}

// sessionSettings are sent with every connection that does not say otherwise.
// The server then forgets a client that vanished without a word within about a
// minute instead of two hours, and no statement waits for ever.
var sessionSettings = map[string]string{
	"tcp_keepalives_idle":     "30",
	"tcp_keepalives_interval": "10",
	"tcp_keepalives_count":    "3",
	"tcp_user_timeout":        "15000",
	"statement_timeout":       "30000",
	"connect_timeout":         "10",
	"timezone":                "UTC",
	// Where tables were never analysed, costs are overrated, and compiling a
	// statement takes longer than running it.
	"jit": "off",
	// One round trip a statement with arguments instead of two.
	"binary_parameters": "yes",
}

// DSN checks a postgres:// URL and completes it with the session settings. The
// error names what is wrong and never repeats the URL, which holds a password.
func DSN(rawURL string, settings map[string]string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", errors.New("must be a URL like postgres://user:password@host:5432/database?sslmode=verify-full")
	}
	query := u.Query()
	if !query.Has("sslmode") {
		query.Set("sslmode", defaultSSLMode(u.Hostname()))
	}
	for _, defaults := range []map[string]string{settings, sessionSettings} {
		for name, value := range defaults {
			if !query.Has(name) {
				query.Set(name, value)
			}
		}
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// defaultSSLMode is set always, as lib/pq's own default is about to change.
func defaultSSLMode(host string) string {
	if host == "" || host == "localhost" || host == "127.0.0.1" || host == "::1" || strings.HasPrefix(host, "/") {
		return "disable"
	}
	return "require"
}

// New makes a pool without connecting, for who can do without a database for a
// while.
func New(rawURL string) (*DB, error) {
	dsn, err := DSN(rawURL, nil)
	if err != nil {
		return nil, err
	}
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	dialer := newDialer()
	connector.Dialer(dialer)
	pool := sqlx.NewDb(sql.OpenDB(connector), "postgres")
	pool.SetMaxOpenConns(16)
	pool.SetMaxIdleConns(8)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return &DB{pool: pool, dsn: dsn, dialer: dialer}, nil
}

// Open connects and pings once, so that a wrong URL or password fails here.
func Open(ctx context.Context, rawURL string) (*DB, error) {
	db, err := New(rawURL)
	if err != nil {
		return nil, err
	}
	if err := db.pool.PingContext(ctx); err != nil {
		return nil, errors.Join(translate(err), db.Close())
	}
	return db, nil
}

// Close gives all connections back.
func (db *DB) Close() error { return db.pool.Close() }

// SQL is the pool for migrations, which bring their own statements.
func (db *DB) SQL() *sql.DB { return db.pool.DB }

// SetClock makes writes take their time from now instead of from the database.
func (db *DB) SetClock(now func() time.Time) { db.now = now }

// ReadTokens makes updates have the credentials of tokens, which their role must
// be allowed to read.
func (db *DB) ReadTokens() { db.tokens = true }

// Tx is a transaction. It starts by reading the state row, so everything in it
// happens at one revision and one time.
type Tx struct {
	*sqlx.Tx
	Epoch    string    // identity of the history that Revision counts in
	Revision int64     // in Read the last committed one; in Write the one that is being made
	Now      time.Time // UTC, in whole microseconds
	Label    int64     // stamp of the subjects that the transaction writes; 0 in Read

	statements *statements // of small writes and of updates; nil in others
}

// The statements that begin a transaction.
const (
	readState = `SELECT revision, epoch, clock_timestamp(), 0, '' FROM state`
	// The update takes the row's lock until commit: whoever holds it sees a still
	// world, and the next revision is theirs. An import takes the lock last and may
	// hold rows that such a write wants; so that both do not wait for each other,
	// and nobody for the two, the write gives up soon and is tried again.
	takeState = `UPDATE state SET revision = revision + 1 RETURNING revision, epoch, clock_timestamp(),
		nextval('change_label'), set_config('lock_timeout', '50ms', true)`
	// Without the lock: others go on, and are not seen to.
	nearState    = `SELECT revision, epoch, clock_timestamp(), nextval('change_label'), '' FROM state`
	advanceState = `UPDATE state SET revision = revision + 1 RETURNING revision, epoch, clock_timestamp(), $1::bigint, ''`
)

// Bounds of trying again.
const (
	maxTries = 10               // of a transaction that PostgreSQL ended in favour of another
	maxWait  = 10 * time.Second // for rows that an import holds
)

// Write runs body in a transaction that makes the next revision, and commits it.
// It rolls back where body fails or panics, and tries again where PostgreSQL
// ended it in favour of another transaction, which body must bear. Other writers
// wait meanwhile: body is short.
func (db *DB) Write(ctx context.Context, body func(tx *Tx) error) error {
	db.statements.prepare(ctx, db.pool)
	return db.retry(ctx, db.pool, takeState, body)
}

// Advance takes the state row's lock and with it the next revision.
func (db *DB) Advance(ctx context.Context, tx *Tx) error {
	return db.begin(ctx, tx, advanceState, tx.Label)
}

var readOnly = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}

// Read runs body on one consistent state of the database.
func (db *DB) Read(ctx context.Context, body func(tx *Tx) error) error {
	return ended(ctx, db.transact(ctx, db.pool, readOnly, readState, body))
}

// beginner is a pool or one connection of it.
type beginner interface {
	BeginTxx(ctx context.Context, options *sql.TxOptions) (*sqlx.Tx, error)
}

func (db *DB) begin(ctx context.Context, tx *Tx, statement string, args ...any) error {
	var discard string
	err := tx.QueryRowContext(ctx, statement, args...).Scan(&tx.Revision, &tx.Epoch, &tx.Now, &tx.Label, &discard)
	if err != nil {
		return fmt.Errorf("read the state row: %w", err)
	}
	if db.now != nil {
		tx.Now = db.now()
	}
	tx.Now = tx.Now.UTC().Truncate(time.Microsecond)
	return nil
}

func (db *DB) retry(ctx context.Context, on beginner, first string, body func(tx *Tx) error) error {
	start, pause := time.Now(), 10*time.Millisecond
	for try := 1; ; try++ {
		err := db.transact(ctx, on, nil, first, body)
		switch {
		case outdated(err) && try < maxTries:
			db.statements.forget()
		case pq.As(err, pqerror.TRDeadlockDetected, pqerror.TRSerializationFailure) != nil && try < maxTries:
		case pq.As(err, pqerror.LockNotAvailable) != nil && time.Since(start) < maxWait:
			select {
			case <-time.After(pause):
				pause = min(2*pause, time.Second)
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			return ended(ctx, err)
		}
		slog.DebugContext(ctx, "write tried again", "try", try, "error", err)
	}
}

// ended is translate for work that ends with its context.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && pq.As(err, pqerror.QueryCanceled) != nil {
		return ctx.Err()
	}
	return translate(err)
}

func (db *DB) transact(ctx context.Context, on beginner, options *sql.TxOptions, first string, body func(tx *Tx) error) (err error) {
	tx, err := on.BeginTxx(ctx, options)
	if err != nil {
		return err
	}
	finished := false
	defer func() {
		if !finished {
			_ = tx.Rollback() // the failure that led here is what the caller must hear of
		}
	}()
	t := &Tx{Tx: tx}
	if first == takeState {
		t.statements = &db.statements
	}
	if err := db.begin(ctx, t, first); err != nil {
		return err
	}
	if err := body(t); err != nil {
		return err
	}
	finished = true
	return tx.Commit()
}
