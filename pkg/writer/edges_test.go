package writer

import (
	"context"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// listen connects an edge.
func (w *fixture) listen(name string) *postgres.Feed {
	w.t.Helper()
	feed, err := postgres.NewFeed(w.url, postgres.FeedOptions{Name: name})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = feed.Close() })
	connected := make(chan bool, 10)
	go feed.Listen(w.t.Context(), func(announced bool) { connected <- announced })
	<-connected
	return feed
}

func TestEdgesAreWaitedFor(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	if p, err := w.WaitForEdges(ctx, 1, time.Minute); err != nil || p.Edges != 0 || p.Applied != 0 {
		t.Errorf("without edges: %+v, error %v", p, err)
	}
	revision := must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 1)).Revision

	var epoch string
	if err := w.sql.QueryRow("SELECT epoch FROM state").Scan(&epoch); err != nil {
		t.Fatal(err)
	}
	report := map[string]func(int64){}
	for _, name := range []string{"b", "a"} {
		feed := w.listen(name)
		report[name] = func(revision int64) { feed.Report(model.Position{Epoch: epoch, Revision: revision}, false) }
	}
	report["a"](revision)
	p, err := w.WaitForEdges(ctx, revision, 300*time.Millisecond)
	if err != nil || p.Edges != 2 || p.Applied != 1 || p.Seconds < 0.3 {
		t.Errorf("one of two: %+v, error %v", p, err)
	}
	waited := make(chan api.Propagation)
	go func() {
		p, err := w.WaitForEdges(ctx, revision, time.Minute)
		if err != nil {
			t.Error(err)
		}
		waited <- p
	}()
	report["b"](revision + 1)
	if p := <-waited; p.Edges != 2 || p.Applied != 2 {
		t.Errorf("both: %+v", p)
	}
	edges := must[[]api.Edge](t)(w.Edges(ctx))
	if len(edges.Value) != 2 || edges.Revision != revision {
		t.Fatalf("edges %+v", edges)
	}
	for i, want := range []api.Edge{{Name: "a", Revision: revision}, {Name: "b", Revision: revision + 1}} {
		e := edges.Value[i]
		if e.Name != want.Name || e.Revision != want.Revision || e.LagRevisions != 0 || e.State != "serving" {
			t.Errorf("edge %+v, want %+v", e, want)
		}
	}

	// A restored database: whatever an edge serves of the history before, it is not
	// what was asked for.
	if _, err := w.sql.Exec("UPDATE state SET epoch = gen_random_uuid()"); err != nil {
		t.Fatal(err)
	}
	if p, err := w.WaitForEdges(ctx, revision, 0); err != nil || p.Edges != 2 || p.Applied != 0 {
		t.Errorf("in another history: %+v, error %v", p, err)
	}
	for _, e := range must[[]api.Edge](t)(w.Edges(ctx)).Value {
		if e.State != "loading" || e.Revision != 0 {
			t.Errorf("in another history: edge %+v", e)
		}
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	w := newFixture(t)
	w.listen("behind")
	if err := w.Prune(t.Context(), time.Hour); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := w.WaitForEdges(ctx, 1, time.Minute); err == nil {
		t.Error("no error")
	}
}
