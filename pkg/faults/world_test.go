package faults

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// world is a small installation under load: admins, edges, the subjects and
// features that they serve, and the checker.
type world struct {
	t      *testing.T
	url    string  // straight to the database
	db     *sql.DB // the test's own way into it
	random *rand.Rand
	check  *checker
	admins []*service
	edges  []*service

	acked  atomic.Int64 // the last revision that an admin acknowledged
	growth growth
	jobs   []*job
}

const token = "faults-0123456789-0123456789-0123456789"

// newWorld prepares an installation on a database with the program's schema.
func newWorld(t *testing.T, dbURL string) *world {
	t.Helper()
	w := &world{t: t, url: dbURL, db: connect(t, dbURL), random: random(t), check: newChecker()}
	w.growth.turn = make(chan struct{}, 1)
	recordHistory(t, w.db)
	t.Cleanup(w.halt)
	return w
}

func (w *world) newAdmin(dbURL string, env ...string) *service {
	w.t.Helper()
	s := newService(w.t, "flaggery-admin", "127.0.0.1",
		append([]string{"FLAGGERY_DB_URL=" + dbURL, "FLAGGERY_ADMIN_TOKEN=" + token}, env...)...)
	w.admins = append(w.admins, s)
	return s
}

func (w *world) newEdge(dbURL string, env ...string) *service {
	w.t.Helper()
	name := fmt.Sprintf("FLAGGERY_EDGE_NAME=edge-%d", len(w.edges)+1)
	s := newService(w.t, "flaggery-edge", "127.0.0.1", append([]string{"FLAGGERY_DB_URL=" + dbURL, name}, env...)...)
	w.edges = append(w.edges, s)
	return s
}

// start brings up an admin and some edges, with something to serve.
func (w *world) start(edges int) *world {
	w.t.Helper()
	w.newAdmin(w.url).run()
	w.fill()
	for range edges {
		w.newEdge(w.url).start()
	}
	for _, e := range w.edges {
		e.awaitReady(waitLimit)
	}
	return w
}

// call asks the first admin for something that must succeed.
func (w *world) call(method, target string, body any) answer {
	w.t.Helper()
	c := client{addr: w.admins[0].addr, token: token}
	defer c.close()
	a, err := c.send(method, target, body)
	if err != nil {
		w.t.Fatal(err)
	}
	if a.status >= 300 {
		w.t.Fatalf("%s %s: %d %s", method, target, a.status, a.body)
	}
	w.ack(a.revision)
	return a
}

func (w *world) ack(revision int64) {
	for {
		old := w.acked.Load()
		if revision <= old || w.acked.CompareAndSwap(old, revision) {
			return
		}
	}
}

type object = map[string]any

// What the random writes choose from.
const (
	subjects = 24 // steady ones, and as many that come and go
	features = 4
	groups   = 4
	buckets  = 16
)

// fill makes buckets, subjects, features, rollouts, groups and tests. The live
// test stays live for as long as any run lasts.
func (w *world) fill() {
	w.t.Helper()
	w.call("POST", "/v1/buckets", object{"amount": buckets})
	var lines strings.Builder
	for i := range subjects {
		fmt.Fprintf(&lines, `{"id":"%s%d","weight":%d}`+"\n", steady, i, 1+i%10)
		fmt.Fprintf(&lines, `{"id":"%s%d","weight":%d}`+"\n", watched, i, 1+i%7)
	}
	w.importLines(lines.String())
	for i := range features {
		w.newFeature(fmt.Sprintf("f%d", i))
	}
	w.newFeature(growing)
	for i := range groups {
		w.call("POST", "/v1/groups", object{"name": fmt.Sprintf("g%d", i), "priority": i % 2})
	}
	now := time.Now()
	for i, period := range [][2]time.Time{{now.Add(-time.Hour), now.Add(100 * time.Hour)}, {now.Add(200 * time.Hour), now.Add(300 * time.Hour)}} {
		w.call("POST", "/v1/abtests", object{"name": fmt.Sprintf("t%d", i), "start": period[0], "end": period[1],
			"groups": []object{
				{"name": "one", "proportion": 0.5, "variants": object{"f2": "A"}},
				{"name": "two", "proportion": 0.5, "variants": object{"f2": "B"}},
			}})
	}
}

