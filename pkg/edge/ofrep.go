package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
	"github.com/flaggery/flaggery/pkg/web"
)

// The OpenFeature Remote Evaluation Protocol. Its requests and failures have its own
// forms; failures that it has no form for are problems as everywhere.

var evaluateFlags = huma.Operation{
	OperationID: "evaluate-flags", Method: http.MethodPost, Path: "/ofrep/v1/evaluate/flags", Tags: []string{"OFREP"},
	Summary:     "Evaluate all flags of a subject",
	Description: "Flags that resolve to nothing are left out.",
}

var evaluateFlag = huma.Operation{
	OperationID: "evaluate-flag", Method: http.MethodPost, Path: "/ofrep/v1/evaluate/flags/{key}", Tags: []string{"OFREP"},
	Summary:     "Evaluate one flag of a subject",
	Description: "Fails with `FLAG_NOT_FOUND` if the flag resolves to nothing.",
}

// addEvaluation adds both operations to the routes and documents their bodies, which
// are read and written as bytes, so that huma does not see them.
func (e *service) addEvaluation() {
	web.Handle(e.web, auth.Resolve, conditional(answering[api.Evaluations](e, evaluateFlags)), e.evaluateFlags)
	web.Handle(e.web, auth.Resolve, answering[api.Evaluation](e, evaluateFlag), e.evaluateFlag)
	content := func(s *huma.Schema) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{api.MediaJSON: {Schema: s}}
	}
	failure := schema[api.EvaluationFailure](e)
	paths := e.web.API.OpenAPI().Paths
	for path, refusals := range map[string]map[string]string{
		evaluateFlags.Path: {"400": "no subject to answer for", "503": "nothing is loaded yet"},
		evaluateFlag.Path:  {"400": "no subject to answer for", "404": "FLAG_NOT_FOUND", "503": "nothing is loaded yet"},
	} {
		op := paths[path].Post
		op.RequestBody = &huma.RequestBody{Required: true, Content: content(schema[api.EvaluationRequest](e))}
		for status, description := range refusals {
			op.Responses[status] = &huma.Response{Description: description, Content: content(failure)}
		}
	}
}

type evaluateFlagsInput struct {
	IfNoneMatch  []string `header:"If-None-Match" doc:"The ETag of an earlier answer: 304 if it would be the same"`
	ETag         string   `query:"flagConfigEtag" doc:"The value that an event announced. It is ignored: the answer is always the latest"`
	LastModified string   `query:"flagConfigLastModified" doc:"As flagConfigEtag"`
	body         io.Reader
}

// Resolve implements [huma.Resolver].
func (in *evaluateFlagsInput) Resolve(hc huma.Context) []error {
	in.body = hc.BodyReader()
	return nil
}

type evaluateFlagInput struct {
	Key  string `path:"key" doc:"The feature"`
	body io.Reader
}

// Resolve implements [huma.Resolver].
func (in *evaluateFlagInput) Resolve(hc huma.Context) []error {
	in.body = hc.BodyReader()
	return nil
}

// evaluationAnswer is an answer in the protocol's form.
type evaluationAnswer struct {
	status int
	etag   []string // nil for an answer with one flag
	parts  [][]byte
	length []string // of the parts
}

// inParts returns an answer of these parts, with their total length.
func inParts(parts [][]byte) *evaluationAnswer {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	return &evaluationAnswer{status: http.StatusOK, parts: parts, length: []string{strconv.Itoa(length)}}
}

func (a *evaluationAnswer) write(w http.ResponseWriter) {
	header := w.Header()
	if a.etag != nil {
		header[fieldETag] = a.etag
	}
	if a.status == http.StatusNotModified {
		w.WriteHeader(a.status)
		return
	}
	if a.status == http.StatusServiceUnavailable {
		header.Set(echo.HeaderRetryAfter, "1")
	}
	header[fieldContentType] = contentTypeJSON
	header[fieldLength] = a.length
	w.WriteHeader(a.status)
	for _, part := range a.parts {
		if _, err := w.Write(part); err != nil {
			return // the client is gone
		}
	}
}

// stream answers through a route. The answer is prepared, so the request only waits
// for its client from now on.
func (a *evaluationAnswer) stream(ctx context.Context) (*huma.StreamResponse, error) {
	_ = web.Wait(ctx) // if too many requests wait, this one stays a working one
	return &huma.StreamResponse{Body: func(hc huma.Context) { a.write(humaecho.Unwrap(hc).Response()) }}, nil
}

