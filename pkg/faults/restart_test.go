package faults

import (
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// Three edges are restarted one after the other behind a balancer, and the two
// admins as well, all under load. No request fails.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.Open(t)).start(3)
	w.newAdmin(w.url).run()
	edges, admins := newBalancer(t, w.edges...), newBalancer(t, w.admins...)
	reads := w.asking(8, 2*time.Millisecond, flagsOf, edges.addr())
	direct := w.read(3, 5*time.Millisecond, w.edges...) // for the checker: behind a balancer it is unknown which edge answered
	writes := w.writeTo(4, 5*time.Millisecond, admins.addr())

	var stopped, started time.Duration
	rounds := fullOr(5, 1)
	for range rounds {
		for _, s := range append(w.edges, w.admins...) {
			stopped = max(stopped, s.terminate())
			s.start()
			started = max(started, s.awaitReady(waitLimit))
			elapse(3 * probeInterval)
		}
	}
	served, written := reads.next(), writes.next()
	direct.next() // fails while its edge is restarted
	w.noFailure("rolling restart: reads", served)
	w.noFailure("rolling restart: writes", written)
	answers := w.finish()
	measured(t, "SIGTERM, rolling restart under load", figures{
		"restarts": rounds * (len(w.edges) + len(w.admins)), "longest_stop_s": stopped, "longest_start_s": started,
		"requests": served.requests, "errors": served.failed, "writes": written.requests, "writes_failed": written.failed,
		"answers_checked": answers,
	})
}
