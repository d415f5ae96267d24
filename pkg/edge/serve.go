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
	"github.com/flaggery/flaggery/pkg/snapshot"
	"github.com/flaggery/flaggery/pkg/web"
)

// The request that an edge lives for, in its plain form: GET
// /v1/subject/flags?subject_id=42. It is answered here, from prepared bytes, by the
// shortcut or by net/http; all other requests, and those that fail, go to the
// routes. So does OFREP, but for small requests that succeed.
const (
	flagsPath        = "/v1/subject/flags"
	subjectParameter = "subject_id"
)

// ServeHTTP loads the one snapshot that a request is answered from, answers the
// plain form, and passes all else on to the routes.
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
		return // and the first has allocated nothing
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

// plainID is the subject of a request in the plain form.
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

// answerPlain answers the plain form, unless the subject is rejected.
func (e *service) answerPlain(w http.ResponseWriter, r *http.Request, s *snapshot.Snapshot, id string, now time.Time) bool {
	reply, ok := e.reply(s, id, nil, strings.Join(r.Header[fieldIfNoneMatch], ","), now)
	if ok {
		reply.write(w)
		e.flagsGiven.observe(reply.status, now)
	}
	return ok
}

// answerShort answers the plain form where net/http does not see it.
func (e *service) answerShort(dst, id, ifNoneMatch []byte) (head, body []byte, ok bool) {
	now, s := time.Now(), e.replica.Snapshot()
	if s == nil {
		return dst, nil, false
	}
	reply, ok := e.reply(s, text(id), nil, text(ifNoneMatch), now)
	if !ok {
		return dst, nil, false
	}
	head, body = reply.append(dst)
	e.flagsGiven.observe(reply.status, now)
	return head, body, true
}

// text is what a buffer holds, as long as that is not changed.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// observers are where requests of a route are counted that the route has not seen.
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

// viewOf is that of the request in ctx, or nil if nothing was loaded when it came.
func viewOf(ctx context.Context) *view {
	v, _ := ctx.Value(viewKey{}).(*view)
	return v
}

// namingWriter has every answer of the routes, problems included, name the snapshot
// that it is from.
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
