package faults

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// A storm of changes by four writers. The edge serves the last one exactly, and
// its readers hardly notice.
func TestStorm(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(1)
	edge := f.edges[0]
	asked := f.probe(edge, newControl(t), 5*time.Millisecond)
	f.read(1, 5*time.Millisecond, edge)
	elapse(fullOr(5*time.Second, time.Second))
	quiet := asked.next()

	changes := int64(fullOr(10_000, 100))
	first := f.revision()
	began := time.Now()
	writes := f.write(4, 0)
	watch := watchRefreshes(t, f.db)
	for f.acked.Load() < first+changes {
		elapse(20 * time.Millisecond)
	}
	lasted := time.Since(began)
	writes.end()
	caughtUp := f.synced(allow(catchUp))
	storm, written := asked.next(), writes.next()
	atOnce := watch()

	f.noFailure("storm: reads", storm.edge)
	f.noFailure("storm: writes", written)
	if atOnce > 1 {
		t.Errorf("%d refreshes were under way at once, want at most 1", atOnce)
	}
	ratio := storm.ratio(quiet)
	if *full && ratio > 2 {
		t.Errorf("the edge's p99 grew %.1f times, want at most 2", ratio)
	}
	answers := f.finish()
	measured(t, "10,000 changes in a burst", figures{
		"changes": f.acked.Load() - first, "lasted_s": lasted, "caught_up_s": caughtUp, "refreshes_at_once": atOnce,
		"p99_quiet_s": p99(quiet.edge), "p99_storm_s": p99(storm.edge), "control_quiet_s": p99(quiet.control),
		"control_storm_s": p99(storm.control), "p99_ratio": ratio,
		"requests": storm.edge.requests, "errors": storm.edge.failed, "answers_checked": answers,
	})
}

