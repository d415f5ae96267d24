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
	f := newFixture(t, pgtest.Open(t)).start(3)
	f.newAdmin(f.url).run()
	edges, admins := newBalancer(t, f.edges...), newBalancer(t, f.admins...)
	reads := f.asking(8, 2*time.Millisecond, flagsOf, edges.addr())
	direct := f.read(3, 5*time.Millisecond, f.edges...) // for the checker: behind a balancer it is unknown which edge answered
	writes := f.writeTo(4, 5*time.Millisecond, admins.addr())

	var stopped, started time.Duration
	rounds := fullOr(5, 1)
	for range rounds {
		for _, s := range append(f.edges, f.admins...) {
			stopped = max(stopped, s.terminate())
			s.start()
			started = max(started, s.awaitReady(waitLimit))
			elapse(3 * probeInterval)
		}
	}
	served, written := reads.next(), writes.next()
	direct.next() // fails while its edge is restarted
	f.noFailure("rolling restart: reads", served)
	f.noFailure("rolling restart: writes", written)
	answers := f.finish()
	measured(t, "SIGTERM, rolling restart under load", figures{
		"restarts": rounds * (len(f.edges) + len(f.admins)), "longest_stop_s": stopped, "longest_start_s": started,
		"requests": served.requests, "errors": served.failed, "writes": written.requests, "writes_failed": written.failed,
		"answers_checked": answers,
	})
}
