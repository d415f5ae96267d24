package postgres

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// querier runs statements, all in one transaction or each by itself on a pool or a
// connection. Its errors begin with the purpose of the statement.
type querier struct {
	on         runner
	statements *statements // nil: none is prepared
}

// runner is a transaction, a pool, a connection or a prepared statement.
type runner interface {
	sqlx.QueryerContext
	sqlx.ExecerContext
}

// exec runs a statement that returns no rows.
func (q querier) exec(ctx context.Context, what, text string, args ...any) error {
	_, err := q.execRows(ctx, what, text, args...)
	return err
}

// execRows is exec for callers that need the number of rows affected.
func (q querier) execRows(ctx context.Context, what, text string, args ...any) (int64, error) {
	result, err := q.prepared(ctx, text).ExecContext(ctx, text, args...)
	if err != nil {
		return 0, named(what, err)
	}
	rows, err := result.RowsAffected()
	return rows, named(what, err)
}

// get reads one row: its column into a value, or its columns into the fields of a struct
// with the same names. The error is sql.ErrNoRows if there is no row.
func (q querier) get(ctx context.Context, what string, into any, text string, args ...any) error {
	return named(what, sqlx.GetContext(ctx, q.prepared(ctx, text), into, text, args...))
}

// selectAll is get for all rows, into a slice.
func (q querier) selectAll(ctx context.Context, what string, into any, text string, args ...any) error {
	return named(what, sqlx.SelectContext(ctx, q.prepared(ctx, text), into, text, args...))
}

// scan reads each row into the same variables and then calls each, whose errors it
// returns unchanged. It is for rows that are streamed, or read often.
func (q querier) scan(ctx context.Context, what, text string, args []any, each func() error, into ...any) error {
	rows, err := q.prepared(ctx, text).QueryContext(ctx, text, args...)
	if err != nil {
		return named(what, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return named(what, err)
		}
		if err := each(); err != nil {
			return err
		}
	}
	return named(what, rows.Err())
}

// scanJSON is scan for rows that are JSON objects.
func (q querier) scanJSON(ctx context.Context, what, text string, args []any, each func(object []byte) error) error {
	var object sql.RawBytes
	return q.scan(ctx, what, asJSON(text), args, func() error {
		return named(what, each(object))
	}, &object)
}

func asJSON(text string) string { return `SELECT to_json(r) FROM (` + text + `) r` }

// withoutTimeLimit disables the statement timeout for the rest of the transaction.
func (q querier) withoutTimeLimit(ctx context.Context) error {
	return q.exec(ctx, "lift the time limit", `SET LOCAL statement_timeout = 0`)
}

// named adds the purpose of a statement to its error. errors.As still finds the driver's
// error.
func named(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// prepared returns the runner of a statement: its prepared form, if there is one.
func (q querier) prepared(ctx context.Context, text string) runner {
	if q.statements == nil {
		return q.on
	}
	stmt := q.statements.get(text)
	if stmt == nil {
		return q.on
	}
	if tx, ok := q.on.(*sqlx.Tx); ok {
		stmt = tx.StmtxContext(ctx, stmt) // the transaction closes it
	}
	return preparedStatement{stmt}
}

// preparedStatement is the runner of one prepared statement. It ignores the text.
type preparedStatement struct{ stmt *sqlx.Stmt }

func (p preparedStatement) ExecContext(ctx context.Context, _ string, args ...any) (sql.Result, error) {
	return p.stmt.ExecContext(ctx, args...)
}

func (p preparedStatement) QueryContext(ctx context.Context, _ string, args ...any) (*sql.Rows, error) {
	return p.stmt.QueryContext(ctx, args...)
}

func (p preparedStatement) QueryxContext(ctx context.Context, _ string, args ...any) (*sqlx.Rows, error) {
	return p.stmt.QueryxContext(ctx, args...)
}

func (p preparedStatement) QueryRowxContext(ctx context.Context, _ string, args ...any) *sqlx.Row {
	return p.stmt.QueryRowxContext(ctx, args...)
}
