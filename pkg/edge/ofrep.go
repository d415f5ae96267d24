package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
	"github.com/flaggery/flaggery/pkg/web"
)

// The OpenFeature Remote Evaluation Protocol: its requests are read and its
// refusals written in its own forms, other failures are problems as everywhere.

var evaluateFlags = huma.Operation{
	OperationID: "evaluate-flags", Method: http.MethodPost, Path: "/ofrep/v1/evaluate/flags", Tags: []string{"OFREP"},
	Summary:     "All flags of one subject, for OpenFeature",
	Description: "Flags that resolve to nothing are left out.",
}

var evaluateFlag = huma.Operation{
	OperationID: "evaluate-flag", Method: http.MethodPost, Path: "/ofrep/v1/evaluate/flags/{key}", Tags: []string{"OFREP"},
	Summary: "One flag of one subject, for OpenFeature",
}

// addEvaluation adds both operations to the routes and documents what huma does
// not see: bodies that are read and written as bytes.
func (e *service) addEvaluation() {
	web.Handle(e.web, auth.Resolve, answering[api.Evaluations](evaluateFlags), e.evaluateFlags)
	web.Handle(e.web, auth.Resolve, answering[api.Evaluation](evaluateFlag), e.evaluateFlag)
	schema := func(t reflect.Type) *huma.Schema {
		return huma.NewMapRegistry("", huma.DefaultSchemaNamer).Schema(t, false, "")
	}
	content := func(s *huma.Schema) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{api.MediaJSON: {Schema: s}}
	}
	failure := schema(reflect.TypeFor[api.EvaluationFailure]())
	paths := e.web.API.OpenAPI().Paths
	for path, refusals := range map[string]map[string]string{
		evaluateFlags.Path: {"400": "no subject to answer for", "503": "nothing is loaded yet"},
		evaluateFlag.Path:  {"400": "no subject to answer for", "404": "FLAG_NOT_FOUND", "503": "nothing is loaded yet"},
	} {
		op := paths[path].Post
		op.RequestBody = &huma.RequestBody{Required: true, Content: content(schema(reflect.TypeFor[api.EvaluationRequest]()))}
		for status, description := range refusals {
			op.Responses[status] = &huma.Response{Description: description, Content: content(failure)}
		}
	}
}

type evaluateFlagsInput struct {
	IfNoneMatch  []string `header:"If-None-Match" doc:"The ETag of an earlier answer: 304 when it would be the same"`
	ETag         string   `query:"flagConfigEtag" doc:"What an event announced; the answer is the latest there is anyway"`
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

type evaluationOutput struct {
	Status      int
	ContentType string `header:"Content-Type"`
	ETag        string `header:"ETag" doc:"Changes with the answer"`
	RetryAfter  string `header:"Retry-After" doc:"Seconds, with 503"`
	Body        []byte
}

func (e *service) evaluateFlags(ctx context.Context, in *evaluateFlagsInput) (*evaluationOutput, error) {
	s, class, err := e.subjectOf(ctx, in.body)
	out := &evaluationOutput{Status: http.StatusOK, ContentType: api.MediaJSON}
	switch {
	case errors.As(err, new(*unknownSubject)):
		out.ETag, out.Body = unknownSubjectETag, unknownSubjectFlags
	case err != nil:
		return refused("", err)
	default:
		body, evaluations := s.OFREP(class, e.replica.DatabaseTime(time.Now()))
		body.CountServed()
		out.ETag, out.Body = evaluations.ETag[0], evaluations.JSON
	}
	if matches(strings.Join(in.IfNoneMatch, ","), out.ETag) {
		return &evaluationOutput{Status: http.StatusNotModified, ETag: out.ETag}, nil
	}
	return out, nil
}

// unknownSubjectFlags answers for a subject that is not known, if all its flags are
// asked for: on an error the web provider would keep those of the subject before.
var (
	unknownSubjectFlags = []byte(`{"flags":[],"metadata":{"unknownSubject":true}}`)
	unknownSubjectETag  = snapshot.ETag(unknownSubjectFlags)
)

func (e *service) evaluateFlag(ctx context.Context, in *evaluateFlagInput) (*evaluationOutput, error) {
	s, class, err := e.subjectOf(ctx, in.body)
	if err != nil {
		return refused(in.Key, err)
	}
	body, evaluations := s.OFREP(class, e.replica.DatabaseTime(time.Now()))
	flag, found := evaluations.Flag(in.Key)
	if !found {
		return refused(in.Key, &refusal{http.StatusNotFound, "FLAG_NOT_FOUND", fmt.Sprintf("there is no flag %q for this subject", in.Key)})
	}
	e.replica.Counts().Add(body.Only(in.Key))
	return &evaluationOutput{Status: http.StatusOK, ContentType: api.MediaJSON, Body: flag}, nil
}

// subjectOf reads whose flags a request is about, and finds the snapshot to answer
// from. What is at fault with the request comes as a refusal.
func (e *service) subjectOf(ctx context.Context, body io.Reader) (*snapshot.Snapshot, snapshot.ClassID, error) {
	id, err := targetingKey(body)
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

// targetingKey is the id of the subject that a request is about.
func targetingKey(body io.Reader) (string, error) {
	text, err := io.ReadAll(http.MaxBytesReader(nil, io.NopCloser(body), web.MaxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return "", err
	}
	if err != nil {
		return "", &refusal{http.StatusBadRequest, "PARSE_ERROR", "the request body broke off"}
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

// refusal is what the protocol has a form for.
type refusal struct {
	status        int
	code, details string
}

func (r *refusal) Error() string { return r.details }

// refused puts an error into the protocol's form, where it has one for it. key is
// the flag that was asked for, "" for all.
func refused(key string, err error) (*evaluationOutput, error) {
	out := &evaluationOutput{ContentType: api.MediaJSON}
	var r *refusal
	switch {
	case errors.As(err, new(*unknownSubject)):
		r = &refusal{http.StatusBadRequest, "INVALID_CONTEXT", err.Error()}
	case errors.As(err, &r):
	case model.CodeOf(err) == model.NotReady:
		r = &refusal{http.StatusServiceUnavailable, "GENERAL", err.Error()}
		out.RetryAfter = "1"
	default:
		return nil, err
	}
	out.Status = r.status
	out.Body, err = json.Marshal(api.EvaluationFailure{Key: key, ErrorCode: r.code, ErrorDetails: r.details})
	return out, err
}
