package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
	"github.com/flaggery/flaggery/pkg/web"
)

// A batch's answer may be thousands of times as long as its request. So it is written
// as it is made, through a buffer of fixed size, and nothing but the request is held.

var postFlags = huma.Operation{
	OperationID: "post-flags", Method: http.MethodPost, Path: "/v1/subjects/flags", Tags: []string{"Flags"},
	Summary: "What many subjects get",
}

type batchInput struct{ Body api.BatchFlagsRequest }

// postFlags answers for many subjects from one snapshot.
func (e *service) postFlags(ctx context.Context, in *batchInput) (*huma.StreamResponse, error) {
	var faults model.Faults
	for i, id := range in.Body.SubjectIDs {
		if err := model.CheckSubjectID(id); err != nil {
			faults.Check(fmt.Sprintf("body.subject_ids[%d]", i), err)
		}
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	s, err := e.snapshot(ctx, 0, 0)
	if err != nil {
		return nil, err
	}
	if err := web.Wait(ctx); err != nil { // for the client, from now on
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) { e.answerBatch(hc, s, in.Body.SubjectIDs) }}, nil
}

// postPlainFlags is a middleware in front of postFlags: it answers requests in their
// usual form, whose ids are read where they are, and passes all others on.
func (e *service) postPlainFlags(hc huma.Context, next func(huma.Context)) {
	c := humaecho.Unwrap(hc)
	r := c.Request()
	v := viewOf(r.Context())
	if v == nil || r.ContentLength < 1 || r.ContentLength > web.MaxBody || r.Header.Get(echo.HeaderContentType) != api.MediaJSON {
		next(hc)
		return
	}
	body, err := readKnown(r.Body, int(r.ContentLength))
	b := batches.Get().(*batch)
	defer b.release()
	var plain bool
	if err == nil {
		b.ids, plain = appendPlainIDs(b.ids, body)
	}
	if !plain {
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body)) // which fails again if it failed
		next(hc)
		return
	}
	if err := web.Wait(r.Context()); err != nil {
		e.web.WriteProblem(hc, err)
		return
	}
	b.answer(e, hc, v.snapshot)
}

func (e *service) answerBatch(hc huma.Context, s *snapshot.Snapshot, ids []string) {
	b := batches.Get().(*batch)
	defer b.release()
	b.ids = append(b.ids, ids...)
	b.answer(e, hc, s)
}

// readKnown reads n bytes. What it allocates grows with what comes: a client that
// announces much and sends little holds little.
func readKnown(from io.Reader, n int) ([]byte, error) {
	body := make([]byte, 0, min(n+1, 4<<10)) // one byte more, to read the end
	for {
		got, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+got]
		switch {
		case err == io.EOF && len(body) == n:
			return body, nil
		case err == io.EOF:
			return body, io.ErrUnexpectedEOF
		case err != nil:
			return body, err
		case len(body) == cap(body):
			body = append(make([]byte, 0, min(2*len(body), n+1)), body...)
		}
	}
}

// appendPlainIDs appends the ids of a request in its plain form, as parts of the body.
// It is false for all other texts.
func appendPlainIDs(to []string, body []byte) ([]string, bool) {
	to = slices.Grow(to, min(1+bytes.Count(body, []byte{','}), maxBatch))
	p := plainText{body, true}
	p.skip("{", `"subject_ids"`, ":", "[")
	for p.ok && len(to) < maxBatch {
		to = append(to, p.id())
		if p.rest = trimSpace(p.rest); len(p.rest) > 0 && p.rest[0] == ']' {
			break
		}
		p.skip(",")
	}
	p.skip("]", "}")
	return to, p.ended()
}

// plainText is what is left of a JSON text in its plain form: members in the order
// expected, no other ones, and ids of printable ASCII without escapes.
type plainText struct {
	rest []byte
	ok   bool // so far
}

// skip reads tokens, with space before each.
func (p *plainText) skip(tokens ...string) {
	for _, token := range tokens {
		p.rest = trimSpace(p.rest)
		if p.ok = p.ok && bytes.HasPrefix(p.rest, []byte(token)); !p.ok {
			return
		}
		p.rest = p.rest[len(token):]
	}
}

// id reads a string that can be the id of a subject. It is a part of the text.
func (p *plainText) id() string {
	p.skip(`"`)
	end := bytes.IndexByte(p.rest, '"')
	if p.ok = p.ok && 0 < end && end <= model.MaxSubjectIDLength && printable(p.rest[:end]); !p.ok {
		return ""
	}
	id := text(p.rest[:end])
	p.rest = p.rest[end+1:]
	return id
}

