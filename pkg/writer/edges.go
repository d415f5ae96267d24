package writer

import (
	"context"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/backoff"
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
				ConnectedSince: e.ConnectedSince, State: e.State,
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
	pauses := backoff.Backoff{First: 2 * time.Millisecond, Max: 100 * time.Millisecond}
	for {
		edges, err := w.db.Edges(ctx)
		if err != nil {
			return api.Propagation{}, err
		}
		waited := time.Since(start)
		p := api.Propagation{Edges: len(edges), Seconds: waited.Seconds()}
		for _, e := range edges {
			if e.Revision >= revision {
				p.Applied++
			}
		}
		if p.Applied == p.Edges || waited >= atMost {
			return p, nil
		}
		if err := backoff.Sleep(ctx, min(pauses.Next(), atMost-waited)); err != nil {
			return p, err
		}
	}
}
