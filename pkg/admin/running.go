package admin

import (
	"context"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/writer"
)

// listEdges has no pages: there are as many edges as database connections allow.
func (a *service) listEdges(ctx context.Context, _ *struct{}) (writer.Result[api.Page[api.Edge]], error) {
	r, err := a.writer.Edges(ctx)
	return writer.Result[api.Page[api.Edge]]{Value: api.Page[api.Edge]{Items: r.Value}, Revision: r.Revision}, err
}
