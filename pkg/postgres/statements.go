package postgres

import (
	"context"
	"sync"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// statements are the prepared statements of small writes, and of the edges that follow
// them. Parsing and planning them takes longer than running them, while other writers
// wait for the transaction, or hundreds of edges run the same statement at once.
//
// A statement is prepared by one caller, before the first transaction after its first
// use. Preparing it inside a transaction needs another connection, and writes that wait
// for this transaction may hold all of them. For the same reason no statement is ever
// closed: closing waits for the connections that have it.
type statements struct {
	mu       sync.Mutex
	prepared map[string]*sqlx.Stmt // nil: used, but not prepared yet
	wanted   []string              // used, but nobody prepares it yet
}

// maxStatements is more than the number of statements with a fixed text.
const maxStatements = 100

// prepare prepares the statements used since the last call. One that fails is prepared
// later: if something is wrong, running it fails as well.
func (s *statements) prepare(ctx context.Context, pool *sqlx.DB) {
	for _, text := range s.claim() {
		stmt, err := pool.PreparexContext(ctx, text)
		s.settle(text, stmt, err)
	}
}

// claim takes the wanted statements, so that nobody else prepares them.
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

// outdated recognises the error of a statement that was prepared before a migration or a
// restoration, after which its result has other types.
func outdated(err error) bool { return pq.As(err, pqerror.FeatureNotSupported) != nil }

// forget drops all statements. Each is prepared again after its next use. None is closed,
// as a write may be about to use it. So each migration or restoration leaves a few dozen
// statements on the connections of a running program.
func (s *statements) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared, s.wanted = nil, nil
}

// get returns the prepared statement of a text, or nil if there is none yet.
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
