package admin

import (
	"context"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/writer"
)

func (a *service) listEdges(ctx context.Context, in *struct{ Listing }) (writer.Result[api.Page[api.Edge]], error) {
	return a.writer.Edges(ctx, in.page())
}

// watchEdges notes at every tick which edges are connected, until ctx ends.
func (a *service) watchEdges(ctx context.Context, ticks <-chan time.Time) {
	watched := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			err := a.writer.WatchEdges(ctx)
			if err != nil && watched && ctx.Err() == nil {
				a.log.Warn("edges are not watched, trying again", "interval", watchInterval, "error", err)
			}
			watched = err == nil
		}
	}
}
