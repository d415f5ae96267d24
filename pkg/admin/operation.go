package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

// maxWait is the longest that a write waits for the edges.
const maxWait = 30 * time.Second

// Writing is what every write takes beside its path and body.
type Writing struct {
	DryRun  bool   `query:"dry_run" doc:"Check everything, store nothing, and answer what would change"`
	Wait    string `query:"wait" doc:"Answer once every connected edge serves the change, or after this time: a duration up to 30s" example:"2s"`
	Comment string `query:"comment" maxLength:"1024" doc:"Why, for the audit" example:"errors at checkout"`
}

// Changing is what every write to a resource that may exist takes.
type Changing struct {
	Writing
	IfMatch []string `header:"If-Match" doc:"ETags, as a GET answered them: the write is refused when the resource has changed since" example:"\"17\""`
}

// Listing is what every list takes.
type Listing struct {
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many items at most"`
	After string `query:"after" doc:"The 'next' of the page before"`
}

func (l Listing) page() writer.Page { return writer.Page{Limit: l.Limit, After: l.After} }

type writeInput[I any] interface {
	*I
	writing() Writing
	conditions() ([]int64, error)
}

func (w *Writing) writing() Writing             { return *w }
func (w *Writing) conditions() ([]int64, error) { return nil, nil }

func (c *Changing) conditions() ([]int64, error) { return parseIfMatch(c.IfMatch) }

// noVersion matches no version of anything.
const noVersion = -1

// parseIfMatch turns the header into the versions that it allows: nil for any. A
// weak tag and one that Flaggery cannot have made match nothing (RFC 9110).
func parseIfMatch(tags []string) ([]int64, error) {
	var versions []int64
	for _, tag := range tags {
		tag = strings.TrimSpace(tag)
		if tag == "*" && len(tags) == 1 {
			return nil, nil
		}
		opaque := strings.TrimPrefix(tag, "W/")
		if len(opaque) < 2 || opaque[0] != '"' || opaque[len(opaque)-1] != '"' {
			var faults model.Faults
			faults.Addf("header.If-Match", "must be a list of ETags in double quotes, or *")
			return nil, faults.Err()
		}
		if version, err := strconv.ParseInt(tag[1:len(tag)-1], 10, 64); err == nil && etag(version) == tag {
			versions = append(versions, version)
		}
	}
	if len(tags) > 0 && len(versions) == 0 {
		versions = []int64{noVersion}
	}
	return versions, nil
}

func etag(version int64) string {
	if version == 0 {
		return "" // the resource has none
	}
	return `"` + strconv.FormatInt(version, 10) + `"`
}

func (w *Writing) wait() (time.Duration, error) {
	if w.Wait == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(w.Wait)
	if err != nil || wait < 0 || wait > maxWait {
		var faults model.Faults
		faults.Addf("query.wait", "must be a duration of at most %s, such as 2s or 500ms", maxWait)
		return 0, faults.Err()
	}
	return wait, nil
}

// options are the writer's, but for If-Match.
func (w *Writing) options(ctx context.Context) []writer.Option {
	options := []writer.Option{writer.By(web.Caller(ctx).Name), writer.Request(web.RequestID(ctx)), writer.Comment(w.Comment)}
	if w.DryRun {
		options = append(options, writer.DryRun())
	}
	return options
}

// attempt runs the write once for each version that If-Match allows, until one
// is the resource's. Those that are not change nothing.
func attempt[T any](versions []int64, options []writer.Option, do func([]writer.Option) (writer.Result[T], error)) (result writer.Result[T], err error) {
	if versions == nil {
		return do(options)
	}
	for _, version := range versions {
		result, err = do(append(options[:len(options):len(options)], writer.IfMatch(version)))
		if model.CodeOf(err) != model.PreconditionFailed {
			return result, err
		}
	}
	return result, model.Errorf(model.PreconditionFailed, "no ETag in If-Match is that of the resource as it is now: read it again and decide anew")
}

// handler carries out one write.
type handler[I, T any] func(ctx context.Context, in *I, options ...writer.Option) (writer.Result[T], error)

// create registers a POST that makes a resource, which is then found at location.
func create[I any, P writeInput[I], T any](a *service, call, summary string, h handler[I, T], location func(*I, T) string, codes ...model.Code) {
	createAs[I, P](a, auth.Write, call, summary, h, location, codes...)
}

func createAs[I any, P writeInput[I], T any](a *service, p auth.Permission, call, summary string, h handler[I, T], location func(*I, T) string, codes ...model.Code) {
	write[I, P](a, p, call, summary, http.StatusCreated, h, location, codes)
}

