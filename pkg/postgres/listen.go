package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/model"
)

// Listener keeps a connection that hears the bell of every commit, and reports
// on it how far its edge is. It is pq.ListenerConn with a loop of our own:
// pq.Listener waits for ever for the answer on a dead path and has no way to
// report.
type Listener struct {
	Logger *slog.Logger // slog's default where it is nil

	dsn    string
	name   string
	report atomic.Pointer[EdgeReport]
	news   chan struct{} // the report changed
}

const (
	// pingInterval and answerTimeout add up to the time after which a dead path is
	// noticed.
	pingInterval  = 5 * time.Second
	answerTimeout = 9 * time.Second

	firstDelay = 500 * time.Millisecond
	// maxDelayAtStart spares a database that many edges wait for; maxDelayLater lets
	// one that served before be back soon.
	maxDelayAtStart = 30 * time.Second
	maxDelayLater   = 4 * time.Second
)

// NewListener makes a Listener for the edge of a name.
func (db *DB) NewListener(name string) (*Listener, error) {
	dsn, err := url.Parse(db.dsn)
	if err != nil {
		return nil, errors.New("the database's URL cannot be parsed")
	}
	l := &Listener{name: name, news: make(chan struct{}, 1)}
	l.report.Store(&EdgeReport{Name: name, State: EdgeLoading})
	// Connected under the name of the report, so that the edge is never seen without.
	query := dsn.Query()
	query.Set("application_name", FormatReport(*l.report.Load()))
	dsn.RawQuery = query.Encode()
	l.dsn = dsn.String()
	return l, nil
}

// Report makes known what the edge serves. It does not block.
func (l *Listener) Report(at model.Position, refusing bool) {
	state := EdgeServing
	if refusing {
		state = EdgeRefusing
	}
	l.report.Store(&EdgeReport{Name: l.name, Epoch: at.Epoch, Revision: at.Revision, State: state})
	l.tell()
}

func (l *Listener) tell() {
	select {
	case l.news <- struct{}{}:
	default: // told already; the loop reads the report when it gets there
	}
}

// Listen hears until ctx is done. It calls heard with true when the bell rings,
// and with false whenever it is connected anew, as nobody knows what it missed.
// heard must not block: who does not read holds up notifications in the server.
func (l *Listener) Listen(ctx context.Context, heard func(bell bool)) {
	if l.Logger == nil {
		l.Logger = slog.Default()
	}
	maxDelay, limit := maxDelayAtStart, firstDelay
	for {
		connected, err := l.session(ctx, heard)
		if ctx.Err() != nil {
			return
		}
		if connected {
			maxDelay, limit = maxDelayLater, firstDelay
		}
		// Full jitter, as all edges lose the connection in the same moment.
		delay := rand.N(limit)
		limit = min(2*limit, maxDelay)
		l.Logger.WarnContext(ctx, "not listening to the database", "error", translate(err), "next_try_in", delay)
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

// session is one connection, from dialling to its end. It reports whether it got
// as far as listening.
func (l *Listener) session(ctx context.Context, heard func(bell bool)) (connected bool, err error) {
	bells := make(chan *pq.Notification, 64)
	conn, err := l.dial(ctx, bells)
	if err != nil {
		return false, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		for range bells {
			heard(true)
		}
	}()
	defer func() {
		_ = conn.Close()
		<-lost
	}()

	if err := exec(conn, "LISTEN "+pq.QuoteIdentifier(Channel)); err != nil {
		return false, err
	}
	l.Logger.InfoContext(ctx, "listening to the database")
	heard(false)
	l.tell() // the connection began with the first report
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		statement := ""
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-lost:
			return true, fmt.Errorf("the connection was lost: %w", conn.Err())
		case <-ping.C:
		case <-l.news:
			statement = "SET application_name = " + pq.QuoteLiteral(FormatReport(*l.report.Load()))
		}
		if err := exec(conn, statement); err != nil {
			return true, err
		}
	}
}

// dial connects, or gives up as soon as ctx is done.
func (l *Listener) dial(ctx context.Context, bells chan *pq.Notification) (*pq.ListenerConn, error) {
	type result struct {
		conn *pq.ListenerConn
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		conn, err := pq.NewListenerConn(l.dsn, bells)
		dialled <- result{conn, err}
	}()
	select {
	case r := <-dialled:
		return r.conn, r.err
	case <-ctx.Done():
		go func() { // what still comes is not wanted any more
			if r := <-dialled; r.err == nil {
				_ = r.conn.Close()
				for range bells {
				}
			}
		}()
		return nil, ctx.Err()
	}
}

// exec runs a statement on a connection, and closes the connection where no
// answer comes: the path may be dead, and the system would wait much longer.
func exec(conn *pq.ListenerConn, statement string) error {
	watchdog := time.AfterFunc(answerTimeout, func() { _ = conn.Close() })
	_, err := conn.ExecSimpleQuery(statement)
	if !watchdog.Stop() {
		return fmt.Errorf("the database did not answer within %v", answerTimeout)
	}
	return err
}
