package postgres

import (
	"crypto/rand"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/jmoiron/sqlx"
)

// Feed is Flaggery's database as one edge sees it: a source of updates, and of
// notifications that there is one.
type Feed struct {
	pool       *sqlx.DB
	dialer     *dialer
	settings   string // of a connection, as a statement
	tokens     bool
	log        *slog.Logger
	statements statements
	checked    bool // for the goroutine of Update: connections have sessions of their own

	// Of the connection that listens.
	listenURL string
	listening atomic.Bool
	self      report // what never changes of it
	report    atomic.Pointer[report]
	draining  atomic.Bool
	reported  chan struct{} // the report changed
}

// FeedOptions are the options of a Feed.
type FeedOptions struct {
	Name    string       // of the edge, for its reports
	Version string       // likewise
	Tokens  bool         // updates have the credentials of tokens, which the role must be allowed to read
	Logger  *slog.Logger // nil: nothing is logged
}

// NewFeed makes a Feed without connecting.
func NewFeed(rawURL string, o FeedOptions) (*Feed, error) {
	t, err := newTarget(rawURL)
	if err != nil {
		return nil, err
	}
	f := &Feed{settings: t.settings, dialer: newDialer(answerTimeout), tokens: o.Tokens, log: orDiscard(o.Logger), reported: make(chan struct{}, 1)}
	f.self = report{name: o.Name, instance: newInstance(), version: o.Version, format: readFormat, state: edgeLoading}
	if f.pool, err = newPool(t, f.dialer); err != nil {
		return nil, err
	}
	f.report.Store(&f.self)
	// The listening connection begins under the name of the report, so that the edge is
	// never seen without.
	query := t.url.Query()
	query.Set("application_name", f.self.String())
	t.url.RawQuery = query.Encode()
	f.listenURL = t.url.String()
	return f, nil
}

// newInstance tells this run of an edge apart from all others: of 30 bits, so that of
// 200 edges hardly ever two have the same.
func newInstance() string { return strings.ToLower(rand.Text()[:instanceLength]) }

// Close closes all connections but the one of Listen, which ends with its context.
func (f *Feed) Close() error { return f.pool.Close() }
