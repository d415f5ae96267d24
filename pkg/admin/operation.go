package admin

import (
	"context"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/state"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

// maxWait is the longest that a write waits for the edges.
const maxWait = 30 * time.Second

// Writing holds the parameters of every write. It is exported, as are all parts of
// inputs, because huma skips embedded fields that are not.
type Writing struct {
	DryRun  bool   `query:"dry_run" doc:"Check the write, store nothing, and answer what would change"`
	Wait    string `query:"wait" doc:"Answer as soon as every edge serves the change, or after this time: a duration up to 30s. The change is stored in either case" example:"2s"`
	Comment string `query:"comment" maxLength:"1024" doc:"Reason of the change, kept in the audit" example:"errors at checkout"`
}

// Changing holds the parameters of every write to a resource that may exist.
type Changing struct {
	Writing
	IfMatch []string `header:"If-Match" maxItems:"16" doc:"ETags of earlier answers: the write fails with 412 if the resource has changed since" example:"\"17\""`
}

// Listing holds the parameters of every list.
type Listing struct {
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Maximum number of items. A page also ends after about 4 MiB"`
	After string `query:"after" doc:"Value of 'next' of the previous page"`
}

func (l Listing) page() writer.Page { return writer.Page{Limit: l.Limit, After: l.After} }

// refusePaging rejects the parameters of pages in a request for a form without pages.
func refusePaging(hc huma.Context, form string) (faults []error) {
	for _, name := range []string{"limit", "after"} {
		if hc.Query(name) != "" {
			faults = append(faults, &huma.ErrorDetail{Location: "query." + name, Message: "is for pages only, and " + form + " answers everything at once: leave it out"})
		}
	}
	return faults
}

// writeInput is implemented by embedding Writing or Changing.
type writeInput interface {
	writing() Writing
	versions() ([]int64, error) // that If-Match accepts, nil for any
}

func (w Writing) writing() Writing { return w }

func (Writing) versions() ([]int64, error)    { return nil, nil }
func (c Changing) versions() ([]int64, error) { return parseIfMatch(c.IfMatch) }

// parseIfMatch returns the versions that the header accepts: nil for any. The ETag of
// a compressed answer names the same version. Weak tags and tags that Flaggery cannot
// have made match nothing (RFC 9110).
func parseIfMatch(tags []string) ([]int64, error) {
	if tags == nil {
		return nil, nil
	}
	versions := []int64{}
	for _, tag := range tags {
		tag = strings.TrimSpace(tag)
		if tag == "*" && len(tags) == 1 {
			return nil, nil
		}
		opaque := strings.TrimPrefix(tag, "W/")
		if len(opaque) < 2 || opaque[0] != '"' || opaque[len(opaque)-1] != '"' {
			var faults model.Faults
			faults.Addf("header.If-Match", "must be a list of ETags in double quotes or *, is %q", tag)
			return nil, faults.Err()
		}
		number := strings.TrimSuffix(tag[1:len(tag)-1], web.ETagSuffix)
		if version, err := strconv.ParseInt(number, 10, 64); err == nil && api.ETag(version) == `"`+number+`"` {
			versions = append(versions, version)
		}
	}
	return versions, nil
}

func (w Writing) wait() (time.Duration, error) {
	if w.Wait == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(w.Wait)
	if err != nil || wait < 0 || wait > maxWait {
		var faults model.Faults
		faults.Addf("query.wait", "must be a duration from 0s to %s, such as 2s or 500ms, is %q", maxWait, w.Wait)
		return 0, faults.Err()
	}
	return wait, nil
}

// options returns the options for the writer. Nil versions accept any.
func (w Writing) options(ctx context.Context, versions []int64) []writer.Option {
	caller := web.Caller(ctx)
	options := []writer.Option{writer.By(caller.Name), writer.Within(caller.Scope), writer.Showing(caller.Token), writer.Request(web.RequestID(ctx)), writer.Comment(w.Comment)}
	if w.DryRun {
		options = append(options, writer.DryRun())
	}
	if versions != nil {
		options = append(options, writer.IfMatch(versions...))
	}
	return options
}

// route is one call of the admin: its row in [api.AdminCalls], the id of its
// operation, the permission that it requires, and the form of its answers, which
// holds its handler.
type route struct {
	call       string
	id         string // also a label of metrics
	permission auth.Permission
	form       form
}

// form adds a route to the server. Routes with similar answers share a form.
type form func(a *service, r route)

func (r route) operation() huma.Operation {
	method, path, _ := strings.Cut(r.call, " ")
	return huma.Operation{
		Method:      method,
		Path:        path,
		OperationID: r.id,
		Summary:     texts[r.id].summary,
		Description: texts[r.id].description,
		Tags:        []string{strings.Split(path, "/")[2]},
	}
}

// reader handles a read.
type reader[I, T any] func(context.Context, *I) (writer.Result[T], error)

// found is the answer to a read.
type found[T any] struct {
	Revision int64  `header:"Flaggery-Revision" doc:"The revision that the answer is from"`
	ETag     string `header:"ETag" hidden:"true"` // see documentTag
	Body     T
}

// read answers with the result as one JSON value.
func read[I, T any](h reader[I, T]) form {
	return func(a *service, r route) {
		op := r.operation()
		response := &huma.Response{}
		documentTag[T](response)
		op.Responses = map[string]*huma.Response{"200": response}
		handleRead(a, r.permission, op, h)
	}
}

// readOneOf is read for a resource with several forms.
func readOneOf[I any](h reader[I, any], forms ...reflect.Type) form {
	return func(a *service, r route) {
		op := r.operation()
		var schema huma.Schema
		for _, form := range forms {
			schema.OneOf = append(schema.OneOf, a.schemas().Schema(form, true, ""))
		}
		op.Responses = map[string]*huma.Response{"200": {Content: map[string]*huma.MediaType{api.MediaJSON: {Schema: &schema}}}}
		handleRead(a, r.permission, op, h)
	}
}

// anyOf returns a result as one of several forms.
func anyOf[T any](r writer.Result[T], err error) (writer.Result[any], error) {
	return writer.Result[any]{Value: r.Value, Revision: r.Revision}, err
}

func handleRead[I, T any](a *service, p auth.Permission, op huma.Operation, h reader[I, T]) {
	web.Handle(a.web, p, op, func(ctx context.Context, in *I) (*found[T], error) {
		result, err := h(ctx, in)
		a.answersFrom(ctx, result.Revision)
		if err != nil {
			return nil, err
		}
		return &found[T]{Revision: result.Revision, ETag: api.ETag(result.Version), Body: result.Value}, nil
	})
}

// answersFrom sets the revision of an answer, including failures. If no revision was
// read, the answer has the last one that this admin knows.
func (a *service) answersFrom(ctx context.Context, revision int64) {
	if revision != 0 {
		web.NameRevision(ctx, revision)
		a.latest.Store(revision)
	}
}

// rendered is an answer in a form of its own.
type rendered struct {
	media string
	text  []byte
}

// render answers with the result as it is.
func render[I any](h reader[I, rendered], media ...string) form {
	return func(a *service, r route) {
		op := r.operation()
		forms := map[string]reflect.Type{}
		for _, m := range media {
			forms[m] = reflect.TypeFor[string]()
		}
		a.describeRead(&op, r.operation().Summary, forms)
		web.Handle(a.web, r.permission, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
			result, err := h(ctx, in)
			a.answersFrom(ctx, result.Revision)
			if err != nil {
				return nil, err
			}
			return &huma.StreamResponse{Body: func(hc huma.Context) {
				setRevision(hc, result.Revision)
				hc.SetHeader("Content-Type", result.Value.media)
				if tag := api.ETag(result.Version); tag != "" {
					hc.SetHeader("ETag", tag)
				}
				hc.SetStatus(http.StatusOK)
				_, _ = hc.BodyWriter().Write(result.Value.text) // fails if the client is gone
			}}, nil
		})
	}
}