func (p *plainText) ended() bool { return p.ok && len(trimSpace(p.rest)) == 0 }

// trimSpace drops what may stand between the parts of a JSON text.
func trimSpace(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\n' || text[0] == '\r' || text[0] == '\t') {
		text = text[1:]
	}
	return text
}

// maxBatch is the maxItems of [api.BatchFlagsRequest].
const maxBatch = 10_000

// printable reports whether a text is ASCII that JSON strings hold as it is.
func printable(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// batch is what is held for one answer.
type batch struct {
	ids    []string
	places []int32 // of ids, plus 1, by hash: see distinct
	out    []byte
	seed   maphash.Seed
}

const batchBuffer = 32 << 10 // and room for an id, which JSON may make six times as long

var batches = sync.Pool{New: func() any {
	return &batch{out: make([]byte, 0, batchBuffer+8*model.MaxSubjectIDLength), seed: maphash.MakeSeed()}
}}

func (b *batch) release() {
	clear(b.ids) // they are parts of a body
	b.ids = b.ids[:0]
	batches.Put(b)
}

// distinct drops ids that are there already.
func (b *batch) distinct() {
	size := 2
	for size < 2*len(b.ids) {
		size *= 2
	}
	b.places = slices.Grow(b.places[:0], size)[:size]
	clear(b.places)
	kept := b.ids[:0]
next:
	for _, id := range b.ids {
		at := int(maphash.String(b.seed, id)) & (size - 1)
		for b.places[at] != 0 {
			if kept[b.places[at]-1] == id {
				continue next
			}
			at = (at + 1) & (size - 1)
		}
		kept = append(kept, id)
		b.places[at] = int32(len(kept))
	}
	b.ids = kept
}

// answer writes the flags of all ids. They are copied from the bodies that single
// requests get.
func (b *batch) answer(e *service, hc huma.Context, s *snapshot.Snapshot) {
	b.distinct()
	hc.SetHeader(fieldContentType, api.MediaJSON)
	hc.SetStatus(http.StatusOK)
	w := &pacedWriter{ctx: hc.Context(), w: hc.BodyWriter(), began: time.Now()}
	now := e.replica.DatabaseTime(w.began)
	out, unknown, comma := b.out[:0], b.ids[:0], ""
	out = append(out, `{"flags":{`...)
	for _, id := range b.ids {
		class := s.Class(id)
		if class == 0 {
			unknown = append(unknown, id)
			continue
		}
		body := s.Body(class, now)
		body.CountServed()
		out = append(appendString(append(out, comma...), id), ':')
		comma = ","
		flags := body.Object()
		if len(out)+len(flags) > batchBuffer {
			out = w.flush(out)
		}
		if len(flags) > batchBuffer/2 {
			w.flush(flags)
		} else {
			out = append(out, flags...)
		}
	}
	out, comma = append(out, `},"unknown":[`...), ""
	for _, id := range unknown {
		if out, comma = appendString(append(out, comma...), id), ","; len(out) > batchBuffer {
			out = w.flush(out)
		}
	}
	w.flush(append(out, `]}`...))
}

// pacedWriter gives a client time as long as it reads: so much at first, and a second
// for each minimumRate bytes that it has taken.
type pacedWriter struct {
	ctx     context.Context
	w       io.Writer
	began   time.Time
	written int64
}

const (
	writeTime   = 10 * time.Second
	minimumRate = 64 << 10
)

// flush writes text and returns it emptied. It cuts the answer off if the client does
// not take it: a part must not be taken for the whole.
func (w *pacedWriter) flush(text []byte) []byte {
	left := time.Until(w.began.Add(writeTime + time.Duration(w.written/minimumRate)*time.Second))
	if left <= 0 || web.Extend(w.ctx, left) != nil {
		panic(http.ErrAbortHandler)
	}
	if _, err := w.w.Write(text); err != nil {
		panic(http.ErrAbortHandler)
	}
	w.written += int64(len(text))
	return text[:0]
}

// appendString appends text as a JSON string. Ids are plain ASCII mostly.
func appendString(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(text) // a string always has a JSON form
			return append(to, quoted...)
		}
	}
	to = append(to, '"')
	to = append(to, text...)
	return append(to, '"')
}
