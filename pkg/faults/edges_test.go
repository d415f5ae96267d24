package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

// receipts counts the answers to writes that waited for the edges.
type receipts struct {
	mu      sync.Mutex
	all     int // all edges serve the revision
	behind  int // some edges do not
	without int // no receipt: the database was unavailable
}

func (r *receipts) count() (all, behind, without int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all, r.behind, r.without
}

// writeWaiting writes through an admin at an interval, waits for the edges each
// time, and compares each receipt with what the edges serve right after it.
func (f *fixture) writeWaiting(admin string, wait, interval time.Duration, check func(api.Propagation)) *receipts {
	seen := &receipts{}
	f.every(1, interval, true, func(_ int, r *rand.Rand, _ *job) func() {
		c := &client{addr: admin, token: token}
		return func() {
			a, err := c.send("POST", "/v1/subjects?wait="+wait.String(), object{"id": fmt.Sprintf("waiting-%d", r.Uint64())})
			var body struct{ Propagation *api.Propagation }
			if err == nil && a.status == 201 {
				f.ack(a.revision)
				err = json.Unmarshal(a.body, &body)
			}
			seen.mu.Lock()
			defer seen.mu.Unlock()
			switch p := body.Propagation; {
			case err != nil || p == nil:
				seen.without++
			case p.Applied < p.Edges:
				seen.behind++
				check(*p)
			default:
				seen.all++
				check(*p)
				for _, e := range f.edges {
					if now, err := flagsOfOne(e); err == nil && now.status == 200 && now.revision < a.revision {
						f.t.Errorf("the receipt of revision %d said %d of %d, and %s serves %d", a.revision, p.Applied, p.Edges, e.addr, now.revision)
					}
				}
			}
		}
	})
	return seen
}

// flagsOfOne fails if the edge does not answer.
func flagsOfOne(edge *service) (answer, error) {
	c := client{addr: edge.addr, timeout: time.Second}
	defer c.close()
	return c.get("/v1/subject/flags?subject_id=" + steady + "0")
}

// states are the states of the edges in an admin's list.
func states(admin *service) (states []string, err error) {
	c := client{addr: admin.addr, token: token}
	defer c.close()
	a, err := c.get("/v1/edges")
	if err != nil {
		return nil, err
	}
	var page api.Page[api.Edge]
	err = json.Unmarshal(a.body, &page)
	for _, e := range page.Items {
		states = append(states, e.Name+" "+e.State)
	}
	return states, err
}

func (f *fixture) awaitStates(admin *service, want ...string) {
	f.t.Helper()
	eventually(f.t, waitLimit, "the edges that "+admin.addr+" lists", func() error {
		got, err := states(admin)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("are %q, not %q", got, want)
		}
		return err
	})
}

// PostgreSQL restarts, and edges come back one after the other. No receipt says that
// all edges serve a change while one still serves the value before.
func TestReceiptsHoldWhilePostgreSQLRestarts(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "", nil)
	f := newFixture(t, db.url()).start(2)
	way := pgtest.NewRelay(t, db.url())
	f.newEdge(way.URL()).run()
	f.awaitStates(f.admins[0], "edge-1 serving", "edge-2 serving", "edge-3 serving")
	f.read(3, 5*time.Millisecond, f.edges...)
	seen := f.writeWaiting(f.admins[0].addr, 500*time.Millisecond, 200*time.Millisecond, func(p api.Propagation) {
		if p.Edges != 3 || p.Applied+len(p.Behind) != 3 {
			t.Errorf("the receipt said %d of %d, behind are %q; there are three edges", p.Applied, p.Edges, p.Behind)
		}
	})
	complete := func(since int) {
		t.Helper()
		eventually(t, allow(10*time.Second), "3 of 3", func() error {
			if all, _, _ := seen.count(); all <= since {
				return fmt.Errorf("%d receipts said so, as before", all)
			}
			return nil
		})
	}
	complete(0)
	var worst time.Duration
	restarts := fullOr(5, 2)
	for i := range restarts {
		way.Freeze() // the third edge is the last to return
		if i%2 == 0 {
			db.kill()
		} else {
			db.stop()
		}
		elapse(fullOr(2*time.Second, 0))
		before, late, _ := seen.count()
		db.start()
		eventually(t, waitLimit, "a receipt without the third edge", func() error {
			if _, behind, _ := seen.count(); behind <= late {
				return fmt.Errorf("%d named an edge, as before", behind)
			}
			return nil
		})
		way.Thaw()
		way.Cut()
		began := time.Now()
		complete(before)
		worst = max(worst, time.Since(began))
	}
	answers := f.finish()
	all, behind, without := seen.count()
	measured(t, "a receipt never claims what does not hold", figures{
		"restarts": restarts, "complete_again_s": worst, "receipts_all": all, "receipts_behind": behind, "no_receipt": without,
		"answers_checked": answers,
	})
}

// Edges are restarted one after the other under writes that wait for them. No write
// waits for an edge that has drained.
func TestReceiptsWhileEdgesRestart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(3)
	f.newAdmin(f.url).run()
	f.awaitStates(f.admins[0], "edge-1 serving", "edge-2 serving", "edge-3 serving")
	f.read(3, 5*time.Millisecond, f.edges...)
	longest := 0.0
	check := func(p api.Propagation) {
		longest = max(longest, p.Seconds)
		if p.Applied != p.Edges {
			t.Errorf("a wait ran out with %d of %d, behind are %q", p.Applied, p.Edges, p.Behind)
		}
	}
	seen := f.writeWaiting(f.admins[0].addr, 20*time.Second, 20*time.Millisecond, check)
	rounds := fullOr(5, 1)
	for range rounds {
		for _, e := range f.edges {
			e.terminate()
			e.start()
			e.awaitReady(waitLimit)
		}
	}
	for _, admin := range f.admins {
		f.awaitStates(admin, "edge-1 serving", "edge-2 serving", "edge-3 serving")
	}
	answers := f.finish()
	all, behind, without := seen.count()
	if without > 0 {
		t.Errorf("%d writes got no receipt", without)
	}
	measured(t, "a rolling restart lets no wait run out", figures{
		"restarts": 3 * rounds, "receipts_all": all, "receipts_behind": behind, "longest_wait_s": longest, "answers_checked": answers,
	})
}

// An edge is killed. Two admins report it as gone, as does one that starts later,
// until the edge returns.
func TestAdminsAgreeOnEdges(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(2)
	f.newAdmin(f.url).run()
	for _, admin := range f.admins {
		f.awaitStates(admin, "edge-1 serving", "edge-2 serving")
	}
	f.edges[0].kill()
	for _, admin := range f.admins {
		f.awaitStates(admin, "edge-1 away", "edge-2 serving")
	}
	f.admins[0].kill()
	f.admins[0].run()
	for _, admin := range f.admins {
		f.awaitStates(admin, "edge-1 away", "edge-2 serving")
	}
	var written struct{ Propagation api.Propagation }
	a := f.call("POST", "/v1/subjects?wait=1s", object{"id": "while-one-is-away"})
	if err := json.Unmarshal(a.body, &written); err != nil {
		t.Fatal(err)
	}
	if p := written.Propagation; p.Edges != 2 || p.Applied != 1 || !slices.Equal(p.Behind, []string{"edge-1"}) {
		t.Errorf("with an edge away the receipt is %+v", p)
	}
	f.edges[0].run()
	for _, admin := range f.admins {
		f.awaitStates(admin, "edge-1 serving", "edge-2 serving")
	}
}
