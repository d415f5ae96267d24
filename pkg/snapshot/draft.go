package snapshot

import (
	"errors"
	"maps"
	"math/bits"
	"slices"
)

// draft is an index in the making. It starts from a base and copies a shard when it
// first writes to it, so the cost of a change depends on its size, and a reload of
// known subjects costs next to nothing.
type draft struct {
	index
	full  bool
	owned []bool // by shard: whether it is the draft's own and may be written to
	// visited marks, for a full load over a base, the entries that were loaded
	// again; the others are removed at the end. It is nil for shards that began
	// empty: all of their entries were loaded.
	visited        [][]uint64
	ownsCollisions bool
}

var (
	errNotKnown = errors.New("a subject that should be known is unknown")
	errNotNew   = errors.New("a subject that should be new is known")
)

// newDraft begins the index after base. A full draft holds exactly the subjects
// that are put, each once; otherwise put and remove change the base.
func newDraft(base *index, full bool, expected int) *draft {
	d := &draft{index: *base, full: full}
	d.shards = slices.Clone(base.shards)
	d.owned = make([]bool, len(d.shards))
	if !full {
		return d
	}
	d.count, d.collided, d.ownsCollisions = 0, nil, true
	if d.crowded(expected) || expected < base.count/4 || base.count == 0 {
		d.reshape(makeShards(expected))
		return d
	}
	d.visited = make([][]uint64, len(d.shards))
	for i := range d.visited {
		d.visited[i] = make([]uint64, (len(d.shards[i].entries)+63)/64)
	}
	return d
}

// put sets the class of a subject. known is whether the subject is in the base; a
// full draft finds that out itself.
func (d *draft) put(id []byte, class ClassID, known bool) error {
	if _, ok := d.collided[string(id)]; ok {
		if !known {
			return errNotNew
		}
		d.collide(id, class)
		return nil
	}
	low, high := d.hash(id)
	n := d.shardOf(high)
	at, found := d.shards[n].find(low, high)
	switch {
	case d.full && found && d.visit(n, at), !d.full && found && !known:
		d.collide(id, class)
		d.count++
	case found:
		if d.shards[n].entries[at].class != class {
			d.own(n).entries[at].class = class
		}
		if d.full {
			d.count++
		}
	case known && !d.full:
		return errNotKnown
	default:
		d.insert(n, entry{low, high, class})
		d.count++
	}
	return nil
}

// remove removes a subject of the base.
func (d *draft) remove(id []byte) error {
	if _, ok := d.collided[string(id)]; ok {
		d.ownCollisions()
		delete(d.collided, string(id))
		d.count--
		return nil
	}
	low, high := d.hash(id)
	n := d.shardOf(high)
	at, found := d.shards[n].find(low, high)
	if !found {
		return errNotKnown
	}
	d.own(n).remove(at)
	d.count--
	return nil
}

// finish returns the index. The draft must not be used afterwards.
func (d *draft) finish() *index {
	for n := range d.visited {
		came := 0
		for _, word := range d.visited[n] {
			came += bits.OnesCount64(word)
		}
		if came < d.shards[n].used {
			d.rebuild(n, len(d.shards[n].entries), true)
		}
	}
	ix := d.index
	return &ix
}

// visit marks an entry as loaded, and reports whether it already was.
func (d *draft) visit(n, at int) bool {
	if d.visited == nil {
		return true
	}
	word, bit := &d.visited[n][at/64], uint64(1)<<(at%64)
	already := *word&bit != 0
	*word |= bit
	return already
}

func (d *draft) insert(n int, e entry) {
	s := d.own(n)
	if s.full() {
		if d.visited == nil && d.crowded(d.count) {
			d.reshape(makeShards(d.count))
			n = d.shardOf(e.high)
			s = &d.shards[n]
		}
		if s.full() {
			d.rebuild(n, len(s.entries)+max(len(s.entries)/16, 1), false)
		}
	}
	at, _ := s.find(e.low, e.high)
	s.entries[at] = e
	s.used++
	d.visit(n, at)
}

func (d *draft) own(n int) *shard {
	s := &d.shards[n]
	if !d.owned[n] {
		s.entries = slices.Clone(s.entries)
		d.owned[n] = true
	}
	return s
}

// rebuild moves a shard's entries into a table of at least the given capacity;
// onlyVisited drops the others.
func (d *draft) rebuild(n, capacity int, onlyVisited bool) {
	old := d.shards[n].entries
	s := &d.shards[n]
	// The allocator rounds up; the extra space is used.
	entries := slices.Grow([]entry(nil), capacity)
	*s = shard{entries: entries[:cap(entries)]}
	d.owned[n] = true
	var visited, before []uint64
	if d.visited != nil {
		before = d.visited[n]
		visited = make([]uint64, (len(s.entries)+63)/64)
		d.visited[n] = visited
	}
	for i, e := range old {
		came := before != nil && before[i/64]&(1<<(i%64)) != 0
		if e.class == 0 || onlyVisited && !came {
			continue
		}
		at, _ := s.find(e.low, e.high)
		s.entries[at] = e
		s.used++
		if came {
			visited[at/64] |= 1 << (at % 64)
		}
	}
}

// reshape distributes all entries over another number of shards.
func (d *draft) reshape(shards []shard) {
	old := d.shards
	d.shards = shards
	d.owned = slices.Repeat([]bool{true}, len(shards))
	if d.full && d.count == 0 {
		return // a full load that takes over no entry
	}
	for _, s := range old {
		for _, e := range s.entries {
			if e.class == 0 {
				continue
			}
			n := d.shardOf(e.high)
			to := &d.shards[n]
			if to.full() {
				d.rebuild(n, len(to.entries)+max(len(to.entries)/16, 1), false)
			}
			at, _ := to.find(e.low, e.high)
			to.entries[at] = e
			to.used++
		}
	}
}

func (d *draft) crowded(count int) bool {
	return count > len(d.shards)*shardTarget*maxCrowding && len(d.shards) < maxShards
}

func (d *draft) collide(id []byte, class ClassID) {
	d.ownCollisions()
	d.collided[string(id)] = class
}

func (d *draft) ownCollisions() {
	if !d.ownsCollisions {
		d.collided = maps.Clone(d.collided)
		d.ownsCollisions = true
	}
	if d.collided == nil {
		d.collided = map[string]ClassID{}
	}
}
