package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/backoff"
	"github.com/flaggery/flaggery/pkg/model"
)

// channel gets a notification with every commit. Its payload is the revision.
const channel = "flaggery"

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

// Report makes known what the edge serves. It does not block.
func (f *Feed) Report(at model.Position, refusing bool) {
	state := edgeServing
	if refusing {
		state = edgeRefusing
	}
	f.report.Store(&report{name: f.name, epoch: at.Epoch, revision: at.Revision, state: state})
	f.sendReport()
}

func (f *Feed) sendReport() {
	select {
	case f.reported <- struct{}{}:
	default: // one is about to be sent, and will be the latest
	}
}

// Listen waits for notifications until ctx is done. It calls notified with true for
// each, and with false for each new connection, as some may have been missed before.
// notified must not block: a reader that does not read holds up notifications in the
// server.
//
// It is a loop around pq.ListenerConn: pq.Listener waits forever for the answer on a
// dead path, and cannot report.
func (f *Feed) Listen(ctx context.Context, notified func(bool)) {
	delays := backoff.Backoff{First: firstDelay, Max: maxDelayAtStart}
	for {
		connected, err := f.listenOnce(ctx, notified)
		if ctx.Err() != nil {
			return
		}
		if connected {
			delays = backoff.Backoff{First: firstDelay, Max: maxDelayLater}
		}
		delay := delays.Next()
		message := "not listening to the database"
		if tooManyConnections(err) {
			message = "no connection left to listen to the database"
		}
		f.log.WarnContext(ctx, message, "error", translate(err), "next_try_in", delay)
		if backoff.Sleep(ctx, delay) != nil {
			return
		}
	}
}

// listenOnce is one connection, from dialling to its end. It reports whether it got
// as far as listening.
func (f *Feed) listenOnce(ctx context.Context, notified func(bool)) (connected bool, err error) {
	notifications := make(chan *pq.Notification, 64)
	conn, err := f.dial(ctx, notifications)
	if err != nil {
		return false, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		for range notifications {
			notified(true)
		}
	}()
	defer func() {
		_ = conn.Close()
		<-lost
	}()

	for _, statement := range []string{f.settings, "LISTEN " + pq.QuoteIdentifier(channel)} { // one at a time, or lib/pq loses track
		if err := execListening(conn, "listen", statement); err != nil {
			return false, err
		}
	}
	f.log.InfoContext(ctx, "listening to the database")
	notified(false)
	f.sendReport() // the connection began with the first report
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-lost:
			return true, fmt.Errorf("the connection was lost: %w", conn.Err())
		case <-ping.C:
			err = execListening(conn, "ping", "")
		case <-f.reported:
			err = execListening(conn, "report", "SET application_name = "+pq.QuoteLiteral(f.report.Load().String()))
		}
		if err != nil {
			return true, err
		}
	}
}

// dial connects, or gives up as soon as ctx is done.
func (f *Feed) dial(ctx context.Context, notifications chan *pq.Notification) (*pq.ListenerConn, error) {
	type result struct {
		conn *pq.ListenerConn
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		conn, err := pq.NewListenerConn(f.listenURL, notifications)
		dialled <- result{conn, err}
	}()
	select {
	case r := <-dialled:
		return r.conn, r.err
	case <-ctx.Done():
		go func() { // nobody needs what still comes
			if r := <-dialled; r.err == nil {
				_ = r.conn.Close()
				for range notifications {
				}
			}
		}()
		return nil, ctx.Err()
	}
}

// execListening runs a statement on a connection, and closes the connection if no
// answer comes: the path may be dead, and the system would wait much longer.
func execListening(conn *pq.ListenerConn, what, statement string) error {
	watchdog := time.AfterFunc(answerTimeout, func() { _ = conn.Close() })
	_, err := conn.ExecSimpleQuery(statement)
	if !watchdog.Stop() {
		err = fmt.Errorf("the database did not answer within %v", answerTimeout)
	}
	return named(what, err)
}