func (e *service) evaluateFlags(ctx context.Context, in *evaluateFlagsInput) (*huma.StreamResponse, error) {
	s, class, err := e.subjectOf(ctx, in.body)
	var a *evaluationAnswer
	switch {
	case errors.As(err, new(*unknownSubject)):
		a = new(e.unknownSubject)
	case err != nil:
		return refused(ctx, "", err)
	default:
		a = e.allFlags(s, class, time.Now())
	}
	return a.unless(strings.Join(in.IfNoneMatch, ",")).stream(ctx)
}

// allFlags returns all flags of a subject, and counts them as served.
func (e *service) allFlags(s *snapshot.Snapshot, class snapshot.ClassID, now time.Time) *evaluationAnswer {
	body, evaluations := s.OFREP(class, e.replica.DatabaseTime(now))
	body.CountServed()
	return &evaluationAnswer{http.StatusOK, evaluations.ETag, evaluations.Parts, evaluations.Length}
}

// oneFlag returns one flag of a subject, and counts it as served; nil if the subject
// does not get it.
func (e *service) oneFlag(s *snapshot.Snapshot, class snapshot.ClassID, key string, now time.Time) *evaluationAnswer {
	parts, flag, found := s.Evaluation(class, key, e.replica.DatabaseTime(now))
	if !found {
		return nil
	}
	e.replica.Counts().Add(flag)
	return inParts(parts)
}

// unless turns the answer into a 304 if the client has it already.
func (a *evaluationAnswer) unless(ifNoneMatch string) *evaluationAnswer {
	if matches(ifNoneMatch, a.etag[0]) {
		a.status = http.StatusNotModified
	}
	return a
}

// noFlags is the answer to a request for all flags of an unknown subject. On an error
// the web provider would keep the flags of the previous subject.
func noFlags(environment string) evaluationAnswer {
	metadata := api.EvaluationsMetadata{UnknownSubject: true, Environment: environment}
	body, _ := json.Marshal(api.Evaluations{Flags: []api.Evaluation{}, Metadata: &metadata}) // nothing in it can fail
	a := inParts([][]byte{body})
	a.etag = []string{snapshot.ETag(body)}
	return *a
}

func (e *service) evaluateFlag(ctx context.Context, in *evaluateFlagInput) (*huma.StreamResponse, error) {
	s, class, err := e.subjectOf(ctx, in.body)
	if err != nil {
		return refused(ctx, in.Key, err)
	}
	a := e.oneFlag(s, class, in.Key, time.Now())
	if a == nil {
		return refused(ctx, in.Key, &refusal{http.StatusNotFound, "FLAG_NOT_FOUND", fmt.Sprintf("there is no flag %q for this subject", in.Key)})
	}
	return a.stream(ctx)
}

// evaluatePlain answers the most frequent requests before the routes: small ones for
// flags that exist. It returns false for all others, and leaves their bodies unread.
func (e *service) evaluatePlain(w http.ResponseWriter, r *http.Request, s *snapshot.Snapshot, now time.Time) bool {
	b := smallBodies.Get().(*[maxSmallBody]byte)
	defer smallBodies.Put(b)
	body := b[:r.ContentLength]
	n, err := io.ReadFull(r.Body, body)
	var (
		a *evaluationAnswer
		o *observers
	)
	if err == nil {
		a, o = e.evaluate(s, r.URL.Path[len(evaluateFlags.Path):], body, strings.Join(r.Header[fieldIfNoneMatch], ","), now)
	}
	if a == nil {
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(bytes.Clone(body[:n])), r.Body)) // which fails again if it failed
		return false
	}
	fields := e.fieldsOf(s, now)
	fields.set(w.Header())
	maps.Copy(w.Header(), e.fixed.header)
	a.write(w)
	o.observe(a.status, now)
	return true
}

// evaluate returns the answer to a small request and the observers that count it, or
// nil if the routes have to answer. path is the rest after the path for all flags.
func (e *service) evaluate(s *snapshot.Snapshot, path string, body []byte, ifNoneMatch string, now time.Time) (*evaluationAnswer, *observers) {
	key, one := strings.CutPrefix(path, "/")
	if one && model.CheckName(key) != nil || !one && key != "" {
		return nil, nil
	}
	id, err := targetingKey(body)
	if err != nil {
		return nil, nil
	}
	class := s.Class(id)
	switch {
	case class == 0:
		return nil, nil
	case one:
		return e.oneFlag(s, class, key, now), &e.evaluatedOne
	default:
		return e.allFlags(s, class, now).unless(ifNoneMatch), &e.evaluatedAll
	}
}

