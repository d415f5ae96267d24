package snapshot

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flaggery/flaggery/pkg/evaluation"
)

// Answers keeps the bodies of all periods and counts how often each was served. A
// request counts by one atomic add to its body; totals by variant are summed up
// only on request. No count is lost when a body is dropped.
type Answers struct {
	mu     sync.Mutex
	tables map[*table]struct{} // of periods that are served
	totals map[Flag]uint64     // collected from bodies

	configured *evaluation.Resolver // the latest configuration
	removed    map[Flag]time.Time   // when flags with a total were found missing from it
}

// table holds the bodies of one period, each in the slot of its class number: a
// cache without bookkeeping that is read by one atomic load. Class numbers are
// dense, so two classes compete for a slot only if there are more than maxBodies.
type table struct {
	slots []atomic.Pointer[Body] // their number is a power of two

	// Guarded by Answers.mu.
	bytes  int  // of the bodies
	hand   int  // the slot that was last emptied to make room
	closed bool // new bodies are not kept
}

const (
	minBodies = 1 << 8
	maxBodies = 1 << 17
	// maxBodyBytes bounds the bodies of a period, for long answers of many classes.
	maxBodyBytes = 128 << 20

	// keepRemoved is how long a total outlives its variant. Prometheus reads the last
	// counts in that time, and a variant that comes back counts on.
	keepRemoved = time.Hour
)

func newAnswers() *Answers {
	return &Answers{
		tables: map[*table]struct{}{}, totals: map[Flag]uint64{},
		configured: &evaluation.Resolver{}, removed: map[Flag]time.Time{},
	}
}

// Add counts flags that were served once, without a body.
func (a *Answers) Add(flags ...Flag) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(flags, 1)
}

// Totals is how often each flag was served. Those of features and variants that were
// removed from the configuration are left out from an hour after the first call that
// finds them removed.
func (a *Answers) Totals(now time.Time) map[Flag]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	for t := range a.tables {
		for i := range t.slots {
			if b := t.slots[i].Load(); b != nil {
				a.collect(b)
			}
		}
	}
	maps.DeleteFunc(a.totals, func(f Flag, _ uint64) bool { return a.expired(f, now) })
	return maps.Clone(a.totals)
}

// expired reports whether the variant of a total was removed long enough ago. The
// caller holds mu.
func (a *Answers) expired(f Flag, now time.Time) bool {
	if a.isConfigured(f) {
		return false
	}
	since, known := a.removed[f]
	if !known {
		a.removed[f] = now
		return false
	}
	if now.Sub(since) < keepRemoved {
		return false
	}
	delete(a.removed, f)
	return true
}

func (a *Answers) isConfigured(f Flag) bool {
	_, ok := a.configured.Payload(f.Feature, f.Variant)
	return ok
}

// configure sets which flags exist from now on.
func (a *Answers) configure(resolver *evaluation.Resolver) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.configured = resolver
	maps.DeleteFunc(a.removed, func(f Flag, _ time.Time) bool { return a.isConfigured(f) })
}

// open makes the table of a new period.
func (a *Answers) open(classes int) *table {
	n := minBodies
	for n < 2*classes && n < maxBodies {
		n *= 2
	}
	t := &table{slots: make([]atomic.Pointer[Body], n)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tables[t] = struct{}{}
	return t
}

// close collects and forgets a table. Bodies that are made for it later are not
// kept.
func (a *Answers) close(t *table) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.closed = true
	for i := range t.slots {
		a.drop(t, &t.slots[i])
	}
	delete(a.tables, t)
}

func (t *table) slot(class ClassID) *atomic.Pointer[Body] {
	return &t.slots[int(class)&(len(t.slots)-1)]
}

// get is the body of a class, or nil if it is not kept.
func (t *table) get(class ClassID) *Body {
	if b := t.slot(class).Load(); b != nil && b.class == class {
		return b
	}
	return nil
}

// keep puts a new body in its slot and returns it, or the one that another
// goroutine put there first.
func (a *Answers) keep(t *table, b *Body) *Body {
	a.mu.Lock()
	defer a.mu.Unlock()
	b.answers = a
	if t.closed {
		b.retired.Store(true)
		return b
	}
	slot := t.slot(b.class)
	if other := slot.Load(); other != nil && other.class == b.class {
		return other
	}
	a.drop(t, slot)
	slot.Store(b)
	t.bytes += b.size()
	a.bound(t, b)
	return b
}

// keepOFREP stores the OFREP form of a body, and returns it.
func (a *Answers) keepOFREP(t *table, b *Body, o *OFREP) *OFREP {
	a.mu.Lock()
	defer a.mu.Unlock()
	b.ofrep.Store(o)
	if !b.retired.Load() {
		t.bytes += o.size()
		a.bound(t, b)
	}
	return o
}

// bound drops bodies, but never b, until the others fit into maxBodyBytes. The
// caller holds mu.
func (a *Answers) bound(t *table, b *Body) {
	for t.bytes > maxBodyBytes && t.bytes > b.size() {
		t.hand = (t.hand + 1) % len(t.slots)
		if other := &t.slots[t.hand]; other.Load() != b {
			a.drop(t, other)
		}
	}
}

// drop empties a slot. The caller holds mu.
//
// The body is marked before its count is collected, and CountServed counts before
// it looks for the mark, so each count is collected by exactly one of the two.
func (a *Answers) drop(t *table, slot *atomic.Pointer[Body]) {
	b := slot.Swap(nil)
	if b == nil {
		return
	}
	t.bytes -= b.size()
	b.retired.Store(true)
	a.collect(b)
}

func (a *Answers) collectRetired(b *Body) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.collect(b)
}

// collect moves what a body counted to the totals. The caller holds mu.
func (a *Answers) collect(b *Body) {
	if n := b.served.Swap(0); n > 0 {
		a.add(b.Flags, n)
	}
}

// add counts flags that were served n times. The caller holds mu.
func (a *Answers) add(flags []Flag, n uint64) {
	for _, f := range flags {
		a.totals[f] += n
	}
}

// size is roughly the memory of a body. It grows only while Answers.mu is held.
func (b *Body) size() int {
	size := 256 + len(b.JSON) + len(b.Flags)*32
	if o := b.ofrep.Load(); o != nil {
		size += o.size()
	}
	return size
}
