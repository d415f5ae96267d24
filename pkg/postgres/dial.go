package postgres

import (
	"context"
	"net"
	"time"
)

// dialer makes connections that notice within some ten seconds that the path to
// the server was cut without a word. Without it, who waits for an answer on such a
// connection waits for a quarter of an hour.
type dialer struct{ net.Dialer }

const unansweredTimeout = 10 * time.Second

func newDialer() *dialer {
	return &dialer{net.Dialer{
		Timeout:         3 * time.Second, // the system repeats a lost attempt ever later
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         limitUnanswered,
	}}
}

// DialTimeout is part of lib/pq's interface of dialers.
func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}
