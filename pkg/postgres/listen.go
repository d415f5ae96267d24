package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/backoff"
	"github.com/flaggery/flaggery/pkg/model"
)

// channel gets a notification with each commit. The payload is the revision.
const channel = "flaggery"

const (
	// A broken path is noticed after at most pingInterval plus answerTimeout.
	pingInterval  = 5 * time.Second
	answerTimeout = 9 * time.Second

	firstDelay = 500 * time.Millisecond
	// maxDelayAtStart spares a database that many edges wait for. maxDelayLater is
	// shorter, so that an edge that was connected before is soon in sync again.
	maxDelayAtStart = 30 * time.Second
	maxDelayLater   = 4 * time.Second
)

// Report publishes the revision that the edge serves. It does not block.
func (f *Feed) Report(at model.Position, refusing bool) {
	r := f.self
	r.epoch, r.revision, r.state = at.Epoch, at.Revision, edgeServing
	if refusing {
		r.state = edgeRefusing
	}
	f.report.Store(&r)
	f.sendReport()
}

// Drain publishes that the edge drains, so that it does not become away when its
// connection ends. It does not block.
func (f *Feed) Drain() {
	f.draining.Store(true)
	f.sendReport()
}

// current returns the report to send.
func (f *Feed) current() report {
	r := *f.report.Load()
	if f.draining.Load() {
		r.state = edgeLeaving
	}
	return r
}

// reportPolling reports on a reading connection if none is listening. A failure is only
// logged, as the next update then fails too.
func (f *Feed) reportPolling(ctx context.Context) {
	if f.listening.Load() {
		return
	}
	r := f.current()
	r.polls = true
	_, err := f.pool.ExecContext(ctx, `SELECT set_config('application_name', $1, false)`, r.String())
	if err != nil {
		f.log.DebugContext(ctx, "report failed", "error", translate(err))
	}
}

const (
	// goneTime is how long the server shows that an edge has ended: several times as long
	// as the interval at which admins read the edges, or the restart of an admin.
	goneTime = 10 * time.Second
	// goneTimeout is how long an edge waits after its last statement. The statement
	// sleeps, so no answer is expected.
	goneTimeout = 200 * time.Millisecond
)

// reportGone makes the server show that this edge has ended, after its end. An edge has
// no right to write, but a busy session does not notice that its client has disconnected.
// So the last statement sleeps, with the last report as application name, and the edge
// does not wait for its answer.
func (f *Feed) reportGone(ctx context.Context) {
	r := *f.report.Load()
	r.state = edgeGone
	ctx = context.WithoutCancel(ctx) // its end would cancel the sleep
	f.dialer.setReadTimeout(connectTimeout)
	err := f.pool.PingContext(ctx) // connects, which may take longer than goneTimeout
	if err == nil {
		f.dialer.setReadTimeout(goneTimeout)
		_, err = f.pool.ExecContext(ctx, `SELECT set_config('application_name', $1, false), pg_sleep($2)`, r.String(), goneTime.Seconds())
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			return
		}
	}
	f.log.WarnContext(ctx, "cannot report the end of this edge: admins list it as away for ten minutes", "error", translate(err))
}

func (f *Feed) sendReport() {
	select {
	case f.reported <- struct{}{}:
	default: // the pending one will be the latest
	}
}

// Listen waits for notifications until ctx is done, then reports the end of the edge. It
// calls notified as listener.listen does.
func (f *Feed) Listen(ctx context.Context, notified func(bool)) {
	ending := ctx
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ending, func() { // report the end before disconnecting, or the edge would be away in between
		f.reportGone(ctx)
		stop()
	})()
	l := listener{
		url: f.listenURL, settings: f.settings, log: f.log,
		begin: func() (end func()) {
			f.listening.Store(true)
			f.sendReport() // the connection started with the first report
			return func() { f.listening.Store(false) }
		},
		reported: f.reported,
		report:   f.current,
	}
	l.listen(ctx, notified)
}

// Listen calls notified after each commit of a revision until ctx is done, and also after
// each new connection, as notifications may have been missed before. notified must not
// block.
func (db *DB) Listen(ctx context.Context, notified func()) {
	l := listener{url: db.listenURL, settings: db.settings, log: db.log, begin: func() func() { return func() {} }}
	l.listen(ctx, func(bool) { notified() })
}

// listener keeps a connection for notifications, and reconnects whenever it is lost.
type listener struct {
	url      string
	settings string // of the connection, as a statement
	log      *slog.Logger
	begin    func() (end func()) // called when a connection listens, and at its end

	// The report of an edge on the connection; nil for none.
	reported <-chan struct{} // the report changed
	report   func() report
}

// listen waits for notifications until ctx is done. It calls notified with true for
// each, and with false for each new connection, as some may have been missed before.
// notified must not block: the notification queue of the server would grow.
//
// It is a loop around pq.ListenerConn, as pq.Listener waits forever for an answer on a
// broken path, and cannot report.
func (l *listener) listen(ctx context.Context, notified func(bool)) {
	delays := backoff.Backoff{First: firstDelay, Max: maxDelayAtStart}
	for {
		connected, err := l.once(ctx, notified)
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
		l.log.WarnContext(ctx, message, "error", translate(err), "next_try_in", delay)
		if backoff.Sleep(ctx, delay) != nil {
			return
		}
	}
}

// once runs one connection, from dialling to its end. connected is true if it listened.
func (l *listener) once(ctx context.Context, notified func(bool)) (connected bool, err error) {
	notifications := make(chan *pq.Notification, 64)
	conn, err := l.dial(ctx, notifications)
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

	for _, statement := range []string{l.settings, "LISTEN " + pq.QuoteIdentifier(channel)} { // one at a time: lib/pq cannot track several
		if err := execListening(conn, "listen", statement); err != nil {
			return false, err
		}
	}
	l.log.InfoContext(ctx, "listening to the database")
	defer l.begin()()
	notified(false)
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
		case <-l.reported:
			err = execListening(conn, "report", "SET application_name = "+pq.QuoteLiteral(l.report().String()))
		}
		if err != nil {
			return true, err
		}
	}
}

// dial connects, or gives up as soon as ctx is done.
func (l *listener) dial(ctx context.Context, notifications chan *pq.Notification) (*pq.ListenerConn, error) {
	type result struct {
		conn *pq.ListenerConn
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		conn, err := pq.NewListenerConn(l.url, notifications)
		dialled <- result{conn, err}
	}()
	select {
	case r := <-dialled:
		return r.conn, r.err
	case <-ctx.Done():
		go func() { // discard the late connection and its notifications
			if r := <-dialled; r.err == nil {
				_ = r.conn.Close()
				for range notifications {
				}
			}
		}()
		return nil, ctx.Err()
	}
}

// execListening runs a statement on a connection. If no answer comes, it closes the
// connection: the path may be broken, and the system would wait much longer.
func execListening(conn *pq.ListenerConn, what, statement string) error {
	watchdog := time.AfterFunc(answerTimeout, func() { _ = conn.Close() })
	_, err := conn.ExecSimpleQuery(statement)
	if !watchdog.Stop() {
		err = fmt.Errorf("the database did not answer within %v", answerTimeout)
	}
	return named(what, err)
}