// change registers a write that answers with the resource as it became.
func change[I any, P writeInput[I], T any](a *service, call, summary string, h handler[I, T], codes ...model.Code) {
	write[I, P](a, auth.Write, call, summary, http.StatusOK, h, nil, append(codes, model.PreconditionFailed))
}

// remove registers a DELETE.
func remove[I any, P writeInput[I], T any](a *service, call, summary string, h handler[I, T], codes ...model.Code) {
	removeAs[I, P](a, auth.Write, call, summary, h, codes...)
}

func removeAs[I any, P writeInput[I], T any](a *service, p auth.Permission, call, summary string, h handler[I, T], codes ...model.Code) {
	write[I, P](a, p, call, summary, http.StatusNoContent, h, nil, append(codes, model.PreconditionFailed))
}

// written is the answer to a write. Its body has several forms, see
// describeWrite.
type written struct {
	Revision int64  `header:"Flaggery-Revision" hidden:"true"`
	ETag     string `header:"ETag" hidden:"true"`
	Location string `header:"Location" hidden:"true"`
	Body     func(huma.Context)
}

func write[I any, P writeInput[I], T any](a *service, p auth.Permission, call, summary string, status int, h handler[I, T], location func(*I, T) string, codes []model.Code) {
	op := operation(call, summary)
	op.DefaultStatus = status
	describeWrite[T](a.web.API.OpenAPI().Components.Schemas, &op, status)
	if op.Method != http.MethodDelete {
		codes = append(codes, model.BodyTooLarge)
	}
	a.metrics.declare(op.OperationID)
	web.Handle(a.web, p, op, func(ctx context.Context, in *I) (*written, error) {
		w := P(in).writing()
		wait, err := w.wait()
		if err != nil {
			return nil, err
		}
		versions, err := P(in).conditions()
		if err != nil {
			return nil, err
		}
		result, err := attempt(versions, w.options(ctx), func(options []writer.Option) (writer.Result[T], error) {
			return h(ctx, in, options...)
		})
		a.metrics.wrote(op.OperationID, w.DryRun, err)
		if err != nil {
			return nil, err
		}
		answer := &written{Revision: result.Revision}
		switch {
		case w.DryRun:
			dryRun := api.DryRun[T]{DryRun: true, Affected: result.Affected, Result: result.Value}
			answer.Body = body(http.StatusOK, dryRun, nil)
			return answer, nil
		case location != nil:
			answer.Location = location(in, result.Value)
		}
		var propagation *api.Propagation
		if wait > 0 {
			propagation = a.waitForEdges(ctx, result.Revision, wait)
		}
		switch {
		case status != http.StatusNoContent:
			answer.ETag = etag(result.Version)
			answer.Body = body(status, result.Value, propagation)
		case propagation != nil:
			answer.Body = body(http.StatusOK, struct{}{}, propagation)
		default:
			answer.Body = func(hc huma.Context) { hc.SetStatus(http.StatusNoContent) }
		}
		return answer, nil
	}, codes...)
}

// waitForEdges is best effort: the write is stored, so whatever happens here is
// no failure of it.
func (a *service) waitForEdges(ctx context.Context, revision int64, wait time.Duration) *api.Propagation {
	err := web.Extend(ctx, wait+stalled)
	var propagation api.Propagation
	if err == nil {
		propagation, err = a.writer.WaitForEdges(ctx, revision, wait)
	}
	if err != nil {
		a.log.WarnContext(ctx, "cannot tell which edges serve the revision", "revision", revision,
			"request_id", web.RequestID(ctx), "error", err)
		return nil
	}
	return &propagation
}

// body writes value as JSON, with the propagation as one more of its fields.
func body(status int, value any, propagation *api.Propagation) func(huma.Context) {
	return func(hc huma.Context) {
		text, err := marshal(value)
		if err == nil && propagation != nil {
			var receipt []byte
			receipt, err = marshal(map[string]any{"propagation": propagation})
			text = merge(text, receipt)
		}
		if err != nil {
			panic(err) // answered as internal error
		}
		hc.SetHeader("Content-Type", api.MediaJSON)
		hc.SetStatus(status)
		_, _ = hc.BodyWriter().Write(append(text, '\n')) // nobody is left to tell where this fails
	}
}

// merge appends the fields of object b to object a.
func merge(a, b []byte) []byte {
	if string(a) == "{}" {
		return b
	}
	return append(append(a[:len(a)-1:len(a)-1], ','), b[1:]...)
}

