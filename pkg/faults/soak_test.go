package faults

import (
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// Constant change and constant load: the edge's memory does not grow.
func TestSoak(t *testing.T) {
	onlyFull(t)
	f := newFixture(t, pgtest.Open(t)).start(1)
	edge := f.edges[0]
	reads, writes := f.asking(4, time.Millisecond, flagsOf, edge.addr), f.write(2, 10*time.Millisecond)

	const samples = 60
	var edges, admins []float64 // MB
	for range samples {
		elapse(*soak / samples)
		edges = append(edges, float64(memory(t, edge.pid()))/(1<<20))
		admins = append(admins, float64(memory(t, f.admins[0].pid()))/(1<<20))
	}
	served, written := reads.next(), writes.next()
	f.noFailure("soak: reads", served)
	f.noFailure("soak: writes", written)
	result := figures{"lasted_s": *soak, "requests": served.requests, "errors": served.failed, "p99_s": p99(served), "writes": written.requests}
	for name, line := range map[string][]float64{"edge": edges, "admin": admins} {
		settled := line[samples/4:]
		third := len(settled) / 3
		first, last := mean(settled[:third]), mean(settled[2*third:])
		result[name+"_mb_first"], result[name+"_mb_last"] = first, last
		if last > 1.1*first+8 {
			t.Errorf("%s's memory grew from %.0f to %.0f MB: %.0f", name, first, last, line)
		}
	}
	f.halt()
	measured(t, "soak", result)
}

func mean(values []float64) (m float64) {
	for _, v := range values {
		m += v / float64(len(values))
	}
	return m
}
