package snapshot

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

// Flag is what a feature resolves to.
type Flag struct {
	Feature, Variant string
}

// Body is the answer that all subjects of one class get during one epoch, with
// the values of its headers as net/http wants them. It never changes, and its
// fields must not be changed.
type Body struct {
	JSON   []byte   // {"flags":{…}}, features in name order
	ETag   []string // strong: a hash of JSON, the same on every edge
	Length []string // of JSON
	Flags  []Flag   // in name order

	class   ClassID
	set     *bodySet
	ofrep   atomic.Pointer[OFREP] // set once, under counts.mu
	served  atomic.Uint64
	retired atomic.Bool
}

const (
	bodyStart = `{"flags":`
	bodyEnd   = `}`
)

// Object is the flags alone, as a JSON object.
func (b *Body) Object() []byte { return b.JSON[len(bodyStart) : len(b.JSON)-len(bodyEnd)] }

// Only is the part of Flags that is one feature's.
func (b *Body) Only(feature string) []Flag {
	i, found := slices.BinarySearchFunc(b.Flags, feature, func(f Flag, name string) int { return cmp.Compare(f.Feature, name) })
	if !found {
		return nil
	}
	return b.Flags[i : i+1]
}

// CountServed notes that the body was given to a subject.
func (b *Body) CountServed() {
	b.served.Add(1)
	// Whoever retires a body sets the mark before collecting its count. So either
	// this count was there to be collected, or the mark is seen here.
	if b.retired.Load() {
		b.set.counts.collect(b)
	}
}

// render makes the body of a class.
func render(resolver *evaluation.Resolver, class model.Class, at time.Time) *Body {
	b := &Body{}
	resolver.Decide(class, at, func(d evaluation.Decision) bool {
		b.Flags = append(b.Flags, Flag{d.Feature, d.Variant})
		return true
	})
	b.JSON = AppendFlags(nil, b.Flags)
	b.ETag = []string{ETag(b.JSON)}
	b.Length = []string{strconv.Itoa(len(b.JSON))}
	return b
}

// AppendFlags appends the JSON of an answer. Names need no escaping: their
// pattern leaves nothing to escape.
func AppendFlags(to []byte, flags []Flag) []byte {
	to = append(to, bodyStart+`{`...)
	for i, f := range flags {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(to, '"')
		to = append(to, f.Feature...)
		to = append(to, `":"`...)
		to = append(to, f.Variant...)
		to = append(to, '"')
	}
	return append(to, `}`+bodyEnd...)
}

// ETag is the strong entity tag of an answer.
func ETag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// bodySet keeps the bodies of one epoch, each at the place that its class
// number falls on: a cache without bookkeeping, one atomic load to read. Class
// numbers are dense, so two classes compete for a place only where there are more
// than maxBodies.
type bodySet struct {
	counts *Counts
	slots  []atomic.Pointer[Body] // as many as a power of two

	// Guarded by counts.mu.
	bytes  int
	hand   int
	closed bool
}

const (
	minBodies = 1 << 8
	maxBodies = 1 << 17
	// maxBodyBytes bounds what the bodies of an epoch weigh, where answers are long
	// and classes are many.
	maxBodyBytes = 128 << 20
)

func newBodySet(counts *Counts, classes int) *bodySet {
	n := minBodies
	for n < 2*classes && n < maxBodies {
		n *= 2
	}
	return &bodySet{counts: counts, slots: make([]atomic.Pointer[Body], n)}
}

func (s *bodySet) slot(class ClassID) *atomic.Pointer[Body] {
	return &s.slots[int(class)&(len(s.slots)-1)]
}

// get is the body of a class, or nil where it is not kept.
func (s *bodySet) get(class ClassID) *Body {
	if b := s.slot(class).Load(); b != nil && b.class == class {
		return b
	}
	return nil
}

// keep puts a new body in its place and returns it, or the one that another
// goroutine put there first.
func (s *bodySet) keep(class ClassID, b *Body) *Body {
	b.class, b.set = class, s
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	if s.closed {
		b.retired.Store(true)
		return b
	}
	slot := s.slot(class)
	if other := slot.Load(); other != nil {
		if other.class == class {
			return other
		}
		s.drop(slot)
	}
	slot.Store(b)
	s.bytes += b.size()
	s.bound(b)
	return b
}

// keepOFREP gives a body its other form and returns it, or the one that another
// goroutine made first.
func (s *bodySet) keepOFREP(b *Body, o *OFREP) *OFREP {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	if other := b.ofrep.Load(); other != nil {
		return other
	}
	b.ofrep.Store(o)
	if !b.retired.Load() {
		s.bytes += o.size()
		s.bound(b)
	}
	return o
}

// bound drops bodies until the rest weighs little enough, all but b if it must be.
// The caller holds counts.mu.
func (s *bodySet) bound(b *Body) {
	for s.bytes > maxBodyBytes && s.bytes > b.size() {
		s.hand = (s.hand + 1) % len(s.slots)
		if other := &s.slots[s.hand]; other.Load() != b {
			s.drop(other)
		}
	}
}

// drop empties a slot. The caller holds counts.mu.
func (s *bodySet) drop(slot *atomic.Pointer[Body]) {
	b := slot.Swap(nil)
	if b == nil {
		return
	}
	s.bytes -= b.size()
	b.retired.Store(true)
	s.counts.collectLocked(b)
}

// size is roughly what a body weighs. The caller holds counts.mu.
func (b *Body) size() int {
	size := 256 + len(b.JSON) + len(b.Flags)*32
	if o := b.ofrep.Load(); o != nil {
		size += o.size()
	}
	return size
}
