package admin

import (
	"context"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/writer"
)

type listAudit struct {
	Listing
	Actor    string    `query:"actor" doc:"Only changes by this actor"`
	Resource string    `query:"resource" doc:"Only changes of this resource" example:"features/foobar"`
	Since    time.Time `query:"since" doc:"Only changes at this moment or later"`
}

func (a *service) listAudit(ctx context.Context, in *listAudit) (writer.Result[api.Page[api.AuditEntry]], error) {
	return a.writer.Audit(ctx, writer.AuditFilter{Actor: in.Actor, Resource: in.Resource, Since: in.Since}, in.page())
}

// listEdges has no pages: there are as many edges as database connections allow.
func (a *service) listEdges(ctx context.Context, _ *struct{}) (writer.Result[api.Page[api.Edge]], error) {
	r, err := a.writer.Edges(ctx)
	return writer.Result[api.Page[api.Edge]]{Value: api.Page[api.Edge]{Items: r.Value}, Revision: r.Revision}, err
}
