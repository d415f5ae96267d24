// Package postgres holds all SQL of Flaggery. [DB] is for the writer: transactions,
// with the statements of each resource as methods of [Tx]. [Feed] is for edges: changes
// since a revision, notifications, and reports of the served revision. Driver errors
// are recognised by their code, and translated here.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/backoff"
)

// DB is Flaggery's database as its writer sees it.
type DB struct {
	pool       *sqlx.DB
	reserve    *sqlx.DB // one more connection, see Options.Reserve; nil for none
	settings   string   // of a connection, as a statement
	listenURL  string
	log        *slog.Logger
	now        func() time.Time // nil: the database's clock
	statements statements
}

// Options of a DB. The zero value is fine.
type Options struct {
	Logger *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // the time of writes; nil: the database's clock
	// Reserve keeps one connection for the case that PostgreSQL has no other left: even
	// then it must be possible to revoke a token. Connect opens it, Ping keeps it open.
	Reserve bool
}

// New makes a DB without connecting.
func New(rawURL string, o Options) (*DB, error) {
	t, err := newTarget(rawURL)
	if err != nil {
		return nil, err
	}
	db := &DB{settings: t.settings, listenURL: t.url.String(), log: orDiscard(o.Logger), now: o.Now}
	if db.pool, err = newPool(t, newDialer(0)); err != nil {
		return nil, err
	}
	if o.Reserve {
		if db.reserve, err = newPool(t, newDialer(0)); err != nil {
			return nil, err
		}
		db.reserve.SetMaxOpenConns(1)
		db.reserve.SetConnMaxIdleTime(0) // no limit
	}
	return db, nil
}

// Open connects, so that a wrong URL or password fails here.
func Open(ctx context.Context, rawURL string, o Options) (*DB, error) {
	db, err := New(rawURL, o)
	if err != nil {
		return nil, err
	}
	if err := db.Connect(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Connect fails if the database does not answer, or if its connections share sessions.
func (db *DB) Connect(ctx context.Context) error {
	err := checkSessions(ctx, db.pool)
	if err == nil && db.reserve != nil {
		err = db.reserve.PingContext(ctx)
	}
	return translate(err)
}

// Ping fails if the database does not answer.
func (db *DB) Ping(ctx context.Context) error {
	if db.reserve != nil {
		return translate(db.reserve.PingContext(ctx))
	}
	return translate(db.pool.PingContext(ctx))
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// Close closes all connections.
func (db *DB) Close() error {
	err := db.pool.Close()
	if db.reserve != nil {
		err = errors.Join(err, db.reserve.Close())
	}
	return err
}

// SQL returns the pool for migrations, which have their own statements.
func (db *DB) SQL() *sql.DB { return db.pool.DB }

// single runs each statement by itself.
func (db *DB) single() querier { return querier{on: db.pool} }

// orReserve runs work on the pool or, if PostgreSQL has no connection left, on the
// connection in reserve. work must be short, as others wait for that connection.
func (db *DB) orReserve(work func(pool *sqlx.DB) error) error {
	err := work(db.pool)
	if db.reserve != nil && tooManyConnections(err) {
		return work(db.reserve)
	}
	return err
}

// Limits of retries.
const (
	maxTries = 10              // of a transaction that PostgreSQL ended in favour of another one
	maxWait  = 8 * time.Second // for rows that others have locked: the answer has to come within the 10 s that a request may take
)

// Write runs body in a transaction that makes the next revision, and commits it.
// It rolls back if body fails or panics, and retries if PostgreSQL ended it in favour of
// another transaction: body may run more than once. body must be short, as other writers
// wait for it.
func (db *DB) Write(ctx context.Context, body func(tx *Tx) error) error {
	db.statements.prepare(ctx, db.pool)
	return db.orReserve(func(pool *sqlx.DB) error { return db.retry(ctx, pool, nil, takeState, body) })
}

// DryRun is Write for a body that fails at its end, so that nothing is stored. It sees
// one consistent state and does not lock the state row, so it retries if others changed
// the same rows.
func (db *DB) DryRun(ctx context.Context, body func(tx *Tx) error) error {
	db.statements.prepare(ctx, db.pool)
	return db.retry(ctx, db.pool, &sql.TxOptions{Isolation: sql.LevelRepeatableRead}, peekState, body)
}

// Advance locks the state row and makes the next revision.
func (db *DB) Advance(ctx context.Context, tx *Tx) error {
	return db.begin(ctx, tx, advanceState, tx.Label)
}

var readOnly = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}

// Read runs body on one consistent state of the database.
func (db *DB) Read(ctx context.Context, body func(tx *Tx) error) error {
	return ended(ctx, db.orReserve(func(pool *sqlx.DB) error { return db.transact(ctx, pool, readOnly, readState, body) }))
}

// ReadLong is Read for a body that takes as long as its client. It does not use the
// connection in reserve.
func (db *DB) ReadLong(ctx context.Context, body func(tx *Tx) error) error {
	return ended(ctx, db.transact(ctx, db.pool, readOnly, readState, body))
}

// retry is transact for writes.
func (db *DB) retry(ctx context.Context, on beginner, options *sql.TxOptions, first string, body func(tx *Tx) error) error {
	start, pause := time.Now(), backoff.Backoff{First: 10 * time.Millisecond, Max: time.Second}
	violated := "" // the key that the last try violated
	for try := 1; ; try++ {
		err := db.transact(ctx, on, options, first, body)
		if first == peekState {
			violated, err = unseen(violated, err)
		}
		switch {
		case outdated(err) && try < maxTries:
			db.statements.forget()
		case pq.As(err, pqerror.TRDeadlockDetected, pqerror.TRSerializationFailure) != nil && try < maxTries:
		case pq.As(err, pqerror.LockNotAvailable) != nil && time.Since(start) < maxWait:
			if err := backoff.Sleep(ctx, pause.Next()); err != nil {
				return err
			}
		default:
			return ended(ctx, err)
		}
		db.log.DebugContext(ctx, "write failed, trying again", "try", try, "error", err)
	}
}

// unseen makes a violated key a serialization failure: PostgreSQL may have checked it
// against a row that the dry run does not see. A name that is taken in the next try too,
// which sees that row, is what the dry run has to answer. before is the key that the last
// try violated.
func unseen(before string, err error) (violated string, _ error) {
	e := pq.As(err, pqerror.UniqueViolation, pqerror.ForeignKeyViolation)
	if e == nil || existsCodes[e.Constraint] != "" && e.Detail == before {
		return before, err
	}
	return e.Detail, fmt.Errorf("%w: %w", &pq.Error{Code: pqerror.TRSerializationFailure}, err)
}

// transact runs body in a transaction that begins with a statement on the state row.
func (db *DB) transact(ctx context.Context, on beginner, options *sql.TxOptions, first string, body func(tx *Tx) error) error {
	return transact(ctx, on, options, func(q querier) error {
		if on == db.pool && (first == takeState || first == peekState) { // statements are prepared only on the pool
			q.statements = &db.statements
		}
		if first == nearState {
			if err := q.exec(ctx, "wait for other imports", awaitImports); err != nil {
				return err
			}
		}
		tx := &Tx{querier: q}
		if err := db.begin(ctx, tx, first); err != nil {
			return err
		}
		return body(tx)
	})
}

// beginner is a pool or one connection of it.
type beginner interface {
	BeginTxx(ctx context.Context, options *sql.TxOptions) (*sqlx.Tx, error)
}

// transact runs body in a transaction, and commits it unless body fails or panics.
func transact(ctx context.Context, on beginner, options *sql.TxOptions, body func(q querier) error) error {
	tx, err := on.BeginTxx(ctx, options)
	if err != nil {
		return named("begin a transaction", err)
	}
	finished := false
	defer func() {
		if !finished {
			_ = tx.Rollback() // the caller gets the error that caused it
		}
	}()
	if err := body(querier{on: tx}); err != nil {
		return err
	}
	finished = true
	return named("commit", tx.Commit())
}

// ended is translate for work that ends with its context.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && pq.As(err, pqerror.QueryCanceled) != nil {
		return ctx.Err()
	}
	return translate(err)
}

