package web

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits bound what a service holds in memory at once for its clients. What is
// beyond them is refused with 503 and Retry-After, before it costs anything.
// 0 is no limit.
type Limits struct {
	Connections int
	Requests    int // that work at once; those that wait are bounded by half the memory of these
}

// Flags adds the settings to fs, with their defaults.
func (l *Limits) Flags(fs *flag.FlagSet) {
	fs.IntVar(&l.Connections, "max-connections", 10_000, "`number` of connections open at once, fewer where memory is short, 0 for no limit; more are answered 503 and closed")
	fs.IntVar(&l.Requests, "max-requests", 500, "`number` of requests worked on at once, fewer if memory is short, 0 for no limit; more are answered 503")
}

// What a connection and a request can cost in bytes: buffers and stacks, and a
// body of the largest size with what is made of it and its answer.
const (
	connectionCost = 32 << 10
	requestCost    = 4 << 20
)

// within lowers the limits to what fits in five eighths of so much memory: a quarter
// each for connections and requests that work, an eighth for requests that wait.
func (l Limits) within(memory int64) Limits {
	return Limits{
		Connections: int(min(int64(l.Connections), max(memory/4/connectionCost, 1))),
		Requests:    int(min(int64(l.Requests), max(memory/4/requestCost, 1))),
	}
}

// Validate reports every limit at fault.
func (l *Limits) Validate() error {
	var connections, requests error
	if l.Connections < 0 {
		connections = fmt.Errorf("FLAGGERY_MAX_CONNECTIONS (--max-connections) must not be negative, is %d", l.Connections)
	}
	if l.Requests < 0 {
		requests = fmt.Errorf("FLAGGERY_MAX_REQUESTS (--max-requests) must not be negative, is %d", l.Requests)
	}
	return errors.Join(connections, requests)
}

// busy keeps to the limits.
type busy struct {
	limits          Limits
	connections     atomic.Int64 // open ones
	visited         atomic.Bool  // there has been a connection
	letIn, open     room
	shedConnections prometheus.Counter
}

// openShare is the part of the requests that callers may have whom nobody let in.
const openShare = 4

// newBusy makes the rooms. If nobody has to be let in, the open one is all there is.
func newBusy(limits Limits, authenticates bool, r prometheus.Registerer) *busy {
	shed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "flaggery_http_shed_total",
		Help: "What was refused with 503 because the service is busy: connections beyond FLAGGERY_MAX_CONNECTIONS, requests beyond FLAGGERY_MAX_REQUESTS.",
	}, []string{"what"})
	r.MustRegister(shed)
	limits = limits.within(debug.SetMemoryLimit(-1)) // which asks, and sets nothing
	b := &busy{limits: limits, shedConnections: shed.WithLabelValues("connection")}
	b.letIn.refused = shed.WithLabelValues("request")
	b.open.refused = b.letIn.refused
	b.letIn.resize(limits.Requests)
	b.open.resize(limits.Requests)
	if authenticates && limits.Requests > 0 {
		b.open.resize(max(limits.Requests/openShare, 1))
	}
	return b
}

// boundListener counts open connections and refuses those beyond the limit.
type boundListener struct {
	*net.TCPListener
	busy  *busy
	plain bool // clients understand an answer without TLS
}

func (l *boundListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		release := sync.OnceFunc(func() { l.busy.connections.Add(-1) })
		l.busy.visited.Store(true)
		if n := l.busy.connections.Add(1); l.busy.limits.Connections == 0 || n <= int64(l.busy.limits.Connections) {
			return &boundConn{c, release}, nil
		}
		release()
		l.busy.shedConnections.Inc()
		if l.plain {
			refuse(c)
		}
		_ = c.Close()
	}
}

type boundConn struct {
	*net.TCPConn // which writes several buffers at once
	release      func()
}

func (c *boundConn) Close() error {
	c.release()
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
