package snapshot

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

// generation is one configuration and the answers made from it. Snapshots share it
// if they differ only in their subjects.
type generation struct {
	configuration *model.Configuration // for the snapshot file
	resolver      *evaluation.Resolver // the same, compiled
	answers       *Answers
	classes       int // their number when the generation began
	period        atomic.Pointer[period]
	digests       sync.Map // of large payloads, by their first byte

	mu      sync.Mutex // held while the next period begins
	retired bool       // guarded by mu
}

// period is the time between two boundaries of tests. Every class keeps its answer
// in it.
type period struct {
	from, until int64 // Unix time in nanoseconds, until excluded
	bodies      *table
}

func newGeneration(resolver *evaluation.Resolver, c *model.Configuration, classes int, answers *Answers, now int64) *generation {
	g := &generation{configuration: c, resolver: resolver, classes: classes, answers: answers}
	g.period.Store(g.newPeriod(now))
	answers.configure(resolver)
	return g
}

func (g *generation) newPeriod(now int64) *period {
	p := &period{from: now, until: math.MaxInt64, bodies: g.answers.open(g.classes)}
	if until, ok := g.resolver.NextBoundary(time.Unix(0, now)); ok {
		p.until = until.UnixNano()
	}
	return p
}

// crowded reports whether classes compete for slots although a larger table is
// allowed.
func (g *generation) crowded(classes int) bool {
	slots := len(g.period.Load().bodies.slots)
	return classes > slots && slots < maxBodies
}

// at is the period of a moment. Periods only move forward: if the clock is set back
// slightly, replaced answers do not return.
func (g *generation) at(now int64) *period {
	if p := g.period.Load(); now < p.until {
		return p
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.period.Load()
	if now < old.until {
		return old
	}
	p := g.newPeriod(now)
	g.period.Store(p)
	g.answers.close(old.bodies)
	if g.retired {
		g.answers.close(p.bodies)
	}
	return p
}

// retire drops the bodies. Requests that still hold the generation get bodies that
// are not kept.
func (g *generation) retire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.retired = true
	g.answers.close(g.period.Load().bodies)
}
