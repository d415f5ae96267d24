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

// connections bounds the number of open connections. If there are too many, the
// longest idle one is closed; if none is idle, the new one is rejected. One address
// gets at most three quarters, so that others always find room.
type connections struct {
	limit   int // 0 is no limit
	proxies []netip.Prefix
	// Connections rejected, and closed to make room.
	refused, closed prometheus.Counter

	mu      sync.Mutex
	open    map[*boundConn]struct{}
	from    map[netip.Prefix]int // open ones by address
	visited bool                 // there has been a connection
}

// add accepts a connection. It returns false if there is no room for it. It waits
// if only new connections could make room, because their first request may be on
// its way.
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

// makeRoom closes the longest idle of some connections. soon reports that one may
// be closed in a moment. The caller holds mu.
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
		if longest.state.CompareAndSwap(idle, evicted) { // otherwise a request has just arrived
			all.closed.Inc()
			all.forget(longest)
			_ = longest.TCPConn.Close() // the error would not change anything
			return true, false
		}
	}
}

// remove forgets a connection that has ended.
func (all *connections) remove(c *boundConn) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.forget(c)
}

// forget is remove; the caller holds mu.
func (all *connections) forget(c *boundConn) {
	if _, known := all.open[c]; !known {
		return
	}
	delete(all.open, c)
	if all.from[c.address]--; all.from[c.address] == 0 {
		delete(all.from, c.address)
	}
}

// count returns the number of open connections, and whether there has ever been
// one.
func (all *connections) count() (open int, visited bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	return len(all.open), all.visited
}

// note follows the state of a connection in net/http.
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

// newGrace is the time after which a connection without any request counts as idle.
const newGrace = 200 * time.Millisecond

// boundListener accepts connections while there is room.
type boundListener struct {
	*net.TCPListener
	all       *connections
	cleartext bool // without TLS, so clients can read a rejection
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
		if l.cleartext {
			refuse(c)
		}
		_ = c.Close()
	}
}

// locate returns the network of a client (an IPv4 address or an IPv6 /64), and
// whether it is a trusted proxy.
func (all *connections) locate(address net.Addr) (network netip.Prefix, trusted bool) {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, proxies := range all.proxies {
		trusted = trusted || proxies.Contains(ip)
	}
	network, _ = ip.Prefix(min(ip.BitLen(), 64)) // fails only for too many bits
	return network, trusted
}

// States of a connection. It is in use from the first byte of a request to the end
// of the answer.
const (
	idle = iota
	inUse
	evicted
)

type boundConn struct {
	*net.TCPConn // for its vectored writes
	all          *connections
	address      netip.Prefix
	trusted      bool // a proxy, which has no bound of its own
	state        atomic.Int32
	idleSince    atomic.Int64 // Unix time in nanoseconds; in the future for a new one
}

func (c *boundConn) Read(to []byte) (int, error) {
	n, err := c.TCPConn.Read(to)
	if n > 0 && c.state.Load() != inUse && !c.state.CompareAndSwap(idle, inUse) {
		return 0, net.ErrClosed // the request came too late and was not read
	}
	return n, err
}

// Idle marks that all requests are answered.
func (c *boundConn) Idle(now time.Time) {
	c.idleSince.Store(now.UnixNano())
	c.state.CompareAndSwap(inUse, idle)
}

func (c *boundConn) Close() error {
	c.all.remove(c)
	return c.TCPConn.Close()
}

// refusal is a complete answer: the request itself is never read.
const refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 149\r\n\r\n" +
	`{"type":"about:blank","title":"Service Unavailable","status":503,"code":"not_ready","detail":"too many connections are open, try again in a second"}` + "\n"

// refuse does not block: the refusal fits into the send buffer of a new connection.
func refuse(c net.Conn) {
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write([]byte(refusal)) // the client may be gone
}
