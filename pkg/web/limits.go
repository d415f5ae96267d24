package web

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits bound the memory that a service holds for its clients. Beyond them,
// connections and requests are rejected early and cheaply with 503 and Retry-After.
// 0 is no limit.
type Limits struct {
	Connections int
	Requests    int // working at once; waiting requests are bounded by half their memory
}

// Flags adds the settings to fs, with their defaults.
func (l *Limits) Flags(fs *flag.FlagSet) {
	fs.IntVar(&l.Connections, "max-connections", 10_000, "largest `number` of open connections, lowered if memory is short, 0 for no limit; beyond it idle connections are closed, or new ones are answered 503")
	fs.IntVar(&l.Requests, "max-requests", 500, "largest `number` of requests in progress, lowered if memory is short, 0 for no limit; beyond it requests are answered 503")
}

// The most memory that a connection (buffers, stacks) and a request (the largest
// body, its decoded form, the answer) can take, in bytes.
const (
	connectionCost = 32 << 10
	requestCost    = 4 << 20
)

// fitting lowers the limits to five eighths of the memory: a quarter each for
// connections and working requests, an eighth for waiting requests.
func (l Limits) fitting(memory int64) Limits {
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

// busy enforces the limits.
type busy struct {
	connections connections
	letIn, open room
}

// openShare is the share of the requests for unauthenticated callers.
const openShare = 4

// newBusy creates the rooms. Without authentication, there is only the open one.
func newBusy(limits Limits, proxies []netip.Prefix, authenticates bool, r prometheus.Registerer) *busy {
	rejected := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "flaggery_http_rejected_total",
		Help: "Connections beyond FLAGGERY_MAX_CONNECTIONS and requests beyond FLAGGERY_MAX_REQUESTS, which are rejected with 503, and idle connections closed to make room.",
	}, []string{"what"})
	r.MustRegister(rejected)
	limits = limits.fitting(debug.SetMemoryLimit(-1)) // a negative value only reads the limit
	b := &busy{connections: connections{
		limit: limits.Connections, proxies: proxies, refused: rejected.WithLabelValues("connection"), closed: rejected.WithLabelValues("idle"),
		open: map[*boundConn]struct{}{}, from: map[netip.Prefix]int{},
	}}
	b.letIn.refused = rejected.WithLabelValues("request")
	b.open.refused = b.letIn.refused
	b.letIn.resize(limits.Requests)
	b.open.resize(limits.Requests)
	if authenticates && limits.Requests > 0 {
		b.open.resize(max(limits.Requests/openShare, 1))
	}
	return b
}
