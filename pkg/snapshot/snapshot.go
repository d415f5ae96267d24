// Package snapshot is the read model of an edge: which flags each subject gets,
// at one revision, in memory. A Snapshot never changes, so a request loads one
// pointer and sees one revision; a Builder makes the next one from an update.
//
// A subject is found by a hash of its id, which leads to its class (bucket and
// groups). All subjects of a class get the same answer. It is rendered once in each
// period, the time between two boundaries of tests, by the first request for it.
// Only the memory of the index depends on the number of subjects.
package snapshot

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
)

// Unknown is the treatment of unknown ids.
type Unknown string

// The treatments of unknown ids.
const (
	Reject   Unknown = "reject"   // nothing
	Defaults Unknown = "defaults" // default variants only
	Hash     Unknown = "hash"     // what subjects of some bucket get, chosen by a hash of the id
)

// ParseUnknown reads one of the values of Unknown.
func ParseUnknown(text string) (Unknown, error) {
	switch u := Unknown(text); u {
	case Reject, Defaults, Hash:
		return u, nil
	}
	return "", fmt.Errorf("must be %s, %s or %s, is %q", Reject, Defaults, Hash, text)
}

// Snapshot is the read model at one position. Any number of goroutines may use
// it.
type Snapshot struct {
	model.Position
	index      *index
	classes    []model.Class
	ungrouped  []ClassID
	generation *generation
	tokens     []auth.Credential // as in model.Update; nil if they were not read
	unknown    Unknown

	environment string // its member of OFREP's metadata, "" for none

	RevisionHeader []string // the revision's digits, as net/http wants the value of a header
}

func revisionHeader(p model.Position) []string { return []string{strconv.FormatInt(p.Revision, 10)} }

// Class is the class of a subject. An unknown id gets the class that Unknown gives
// it, 0 if it is rejected. Invalid ids are rejected.
func (s *Snapshot) Class(id string) ClassID {
	return s.classOf(unsafe.Slice(unsafe.StringData(id), len(id)))
}

// classOf is Class for an id in a buffer, which it neither keeps nor changes.
func (s *Snapshot) classOf(id []byte) ClassID {
	if class := s.index.lookup(id); class != 0 {
		return class
	}
	if s.unknown == Reject {
		return 0
	}
	text := unsafe.String(unsafe.SliceData(id), len(id))
	if model.CheckSubjectID(text) != nil {
		return 0
	}
	if s.unknown == Defaults {
		return s.ungrouped[0]
	}
	return s.ungrouped[bucketing.BucketOf(text, s.generation.configuration.Buckets)]
}

// Body is the answer to the subjects of a class at a moment on the database's
// clock.
func (s *Snapshot) Body(class ClassID, now time.Time) *Body {
	return s.body(s.generation.at(now.UnixNano()), class)
}

func (s *Snapshot) body(p *period, class ClassID) *Body {
	if b := p.bodies.get(class); b != nil {
		return b
	}
	g := s.generation
	return g.answers.keep(p.bodies, render(g.resolver, class, s.classes[class], time.Unix(0, p.from)))
}

// OFREP is Body in the form of that protocol.
func (s *Snapshot) OFREP(class ClassID, now time.Time) (*Body, *OFREP) {
	g := s.generation
	p := g.at(now.UnixNano())
	b := s.body(p, class)
	if o := b.ofrep.Load(); o != nil {
		return b, o
	}
	b.render.Lock()
	defer b.render.Unlock()
	if o := b.ofrep.Load(); o != nil {
		return b, o
	}
	return b, g.answers.keepOFREP(p.bodies, b, renderOFREP(g, s.environment, s.classes[class], time.Unix(0, p.from)))
}

// Evaluation is a single flag of OFREP, also in parts; false if the class has no
// flag of that name.
func (s *Snapshot) Evaluation(class ClassID, feature string, now time.Time) ([][]byte, Flag, bool) {
	g := s.generation
	of := s.classes[class]
	d, found := g.resolver.DecideFeature(feature, of, time.Unix(0, g.at(now.UnixNano()).from))
	if !found || d.Variant == "" {
		return nil, Flag{}, false
	}
	r := evaluationRenderer{resolver: g.resolver, environment: s.environment, own: make([]byte, 0, 512)}
	r.add(d, of.Bucket)
	return r.parts(), Flag{d.Feature, d.Variant}, true
}

// Credential finds a token by its hash. The duration of the search leaks nothing:
// nobody can choose the hash of a guessed token.
func (s *Snapshot) Credential(hash auth.TokenHash) (auth.Credential, bool) {
	i, found := slices.BinarySearchFunc(s.tokens, hash, func(c auth.Credential, hash auth.TokenHash) int {
		return bytes.Compare(c.Hash[:], hash[:])
	})
	if !found {
		return auth.Credential{}, false
	}
	return s.tokens[i], true
}

// HasCredentials reports whether tokens were read.
func (s *Snapshot) HasCredentials() bool { return s.tokens != nil }

// DropCredentials is for a snapshot that nobody else has yet, and whose updates will
// have no tokens: those that it has would outlive their revocation.
func (s *Snapshot) DropCredentials() { s.tokens = nil }

// Stats are the sizes of a snapshot.
type Stats struct {
	Subjects int
	Collided int // subjects that share their hash with another one, kept by their id
	Classes  int
	Buckets  int
	Features int
	Bytes    int // of the index of subjects
}

// Stats counts, in one step per shard.
func (s *Snapshot) Stats() Stats {
	return Stats{
		Subjects: s.index.count,
		Collided: len(s.index.collided),
		Classes:  len(s.classes) - 1,
		Buckets:  s.generation.configuration.Buckets,
		Features: len(s.generation.resolver.Features()),
		Bytes:    s.index.bytes(),
	}
}

// Replaced drops what the snapshot does not share with its successor. Requests that
// still hold it are answered.
func (s *Snapshot) Replaced(by *Snapshot) {
	if s.generation != by.generation {
		s.generation.retire()
	}
}
