package writer

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/backoff"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// Edges lists the edges by name: those that are connected, and those that lost their
// connection within the last ten minutes without a drain.
func (w *Writer) Edges(ctx context.Context, page Page) (Result[api.Page[api.Edge]], error) {
	edges, err := w.db.Edges(ctx)
	if err != nil {
		return Result[api.Page[api.Edge]]{}, err
	}
	edges = slices.DeleteFunc(edges, func(e postgres.Edge) bool { return e.Key() <= page.After })
	return list(ctx, w, page, func(e postgres.Edge) string { return e.Key() },
		func(_ *postgres.Tx, limit int) iter.Seq2[postgres.Edge, error] {
			return all(edges[:min(limit, len(edges))], nil)
		},
		func(tx *postgres.Tx) (func(postgres.Edge) api.Edge, error) {
			return func(e postgres.Edge) api.Edge {
				return api.Edge{
					Name: e.Name, Revision: e.Revision, LagRevisions: max(0, tx.Revision-e.Revision),
					ConnectedSince: e.ConnectedSince, LastSeen: e.LastSeen, State: e.State, Version: e.Version,
				}
			}, nil
		})
}

// refuseOldEdges fails with edges_too_old if an edge of the last ten minutes cannot read
// whether features are off or archived: it would keep serving them, and report that it
// has the change.
func (w *Writer) refuseOldEdges(ctx context.Context) error {
	edges, err := w.db.Edges(ctx)
	if err != nil {
		return err
	}
	for _, e := range edges {
		if e.Format < postgres.FeatureStatesFormat {
			return model.Errorf(model.EdgesTooOld,
				"edge %q of version %q cannot read whether features are off or archived: upgrade the edges first", e.Name, e.Version)
		}
	}
	return nil
}

// WaitForEdges waits until every edge serves the revision, or the time is up. Edges that
// are away or behind may serve an earlier one. Edges report on their connections, so it
// polls: often at first, as most edges are in sync within milliseconds.
func (w *Writer) WaitForEdges(ctx context.Context, revision int64, atMost time.Duration) (api.Propagation, error) {
	start := time.Now()
	pauses := backoff.Backoff{First: 2 * time.Millisecond, Max: 100 * time.Millisecond}
	for {
		edges, err := w.db.Edges(ctx)
		if err != nil {
			return api.Propagation{}, err
		}
		waited := time.Since(start)
		p := api.Propagation{Edges: len(edges), Seconds: waited.Seconds(), Behind: []string{}}
		for _, e := range edges {
			if e.Revision >= revision && !e.Away() {
				p.Applied++
			} else {
				p.Behind = append(p.Behind, e.Name)
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
