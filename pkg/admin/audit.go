package admin

import (
	"context"
	"iter"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

type listAuditInput struct {
	Listing
	Accept   string    `header:"Accept" doc:"application/x-ndjson: all matching entries, one a line, instead of a page"`
	Actor    string    `query:"actor" doc:"Only changes by this actor"`
	Resource string    `query:"resource" doc:"Only changes of this resource and those below it" example:"features/foobar"`
	Since    time.Time `query:"since" doc:"Only changes since this moment, inclusive"`
	Until    time.Time `query:"until" doc:"Only changes until this moment, exclusive"`
	Request  string    `query:"request_id" doc:"Only changes by the request of this id, which its answer named in X-Request-Id. With since, a search without result ends soon"`
}

// filter leaves out changes of tokens if the caller may not list tokens.
func (in *listAuditInput) filter(ctx context.Context) writer.AuditFilter {
	return writer.AuditFilter{
		Actor: in.Actor, Resource: in.Resource, Since: in.Since, Until: in.Until, Request: in.Request,
		WithoutTokens: !web.Caller(ctx).Role.Allows(auth.Administer),
	}
}

func (in listAuditInput) exports() bool { return in.Accept == api.MediaNDJSON }

// Resolve implements [huma.Resolver].
func (in *listAuditInput) Resolve(hc huma.Context) []error {
	if !in.exports() {
		return nil
	}
	return refusePaging(hc, api.MediaNDJSON)
}

func (a *service) listAudit(ctx context.Context, in *listAuditInput) (writer.Result[api.Page[api.AuditEntry]], error) {
	return a.writer.Audit(ctx, in.filter(ctx), in.page())
}

func (a *service) exportAudit(ctx context.Context, in *listAuditInput, begin func(revision int64)) iter.Seq2[api.AuditEntry, error] {
	return a.writer.ExportAudit(ctx, in.filter(ctx), begin)
}

type revertInput struct {
	Writing
	Revision int64 `path:"revision" minimum:"1" doc:"The revision to revert" example:"1042"`
}

func (a *service) revert(ctx context.Context, in *revertInput, o ...writer.Option) (writer.Result[api.Reverted], error) {
	return a.writer.Revert(ctx, in.Revision, o...)
}
