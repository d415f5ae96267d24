package edge

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/shortcut"
	"github.com/flaggery/flaggery/pkg/snapshot"
	"github.com/flaggery/flaggery/pkg/web"
)

// The most frequent request of an edge, in its plain form: GET
// /v1/subject/flags?subject_id=42. It is answered here from prepared bytes, through the
// shortcut or net/http, and so are small requests of OFREP. All other requests, and
// those that fail, go to the routes.
const (
	flagsPath        = "/v1/subject/flags"
	subjectParameter = "subject_id"
)

// ServeHTTP loads the snapshot that a request is answered from, answers the plain
// form, and passes all other requests on to the routes.
func (e *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now, s := time.Now(), e.replica.Snapshot()
	if s == nil {
		e.routes.ServeHTTP(w, r)
		return
	}
	id, plain := plainID(r)
	evaluation := isPlainEvaluation(r)
	answer := func() bool {
		return plain && e.answerPlain(w, r, s, id, now) || evaluation && e.evaluatePlain(w, r, s, now)
	}
	if e.authenticator == nil && answer() {
		return // without an allocation for the plain form
	}
	v := &view{s}
	ctx := context.WithValue(r.Context(), viewKey{}, v)
	if (plain || evaluation) && e.authenticator != nil {
		caller, err := e.web.Admit(ctx, r, auth.Resolve)
		if err == nil && answer() {
			return
		}
		ctx = web.WithCaller(ctx, caller, err)
	}
	e.routes.ServeHTTP(&namingWriter{w, e, v}, r.WithContext(ctx))
}

// plainID returns the subject of a request in the plain form.
func plainID(r *http.Request) (id string, ok bool) {
	if r.Method != http.MethodGet || r.URL.Path != flagsPath || r.URL.RawPath != "" || r.ContentLength != 0 || r.Header["Origin"] != nil || !web.HeadersAreSingle(r.Header) {
		return "", false
	}
	id, ok = strings.CutPrefix(r.URL.RawQuery, subjectParameter+"=")
	if !ok || strings.ContainsAny(id, "&;") {
		return "", false
	}
	if strings.ContainsAny(id, "%+") {
		var err error
		id, err = url.QueryUnescape(id)
		return id, err == nil
	}
	return id, true
}

// answerPlain answers the plain form. It returns false if the snapshot rejects the
// subject.
func (e *service) answerPlain(w http.ResponseWriter, r *http.Request, s *snapshot.Snapshot, id string, now time.Time) bool {
	reply, ok := e.reply(s, id, nil, strings.Join(r.Header[fieldIfNoneMatch], ","), now)
	if ok {
		reply.write(w)
		e.flagsGiven.observe(reply.status, now)
	}
	return ok
}

// shortRoutes are the requests that are answered before net/http sees them.
func (e *service) shortRoutes() []shortcut.Route {
	return []shortcut.Route{
		{Start: "GET " + flagsPath + "?" + subjectParameter + "=", Answer: e.answerShort},
		{Start: "POST " + evaluateFlags.Path, ContentTypes: usualMediaTypes, Answer: e.evaluateShort},
	}
}

// answerShort answers the plain form.
func (e *service) answerShort(head []byte, body [][]byte, r shortcut.Request) (_ []byte, _ [][]byte, ok bool) {
	now, s := time.Now(), e.replica.Snapshot()
	if s == nil {
		return head, body, false
	}
	reply, ok := e.reply(s, text(r.Value), nil, text(r.IfNoneMatch), now)
	if !ok {
		return head, body, false
	}
	e.flagsGiven.observe(reply.status, now)
	head = reply.snapshot.append(appendHead(head, reply.status, reply.body.Length, reply.body.ETag))
	if reply.status == http.StatusOK {
		body = append(body, reply.body.JSON)
	}
	return append(head, e.fixed.text...), body, true
}

// evaluateShort answers a small request of OFREP.
func (e *service) evaluateShort(head []byte, body [][]byte, r shortcut.Request) (_ []byte, _ [][]byte, ok bool) {
	now, s := time.Now(), e.replica.Snapshot()
	if s == nil {
		return head, body, false
	}
	a, observers := e.evaluate(s, text(r.Value), r.Body, text(r.IfNoneMatch), now)
	if a == nil {
		return head, body, false
	}
	observers.observe(a.status, now)
	fields := e.fieldsOf(s, now)
	head = fields.append(appendHead(head, a.status, a.length, a.etag))
	if a.status == http.StatusOK {
		body = append(body, a.parts...)
	}
	return append(head, e.fixed.text...), body, true
}

// appendHead appends the status line and the header fields about the body. etag may be
// nil.
func appendHead(dst []byte, status int, length, etag []string) []byte {
	field := func(name string, value []string) {
		dst = append(append(append(append(dst, name...), ": "...), value[0]...), "\r\n"...)
	}
	if status == http.StatusNotModified {
		dst = append(dst, "HTTP/1.1 304 Not Modified\r\n"...)
	} else {
		dst = append(dst, "HTTP/1.1 200 OK\r\n"...)
		field(fieldContentType, contentTypeJSON)
		field(fieldLength, length)
	}
	if etag != nil {
		field(fieldETag, etag)
	}
	return dst
}

// text returns a buffer as a string, without a copy. It is valid until the buffer
// changes.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// observers count requests of a route that are answered before it.
type observers struct{ answered, unchanged prometheus.Observer }

func (e *service) observersOf(method, route string) observers {
	return observers{e.web.Observer(method, route, http.StatusOK), e.web.Observer(method, route, http.StatusNotModified)}
}

func (o *observers) observe(status int, began time.Time) {
	observer := o.answered
	if status == http.StatusNotModified {
		observer = o.unchanged
	}
	observer.Observe(time.Since(began).Seconds())
}

// view is the snapshot that a request is answered from. It is replaced if the
// request waits for a later revision.
type view struct{ snapshot *snapshot.Snapshot }

type viewKey struct{}

// viewOf returns the view of the request in ctx, or nil if nothing was loaded when the
// request came.
func viewOf(ctx context.Context) *view {
	v, _ := ctx.Value(viewKey{}).(*view)
	return v
}

// namingWriter adds the header fields about the snapshot to every answer of the routes,
// problems included.
type namingWriter struct {
	http.ResponseWriter
	edge *service
	view *view
}

func (w *namingWriter) WriteHeader(status int) {
	fields := w.edge.fieldsOf(w.view.snapshot, time.Now())
	fields.set(w.Header())
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (w *namingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