// Tx is a transaction. It starts by reading the state row, so everything in it happens
// at one revision and one time. Only the function that began it can commit it.
type Tx struct {
	querier
	Epoch    string    // identity of the history that Revision counts in
	Revision int64     // in Read the last committed one; in Write and DryRun the next
	Now      time.Time // UTC, in whole microseconds
	Label    int64     // stamp of the subjects that the transaction writes; 0 in Read
}

// The statements that begin a transaction.
const (
	readState = `SELECT revision, epoch, clock_timestamp() AS now, 0 AS label, '' AS setting FROM state`
	// The update locks the row until the commit: nobody else writes, and the next
	// revision belongs to this transaction. An import locks the row last, and may hold
	// other rows that this write needs. So that the two do not wait for each other, the
	// write fails after a short lock_timeout and is retried.
	takeState = `UPDATE state SET revision = revision + 1 RETURNING revision, epoch, clock_timestamp() AS now,
		nextval('change_label') AS label, set_config('lock_timeout', '50ms', true) AS setting`
	// Without the lock, as a dry run makes no revision.
	peekState = `SELECT revision + 1 AS revision, epoch, clock_timestamp() AS now,
		nextval('change_label') AS label, set_config('lock_timeout', '50ms', true) AS setting FROM state`
	// Imports run one after the other. Each reads the revision after it has this lock, so
	// it need not catch up with the import before it. The lock does not block writers of
	// rows, and only roles that may write buckets can take it; an advisory lock could be
	// taken by any role.
	awaitImports = `LOCK TABLE bucket IN SHARE UPDATE EXCLUSIVE MODE`
	// Without the lock: others keep writing, and the import catches up with them later.
	// History gets the import's label, as its revision is not known yet.
	nearState = `SELECT revision, epoch, clock_timestamp() AS now, label, set_config('flaggery.label', label::text, true) AS setting
		FROM state, nextval('change_label') AS label`
	advanceState = `UPDATE state SET revision = revision + 1 RETURNING revision, epoch, clock_timestamp() AS now,
		$1::bigint AS label, '' AS setting`
)

// Undo runs body, then rolls its writes back and releases their locks.
func (tx *Tx) Undo(ctx context.Context, body func() error) error {
	if err := tx.exec(ctx, "set a savepoint", `SAVEPOINT undo`); err != nil {
		return err
	}
	if err := body(); err != nil {
		return err // ends the transaction
	}
	return tx.exec(ctx, "roll back to a savepoint", `ROLLBACK TO undo`)
}

func (db *DB) begin(ctx context.Context, tx *Tx, first string, args ...any) error {
	var state struct {
		Revision, Label int64
		Epoch           string
		Now             time.Time
		Setting         string
	}
	if err := tx.get(ctx, "read the state row", &state, first, args...); err != nil {
		return err
	}
	if db.now != nil {
		state.Now = db.now()
	}
	tx.Epoch, tx.Revision, tx.Label = state.Epoch, state.Revision, state.Label
	tx.Now = state.Now.UTC().Truncate(time.Microsecond)
	return nil
}