const maxSmallBody = 4 << 10

// usualMediaTypes are those that clients send. The routes accept all that mean JSON.
var usualMediaTypes = []string{api.MediaJSON, api.MediaJSON + "; charset=utf-8"}

var smallBodies = sync.Pool{New: func() any { return new([maxSmallBody]byte) }}

// isPlainEvaluation reports whether a small JSON body is all that matters in a request.
func isPlainEvaluation(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, evaluateFlags.Path) && 0 < r.ContentLength && r.ContentLength <= maxSmallBody &&
		r.URL.RawPath == "" && r.URL.RawQuery == "" && r.Header["Origin"] == nil && r.Header[echo.HeaderContentEncoding] == nil &&
		slices.Contains(usualMediaTypes, r.Header.Get(echo.HeaderContentType)) && web.HeadersAreSingle(r.Header)
}

// subjectOf reads the subject of a request and finds the snapshot to answer from. It
// returns a refusal if the request is invalid.
func (e *service) subjectOf(ctx context.Context, body io.Reader) (*snapshot.Snapshot, snapshot.ClassID, error) {
	text, err := io.ReadAll(http.MaxBytesReader(nil, io.NopCloser(body), web.MaxBody))
	switch {
	case errors.As(err, new(*http.MaxBytesError)), model.CodeOf(err) != "":
		return nil, 0, err
	case err != nil:
		return nil, 0, &refusal{http.StatusBadRequest, "PARSE_ERROR", "the request body ended early"}
	}
	id, err := targetingKey(text)
	if err != nil {
		return nil, 0, err
	}
	s, err := e.snapshot(ctx, 0, 0)
	if err != nil {
		return nil, 0, err
	}
	class := s.Class(id)
	if class == 0 {
		return nil, 0, &unknownSubject{id}
	}
	return s, class, nil
}

// unknownSubject is the id of a subject that the snapshot rejects.
type unknownSubject struct{ id string }

func (u *unknownSubject) Error() string { return fmt.Sprintf("there is no subject %q", u.id) }

// targetingKey returns the id of the subject in a request.
func targetingKey(text []byte) (string, error) {
	p := plainText{text, true}
	p.skip("{", `"context"`, ":", "{", `"targetingKey"`, ":")
	id := p.id()
	if p.skip("}", "}"); p.ended() {
		return id, nil
	}
	var request struct {
		Context struct {
			TargetingKey *string `json:"targetingKey"`
		} `json:"context"`
	}
	if err := api.Decode(text, &request); errors.As(err, new(*api.MismatchError)) {
		return "", &refusal{http.StatusBadRequest, "INVALID_CONTEXT", "context must be an object, and its targetingKey a string"}
	} else if err != nil {
		return "", &refusal{http.StatusBadRequest, "PARSE_ERROR", "the request body " + err.Error()}
	}
	key := request.Context.TargetingKey
	if key == nil || *key == "" {
		return "", &refusal{http.StatusBadRequest, "TARGETING_KEY_MISSING", "context.targetingKey must be the id of a subject"}
	}
	if err := model.CheckSubjectID(*key); err != nil {
		return "", &refusal{http.StatusBadRequest, "INVALID_CONTEXT", "context.targetingKey " + err.Error()}
	}
	return *key, nil
}

// refusal is a failure that the protocol has a form for.
type refusal struct {
	status        int
	code, details string
}

func (r *refusal) Error() string { return r.details }

// refused answers with an error in the protocol's form, if it has one for it. key is
// the requested flag, "" for all.
func refused(ctx context.Context, key string, err error) (*huma.StreamResponse, error) {
	var r *refusal
	switch {
	case errors.As(err, new(*unknownSubject)):
		r = &refusal{http.StatusBadRequest, "INVALID_CONTEXT", err.Error()}
	case errors.As(err, &r):
	case model.CodeOf(err) == model.NotReady:
		r = &refusal{http.StatusServiceUnavailable, "GENERAL", err.Error()}
	default:
		return nil, err
	}
	text, err := json.Marshal(api.EvaluationFailure{Key: key, ErrorCode: r.code, ErrorDetails: r.details})
	if err != nil {
		return nil, err
	}
	a := inParts([][]byte{text})
	a.status = r.status
	return a.stream(ctx)
}
