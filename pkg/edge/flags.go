package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
	"github.com/flaggery/flaggery/pkg/web"
)

const (
	defaultWait = time.Second
	maxWait     = 30 * time.Second
)

var getFlags = huma.Operation{
	OperationID: "get-flags", Method: http.MethodGet, Path: flagsPath, Tags: []string{"Flags"},
	Summary:     "Get the flags of a subject",
	Description: "Features in name order. Features that resolve to nothing are left out.",
}

var getSubjectFlags = huma.Operation{
	OperationID: "get-subject-flags", Method: http.MethodGet, Path: "/v1/subjects/{id}/flags", Tags: []string{"Flags"},
	Summary:     "Get the flags of a subject, by path",
	Description: "The answer is that of `/v1/subject/flags`.",
}

// answering documents the parts of an answer that huma does not see: the type of a
// body that is written as bytes, and its headers. It returns a new description for each
// edge of a process, as huma changes it.
func answering[T any](e *service, op huma.Operation) huma.Operation {
	text, number := &huma.Schema{Type: huma.TypeString}, &huma.Schema{Type: huma.TypeNumber}
	response := &huma.Response{
		Content: map[string]*huma.MediaType{api.MediaJSON: {Schema: schema[T](e)}},
		Headers: map[string]*huma.Param{
			api.HeaderRevision:    {Description: "The revision that the answer is from", Schema: text},
			api.HeaderSnapshotAge: {Description: "While the edge has no connection to its database: the seconds since it was last in sync", Schema: number},
		},
	}
	op.Responses = map[string]*huma.Response{"200": response}
	return op
}

// conditional documents that an operation honours If-None-Match.
func conditional(op huma.Operation) huma.Operation {
	headers := op.Responses["200"].Headers
	headers["ETag"] = &huma.Param{Description: "Changes with the answer", Schema: &huma.Schema{Type: huma.TypeString}}
	op.Responses["304"] = &huma.Response{Description: "The answer that If-None-Match names is still the right one", Headers: headers}
	return op
}

// schema adds a type to the edge's document and returns the reference.
func schema[T any](e *service) *huma.Schema {
	return e.web.API.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

// FlagsQuery has the parameters that both calls for one subject take. huma sees the
// fields of an embedded struct only if its name is exported.
type FlagsQuery struct {
	Features    []string `query:"features" doc:"Only these features, separated by commas"`
	MinRevision int64    `query:"min_revision" minimum:"0" doc:"Answer from this revision or a later one: wait for it, or answer 503"`
	Wait        string   `query:"wait" doc:"How long to wait for min_revision at most: a duration up to 30s; 1s if left out" example:"2s"`
	IfNoneMatch []string `header:"If-None-Match" doc:"The ETag of an earlier answer: 304 if it would be the same"`
}

type flagsInput struct {
	SubjectID string `query:"subject_id" required:"true" minLength:"1" doc:"Whose flags" example:"42"`
	FlagsQuery
}

type subjectFlagsInput struct {
	ID string `path:"id" doc:"Whose flags" example:"42"`
	FlagsQuery
}

type flagsOutput struct {
	Status      int
	ContentType string `header:"Content-Type" hidden:"true"`
	ETag        string `header:"ETag" hidden:"true"`
	Body        []byte
}

func (e *service) getFlags(ctx context.Context, in *flagsInput) (*flagsOutput, error) {
	return e.flags(ctx, "query.subject_id", in.SubjectID, &in.FlagsQuery)
}

func (e *service) getSubjectFlags(ctx context.Context, in *subjectFlagsInput) (*flagsOutput, error) {
	return e.flags(ctx, "path.id", in.ID, &in.FlagsQuery)
}

// flags answers for one subject.
func (e *service) flags(ctx context.Context, location, id string, q *FlagsQuery) (*flagsOutput, error) {
	var faults model.Faults
	faults.Check(location, model.CheckSubjectID(id))
	for _, name := range q.Features {
		if err := model.CheckName(name); err != nil {
			faults.Addf("query.features", "%q %s", name, err)
		}
	}
	wait, err := parseWait(q.Wait)
	faults.Check("query.wait", err)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	s, err := e.snapshot(ctx, q.MinRevision, wait)
	if err != nil {
		return nil, err
	}
	reply, ok := e.reply(s, id, q.Features, strings.Join(q.IfNoneMatch, ","), time.Now())
	if !ok {
		return nil, model.Errorf(model.SubjectNotFound, "there is no subject %q", id)
	}
	out := &flagsOutput{Status: reply.status, ETag: reply.body.ETag[0]}
	if reply.status == http.StatusOK {
		out.ContentType, out.Body = api.MediaJSON, reply.body.JSON
	}
	return out, nil
}

func parseWait(text string) (time.Duration, error) {
	if text == "" {
		return defaultWait, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxWait {
		return 0, fmt.Errorf("must be a duration between 0s and %v, like 2s", maxWait)
	}
	return wait, nil
}

var errNothingLoaded = model.Errorf(model.NotReady, "nothing is loaded yet")

// snapshot returns the snapshot to answer the request in ctx from. If it is older than
// minRevision, snapshot waits for a later one. Fails with not_ready if none comes in
// time.
func (e *service) snapshot(ctx context.Context, minRevision int64, wait time.Duration) (*snapshot.Snapshot, error) {
	v := viewOf(ctx)
	if v == nil {
		return nil, errNothingLoaded
	}
	if v.snapshot.Revision >= minRevision {
		return v.snapshot, nil
	}
	if err := errors.Join(web.Wait(ctx), web.Extend(ctx, wait+defaultWait)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := e.replica.WaitFor(ctx, minRevision)
	v.snapshot = e.replica.Snapshot()
	if err != nil {
		return nil, model.Errorf(model.NotReady, "revision %d has not arrived yet, the latest is %d", minRevision, v.snapshot.Revision)
	}
	return v.snapshot, nil
}
