package postgres

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// dialer makes connections that notice within some ten seconds that the path to
// the server was cut without a word. Without it, a reader waits for an answer on
// such a connection for a quarter of an hour.
type dialer struct {
	net.Dialer
	// readTimeout bounds, in nanoseconds, how long a server that acknowledges what it
	// is sent may take to answer; 0 for no bound. A context does not help there:
	// lib/pq asks the silent server to cancel.
	readTimeout atomic.Int64
}

const unansweredTimeout = 10 * time.Second

func newDialer(readTimeout time.Duration) *dialer {
	d := &dialer{Dialer: net.Dialer{
		Timeout:         3 * time.Second, // the system repeats a lost attempt at growing intervals
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         limitUnanswered,
	}}
	d.setReadTimeout(readTimeout)
	return d
}

// setReadTimeout holds for all connections, also for those that exist.
func (d *dialer) setReadTimeout(timeout time.Duration) { d.readTimeout.Store(int64(timeout)) }

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
	return &timedConn{Conn: conn, readTimeout: &d.readTimeout}, nil
}

// connectTimeout bounds each answer of a server that is being connected to. A
// stuck attempt ends soon enough for the next one to bring its edge back in sync
// within five seconds, the pause between the two included.
const connectTimeout = 2500 * time.Millisecond

// timedConn fails if the server stays silent beyond the read timeout.
type timedConn struct {
	net.Conn
	readTimeout *atomic.Int64
	connecting  atomic.Bool
}

// SetDeadline is called by lib/pq when it begins to connect, and with no time when
// it is done.
func (c *timedConn) SetDeadline(t time.Time) error {
	c.connecting.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

func (c *timedConn) Read(p []byte) (int, error) {
	if timeout := time.Duration(c.readTimeout.Load()); timeout > 0 {
		if c.connecting.Load() {
			timeout = min(timeout, connectTimeout)
		}
		if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}
