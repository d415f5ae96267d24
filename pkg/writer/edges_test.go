package writer

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/backoff"
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
	if p, err := w.WaitForEdges(ctx, 1, time.Minute); err != nil || p.Edges != 0 || p.Applied != 0 || p.Behind == nil {
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
	if err != nil || p.Edges != 2 || p.Applied != 1 || p.Seconds < 0.3 || !slices.Equal(p.Behind, []string{"b"}) {
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
	edges := must[api.Page[api.Edge]](t)(w.Edges(ctx, Page{}))
	if len(edges.Value.Items) != 2 || edges.Revision != revision {
		t.Fatalf("edges %+v", edges)
	}
	for i, want := range []api.Edge{{Name: "a", Revision: revision}, {Name: "b", Revision: revision + 1}} {
		e := edges.Value.Items[i]
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
	for _, e := range must[api.Page[api.Edge]](t)(w.Edges(ctx, Page{})).Value.Items {
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

// connect connects an edge that ends without a word when its connection is closed.
func (w *fixture) connect(report string) *sql.DB {
	w.t.Helper()
	u, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	query := u.Query()
	query.Set("application_name", "flaggery-edge/"+report)
	u.RawQuery = query.Encode()
	db, err := sql.Open("postgres", u.String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	if err := db.Ping(); err != nil {
		w.t.Fatal(err)
	}
	return db
}

// awaitEdges asks until the edges are as wanted: PostgreSQL takes a moment to notice
// that a connection was closed.
func (w *fixture) awaitEdges(from *Writer, want ...string) []api.Edge {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	for {
		var got []string
		edges := must[api.Page[api.Edge]](w.t)(from.Edges(w.t.Context(), Page{})).Value.Items
		for _, e := range edges {
			got = append(got, fmt.Sprint(e.Name, " ", e.Revision, " ", e.State))
		}
		if slices.Equal(got, want) {
			return edges
		}
		if err := backoff.Sleep(ctx, 5*time.Millisecond); err != nil {
			w.t.Fatalf("edges %q, want %q", got, want)
		}
	}
}

// Two admins agree on the edges, and so does one that was restarted.
func TestEdgesThatAreAway(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	another := func() *Writer {
		db, err := postgres.Open(ctx, w.url, postgres.Options{Now: func() time.Time { return w.now }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return New(db, Options{})
	}
	second := another()
	a, b := w.connect("a#aaaaaa v1.2.0/1 5"), w.connect("b#bbbbbb v1.2.0/1 5")
	w.awaitEdges(w.Writer, "a 5 serving", "b 5 serving")
	_ = a.Close()
	for _, admin := range []*Writer{second, w.Writer, another()} {
		edges := w.awaitEdges(admin, "a 5 away", "b 5 serving")
		if e := edges[0]; e.ConnectedSince != nil || !e.LastSeen.Equal(w.now) || e.Version != "v1.2.0" {
			t.Errorf("the edge that is away is %+v", e)
		}
		if p, err := admin.WaitForEdges(ctx, 5, time.Millisecond); err != nil || p.Edges != 2 || p.Applied != 1 || !slices.Equal(p.Behind, []string{"a"}) {
			t.Errorf("with an edge away: %+v, error %v", p, err)
		}
	}
	first := must[api.Page[api.Edge]](t)(w.Edges(ctx, Page{Limit: 1})).Value
	if len(first.Items) != 1 || first.Next != "a#aaaaaa" {
		t.Errorf("the first page is %+v", first)
	}
	next := must[api.Page[api.Edge]](t)(w.Edges(ctx, Page{Limit: 1, After: first.Next})).Value
	if len(next.Items) != 1 || next.Items[0].Name != "b" || next.Next != "" {
		t.Errorf("the second page is %+v", next)
	}

	w.now = w.now.Add(10 * time.Minute)
	w.awaitEdges(second, "a 5 away", "b 5 serving")
	w.now = w.now.Add(11 * time.Second)
	w.awaitEdges(second, "b 5 serving")
	_ = b.Close()
	w.awaitEdges(w.Writer, "b 5 away")
	w.connect("b#cccccc v1.2.1/1 6") // started again, as a StatefulSet does
	w.awaitEdges(w.Writer, "b 6 serving")
	w.awaitEdges(second, "b 6 serving")
}

// Many admins look at edges that come and go. None waits for another, and no edge that
// left comes back.
func TestManyAdminsWatch(t *testing.T) {
	w := newFixture(t)
	ctx, stop := context.WithCancel(t.Context())
	var admins sync.WaitGroup
	for range 4 {
		admin := open(t, w.url)
		admins.Go(func() {
			for ctx.Err() == nil {
				if _, err := admin.Edges(ctx, Page{}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 30 {
		report := fmt.Sprintf("e%d#aaaa%c%c v1.2.0/1 5", i, 'a'+i/26, 'a'+i%26)
		edge := w.connect(report)
		if _, err := edge.Exec(`SET application_name = 'flaggery-edge/` + report + `.'`); err != nil { // it has ended
			t.Fatal(err)
		}
	}
	stop()
	admins.Wait()
	w.awaitEdges(w.Writer)
	if n := w.one(`SELECT count(*) FROM edge_seen`); n != "0" {
		t.Errorf("%s edges are still stored", n)
	}
}