// watchRefreshes looks at what PostgreSQL is doing for edges; the function that
// it returns ends that and says how many transactions it did for one at most.
func watchRefreshes(t *testing.T, db *sql.DB) func() int {
	stop, result := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				result <- most
				return
			case <-tick.C:
			}
			var n int
			if err := db.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
				AND application_name LIKE '%edge%' AND xact_start IS NOT NULL`).Scan(&n); err != nil {
				t.Error(err)
			}
			most = max(most, n)
		}
	}()
	return func() int { close(stop); return <-result }
}

// Two admins write at once, with sixteen writers. Revisions have no gap, and of
// increments made with If-Match none is lost.
func TestTwoAdmins(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(1)
	f.newAdmin(f.url).run()
	f.newEdge(f.url).run()
	const counters = 4
	for i := range counters {
		f.call("POST", "/v1/subjects", object{"id": fmt.Sprintf("counter-%d", i), "weight": 0})
	}
	first := f.revision()
	reads := f.read(4, 4*time.Millisecond, f.edges...)
	own := f.readOwn(4, 4*time.Millisecond, f.edges...)
	writes := f.write(8, 5*time.Millisecond)
	var increments [counters]atomic.Int64
	counts := f.every(8, time.Millisecond, true, func(i int, _ *rand.Rand, j *job) func() {
		c := &client{addr: f.admins[i%2].addr, token: token}
		return func() {
			began := time.Now()
			done, err := increment(c, fmt.Sprintf("/v1/subjects/counter-%d", i%counters))
			if done {
				increments[i%counters].Add(1)
			}
			j.add(time.Since(began), err)
		}
	})
	elapse(fullOr(2*time.Minute, 2*time.Second))
	counts.end()
	writes.end()
	served, written, counted := reads.next(), writes.next(), counts.next()
	f.noFailure("two admins: reads", served)
	f.noFailure("two admins: reads of what was written", own.next())
	f.noFailure("two admins: writes", written)
	f.noFailure("two admins: increments", counted)
	var kept int64
	for i := range counters {
		var weight int64
		if err := f.db.QueryRow(`SELECT weight FROM subject WHERE id = $1`, fmt.Sprintf("counter-%d", i)).Scan(&weight); err != nil {
			t.Fatal(err)
		}
		if want := increments[i].Load(); weight != want {
			t.Errorf("counter %d is at %d after %d increments", i, weight, want)
		}
		kept += weight
	}
	if kept == 0 {
		t.Error("no increment was made")
	}
	answers := f.finish()
	f.whole()
	measured(t, "two admins writing at once", figures{
		"revisions": f.revision() - first, "increments": kept, "lost": 0,
		"requests": served.requests, "errors": served.failed, "answers_checked": answers,
	})
}

// increment adds 1 to a subject's weight, if nobody else does so meanwhile.
func increment(c *client, target string) (bool, error) {
	a, err := c.get(target)
	if err != nil {
		return false, err
	}
	var subject struct{ Weight int64 }
	if err := json.Unmarshal(a.body, &subject); err != nil {
		return false, err
	}
	body, err := json.Marshal(object{"weight": subject.Weight + 1})
	if err != nil {
		return false, err
	}
	a, err = c.do("PUT", target, body, "If-Match: "+a.header.Get("ETag")+"\r\n")
	switch {
	case err != nil:
		return false, err
	case a.status == 412:
		return false, nil
	case a.status != 200:
		return false, fmt.Errorf("status %d: %s", a.status, a.body)
	}
	return true, nil
}

// whole checks what holds of every database whatever happened to its writers:
// gapless revisions, an audit row for each, and sums that fit their parts.
func (f *fixture) whole() {
	f.t.Helper()
	for what, query := range map[string]string{
		"revisions without a change row": `
			SELECT count(*) FROM state, generate_series(1, state.revision) AS n
			WHERE n > (SELECT min(revision) FROM change) AND NOT EXISTS (SELECT FROM change WHERE revision = n)`,
		"changes of the future": `SELECT count(*) FROM change, state WHERE change.revision > state.revision`,
		"revisions without an audit row": `
			SELECT count(*) FROM change c WHERE NOT EXISTS (SELECT FROM audit a WHERE a.revision = c.revision)`,
		"audit rows without a revision": `
			SELECT count(*) FROM audit, state WHERE audit.revision > state.revision`,
		"buckets whose sums are wrong": `
			SELECT count(*) FROM bucket b WHERE (weight, subjects) <>
				(SELECT coalesce(sum(s.weight), 0), count(*) FROM subject s WHERE s.bucket_id = b.id)`,
		"groups whose counts are wrong": `
			SELECT count(*) FROM subject_group g WHERE members <> (SELECT count(*) FROM member m WHERE m.group_id = g.id)`,
		"subjects stamped by no change": `
			SELECT count(*) FROM subject s WHERE NOT EXISTS (SELECT FROM change c WHERE c.label = s.label)`,
		"tests whose groups do not cover every bucket once": `
			SELECT count(*) FROM (SELECT g.abtest, b.id FROM abtest_group g, bucket b
				WHERE b.id = ANY (g.buckets) GROUP BY 1, 2 HAVING count(*) = 1) AS covered
			HAVING count(*) <> (SELECT count(*) FROM abtest, bucket)`,
	} {
		var n int
		if err := f.db.QueryRow(query).Scan(&n); err != nil && err != sql.ErrNoRows {
			f.t.Fatalf("%s: %v", what, err)
		}
		if n != 0 {
			f.t.Errorf("%s: %d", what, n)
		}
	}
}

// importer sends imports of its own subjects over and over: each is stored as a
// whole or not at all.
const importSize = 2000

func (f *fixture) imports(pause time.Duration) *job {
	var n atomic.Int64
	return f.every(1, pause, true, func(int, *rand.Rand, *job) func() {
		c := &client{addr: f.admins[0].addr, token: token}
		return func() {
			var lines strings.Builder
			number := n.Add(1)
			for i := range importSize {
				fmt.Fprintf(&lines, `{"id":"import-%d-%d","weight":%d}`+"\n", number, i, i%5)
			}
			if a, err := c.do("POST", "/v1/import/subjects", []byte(lines.String()), ""); err == nil && a.status < 300 {
				f.ack(a.revision)
			}
		}
	})
}

// The admin is killed at random moments of writes and imports. What is in the
// database afterwards is whole: no change without its revision and audit row, no
// half import, nothing missing that was acknowledged.
func TestAdminKilled(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(1)
	admin, edge := f.admins[0], f.edges[0]
	reads := f.read(2, 5*time.Millisecond, edge)
	first := f.revision()
	writes := f.write(6, 2*time.Millisecond)
	f.imports(10 * time.Millisecond)
	kills := fullOr(200, 4)
	for range kills {
		f.aChange()
		elapse(time.Duration(f.random.IntN(120)) * time.Millisecond)
		admin.kill()
		if last, acked := f.revision(), f.acked.Load(); acked > last {
			t.Fatalf("revision %d was acknowledged, the database is at %d", acked, last)
		}
		admin.run()
	}
	served, written := reads.next(), writes.next()
	f.noFailure("admin killed", served)
	answers := f.finish()
	f.whole()
	var halves, imported int
	if err := f.db.QueryRow(`SELECT count(*) FILTER (WHERE n <> $1), count(*) FROM (
		SELECT count(*) AS n FROM subject WHERE id LIKE 'import-%' GROUP BY split_part(id, '-', 2)) AS i`,
		importSize).Scan(&halves, &imported); err != nil {
		t.Fatal(err)
	}
	if halves > 0 {
		t.Errorf("%d of %d imports are stored in part", halves, imported)
	}
	measured(t, "kill -9 of the admin at any statement", figures{
		"kills": kills, "revisions": f.revision() - first, "imports": imported, "half_changes": 0,
		"writes": written.requests, "cut_off": written.failed,
		"requests": served.requests, "errors": served.failed, "answers_checked": answers,
	})
}

// A write's connection is cut before each single message that it sends to
// PostgreSQL, one after the other: what a kill at that statement leaves behind,
// without luck.
func TestWriteCutAtEveryMessage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(1)
	relay := pgtest.NewRelay(t, f.url)
	var left atomic.Int64 // messages until the cut; negative for never
	left.Store(-1)
	relay.OnRequest = func(byte) bool { return left.Add(-1) != 0 || left.Load() < -1 }
	f.newAdmin(relay.URL()).run()
	c := client{addr: f.admins[1].addr, token: token}
	defer c.close()
	reads := f.read(1, 5*time.Millisecond, f.edges...)

	kinds := []struct {
		name string
		call func(n int) (method, target string, body []byte)
	}{
		{"proportion", func(n int) (string, string, []byte) {
			return "PATCH", "/v1/features/f0/rollout", fmt.Appendf(nil, `{"proportion": %g}`, float64(n)/1000)
		}},
		{"subject", func(n int) (string, string, []byte) {
			return "POST", "/v1/subjects", fmt.Appendf(nil, `{"id": "cut-%d"}`, n)
		}},
		{"buckets", func(int) (string, string, []byte) { return "POST", "/v1/buckets", []byte(`{"amount": 1}`) }},
		{"import", func(n int) (string, string, []byte) {
			var lines strings.Builder
			for i := range 50 {
				fmt.Fprintf(&lines, `{"id":"cut-%d-%d","groups":["g0"]}`+"\n", n, i)
			}
			return "POST", "/v1/import/subjects", []byte(lines.String())
		}},
	}
	cuts := 0
	for _, kind := range kinds {
		for at := int64(1); ; at += fullOr(1, 1+f.random.Int64N(8)) {
			if at > 999 {
				t.Fatalf("%s: still cut after %d messages", kind.name, at)
			}
			method, target, body := kind.call(int(at))
			before := f.revision()
			left.Store(at)
			a, err := c.do(method, target, body, "")
			through := left.Swap(-1) > 0 // the write needed fewer messages
			after := f.revision()
			switch {
			case err != nil:
				t.Fatalf("%s cut at message %d: %v", kind.name, at, err)
			case a.status < 300 && (after != before+1 || a.revision != after):
				t.Errorf("%s cut at message %d: acknowledged with revision %d, the database went from %d to %d", kind.name, at, a.revision, before, after)
			case a.status >= 300 && a.status != 503:
				t.Errorf("%s cut at message %d: status %d: %s", kind.name, at, a.status, a.body)
			}
			if through {
				break
			}
			cuts++
		}
	}
	f.noFailure("a write cut off", reads.next())
	answers := f.finish()
	f.whole()
	measured(t, "kill -9 of the admin at any statement", figures{"cuts": cuts, "half_changes": 0, "answers_checked": answers})
}
