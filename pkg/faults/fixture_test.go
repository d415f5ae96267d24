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

// fixture is a small installation under load: admins, edges, the subjects and
// features that they serve, and the checker.
type fixture struct {
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

// newFixture prepares an installation on a database with the program's schema.
func newFixture(t *testing.T, dbURL string) *fixture {
	t.Helper()
	f := &fixture{t: t, url: dbURL, db: connect(t, dbURL), random: random(t), check: newChecker()}
	f.growth.turn = make(chan struct{}, 1)
	recordHistory(t, f.db)
	t.Cleanup(f.halt)
	return f
}

func (f *fixture) newAdmin(dbURL string, env ...string) *service {
	f.t.Helper()
	s := newService(f.t, "flaggery-admin", "127.0.0.1",
		append([]string{"FLAGGERY_DB_URL=" + dbURL, "FLAGGERY_ADMIN_TOKEN=" + token}, env...)...)
	f.admins = append(f.admins, s)
	return s
}

func (f *fixture) newEdge(dbURL string, env ...string) *service {
	f.t.Helper()
	name := fmt.Sprintf("FLAGGERY_EDGE_NAME=edge-%d", len(f.edges)+1)
	s := newService(f.t, "flaggery-edge", "127.0.0.1", append([]string{"FLAGGERY_DB_URL=" + dbURL, name}, env...)...)
	f.edges = append(f.edges, s)
	return s
}

// start brings up an admin and some edges, with something to serve.
func (f *fixture) start(edges int) *fixture {
	f.t.Helper()
	f.newAdmin(f.url).run()
	f.fill()
	for range edges {
		f.newEdge(f.url).start()
	}
	for _, e := range f.edges {
		e.awaitReady(waitLimit)
	}
	return f
}

// call asks the first admin for something that must succeed.
func (f *fixture) call(method, target string, body any) answer {
	f.t.Helper()
	c := client{addr: f.admins[0].addr, token: token}
	defer c.close()
	a, err := c.send(method, target, body)
	if err != nil {
		f.t.Fatal(err)
	}
	if a.status >= 300 {
		f.t.Fatalf("%s %s: %d %s", method, target, a.status, a.body)
	}
	f.ack(a.revision)
	return a
}

func (f *fixture) ack(revision int64) {
	for {
		old := f.acked.Load()
		if revision <= old || f.acked.CompareAndSwap(old, revision) {
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
func (f *fixture) fill() {
	f.t.Helper()
	f.call("POST", "/v1/buckets", object{"amount": buckets})
	var lines strings.Builder
	for i := range subjects {
		fmt.Fprintf(&lines, `{"id":"%s%d","weight":%d}`+"\n", steady, i, 1+i%10)
		fmt.Fprintf(&lines, `{"id":"%s%d","weight":%d}`+"\n", watched, i, 1+i%7)
	}
	f.importLines(lines.String())
	for i := range features {
		f.newFeature(fmt.Sprintf("f%d", i))
	}
	f.newFeature(growing)
	for i := range groups {
		f.call("POST", "/v1/groups", object{"name": fmt.Sprintf("g%d", i), "priority": i % 2})
	}
	now := time.Now()
	for i, period := range [][2]time.Time{{now.Add(-time.Hour), now.Add(100 * time.Hour)}, {now.Add(200 * time.Hour), now.Add(300 * time.Hour)}} {
		f.call("POST", "/v1/abtests", object{"name": fmt.Sprintf("t%d", i), "start": period[0], "end": period[1],
			"groups": []object{
				{"name": "one", "proportion": 0.5, "variants": object{"f2": "A"}},
				{"name": "two", "proportion": 0.5, "variants": object{"f2": "B"}},
			}})
	}
}

func (f *fixture) newFeature(name string) {
	f.t.Helper()
	f.call("POST", "/v1/features", object{"name": name})
	f.call("POST", "/v1/features/"+name+"/variants", object{"name": "A"})
	f.call("POST", "/v1/features/"+name+"/variants", object{"name": "B", "payload": object{"n": 1}})
	f.call("POST", "/v1/features/"+name+"/disabling_variant", object{"make_default": true})
	f.call("POST", "/v1/features/"+name+"/rollout", object{"variant": "A"})
}

func (f *fixture) importLines(lines string) {
	f.t.Helper()
	c := client{addr: f.admins[0].addr, token: token}
	defer c.close()
	a, err := c.do("POST", "/v1/import/subjects", []byte(lines), "")
	if err != nil || a.status >= 300 {
		f.t.Fatalf("import: %v %d %s", err, a.status, a.body)
	}
	f.ack(a.revision)
}

// revision is the last committed one.
func (f *fixture) revision() int64 {
	f.t.Helper()
	var n int64
	eventually(f.t, waitLimit, "read the revision", func() error {
		return f.db.QueryRow(`SELECT revision FROM state`).Scan(&n)
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
func (f *fixture) synced(limit time.Duration) time.Duration {
	f.t.Helper()
	began := time.Now()
	last := f.revision()
	for _, e := range f.edges {
		eventually(f.t, limit-time.Since(began), "edge "+e.addr+" catches up", serves(e, last))
	}
	return time.Since(began)
}

// settled waits until every edge serves the last committed revision and listens for
// notifications: it begins to listen while it loads.
func (f *fixture) settled() {
	f.t.Helper()
	f.synced(waitLimit)
	for _, e := range f.edges {
		eventually(f.t, waitLimit, "edge "+e.addr+" listens", func() error {
			if scrape(f.t, e).sum("flaggery_edge_listening_connections_total") == 0 {
				return errors.New("it does not yet")
			}
			return nil
		})
	}
}

// aChange commits one change, which must succeed within a while, and returns its
// revision.
func (f *fixture) aChange() int64 {
	f.t.Helper()
	c := client{addr: f.admins[0].addr, token: token, timeout: 5 * time.Second}
	defer c.close()
	var revision int64
	eventually(f.t, waitLimit, "a write", func() error {
		a, err := c.send("POST", "/v1/subjects", object{"id": fmt.Sprintf("change-%d", f.random.Uint64())})
		if err != nil {
			return err
		}
		if a.status != 201 {
			return fmt.Errorf("status %d: %s", a.status, a.body)
		}
		revision = a.revision
		return nil
	})
	f.ack(revision)
	return revision
}

// finish ends the load, waits until the edges have caught up, and has the
// checker look at all that was answered. It returns how many answers that were.
func (f *fixture) finish() int {
	f.t.Helper()
	for _, j := range f.jobs {
		if j.writes {
			j.end()
		}
	}
	f.synced(waitLimit)
	f.halt()
	if last, acked := f.revision(), f.acked.Load(); acked > last {
		f.t.Errorf("revision %d was acknowledged, the database is at %d", acked, last)
	}
	answers, faults := f.check.verify(f.t, f.db)
	for _, fault := range faults {
		f.t.Error(fault)
	}
	return answers
}

// halt ends all load.
func (f *fixture) halt() {
	for _, j := range f.jobs {
		j.end()
	}
}

// quiet fails the test if a request of the phase failed: while this fault lasts,
// none may.
func (f *fixture) noFailure(what string, p phase) {
	f.t.Helper()
	if p.failed > 0 {
		f.t.Errorf("%s: %d of %d requests failed, the first with: %v", what, p.failed, p.requests, p.failure)
	}
	if p.requests == 0 {
		f.t.Errorf("%s: no request was made", what)
	}
}

var errNoRevision = errors.New("answer without Flaggery-Revision")
