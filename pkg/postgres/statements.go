package postgres

import (
	"context"
	"sync"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// statements are those of small writes, and of edges that follow them, prepared:
// parsing and planning takes longer than running them, and others wait for the
// transaction that they are in, or hundreds of edges ask the same at once.
//
// A statement is prepared before the transaction that follows its first use, by one
// caller only. Inside a transaction it could not be: that takes another connection,
// and all of them may be held by writes that wait for this one. For the same reason
// none is ever closed: that waits for the connections that know it.
type statements struct {
	mu       sync.Mutex
	prepared map[string]*sqlx.Stmt // nil: was used, and is not prepared yet
	wanted   []string              // used, and nobody prepares it yet
}

// maxStatements is more than the writer has of fixed text.
const maxStatements = 100

// prepare prepares what was used since the last time. What fails is tried again
// later: if something is wrong, running the statement fails as well.
func (s *statements) prepare(ctx context.Context, pool *sqlx.DB) {
	for _, text := range s.claim() {
		stmt, err := pool.PreparexContext(ctx, text)
		s.settle(text, stmt, err)
	}
}

// claim takes what is wanted, so that nobody else prepares it.
func (s *statements) claim() (texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	texts, s.wanted = s.wanted, nil
	return texts
}

func (s *statements) settle(text string, stmt *sqlx.Stmt, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.wanted = append(s.wanted, text)
		return
	}
	if s.prepared == nil {
		s.prepared = map[string]*sqlx.Stmt{}
	}
	s.prepared[text] = stmt
}

// outdated recognises the error of a statement that was prepared for tables as they
// were before a migration or a restoration: PostgreSQL would answer with other types.
func outdated(err error) bool { return pq.As(err, pqerror.FeatureNotSupported) != nil }

// forget drops all statements. Each is prepared again once it is used. None is
// closed: a write may be about to use it. What stays on the connections is a few
// dozen statements for each migration or restoration under a running program.
func (s *statements) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared, s.wanted = nil, nil
}

// get is the prepared statement of a text, or nil if there is none yet.
func (s *statements) get(text string) *sqlx.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	stmt, used := s.prepared[text]
	if !used && len(s.prepared) < maxStatements {
		if s.prepared == nil {
			s.prepared = map[string]*sqlx.Stmt{}
		}
		s.prepared[text] = nil
		s.wanted = append(s.wanted, text)
	}
	return stmt
}
