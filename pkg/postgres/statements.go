package postgres

import (
	"context"
	"database/sql"
	"sync"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// statements are those of small writes, and of edges that follow them, prepared:
// to parse and plan one takes longer than to run it, and others wait for the
// transaction that it is in, or hundreds of edges ask the same at once.
//
// A statement is prepared before the transaction that follows its first use, by one
// caller only. Inside a transaction it could not be: that takes another connection,
// and all of them may be held by writes that wait for this one. For the same reason
// none is ever closed: that waits for the connections that know it.
type statements struct {
	mu       sync.Mutex
	prepared map[string]*sql.Stmt // nil: was used, and is not prepared yet
	wanted   []string             // used, and nobody prepares it yet
}

// maxStatements is more than the writer has of fixed text.
const maxStatements = 100

// prepare prepares what was used since the last time. What fails is tried again
// later; whatever is wrong, the write will tell.
func (s *statements) prepare(ctx context.Context, pool *sqlx.DB) {
	for _, text := range s.claim() {
		stmt, err := pool.DB.PrepareContext(ctx, text)
		s.settle(text, stmt, err)
	}
}

// claim takes what is wanted, which nobody else prepares then.
func (s *statements) claim() (texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	texts, s.wanted = s.wanted, nil
	return texts
}

func (s *statements) settle(text string, stmt *sql.Stmt, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.wanted = append(s.wanted, text)
		return
	}
	if s.prepared == nil {
		s.prepared = map[string]*sql.Stmt{}
	}
	s.prepared[text] = stmt
}

// outdated tells the error of a statement that was prepared for tables as they were
// before a migration or a restoration: PostgreSQL would answer with other types.
func outdated(err error) bool { return pq.As(err, pqerror.FeatureNotSupported) != nil }

// forget lets go of all statements. They are prepared anew as they are used. None is
// closed: a write may be about to use it. What stays on the connections is a few
// dozen statements for each migration or restoration under a running program.
func (s *statements) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared, s.wanted = nil, nil
}

// get is the prepared statement of a text, or nil where there is none yet.
func (s *statements) get(text string) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	stmt, used := s.prepared[text]
	if !used && len(s.prepared) < maxStatements {
		if s.prepared == nil {
			s.prepared = map[string]*sql.Stmt{}
		}
		s.prepared[text] = nil
		s.wanted = append(s.wanted, text)
	}
	return stmt
}

// statement is the prepared form of a text on the transaction's connection, or
// nil.
func (tx *Tx) statement(ctx context.Context, text string) *sql.Stmt {
	if tx.statements == nil {
		return nil
	}
	stmt := tx.statements.get(text)
	if stmt == nil {
		return nil
	}
	return tx.Tx.Tx.StmtContext(ctx, stmt)
}

// ExecContext runs a statement that returns nothing.
func (tx *Tx) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if stmt := tx.statement(ctx, text); stmt != nil { //nolint:sqlclosecheck // the transaction closes it
		return stmt.ExecContext(ctx, args...)
	}
	return tx.Tx.ExecContext(ctx, text, args...)
}

// QueryContext runs a statement that returns rows.
func (tx *Tx) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if stmt := tx.statement(ctx, text); stmt != nil { //nolint:sqlclosecheck // the transaction closes it
		return stmt.QueryContext(ctx, args...)
	}
	return tx.Tx.QueryContext(ctx, text, args...)
}

// QueryRowContext runs a statement that returns one row.
func (tx *Tx) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if stmt := tx.statement(ctx, text); stmt != nil { //nolint:sqlclosecheck // the transaction closes it
		return stmt.QueryRowContext(ctx, args...)
	}
	return tx.Tx.QueryRowContext(ctx, text, args...)
}
