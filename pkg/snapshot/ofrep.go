package snapshot

import (
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

// OFREP is a Body in the form of the OpenFeature Remote Evaluation Protocol,
// version 0.3.0 (github.com/open-feature/protocol). It is immutable.
type OFREP struct {
	Parts  [][]byte // of {"flags":[…]}, features in name order
	Length []string // of all parts
	ETag   []string // strong: a hash of the content, the same on every edge

	own int // bytes not shared with other classes
}

func (o *OFREP) size() int { return 128 + o.own + len(o.Parts)*24 }

// renderOFREP makes the OFREP form of a class. environment is as in Snapshot.
func renderOFREP(g *generation, environment string, class model.Class, at time.Time) *OFREP {
	r := evaluationRenderer{resolver: g.resolver, environment: environment, own: []byte(`{"flags":[`)}
	first := true
	g.resolver.Decide(class, at, func(d evaluation.Decision) bool {
		if !first {
			r.own = append(r.own, ',')
		}
		first = false
		r.add(d, class.Bucket)
		return true
	})
	r.own = append(r.own, ']')
	if environment != "" {
		r.own = append(append(append(r.own, `,"metadata":{`...), environment...), '}')
	}
	r.own = append(r.own, '}')
	o := &OFREP{Parts: r.parts(), own: len(r.own)}
	length, hash := 0, sha256.New()
	for i, part := range o.Parts {
		length += len(part)
		if i%2 == 1 { // a payload
			digest := g.digest(part)
			part = digest[:]
		}
		hash.Write(part)
	}
	o.ETag = []string{etag(hash.Sum(nil))}
	o.Length = []string{strconv.Itoa(length)}
	return o
}

// digest is the hash of a payload. It is computed once per configuration, not for
// each class.
func (g *generation) digest(payload []byte) [sha256.Size]byte {
	if known, ok := g.digests.Load(&payload[0]); ok {
		return known.([sha256.Size]byte)
	}
	digest := sha256.Sum256(payload)
	g.digests.Store(&payload[0], digest)
	return digest
}

// sharedFrom is the size in bytes from which payloads are shared, not copied.
const sharedFrom = 1 << 10

// evaluationRenderer renders text in parts. Large payloads are parts of their own
// that all texts share.
type evaluationRenderer struct {
	resolver    *evaluation.Resolver
	environment string // as in Snapshot
	own         []byte
	ends        []int // in own, of the text before each payload
	payloads    [][]byte
}

// parts alternate between the text's own bytes and a payload.
func (r *evaluationRenderer) parts() (parts [][]byte) {
	start := 0
	for i, end := range r.ends {
		parts = append(parts, r.own[start:end], r.payloads[i])
		start = end
	}
	return append(parts, r.own[start:])
}

var ofrepReasons = map[evaluation.Reason]string{
	evaluation.Default:  "STATIC",
	evaluation.Rollout:  "SPLIT",
	evaluation.ABTest:   "SPLIT",
	evaluation.Override: "TARGETING_MATCH",
}

// add appends the success item of one flag. A flag that is disabled has no value, so
// that clients take the default of their code; a null would be a value of the wrong
// type to them.
func (r *evaluationRenderer) add(d evaluation.Decision, bucket model.BucketID) {
	to := r.own
	field := func(start, text string) {
		to = append(append(append(to, start...), text...), '"')
	}
	disabled := d.Variant == model.DisablingVariant
	reason := ofrepReasons[d.Reason]
	if disabled {
		reason = "DISABLED"
	}
	field(`{"key":"`, d.Feature)
	field(`,"reason":"`, reason)
	field(`,"variant":"`, d.Variant)
	payload, _ := r.resolver.Payload(d.Feature, d.Variant)
	switch {
	case disabled:
	case len(payload) >= sharedFrom:
		to = append(to, `,"value":`...)
		r.ends, r.payloads = append(r.ends, len(to)), append(r.payloads, payload)
	case len(payload) > 0:
		to = append(append(to, `,"value":`...), payload...)
	default:
		field(`,"value":"`, d.Variant)
	}
	to = strconv.AppendInt(append(to, `,"metadata":{"revision":`...), d.Revision, 10)
	field(`,"step":"`, string(d.Reason))
	switch d.Reason {
	case evaluation.ABTest:
		field(`,"test":"`, d.Test)
		field(`,"test_group":"`, d.TestGroup)
	case evaluation.Override:
		field(`,"group":"`, d.Group)
	}
	if bucket > 0 {
		to = strconv.AppendInt(append(to, `,"bucket":`...), int64(bucket), 10)
	}
	if r.environment != "" {
		to = append(append(to, ','), r.environment...)
	}
	to = append(to, `}}`...)
	r.own = to
}
