package edge

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// The request that an edge lives for: GET /v1/subject/flags?subject_id=42. Its
// simple form is answered here, from prepared bytes; everything else that the
// contract allows, and every answer that is not a success, comes from getFlags.
// Both give the same.
const (
	hotPath      = "/v1/subject/flags"
	hotParameter = "subject_id"
)

// Header fields in the form in which net/http keeps them, so that setting one is
// an assignment.
var contentTypeJSON = []string{api.MediaJSON}

const (
	fieldETag        = "Etag"
	fieldContentType = "Content-Type"
	fieldLength      = "Content-Length"
	fieldIfNoneMatch = "If-None-Match"
)

// ServeHTTP answers the hot request and passes on all others.
func (e *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	s := e.replica.Snapshot()
	header := w.Header()
	if s == nil {
		e.routes.ServeHTTP(w, r)
		return
	}
	if age, stale := e.replica.Age(now); stale {
		header[api.HeaderSnapshotAge] = []string{strconv.FormatFloat(age.Seconds(), 'f', 3, 64)}
	}
	header[api.HeaderRevision] = s.RevisionHeader
	var body *snapshot.Body
	if e.authenticator == nil || e.mayResolve(r) {
		body = e.hot(s, r, now)
	}
	if body == nil {
		e.routes.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), headerKey{}, header)))
		return
	}
	body.CountServed()
	header[fieldETag] = body.ETag
	if match := r.Header[fieldIfNoneMatch]; len(match) > 0 && matches(strings.Join(match, ","), body.ETag[0]) {
		w.WriteHeader(http.StatusNotModified)
		e.unchanged.Observe(time.Since(now).Seconds())
		return
	}
	header[fieldContentType] = contentTypeJSON
	header[fieldLength] = body.Length
	_, _ = w.Write(body.JSON) // the client may be gone; that is its affair
	e.answered.Observe(time.Since(now).Seconds())
}

// headerKey leads to the answer's header, so that an answer that is a problem names
// the revision that it was made from as well.
type headerKey struct{}

// hot is the body for a request in the simple form, or nil.
func (e *service) hot(s *snapshot.Snapshot, r *http.Request, now time.Time) *snapshot.Body {
	if r.Method != http.MethodGet || r.URL.Path != hotPath || r.URL.RawPath != "" {
		return nil
	}
	id, ok := strings.CutPrefix(r.URL.RawQuery, hotParameter+"=")
	if !ok || strings.ContainsAny(id, "&;") {
		return nil
	}
	if strings.ContainsAny(id, "%+") {
		var err error
		if id, err = url.QueryUnescape(id); err != nil {
			return nil
		}
	}
	class := s.Class(id)
	if class == 0 {
		return nil
	}
	return s.Body(class, e.replica.DatabaseTime(now))
}

// matches tells whether an If-None-Match field names the ETag. A list of tags can
// be searched as text: a tag comes in quotes and has none within.
func matches(ifNoneMatch, etag string) bool {
	return ifNoneMatch == "*" || strings.Contains(ifNoneMatch, etag)
}

// answerShort is the hot path for requests that net/http does not see.
func (e *service) answerShort(dst, id, ifNoneMatch []byte) (head, body []byte, ok bool) {
	now := time.Now()
	s := e.replica.Snapshot()
	if s == nil {
		return dst, nil, false
	}
	class := s.ClassOf(id)
	if class == 0 {
		return dst, nil, false
	}
	b := s.Body(class, e.replica.DatabaseTime(now))
	b.CountServed()
	observer := e.answered
	if ifNoneMatch != nil && matches(unsafe.String(unsafe.SliceData(ifNoneMatch), len(ifNoneMatch)), b.ETag[0]) {
		observer = e.unchanged
		dst = append(dst, "HTTP/1.1 304 Not Modified\r\n"...)
	} else {
		dst = append(dst, "HTTP/1.1 200 OK\r\nContent-Type: "+api.MediaJSON+"\r\nContent-Length: "...)
		dst = append(dst, b.Length[0]...)
		dst = append(dst, "\r\n"...)
		body = b.JSON
	}
	dst = append(dst, fieldETag+": "...)
	dst = append(dst, b.ETag[0]...)
	dst = append(dst, "\r\n"+api.HeaderRevision+": "...)
	dst = append(dst, s.RevisionHeader[0]...)
	dst = append(dst, "\r\n"...)
	if age, stale := e.replica.Age(now); stale {
		dst = append(dst, api.HeaderSnapshotAge+": "...)
		dst = strconv.AppendFloat(dst, age.Seconds(), 'f', 3, 64)
		dst = append(dst, "\r\n"...)
	}
	observer.Observe(time.Since(now).Seconds())
	return dst, body, true
}
