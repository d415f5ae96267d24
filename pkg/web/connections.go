package web

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// connections bounds those that are open. If there are too many, the one that has been
// idle for longest makes room; if none is idle, the new one is refused. One address
// has at most three quarters, so that others always find room.
type connections struct {
	limit   int // 0 is no limit
	proxies []netip.Prefix
	// What was refused, and closed to make room.
	refused, closed prometheus.Counter

	mu      sync.Mutex
	open    map[*boundConn]struct{}
	from    map[netip.Prefix]int // open ones by address
	visited bool                 // there has been one
}

// add takes a connection in. It is false if there is no room for it. It waits while
// only connections could make room that are so new that their first request is on its
// way.
func (all *connections) add(c *boundConn) bool {
	for {
		added, soon := all.tryAdd(c)
		if !soon {
			return added
		}
		time.Sleep(newGrace / 20)
	}
}

func (all *connections) tryAdd(c *boundConn) (added, soon bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.visited = true
	if all.limit > 0 {
		full := len(all.open) >= all.limit
		greedy := all.from[c.address] >= all.limit-all.limit/4 && !c.trusted
		if full || greedy {
			made, soon := all.makeRoom(func(other *boundConn) bool { return !greedy || other.address == c.address })
			if !made {
				return false, soon
			}
		}
	}
	all.open[c] = struct{}{}
	all.from[c.address]++
	return true, false
}

// makeRoom closes the connection among some that has been idle for longest. soon says
// that one could be closed in a moment. The caller holds mu.
func (all *connections) makeRoom(among func(*boundConn) bool) (made, soon bool) {
	for {
		var longest *boundConn
		for c := range all.open {
			if c.state.Load() == idle && among(c) && (longest == nil || c.idleSince.Load() < longest.idleSince.Load()) {
				longest = c
			}
		}
		if longest == nil {
			return false, false
		}
		if longest.idleSince.Load() > time.Now().UnixNano() {
			return false, true
		}
		if longest.state.CompareAndSwap(idle, evicted) { // else a request came just now
			all.closed.Inc()
			all.forget(longest)
			_ = longest.TCPConn.Close() // its client learns nothing else either way
			return true, false
		}
	}
}

// remove forgets a connection that ends.
func (all *connections) remove(c *boundConn) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.forget(c)
}

// forget is remove for who holds mu.
func (all *connections) forget(c *boundConn) {
	if _, known := all.open[c]; !known {
		return
	}
	delete(all.open, c)
	if all.from[c.address]--; all.from[c.address] == 0 {
		delete(all.from, c.address)
	}
}

// count is how many are open, and whether there has ever been one.
func (all *connections) count() (open int, visited bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	return len(all.open), all.visited
}

// note follows what net/http does with a connection.
func (all *connections) note(c net.Conn, state http.ConnState) {
	for {
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = outer.NetConn()
	}
	if c, ok := c.(*boundConn); ok && state == http.StateIdle {
		c.Idle(time.Now())
	}
}

// newGrace is when a connection without any request begins to count as idle.
const newGrace = 200 * time.Millisecond

// boundListener takes in connections as far as there is room.
type boundListener struct {
	*net.TCPListener
	all   *connections
	plain bool // clients understand an answer without TLS
}

func (l *boundListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		bound := &boundConn{TCPConn: c, all: l.all}
		bound.address, bound.trusted = l.all.locate(c.RemoteAddr())
		bound.idleSince.Store(time.Now().Add(newGrace).UnixNano())
		if l.all.add(bound) {
			return bound, nil
		}
		l.all.refused.Inc()
		if l.plain {
			refuse(c)
		}
		_ = c.Close()
	}
}

// locate is where a client is, an address of version 4 or as much of one of version 6
// as one client has to itself, and whether that is a trusted proxy.
func (all *connections) locate(address net.Addr) (network netip.Prefix, trusted bool) {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, proxies := range all.proxies {
		trusted = trusted || proxies.Contains(ip)
	}
	network, _ = ip.Prefix(min(ip.BitLen(), 64)) // fails for more bits than there are
	return network, trusted
}

// States of a connection. It is in use from the first byte of a request until that is
// answered.
const (
	idle = iota
	inUse
	evicted
)

type boundConn struct {
	*net.TCPConn // which writes several buffers at once
	all          *connections
	address      netip.Prefix
	trusted      bool // a proxy, for whom there is no bound of its own
	state        atomic.Int32
	idleSince    atomic.Int64 // Unix time in nanoseconds; to come, if it is new
}

func (c *boundConn) Read(to []byte) (int, error) {
	n, err := c.TCPConn.Read(to)
	if n > 0 && c.state.Load() != inUse && !c.state.CompareAndSwap(idle, inUse) {
		return 0, net.ErrClosed // the request came too late: nobody has seen any of it
	}
	return n, err
}

// Idle notes that all requests that came are answered.
func (c *boundConn) Idle(now time.Time) {
	c.idleSince.Store(now.UnixNano())
	c.state.CompareAndSwap(inUse, idle)
}

func (c *boundConn) Close() error {
	c.all.remove(c)
	return c.TCPConn.Close()
}

// refusal is a whole answer: who is sent it is not read.
const refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 149\r\n\r\n" +
	`{"type":"about:blank","title":"Service Unavailable","status":503,"code":"not_ready","detail":"too many connections are open, try again in a second"}` + "\n"

// refuse takes no time: what it sends fits into the buffer of any new connection.
func refuse(c net.Conn) {
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write([]byte(refusal)) // the client may be gone
}
