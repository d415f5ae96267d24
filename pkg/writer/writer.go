// Package writer holds every use case that reads or changes Flaggery's truth in
// PostgreSQL. The admin service is one caller; a Go program that works straight
// on a database is another:
//
//	w, err := writer.Open(ctx, "postgres://localhost/flaggery", writer.Options{})
//	...
//	defer w.Close()
//	subject, err := w.AddSubject(ctx, api.CreateSubject{ID: "42"}, writer.By("importer"))
//
// Requests and answers are those of the HTTP contract in package api, so a dry run, an
// audit row, a handler and a library call have the same form. Errors that a caller can
// fix are a *model.Error.
package writer

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// Writer carries out use cases on one database. Any number of goroutines may use
// it, and any number of Writers one database.
type Writer struct {
	db      *postgres.DB
	log     *slog.Logger
	newSalt func() model.Salt
	last    atomic.Pointer[resolved]
	counts  counts
	imports slots
	exports slots

	beforeCommit func() // nil except in tests: called between an import's work and its commit
}

// Options of a Writer.
type Options struct {
	// Logger gets the progress of imports, and failures that no caller sees. With nil,
	// nothing is logged.
	Logger *slog.Logger
}

// Open connects to a database, whose schema may still have to be upgraded.
func Open(ctx context.Context, dbURL string, o Options) (*Writer, error) {
	db, err := postgres.Open(ctx, dbURL, postgres.Options{Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return New(db, o), nil
}

// New makes a Writer on an open database, which Close closes.
func New(db *postgres.DB, o Options) *Writer {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Writer{db: db, log: o.Logger, newSalt: bucketing.NewSalt, imports: make(slots, maxImports), exports: make(slots, maxExports)}
}

// Close closes all connections.
func (w *Writer) Close() error { return w.db.Close() }

// UpgradeDB brings the schema to the program's version.
func (w *Writer) UpgradeDB(ctx context.Context) error { return migrations.Up(ctx, w.db.SQL()) }

// Result is the outcome of a use case.
type Result[T any] struct {
	// Value is the resource that was read, or the one after the change (before it, for a
	// deletion).
	Value T
	// Revision is the one that the write made, or that the read was answered from.
	// For a dry run, or a write that changes nothing, it is the current one. With an
	// error it is the one at which the error was found, or 0 if none was read.
	Revision int64
	// Version of the resource, for IfMatch; 0 if it has none. A variant and a
	// rollout have that of their feature, an override that of its group. In a dry
	// run it is what it would be.
	Version int64
	// DryRun is true if nothing was stored; Effect is what would have changed. Drawn is
	// true if that includes a draw, whose result would be another one in a real write.
	DryRun bool
	Drawn  bool
	api.Effect
	// Removes has the resources that would be deleted, as paths in the audit.
	Removes []string
}

// Option changes how a write is carried out.
type Option func(*settings)

// settings of one write.
type settings struct {
	dryRun     bool
	ifMatch    []int64 // versions of the resource; nil for any
	actor      string
	scope      auth.Scope
	token      int64 // for the audit
	requestID  string
	comment    string
	whileValid int64            // the token that must be valid at the commit; 0 for none
	rows       *postgres.Import // nil unless the write is an import

	// Of imports.
	replaceGroups bool
	deleteAbsent  bool
	expectDeleted *int64 // nil for none
}

func newSettings(opts []Option) settings {
	s := settings{actor: "library"}
	for _, option := range opts {
		option(&s)
	}
	return s
}

// DryRun makes a write check everything on one consistent state and store nothing. Other
// writes do not wait for it.
func DryRun() Option { return func(s *settings) { s.dryRun = true } }

// IfMatch makes the write fail with precondition_failed unless the resource has one of
// these versions.
func IfMatch(versions ...int64) Option {
	return func(s *settings) { s.ifMatch = append([]int64{}, versions...) }
}

// By sets the actor in the audit. The default is "library".
func By(actor string) Option { return func(s *settings) { s.actor = clean(actor) } }

// Within makes the write fail with forbidden if it changes anything outside the scope. A
// dry run does not fail: it changes nothing.
func Within(scope auth.Scope) Option { return func(s *settings) { s.scope = scope } }

// Showing sets the actor's stored token in the audit, 0 for none.
func Showing(token int64) Option { return func(s *settings) { s.token = token } }

// WithToken makes the write fail with unauthenticated if the token of this id is revoked
// or expired at the commit. It is for writes that take long.
func WithToken(id int64) Option { return func(s *settings) { s.whileValid = id } }

// ReplaceGroups makes an import remove each subject whose line has groups, or an empty
// list of them, from all other groups.
func ReplaceGroups() Option { return func(s *settings) { s.replaceGroups = true } }

// DeleteAbsent makes an import delete the subjects that no line has. Unless it is a dry
// run, it needs [ExpectDeleted] too.
func DeleteAbsent() Option { return func(s *settings) { s.deleteAbsent = true } }

// ExpectDeleted makes an import fail if it would delete another number of subjects, as
// counted by a dry run. The number is checked again when nobody else can write.
func ExpectDeleted(n int64) Option { return func(s *settings) { s.expectDeleted = &n } }

// Request notes the id of the HTTP request in the audit.
func Request(id string) Option { return func(s *settings) { s.requestID = clean(id) } }

// Comment notes why in the audit.
func Comment(text string) Option { return func(s *settings) { s.comment = clean(text) } }

// importOf makes the write an import of rows, which takes the next revision after its
// heavy work.
func importOf(rows *postgres.Import) Option { return func(s *settings) { s.rows = rows } }

// Page selects a part of a list: at most Limit items (1 to 1000, 0 for 100) with keys
// after After. It has fewer items if they exceed about 4 MiB.
type Page struct {
	Limit int
	After string
}
