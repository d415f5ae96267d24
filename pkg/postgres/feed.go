package postgres

import (
	"crypto/rand"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/jmoiron/sqlx"
)

// Feed is Flaggery's database as one edge sees it: a source of updates and of
// notifications.
type Feed struct {
	pool       *sqlx.DB
	dialer     *dialer
	settings   string // of a connection, as a statement
	tokens     bool
	log        *slog.Logger
	statements statements
	checked    bool // for the goroutine of Update: connections do not share sessions

	// For the listening connection.
	listenURL string
	listening atomic.Bool
	self      report // the fields that never change
	report    atomic.Pointer[report]
	draining  atomic.Bool
	reported  chan struct{} // the report changed
}

// FeedOptions are the options of a Feed.
type FeedOptions struct {
	Name    string       // of the edge, for its reports
	Version string       // of the edge, for its reports
	Tokens  bool         // updates have the credentials of tokens; the role must be allowed to read them
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
	// The listening connection starts with the report as its name, so that the edge is
	// never connected without a report.
	query := t.url.Query()
	query.Set("application_name", f.self.String())
	t.url.RawQuery = query.Encode()
	f.listenURL = t.url.String()
	return f, nil
}

// newInstance draws an id for this run of an edge. It has 30 bits, so that among 200
// edges two hardly ever have the same.
func newInstance() string { return strings.ToLower(rand.Text()[:instanceLength]) }

// Close closes all connections except that of Listen, which ends with its context.
func (f *Feed) Close() error { return f.pool.Close() }
