package admin

import (
	"context"
	"iter"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

type listAuditInput struct {
	Listing
	Accept   string    `header:"Accept" doc:"application/x-ndjson for all that the filters take, an entry a line, instead of a page"`
	Actor    string    `query:"actor" doc:"Only changes by this actor"`
	Resource string    `query:"resource" doc:"Only changes of this resource, or below it" example:"features/foobar"`
	Since    time.Time `query:"since" doc:"Only changes at this moment or later"`
	Until    time.Time `query:"until" doc:"Only changes before this moment"`
}

func (in *listAuditInput) filter() writer.AuditFilter {
	return writer.AuditFilter{Actor: in.Actor, Resource: in.Resource, Since: in.Since, Until: in.Until}
}

// auditOutput is a page, or a stream.
type auditOutput struct {
	Body func(huma.Context)
}

func (a *service) auditRoute(call, summary string) {
	op := operation(call, summary)
	registry := a.web.API.OpenAPI().Components.Schemas
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Newest first",
		Headers: map[string]*huma.Param{api.HeaderRevision: {
			Description: "The revision that was read", Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int64"},
		}},
		Content: map[string]*huma.MediaType{
			api.MediaJSON:   {Schema: registry.Schema(reflect.TypeFor[api.Page[api.AuditEntry]](), true, "")},
			api.MediaNDJSON: {Schema: registry.Schema(reflect.TypeFor[api.AuditEntry](), true, "")},
		},
	}}
	web.Handle(a.web, auth.Read, op, func(ctx context.Context, in *listAuditInput) (*auditOutput, error) {
		if strings.Contains(in.Accept, api.MediaNDJSON) {
			return &auditOutput{stream(ctx, a, func(begin func(int64)) iter.Seq2[api.AuditEntry, error] {
				return a.writer.ExportAudit(ctx, in.filter(), begin)
			})}, nil
		}
		found, err := a.writer.Audit(ctx, in.filter(), in.page())
		if err != nil {
			return nil, err
		}
		return &auditOutput{func(hc huma.Context) {
			setRevision(hc, found.Revision)
			body(http.StatusOK, found.Value, nil)(hc)
		}}, nil
	})
}

type revertInput struct {
	Writing
	Revision int64 `path:"revision" minimum:"1" doc:"What is to be undone"`
}

func (a *service) revert(ctx context.Context, in *revertInput, o ...writer.Option) (writer.Result[api.Reverted], error) {
	return a.writer.Revert(ctx, in.Revision, o...)
}
