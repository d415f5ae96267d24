package writer

import (
	"context"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// Edges lists the connected edges by name.
func (w *Writer) Edges(ctx context.Context) (Result[[]api.Edge], error) {
	connected, err := w.db.Edges(ctx)
	if err != nil {
		return Result[[]api.Edge]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) ([]api.Edge, int64, error) {
		edges := make([]api.Edge, len(connected))
		for i, e := range connected {
			edges[i] = api.Edge{
				Name: e.Name, Revision: e.Revision, LagRevisions: max(0, tx.Revision-e.Revision),
				ConnectedSince: e.ConnectedSince, State: string(e.State),
			}
		}
		return edges, 0, nil
	})
}

// WaitForEdges waits until every connected edge serves the revision, or the time
// is up. Edges report by their connections, so it asks again and again: often at
// first, as most are there within milliseconds.
func (w *Writer) WaitForEdges(ctx context.Context, revision int64, atMost time.Duration) (api.Propagation, error) {
	start := time.Now()
	deadline := time.NewTimer(atMost)
	defer deadline.Stop()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		edges, err := w.db.Edges(ctx)
		if err != nil {
			return api.Propagation{}, err
		}
		p := api.Propagation{Edges: len(edges), Seconds: time.Since(start).Seconds()}
		for _, e := range edges {
			if e.Revision >= revision {
				p.Applied++
			}
		}
		if p.Applied == p.Edges {
			return p, nil
		}
		select {
		case <-time.After(pause):
		case <-deadline.C:
			p.Seconds = time.Since(start).Seconds()
			return p, nil
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
}
