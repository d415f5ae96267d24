package snapshot

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

// generation is one configuration and the answers made from it. Snapshots that
// differ only in their subjects share it.
type generation struct {
	configuration *model.Configuration // for the snapshot file
	resolver      *evaluation.Resolver // the same, compiled
	buckets       int
	counts        *Counts
	classes       int // how many there were when it began
	epoch         atomic.Pointer[epoch]

	mu      sync.Mutex // for moving on to the next epoch
	retired bool       // guarded by mu
}

// epoch is the time between two boundaries of tests, during which every class
// keeps its answer.
type epoch struct {
	from, until int64 // Unix time in nanoseconds, until excluded
	*bodySet
}

func newGeneration(resolver *evaluation.Resolver, c *model.Configuration, classes int, counts *Counts, now int64) *generation {
	g := &generation{configuration: c, resolver: resolver, buckets: c.Buckets, classes: classes, counts: counts}
	g.epoch.Store(g.newEpoch(now))
	return g
}

func (g *generation) newEpoch(now int64) *epoch {
	e := &epoch{from: now, until: math.MaxInt64, bodySet: newBodySet(g.counts, g.classes)}
	if until, ok := g.resolver.NextBoundary(time.Unix(0, now)); ok {
		e.until = until.UnixNano()
	}
	g.counts.open(e.bodySet)
	return e
}

// crowded reports whether classes compete for places in the cache of bodies that
// need not.
func (g *generation) crowded(classes int) bool {
	places := len(g.epoch.Load().slots)
	return classes > places && places < maxBodies
}

// at is the epoch of a moment. Epochs only move on: a clock that is set back by
// a little does not bring back an answer that was already replaced.
func (g *generation) at(now int64) *epoch {
	if e := g.epoch.Load(); now < e.until {
		return e
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.epoch.Load()
	if now < old.until {
		return old
	}
	e := g.newEpoch(now)
	g.epoch.Store(e)
	g.counts.close(old.bodySet)
	if g.retired {
		g.counts.close(e.bodySet)
	}
	return e
}

// retire lets go of the bodies. Who still holds the generation is served on, from
// bodies made for one answer.
func (g *generation) retire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.retired = true
	g.counts.close(g.epoch.Load().bodySet)
}
