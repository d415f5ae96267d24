package postgres

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// dialer makes connections that notice within about ten seconds if the path to the
// server is broken. Without it, a reader waits for an answer for a quarter of an hour.
type dialer struct {
	net.Dialer
	// readTimeout limits, in nanoseconds, how long a server that acknowledges packets may
	// take to answer; 0 for no limit. A context does not help: lib/pq would ask the
	// unresponsive server to cancel.
	readTimeout atomic.Int64
}

const unansweredTimeout = 10 * time.Second

func newDialer(readTimeout time.Duration) *dialer {
	d := &dialer{Dialer: net.Dialer{
		Timeout:         3 * time.Second, // the system retries a lost packet at growing intervals
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         limitUnanswered,
	}}
	d.setReadTimeout(readTimeout)
	return d
}

// setReadTimeout applies to all connections, existing ones too.
func (d *dialer) setReadTimeout(timeout time.Duration) { d.readTimeout.Store(int64(timeout)) }

// Dial, DialTimeout and DialContext implement lib/pq's interfaces of dialers.
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

// connectTimeout limits each answer of the server while a connection is being opened. If
// an attempt hangs, it ends early enough for the next one to have the edge in sync within
// five seconds, including the pause between the two.
const connectTimeout = 2500 * time.Millisecond

// timedConn fails if the server does not answer within the read timeout.
type timedConn struct {
	net.Conn
	readTimeout *atomic.Int64
	connecting  atomic.Bool
}

// SetDeadline is called by lib/pq when it begins to connect, and with the zero time when
// it has connected.
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
