package postgres

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// dialer makes connections that notice within some ten seconds that the path to
// the server was cut without a word. Without it, who waits for an answer on such a
// connection waits for a quarter of an hour.
type dialer struct {
	net.Dialer
	// patience bounds how long a reader waits for a server that acknowledges what it
	// is sent and does not answer, in nanoseconds; 0 for as long as it takes. A
	// context does not help there: lib/pq asks the silent server to cancel.
	patience atomic.Int64
}

const unansweredTimeout = 10 * time.Second

func newDialer() *dialer {
	return &dialer{Dialer: net.Dialer{
		Timeout:         3 * time.Second, // the system repeats a lost attempt ever later
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         limitUnanswered,
	}}
}

// Dial, DialTimeout and DialContext are lib/pq's interfaces of dialers.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &patientConn{Conn: conn, patience: &d.patience}, nil
}

// attemptTimeout bounds each answer of a server that is being connected to. One
// that got stuck is so given up soon enough for the next attempt to bring its edge
// back in sync within five seconds, the pause between the two included.
const attemptTimeout = 2500 * time.Millisecond

// patientConn fails where the server stays silent beyond patience.
type patientConn struct {
	net.Conn
	patience   *atomic.Int64
	connecting atomic.Bool
}

// SetDeadline is called by lib/pq when it begins to connect, and with no time when
// it is done.
func (c *patientConn) SetDeadline(t time.Time) error {
	c.connecting.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

func (c *patientConn) Read(p []byte) (int, error) {
	if patience := time.Duration(c.patience.Load()); patience > 0 {
		if c.connecting.Load() {
			patience = min(patience, attemptTimeout)
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}