// exporter handles a read of any length. It calls begin with the revision before it
// yields the first item.
type exporter[I, T any] func(ctx context.Context, in *I, begin func(revision int64)) iter.Seq2[T, error]

// export answers with one item a line, while they are read.
func export[I, T any](description string, h exporter[I, T]) form {
	return func(a *service, r route) {
		op := r.operation()
		a.describeRead(&op, description, map[string]reflect.Type{api.MediaNDJSON: reflect.TypeFor[T]()})
		web.Handle(a.web, r.permission, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
			if !web.IsHead(ctx) {
				return stream(ctx, a, in, h), nil
			}
			revision, err := a.writer.Revision(ctx)
			return headOfExport(revision), err
		})
	}
}

// readOrExport answers with a page, or as export does, as the request says.
func readOrExport[I interface{ exports() bool }, T any](description string, page reader[I, api.Page[T]], h exporter[I, T]) form {
	return func(a *service, r route) {
		op := r.operation()
		a.describeRead(&op, description, map[string]reflect.Type{
			api.MediaJSON: reflect.TypeFor[api.Page[T]](), api.MediaNDJSON: reflect.TypeFor[T](),
		})
		web.Handle(a.web, r.permission, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
			exports := (*in).exports()
			if exports && !web.IsHead(ctx) {
				return stream(ctx, a, in, h), nil
			}
			if exports {
				result, err := page(ctx, in)
				a.answersFrom(ctx, result.Revision)
				if err != nil {
					return nil, err
				}
				return headOfExport(result.Revision), nil
			}
			return answerPage(ctx, a, in, page)
		})
	}
}

