package snapshot

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"unsafe"

	"github.com/dchest/siphash"
)

// ClassID numbers the classes of subjects; 0 stands for no class.
type ClassID uint32

// key keys the hash of subject ids. It is random per process, so that nobody can
// choose ids that collide.
type key [16]byte

func newKey() (k key) {
	_, _ = rand.Read(k[:]) // documented never to fail
	return k
}

// index maps subject ids to classes without keeping the ids: it holds their keyed
// 64-bit hashes. It is immutable; the next index shares the unchanged shards.
//
// Known subjects with the same hash are kept apart: the later one is in collided,
// by its id. An unknown id is mistaken for a known one with probability n / 2^64,
// as its hash must equal one of n among 2^64 values: for ten million subjects 10^7
// / 1.8·10^19 = 5.4·10^-13.
type index struct {
	k0, k1   uint64
	mask     uint64 // all ones; tests shorten the hash with it
	shards   []shard
	collided map[string]ClassID
	count    int // subjects, collided ones included
}

// shard is an open-addressing table with linear probing. It holds no pointers, so
// the garbage collector never walks it. It is small: a changed subject costs the
// copy of a few kilobytes.
type shard struct {
	entries []entry
	used    int
}

// entry is one subject: 12 bytes, as three fields of 4 need no padding.
type entry struct {
	low, high uint32 // the halves of the hash
	class     ClassID
}

func newIndex(k key, expected int) *index {
	ix := &index{
		k0:   binary.LittleEndian.Uint64(k[:8]),
		k1:   binary.LittleEndian.Uint64(k[8:]),
		mask: ^uint64(0),
	}
	ix.shards = makeShards(expected)
	return ix
}

func (ix *index) hash(id []byte) (low, high uint32) {
	h := siphash.Hash(ix.k0, ix.k1, id) & ix.mask
	return uint32(h), uint32(h >> 32)
}

// lookup is the class of a subject, or 0 if there is no such subject.
func (ix *index) lookup(id []byte) ClassID {
	if len(ix.collided) > 0 {
		if class, ok := ix.collided[string(id)]; ok {
			return class
		}
	}
	low, high := ix.hash(id)
	entries := ix.shards[ix.shardOf(high)].entries
	for i := home(low, len(entries)); ; i++ {
		if i == len(entries) {
			i = 0
		}
		e := &entries[i]
		if e.low == low && e.high == high || e.class == 0 {
			return e.class
		}
	}
}

// bytes is the memory of the tables.
func (ix *index) bytes() int {
	n := len(ix.shards) * int(unsafe.Sizeof(shard{}))
	for i := range ix.shards {
		n += cap(ix.shards[i].entries) * int(unsafe.Sizeof(entry{}))
	}
	return n
}

// shardOf and home take different halves of the hash, and scale them instead of
// masking: any number of shards and entries will do, so memory follows the
// number of subjects and not the next power of two.
func (ix *index) shardOf(high uint32) int {
	n, _ := bits.Mul32(high, uint32(len(ix.shards)))
	return int(n)
}

func home(low uint32, capacity int) int {
	n, _ := bits.Mul32(low, uint32(capacity))
	return int(n)
}

const (
	minShards = 16
	maxShards = 1 << 16
	// A full shard of shardTarget subjects fits one of the allocator's size classes
	// (28,672 bytes) with its load still below maxLoad, for most shards: sizes
	// scatter around the mean by its square root, 43.
	shardTarget   = 1850
	shardCapacity = 28672 / int(unsafe.Sizeof(entry{}))
	minCapacity   = 16
	// maxLoad in percent: above it unsuccessful probes grow long.
	maxLoad = 80
	// maxCrowding is how many times shardTarget the average shard may hold before
	// the index gets more shards.
	maxCrowding = 4
)

// makeShards makes empty shards for the expected number of subjects.
func makeShards(expected int) []shard {
	shards := make([]shard, min(max((expected+shardTarget-1)/shardTarget, minShards), maxShards))
	capacity := shardCapacity
	if len(shards) == minShards || len(shards) == maxShards {
		each := expected / len(shards)
		capacity = max((each+each/16)*100/maxLoad, minCapacity)
	}
	for i := range shards {
		shards[i].entries = make([]entry, capacity)
	}
	return shards
}

// find returns the place of a hash in the shard, or the free place for it.
func (s *shard) find(low, high uint32) (at int, found bool) {
	for i := home(low, len(s.entries)); ; i++ {
		if i == len(s.entries) {
			i = 0
		}
		e := &s.entries[i]
		if e.class == 0 {
			return i, false
		}
		if e.low == low && e.high == high {
			return i, true
		}
	}
}

// full reports whether one more entry needs a larger table.
func (s *shard) full() bool { return (s.used+1)*100 > len(s.entries)*maxLoad }

// remove removes the entry at i. It moves later entries that the removed one
// displaced into the gap, so that no probe ends early.
func (s *shard) remove(i int) {
	n := len(s.entries)
	for gap := i; ; {
		i++
		if i == n {
			i = 0
		}
		e := s.entries[i]
		if e.class == 0 {
			s.entries[gap] = entry{}
			s.used--
			return
		}
		// e may move to the gap if that lies between its home and its place.
		if h := home(e.low, n); (i-h+n)%n >= (i-gap+n)%n {
			s.entries[gap] = e
			gap = i
		}
	}
}
