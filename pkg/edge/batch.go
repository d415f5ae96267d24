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

// The answer to a batch may be thousands of times as long as the request. So it is
// written piece by piece through a buffer of fixed size; only the request is in memory.

var postFlags = huma.Operation{
	OperationID: "post-flags", Method: http.MethodPost, Path: "/v1/subjects/flags", Tags: []string{"Flags"},
	Summary:     "Get the flags of many subjects",
	Description: "Answers for up to 10,000 subjects from one revision. Ids that it does not answer for are listed as unknown.",
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
	if err := web.Wait(ctx); err != nil { // from now on it waits for the client
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) { e.answerBatch(hc, s, in.Body.SubjectIDs) }}, nil
}

// postPlainFlags is a middleware in front of postFlags. It answers requests in the
// plain form, without copying their ids out of the body, and passes on all others.
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

// readKnown reads n bytes. It allocates as bytes arrive: a client that announces much
// and sends little takes little memory.
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

// appendPlainIDs appends the ids of a request in the plain form, as parts of the body.
// It returns false for any other form.
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

// plainText is the unread rest of a JSON text in the plain form: exactly the expected
// members, in the expected order, with ids of printable ASCII without escapes.
type plainText struct {
	rest []byte
	ok   bool // so far
}

// skip reads tokens, each after optional space.
func (p *plainText) skip(tokens ...string) {
	for _, token := range tokens {
		p.rest = trimSpace(p.rest)
		if p.ok = p.ok && bytes.HasPrefix(p.rest, []byte(token)); !p.ok {
			return
		}
		p.rest = p.rest[len(token):]
	}
}

// id reads a valid subject id. The result is a part of the text.
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

// trimSpace drops leading JSON whitespace.
func trimSpace(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\n' || text[0] == '\r' || text[0] == '\t') {
		text = text[1:]
	}
	return text
}

// maxBatch is the maxItems of [api.BatchFlagsRequest].
const maxBatch = 10_000

// printable reports whether a text is ASCII that needs no escapes in a JSON string.
func printable(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// batch holds the memory for one answer.
type batch struct {
	ids    []string
	places []int32 // of ids, plus 1, by hash: see distinct
	out    []byte
	seed   maphash.Seed
}

const batchBuffer = 32 << 10 // plus space for one id, which escapes may make six times as long

var batches = sync.Pool{New: func() any {
	return &batch{out: make([]byte, 0, batchBuffer+8*model.MaxSubjectIDLength), seed: maphash.MakeSeed()}
}}

func (b *batch) release() {
	clear(b.ids) // they would keep a body in memory
	b.ids = b.ids[:0]
	batches.Put(b)
}

// distinct drops repeated ids.
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

// answer writes the flags of all ids, copied from the prepared bodies for single
// requests.
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

// pacedWriter gives a client time as long as it reads: writeTime at first, and a
// second more for each minimumRate bytes that it has read.
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

// flush writes text and returns its empty buffer. If the client is too slow, it aborts
// the connection, so that the client does not mistake a part for the whole answer.
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

// appendString appends text as a JSON string. Most ids are printable ASCII.
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
