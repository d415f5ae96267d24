package edge

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/snapshot"
	"github.com/flaggery/flaggery/pkg/web"
)

// reply is the answer for one subject. It is the same for each form of the request;
// only reading the request and writing the reply differ.
type reply struct {
	status   int // 200, or 304 if the client has the body
	body     *snapshot.Body
	snapshot snapshotFields
	fixed    *fixedFields
}

// fixedFields are header fields that are the same in all replies and in the answers of
// the routes: one for browsers and, for caches, those that depend on the origins whose
// pages may read replies. Requests with an Origin go to the routes.
type fixedFields struct {
	header http.Header
	text   string // the header as lines
}

func newFixedFields(origins *web.Origins) fixedFields {
	f := fixedFields{header: http.Header{}}
	f.header.Set(echo.HeaderXContentTypeOptions, "nosniff")
	origins.SetFields(f.header)
	for _, name := range slices.Sorted(maps.Keys(f.header)) {
		f.text += name + ": " + f.header.Get(name) + "\r\n"
	}
	return f
}

// snapshotFields are the header fields about the snapshot of an answer.
type snapshotFields struct {
	revision []string      // in the form that net/http has header values in
	age      time.Duration // 0 for a snapshot that is not stale
}

// reply answers for a subject at a moment and counts the flags as served. If features
// is nil, it answers with all of them. It returns false if the snapshot rejects the
// subject.
func (e *service) reply(s *snapshot.Snapshot, id string, features []string, ifNoneMatch string, now time.Time) (reply, bool) {
	class := s.Class(id)
	if class == 0 {
		return reply{}, false
	}
	r := reply{http.StatusOK, s.Body(class, e.replica.DatabaseTime(now)), e.fieldsOf(s, now), &e.fixed}
	if features == nil {
		r.body.CountServed()
	} else {
		r.body = onlyFeatures(r.body, features)
		e.replica.Counts().Add(r.body.Flags...)
	}
	if matches(ifNoneMatch, r.body.ETag[0]) {
		r.status = http.StatusNotModified
	}
	return r, true
}

func (e *service) fieldsOf(s *snapshot.Snapshot, now time.Time) snapshotFields {
	f := snapshotFields{revision: s.RevisionHeader}
	if age, stale := e.replica.Age(now); stale {
		f.age = age
	}
	return f
}

// onlyFeatures returns a body with some of its features.
func onlyFeatures(b *snapshot.Body, features []string) *snapshot.Body {
	flags := slices.DeleteFunc(slices.Clone(b.Flags), func(f snapshot.Flag) bool {
		return !slices.Contains(features, f.Feature)
	})
	json := snapshot.AppendFlags(nil, flags)
	return &snapshot.Body{JSON: json, ETag: []string{snapshot.ETag(json)}, Length: []string{strconv.Itoa(len(json))}, Flags: flags}
}

// matches reports whether an If-None-Match field names the ETag. The list of tags can
// be searched as text, as each tag is in quotes and contains none.
func matches(ifNoneMatch, etag string) bool {
	return ifNoneMatch == "*" || strings.Contains(ifNoneMatch, etag)
}

// Header fields in net/http's canonical form, so that setting one is an assignment.
var contentTypeJSON = []string{api.MediaJSON}

const (
	fieldETag        = "Etag"
	fieldContentType = "Content-Type"
	fieldLength      = "Content-Length"
	fieldIfNoneMatch = "If-None-Match"
)

// write sends the reply through net/http.
func (r *reply) write(w http.ResponseWriter) {
	header := w.Header()
	r.snapshot.set(header)
	maps.Copy(header, r.fixed.header)
	header[fieldETag] = r.body.ETag
	if r.status == http.StatusNotModified {
		w.WriteHeader(r.status)
		return
	}
	header[fieldContentType] = contentTypeJSON
	header[fieldLength] = r.body.Length
	_, _ = w.Write(r.body.JSON) // if it fails, the client is gone
}

func (f *snapshotFields) set(header http.Header) {
	header[api.HeaderRevision] = f.revision
	if f.age > 0 {
		header[api.HeaderSnapshotAge] = []string{string(f.appendAge(nil))}
	}
}

func (f *snapshotFields) append(dst []byte) []byte {
	dst = append(dst, api.HeaderRevision+": "...)
	dst = append(dst, f.revision[0]...)
	if f.age > 0 {
		dst = append(dst, "\r\n"+api.HeaderSnapshotAge+": "...)
		dst = f.appendAge(dst)
	}
	return append(dst, "\r\n"...)
}

func (f *snapshotFields) appendAge(dst []byte) []byte {
	return strconv.AppendFloat(dst, f.age.Seconds(), 'f', 3, 64)
}
