package snapshot

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

// Flag is what a feature resolves to.
type Flag struct {
	Feature, Variant string
}

// Body is the answer that all subjects of one class get during one period, with
// the values of its headers as net/http wants them. Its fields must not be changed.
type Body struct {
	JSON   []byte   // {"flags":{…}}, features in name order
	ETag   []string // strong: a hash of JSON, the same on every edge
	Length []string // of JSON
	Flags  []Flag   // in name order

	class   ClassID
	ofrep   atomic.Pointer[OFREP] // nil until the first request for it
	render  sync.Mutex            // of ofrep: one request makes it, others wait
	answers *Answers              // collects served
	served  atomic.Uint64         // since it was last collected
	retired atomic.Bool           // Answers does not keep the body any longer
}

const (
	bodyStart = `{"flags":`
	bodyEnd   = `}`
)

// Object is the flags alone, as a JSON object.
func (b *Body) Object() []byte { return b.JSON[len(bodyStart) : len(b.JSON)-len(bodyEnd)] }

// CountServed notes that the body was given to a subject.
func (b *Body) CountServed() {
	b.served.Add(1)
	if b.retired.Load() {
		b.answers.collectRetired(b)
	}
}

// render makes the body of a class.
func render(resolver *evaluation.Resolver, id ClassID, class model.Class, at time.Time) *Body {
	b := &Body{class: id}
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
	return etag(sum[:])
}

func etag(sum []byte) string { return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"` }