// answerPage answers as read does, for operations that document it themselves.
func answerPage[I, T any](ctx context.Context, a *service, in *I, h reader[I, T]) (*huma.StreamResponse, error) {
	result, err := h(ctx, in)
	a.answersFrom(ctx, result.Revision)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		setRevision(hc, result.Revision)
		body(http.StatusOK, result.Value, nil)(hc)
	}}, nil
}

// headOfExport answers HEAD without running an export.
func headOfExport(revision int64) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", api.MediaNDJSON)
		setRevision(hc, revision)
		hc.SetStatus(http.StatusOK)
	}}
}

// handler handles a write.
type handler[I, T any] func(ctx context.Context, in *I, options ...writer.Option) (writer.Result[T], error)

// create answers with the created resource, and its path in Location.
func create[I writeInput, T any](h handler[I, T], location func(*I, T) string) form {
	return write(http.StatusCreated, h, location)
}

// change answers with the changed resource.
func change[I writeInput, T any](h handler[I, T]) form { return write(http.StatusOK, h, nil) }

// remove answers without a body.
func remove[I writeInput, T any](h handler[I, T]) form { return write(http.StatusNoContent, h, nil) }

// written is the answer to a write. Its body has several forms, see
// describeWrite.
type written struct {
	Revision int64  `header:"Flaggery-Revision" hidden:"true"`
	ETag     string `header:"ETag" hidden:"true"`
	Location string `header:"Location" hidden:"true"`
	Body     func(huma.Context)
}

func write[I writeInput, T any](status int, h handler[I, T], location func(*I, T) string) form {
	return func(a *service, r route) {
		op := r.operation()
		op.DefaultStatus = status
		describeWrite[T](a.schemas(), &op, status)
		if large, ok := any(*new(I)).(interface{ maxBody() int64 }); ok {
			op.MaxBodyBytes = large.maxBody()
		}
		a.metrics.declare(op.OperationID)
		web.Handle(a.web, r.permission, op, func(ctx context.Context, in *I) (*written, error) {
			w := (*in).writing()
			wait, err := w.wait()
			if err != nil {
				return nil, err
			}
			versions, err := (*in).versions()
			if err != nil {
				return nil, err
			}
			result, err := h(ctx, in, w.options(ctx, versions)...)
			a.answersFrom(ctx, result.Revision)
			a.metrics.wrote(op.OperationID, w.DryRun, err)
			if err != nil {
				return nil, err
			}
			answer := &written{Revision: result.Revision}
			switch {
			case w.DryRun:
				dryRun := api.DryRun[T]{DryRun: true, Drawn: result.Drawn, Effect: result.Effect, Removes: result.Removes, Result: result.Value}
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
				answer.ETag = api.ETag(result.Version)
				answer.Body = body(status, result.Value, propagation)
			case propagation != nil:
				answer.Body = body(http.StatusOK, struct{}{}, propagation)
			default:
				answer.Body = func(hc huma.Context) { hc.SetStatus(http.StatusNoContent) }
			}
			return answer, nil
		})
	}
}

// waitForEdges is best effort: the write is stored, so a failure here does not fail
// it.
func (a *service) waitForEdges(ctx context.Context, revision int64, wait time.Duration) *api.Propagation {
	if web.Wait(ctx) != nil {
		wait = 0 // too many requests wait
	}
	err := web.Extend(ctx, wait+stalled)
	var propagation api.Propagation
	if err == nil {
		propagation, err = a.writer.WaitForEdges(ctx, revision, wait)
	}
	if err != nil {
		a.log.WarnContext(ctx, "checking which edges serve the revision failed", "revision", revision,
			"request_id", web.RequestID(ctx), "error", err)
		return nil
	}
	return &propagation
}

