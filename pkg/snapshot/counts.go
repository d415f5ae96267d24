package snapshot

import "sync"

// Counts is how often each variant of each feature was served. A request counts
// by one atomic add to its body; what is served of each variant is summed up
// only when asked for. No count is lost where bodies come and go.
type Counts struct {
	mu     sync.Mutex
	totals map[Flag]uint64 // of bodies that are kept no longer
	sets   map[*bodySet]struct{}
}

// NewCounts starts at zero. One Counts lives as long as its process.
func NewCounts() *Counts {
	return &Counts{totals: map[Flag]uint64{}, sets: map[*bodySet]struct{}{}}
}

// Add counts flags that were served once, outside of a body.
func (c *Counts) Add(flags []Flag) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range flags {
		c.totals[f]++
	}
}

// Totals is how often each flag was served until now.
func (c *Counts) Totals() map[Flag]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	// What the live bodies have is collected, so that the next call finds less.
	for set := range c.sets {
		for i := range set.slots {
			if b := set.slots[i].Load(); b != nil {
				c.collectLocked(b)
			}
		}
	}
	totals := make(map[Flag]uint64, len(c.totals))
	for f, n := range c.totals {
		totals[f] = n
	}
	return totals
}

func (c *Counts) collect(b *Body) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.collectLocked(b)
}

func (c *Counts) collectLocked(b *Body) {
	n := b.served.Swap(0)
	if n == 0 {
		return
	}
	for _, f := range b.Flags {
		c.totals[f] += n
	}
}

func (c *Counts) open(set *bodySet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sets[set] = struct{}{}
}

// close collects and forgets a set. Bodies made for it later are not kept.
func (c *Counts) close(set *bodySet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set.closed = true
	for i := range set.slots {
		set.drop(&set.slots[i])
	}
	delete(c.sets, set)
}