func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// describeWrite documents the forms of a write's answer: the resource, with the
// propagation where the write waited, or what a dry run found out.
func describeWrite[T any](registry huma.Registry, op *huma.Operation, status int) {
	propagation := registry.Schema(reflect.TypeFor[api.Propagation](), true, "")
	dryRun := registry.Schema(reflect.TypeFor[api.DryRun[T]](), true, "")
	receipt := &huma.Schema{
		Type:        huma.TypeObject,
		Description: "Where the write waited",
		Properties:  map[string]*huma.Schema{"propagation": propagation},
		Required:    []string{"propagation"},
	}
	resource := registry.Schema(reflect.TypeFor[T](), true, "")
	// The resource's own schema allows no more fields than it has.
	name := strings.TrimPrefix(resource.Ref, "#/components/schemas/") + "Written"
	if registry.Map()[name] == nil {
		extended := *registry.SchemaFromRef(resource.Ref)
		extended.Properties = map[string]*huma.Schema{"propagation": propagation}
		for field, schema := range registry.SchemaFromRef(resource.Ref).Properties {
			extended.Properties[field] = schema
		}
		registry.Map()[name] = &extended
	}
	resource = &huma.Schema{Ref: "#/components/schemas/" + name}

	text := &huma.Schema{Type: huma.TypeString}
	revision := &huma.Param{Description: "The revision that the write made; of a dry run, the current one", Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int64"}}
	tag := &huma.Param{Description: "For If-Match", Schema: text}
	answer := func(description string, headers map[string]*huma.Param, schemas ...*huma.Schema) *huma.Response {
		headers[api.HeaderRevision] = revision
		r := &huma.Response{Description: description, Headers: headers}
		switch len(schemas) {
		case 0:
		case 1:
			r.Content = map[string]*huma.MediaType{api.MediaJSON: {Schema: schemas[0]}}
		default:
			r.Content = map[string]*huma.MediaType{api.MediaJSON: {Schema: &huma.Schema{OneOf: schemas}}}
		}
		return r
	}
	type headers = map[string]*huma.Param
	op.Responses = map[string]*huma.Response{}
	switch status {
	case http.StatusCreated:
		op.Responses["201"] = answer("Created", headers{"ETag": tag, "Location": {Description: "Where it is", Schema: text}}, resource)
		op.Responses["200"] = answer("What the dry run found out", headers{}, dryRun)
	case http.StatusOK:
		op.Responses["200"] = answer("The resource as it became, or what the dry run found out", headers{"ETag": tag}, resource, dryRun)
	case http.StatusNoContent:
		op.Responses["204"] = answer("Deleted", headers{})
		op.Responses["200"] = answer("Deleted, and what waiting for the edges found out; or what the dry run did", headers{}, receipt, dryRun)
	}
}

// describeNulls documents what may be null and what huma cannot know to be.
func (a *service) describeNulls() {
	registry := a.web.API.OpenAPI().Components.Schemas
	feature := registry.SchemaFromRef(registry.Schema(reflect.TypeFor[api.Feature](), true, "").Ref)
	feature.Properties["rollout"] = &huma.Schema{OneOf: []*huma.Schema{feature.Properties["rollout"], {Type: "null"}}}
}

// found is the answer to a read.
type found[T any] struct {
	Revision int64  `header:"Flaggery-Revision" doc:"The revision that was read"`
	ETag     string `header:"ETag" doc:"For If-Match"`
	Body     T
}

// read registers a GET.
func read[I, T any](a *service, call, summary string, h func(context.Context, *I) (writer.Result[T], error), codes ...model.Code) {
	readAs(a, auth.Read, call, summary, h, codes...)
}

func readAs[I, T any](a *service, p auth.Permission, call, summary string, h func(context.Context, *I) (writer.Result[T], error), codes ...model.Code) {
	web.Handle(a.web, p, operation(call, summary), func(ctx context.Context, in *I) (*found[T], error) {
		result, err := h(ctx, in)
		if err != nil {
			return nil, err
		}
		return &found[T]{Revision: result.Revision, ETag: etag(result.Version), Body: result.Value}, nil
	}, codes...)
}

// operation names one after its summary: "Add feature" is add-feature.
func operation(call, summary string) huma.Operation {
	method, path, _ := strings.Cut(call, " ")
	return huma.Operation{
		Method:      method,
		Path:        path,
		OperationID: strings.ReplaceAll(strings.ToLower(summary), " ", "-"),
		Summary:     summary,
		Tags:        []string{strings.Split(path, "/")[2]},
	}
}