// body writes value as JSON, with the propagation as an additional field.
func body(status int, value any, propagation *api.Propagation) func(huma.Context) {
	return func(hc huma.Context) {
		text, err := model.EncodeJSON(value)
		if err == nil && propagation != nil {
			var receipt []byte
			receipt, err = model.EncodeJSON(map[string]any{"propagation": propagation})
			text = merge(text, receipt)
		}
		if err != nil {
			panic(err) // answered as internal error
		}
		hc.SetHeader("Content-Type", api.MediaJSON)
		hc.SetStatus(status)
		_, _ = hc.BodyWriter().Write(append(text, '\n')) // fails if the client is gone
	}
}

// merge appends the fields of object b to object a.
func merge(a, b []byte) []byte {
	if string(a) == "{}" {
		return b
	}
	return append(append(a[:len(a)-1:len(a)-1], ','), b[1:]...)
}

// versioned are the resources that have an ETag where they are the whole answer.
var versioned = []reflect.Type{
	reflect.TypeFor[api.Subject](), reflect.TypeFor[api.Feature](), reflect.TypeFor[api.Variant](), reflect.TypeFor[api.VariantReference](),
	reflect.TypeFor[api.Rollout](), reflect.TypeFor[api.ABTest](), reflect.TypeFor[api.Group](), reflect.TypeFor[state.Document](),
}

// documentTag documents the ETag of an answer with a T, if it has one.
func documentTag[T any](r *huma.Response) {
	if !slices.Contains(versioned, reflect.TypeFor[T]()) {
		return
	}
	if r.Headers == nil {
		r.Headers = map[string]*huma.Param{}
	}
	r.Headers["ETag"] = &huma.Param{Description: "The version of the resource, for If-Match", Schema: &huma.Schema{Type: huma.TypeString}}
}

// describeWrite documents the forms of a write's answer: the resource, with the
// propagation if the write waited, or the outcome of a dry run.
func describeWrite[T any](registry huma.Registry, op *huma.Operation, status int) {
	propagation := registry.Schema(reflect.TypeFor[api.Propagation](), true, "")
	dryRun := registry.Schema(reflect.TypeFor[api.DryRun[T]](), true, "")
	receipt := &huma.Schema{
		Type:        huma.TypeObject,
		Description: "If the write waited for the edges",
		Properties:  map[string]*huma.Schema{"propagation": propagation},
		Required:    []string{"propagation"},
	}
	resource := registry.Schema(reflect.TypeFor[T](), true, "")
	// The resource's own schema allows no additional fields.
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
	revision := &huma.Param{Description: "The revision that the write made; the current one if it made none, such as a dry run", Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int64"}}
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
		op.Responses["201"] = answer("Created", headers{"Location": {Description: "Path of the resource", Schema: text}}, resource)
		documentTag[T](op.Responses["201"])
		op.Responses["200"] = answer("The outcome of the dry run", headers{}, dryRun)
	case http.StatusOK:
		op.Responses["200"] = answer("The changed resource, or the outcome of the dry run", headers{}, resource, dryRun)
		documentTag[T](op.Responses["200"])
	case http.StatusNoContent:
		op.Responses["204"] = answer("Deleted", headers{})
		op.Responses["200"] = answer("Deleted, with the outcome of waiting for the edges; or the outcome of the dry run", headers{}, receipt, dryRun)
	}
}

// describeRead documents an answer that is written as bytes, with one form per media
// type.
func (a *service) describeRead(op *huma.Operation, description string, forms map[string]reflect.Type) {
	r := &huma.Response{
		Description: description,
		Headers: map[string]*huma.Param{api.HeaderRevision: {
			Description: "The revision that the answer is from", Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int64"},
		}},
		Content: map[string]*huma.MediaType{},
	}
	for media, form := range forms {
		r.Content[media] = &huma.MediaType{Schema: a.schemas().Schema(form, true, "")}
	}
	op.Responses = map[string]*huma.Response{"200": r}
}

// describeNulls documents fields that may be null, which huma does not see. It must
// be called before routes are added.
func (a *service) describeNulls() {
	for form, fields := range map[reflect.Type][]string{
		reflect.TypeFor[api.Feature]():        {"rollout"},
		reflect.TypeFor[api.FeatureSummary](): {"rollout", "test", "next_test"},
		reflect.TypeFor[api.About]():          {"heaviest_subject", "heaviest_bucket", "lightest_bucket"},
	} {
		schema := a.schemas().SchemaFromRef(a.schemas().Schema(form, true, "").Ref)
		for _, field := range fields {
			schema.Properties[field] = &huma.Schema{OneOf: []*huma.Schema{schema.Properties[field], {Type: "null"}}}
		}
	}
}

func (a *service) schemas() huma.Registry { return a.web.API.OpenAPI().Components.Schemas }