func (w *world) newFeature(name string) {
	w.t.Helper()
	w.call("POST", "/v1/features", object{"name": name})
	w.call("POST", "/v1/features/"+name+"/variants", object{"name": "A"})
	w.call("POST", "/v1/features/"+name+"/variants", object{"name": "B", "payload": object{"n": 1}})
	w.call("POST", "/v1/features/"+name+"/disabling_variant", object{"make_default": true})
	w.call("POST", "/v1/features/"+name+"/rollout", object{"variant": "A"})
}

func (w *world) importLines(lines string) {
	w.t.Helper()
	c := client{addr: w.admins[0].addr, token: token}
	defer c.close()
	a, err := c.do("POST", "/v1/import/subjects", []byte(lines), "")
	if err != nil || a.status >= 300 {
		w.t.Fatalf("import: %v %d %s", err, a.status, a.body)
	}
	w.ack(a.revision)
}

// revision is the last committed one.
func (w *world) revision() int64 {
	w.t.Helper()
	var n int64
	eventually(w.t, waitLimit, "read the revision", func() error {
		return w.db.QueryRow(`SELECT revision FROM state`).Scan(&n)
	})
	return n
}

// serves is an error until an edge serves a revision or a later one.
func serves(edge *service, revision int64) func() error {
	return revisionOf(edge, func(serves int64) bool { return serves >= revision }, revision)
}

func servesExactly(edge *service, revision int64) func() error {
	return revisionOf(edge, func(serves int64) bool { return serves == revision }, revision)
}

func revisionOf(edge *service, right func(int64) bool, want int64) func() error {
	c := client{addr: edge.addr, timeout: time.Second}
	return func() error {
		a, err := c.get("/v1/subject/flags?subject_id=" + steady + "0")
		if err != nil {
			return err
		}
		if !right(a.revision) {
			return fmt.Errorf("serves revision %d, not %d", a.revision, want)
		}
		c.close()
		return nil
	}
}

// synced waits until every edge serves the last committed revision and returns
// how long that took. More than limit fails the test.
func (w *world) synced(limit time.Duration) time.Duration {
	w.t.Helper()
	began := time.Now()
	last := w.revision()
	for _, e := range w.edges {
		eventually(w.t, limit-time.Since(began), "edge "+e.addr+" catches up", serves(e, last))
	}
	return time.Since(began)
}

// settled waits until every edge serves the last committed revision and listens for
// notifications: it begins to listen while it loads.
func (w *world) settled() {
	w.t.Helper()
	w.synced(waitLimit)
	for _, e := range w.edges {
		eventually(w.t, waitLimit, "edge "+e.addr+" listens", func() error {
			if scrape(w.t, e).sum("flaggery_edge_listening_connections_total") == 0 {
				return errors.New("it does not yet")
			}
			return nil
		})
	}
}

// aChange commits one change, which must succeed within a while, and returns its
// revision.
func (w *world) aChange() int64 {
	w.t.Helper()
	c := client{addr: w.admins[0].addr, token: token, timeout: 5 * time.Second}
	defer c.close()
	var revision int64
	eventually(w.t, waitLimit, "a write", func() error {
		a, err := c.send("POST", "/v1/subjects", object{"id": fmt.Sprintf("change-%d", w.random.Uint64())})
		if err != nil {
			return err
		}
		if a.status != 201 {
			return fmt.Errorf("status %d: %s", a.status, a.body)
		}
		revision = a.revision
		return nil
	})
	w.ack(revision)
	return revision
}

// finish ends the load, waits until the edges have caught up, and has the
// checker look at all that was answered. It returns how many answers that were.
func (w *world) finish() int {
	w.t.Helper()
	for _, j := range w.jobs {
		if j.writes {
			j.end()
		}
	}
	w.synced(waitLimit)
	w.halt()
	if last, acked := w.revision(), w.acked.Load(); acked > last {
		w.t.Errorf("revision %d was acknowledged, the database is at %d", acked, last)
	}
	answers, faults := w.check.verify(w.t, w.db)
	for _, fault := range faults {
		w.t.Error(fault)
	}
	return answers
}

// halt ends all load.
func (w *world) halt() {
	for _, j := range w.jobs {
		j.end()
	}
}

// quiet fails the test if a request of the phase failed: while this fault lasts,
// none may.
func (w *world) noFailure(what string, p phase) {
	w.t.Helper()
	if p.failed > 0 {
		w.t.Errorf("%s: %d of %d requests failed, the first with: %v", what, p.failed, p.requests, p.failure)
	}
	if p.requests == 0 {
		w.t.Errorf("%s: no request was made", what)
	}
}

var errNoRevision = errors.New("answer without Flaggery-Revision")
