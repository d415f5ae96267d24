package web

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"runtime/debug"

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
	fs.IntVar(&l.Connections, "max-connections", 10_000, "`number` of connections open at once, fewer if memory is short, 0 for no limit; for more, idle ones are closed, or they are answered 503")
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
	connections connections
	letIn, open room
}

// openShare is the part of the requests that callers may have whom nobody let in.
const openShare = 4

// newBusy makes the rooms. If nobody has to be let in, the open one is all there is.
func newBusy(limits Limits, proxies []netip.Prefix, authenticates bool, r prometheus.Registerer) *busy {
	shed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "flaggery_http_shed_total",
		Help: "What was refused with 503 because the service is busy: connections beyond FLAGGERY_MAX_CONNECTIONS, requests beyond FLAGGERY_MAX_REQUESTS; and idle connections that were closed to make room.",
	}, []string{"what"})
	r.MustRegister(shed)
	limits = limits.within(debug.SetMemoryLimit(-1)) // which asks, and sets nothing
	b := &busy{connections: connections{
		limit: limits.Connections, proxies: proxies, refused: shed.WithLabelValues("connection"), closed: shed.WithLabelValues("idle"),
		open: map[*boundConn]struct{}{}, from: map[netip.Prefix]int{},
	}}
	b.letIn.refused = shed.WithLabelValues("request")
	b.open.refused = b.letIn.refused
	b.letIn.resize(limits.Requests)
	b.open.resize(limits.Requests)
	if authenticates && limits.Requests > 0 {
		b.open.resize(max(limits.Requests/openShare, 1))
	}
	return b
}
