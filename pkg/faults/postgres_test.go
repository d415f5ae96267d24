package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// catchUp is how soon an edge is in sync again after its database is.
const catchUp = 5 * time.Second

// PostgreSQL is killed under load, again and again. Edges keep answering, report
// the age of their snapshot, and are back in sync soon after the server is.
func TestDatabaseKilled(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "", nil)
	f := newFixture(t, db.url()).start(2)
	reads, writes := f.read(4, 2*time.Millisecond, f.edges...), f.write(2, 10*time.Millisecond)
	elapse(time.Second)

	var worst, recovery time.Duration
	away := fullOr(20*time.Second, 0)
	kills := fullOr(5, 1)
	for range kills {
		db.kill()
		f.reportAge(away)
		recovery = max(recovery, db.start())
		worst = max(worst, f.backInSync())
		f.reportNoAge()
	}
	served, written := reads.next(), writes.next()
	f.noFailure("PostgreSQL killed", served)
	answers := f.finish()
	measured(t, "PostgreSQL away while running", figures{
		"kills": kills, "away_at_least_s": away, "recovery_s": recovery, "caught_up_s": worst,
		"requests": served.requests, "errors": served.failed, "p99_s": p99(served), "answers_checked": answers,
		"writes": written.requests, "writes_refused": written.failed,
	})
}

// A single server process is killed: PostgreSQL ends all sessions and recovers.
func TestBackendKilled(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "", nil)
	f := newFixture(t, db.url()).start(2)
	reads, writes := f.read(4, 2*time.Millisecond, f.edges...), f.write(2, 5*time.Millisecond)
	var worst, recovery time.Duration
	victims := []string{
		"query ILIKE 'LISTEN%' OR application_name LIKE '%edge%'",                                 // an edge's listening connection
		"application_name NOT LIKE '%edge%' AND (state <> 'idle' OR query LIKE '%UPDATE state%')", // a write in progress
	}
	rounds := fullOr(10, 1)
	for range rounds {
		for _, victim := range victims {
			elapse(fullOr(2*time.Second, 300*time.Millisecond))
			recovery = max(recovery, db.killBackend(f.db, victim))
			worst = max(worst, f.backInSync())
		}
	}
	served, written := reads.next(), writes.next()
	f.noFailure("backend killed", served)
	answers := f.finish()
	measured(t, "PostgreSQL away while running", figures{
		"kills": rounds * len(victims), "recovery_s": recovery, "caught_up_s": worst,
		"requests": served.requests, "errors": served.failed, "p99_s": p99(served), "answers_checked": answers,
		"writes": written.requests, "writes_refused": written.failed,
	})
}

// backInSync commits a change and returns how long it took, from now on, until
// the write was accepted and every edge served it.
func (f *fixture) backInSync() time.Duration {
	f.t.Helper()
	began := time.Now()
	revision := f.aChange()
	for _, e := range f.edges {
		eventually(f.t, allow(catchUp)-time.Since(began), "edge "+e.addr+" is back in sync", serves(e, revision))
	}
	return time.Since(began)
}

// reportAge checks for a while that the edges, cut off from their database, are
// ready, answer, and report a growing age.
func (f *fixture) reportAge(d time.Duration) {
	f.t.Helper()
	began := time.Now()
	for _, e := range f.edges {
		eventually(f.t, allow(silence), e.addr+" reports its age", func() error { return reportsAge(e, true) })
		if !e.ready() {
			f.t.Errorf("%s is not ready without its database", e.addr)
		}
		m := scrape(f.t, e)
		if stale := m.sum("flaggery_edge_stale"); stale != 1 {
			f.t.Errorf("flaggery_edge_stale is %g while the database is away", stale)
		}
	}
	elapse(d - time.Since(began))
	for _, e := range f.edges {
		if !e.ready() {
			f.t.Errorf("%s is not ready after %v without its database", e.addr, time.Since(began))
		}
		if age := scrape(f.t, e).sum("flaggery_edge_snapshot_age_seconds"); age < time.Since(began).Seconds()-1 {
			f.t.Errorf("flaggery_edge_snapshot_age_seconds is %g after %v without the database", age, time.Since(began))
		}
	}
}

func (f *fixture) reportNoAge() {
	f.t.Helper()
	for _, e := range f.edges {
		eventually(f.t, allow(catchUp), e.addr+" reports no age", func() error { return reportsAge(e, false) })
		if stale := scrape(f.t, e).sum("flaggery_edge_stale"); stale != 0 {
			f.t.Errorf("flaggery_edge_stale is %g in sync", stale)
		}
	}
}

func reportsAge(e *service, want bool) error {
	c := client{addr: e.addr}
	defer c.close()
	a, err := c.get("/v1/subject/flags?subject_id=" + steady + "0")
	if err != nil {
		return err
	}
	text := a.header.Get("Flaggery-Snapshot-Age")
	if (text != "") != want {
		return fmt.Errorf("Flaggery-Snapshot-Age is %q", text)
	}
	if want {
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return err
		}
	}
	return nil
}

// An edge that starts while PostgreSQL is unavailable waits for it, and is not
// ready until then.
func TestDatabaseAwayAtStart(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "", nil)
	f := newFixture(t, db.url()).start(0)
	db.kill()
	edge := f.newEdge(db.url())
	edge.start()
	eventually(t, waitLimit, "the edge answers", func() error {
		c := client{addr: edge.addr}
		defer c.close()
		a, err := c.get("/healthz")
		if err == nil && a.status != 200 {
			err = fmt.Errorf("/healthz: %d", a.status)
		}
		return err
	})
	away := fullOr(time.Minute, 2*time.Second)
	until := time.Now().Add(away)
	for time.Now().Before(until) {
		if edge.ready() {
			t.Error("ready without a snapshot")
		}
		c := client{addr: edge.addr}
		a, err := c.get("/v1/subject/flags?subject_id=" + steady + "0")
		if err != nil || a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("flags without a snapshot: %v, status %d, Retry-After %q; want 503 with Retry-After", err, a.status, a.header.Get("Retry-After"))
		}
		c.close()
		elapse(100 * time.Millisecond)
	}
	if edge.ended() {
		t.Fatalf("the edge gave up: %s", edge.log.tail())
	}
	db.start()
	took := edge.awaitReady(35 * time.Second)
	f.read(2, 2*time.Millisecond, edge)
	f.aChange()
	elapse(200 * time.Millisecond)
	f.finish()
	measured(t, "PostgreSQL away at an edge's start", figures{"snapshot_file": false, "away_s": away, "ready_after_s": took})
}

// With a snapshot file it is ready at once, serves the last snapshot, and reports
// its age.
func TestDatabaseAwayAtStartWithSnapshotFile(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "", nil)
	f := newFixture(t, db.url()).start(0)
	file := filepath.Join(t.TempDir(), "snapshot")
	edge := f.newEdge(db.url(), "FLAGGERY_SNAPSHOT_FILE="+file).run()
	last := f.aChange()
	f.synced(waitLimit)
	edge.terminate()
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	db.kill()
	edge.start()
	took := edge.awaitReady(allow(catchUp))
	reads := f.read(4, 2*time.Millisecond, edge)
	if err := serves(edge, last)(); err != nil {
		t.Error(err)
	}
	f.reportAge(fullOr(time.Minute, 0))
	f.noFailure("started from a file", reads.next())
	db.start()
	caughtUp := f.backInSync()
	f.reportNoAge()
	f.finish()
	measured(t, "PostgreSQL away at an edge's start", figures{"snapshot_file": true, "ready_after_s": took, "caught_up_s": caughtUp})
}

// The database is replaced by an old backup: the revision goes back, and its
// numbers are reused. With the new epoch that a restoration sets, edges reload at
// once. Without it, they reject older revisions and log that, until the new history
// has passed their revision.
func TestDatabaseRestored(t *testing.T) {
	t.Parallel()
	for _, drawn := range []bool{true, false} {
		t.Run(fmt.Sprintf("epoch_drawn=%v", drawn), func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, "", nil)
			f := newFixture(t, db.url()).start(1)
			edge := f.edges[0]
			backup := filepath.Join(t.TempDir(), "backup")
			db.stop()
			db.copyTo(backup)
			db.start()
			f.load(30)
			f.synced(waitLimit)
			old := f.revision()

			db.kill()
			db.copyFrom(backup)
			db.start()
			if drawn {
				mustExec(t, f.db, `UPDATE state SET epoch = gen_random_uuid()`)
			}
			began := time.Now()
			f.load(20)
			if now := f.revision(); now >= old {
				t.Fatalf("the other history is at revision %d, the lost one was at %d: this test tests nothing", now, old)
			}
			if !drawn {
				eventually(t, allow(catchUp), "the edge refuses to go back", func() error {
					if n := scrape(t, edge).sum("flaggery_edge_updates_refused_total", `reason="revision_back"`); n == 0 {
						return errors.New("nothing was refused")
					}
					return nil
				})
				if err := serves(edge, old)(); err != nil {
					t.Errorf("the last valid snapshot is gone: %v", err)
				}
				f.load(20)
				began = time.Now()
			}
			f.acked.Store(0)
			f.check = newChecker() // the other history is the reference from now on
			eventually(t, allow(catchUp), "the edge serves the restored history", servesExactly(edge, f.revision()))
			took := time.Since(began)
			f.read(2, time.Millisecond, edge)
			f.load(20)
			answers := f.finish()
			measured(t, "database restored from a backup", figures{
				"epoch_drawn": drawn, "noticed_and_reloaded_s": took, "answers_checked": answers,
			})
		})
	}
}

// load makes a number of random changes.
func (f *fixture) load(n int) {
	f.t.Helper()
	c := client{addr: f.admins[0].addr, token: token, timeout: 5 * time.Second}
	defer c.close()
	for done := 0; done < n; {
		method, target, body := randomWrite(f.random)
		eventually(f.t, waitLimit, "a write", func() error {
			a, err := c.send(method, target, body)
			if err != nil {
				return err
			}
			if a.status >= 500 {
				return errors.New(string(a.body))
			}
			if a.status < 300 {
				done++
			}
			return nil
		})
	}
}

// An admin that starts while PostgreSQL is unavailable waits as well, unless its
// settings say otherwise.
func TestDatabaseAwayAtAdminStart(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "", nil)
	f := newFixture(t, db.url())
	db.kill()
	admin := f.newAdmin(db.url())
	c := client{addr: admin.addr, token: token, timeout: 5 * time.Second}
	defer c.close()
	for _, away := range []time.Duration{0, fullOr(time.Minute, 2*time.Second)} {
		admin.start()
		eventually(t, waitLimit, "the admin waits", func() error {
			if admin.ended() {
				t.Fatalf("the admin gave up: %s", admin.log.tail())
			}
			for target, status := range map[string]int{"/healthz": 200, "/readyz": 503, "/v1/features": 503} {
				a, err := c.get(target)
				if err != nil {
					return err
				}
				if a.status != status || status == 503 && !strings.Contains(string(a.body), "waiting for the database") {
					t.Errorf("%s: status %d, %s", target, a.status, a.body)
				}
			}
			return nil
		})
		elapse(away)
		if away == 0 {
			admin.terminate()
		}
	}
	if lines := admin.log.grep("waiting for the database", "connection refused", "next_try_in"); len(lines) < 2 {
		t.Errorf("the admin does not log what it waits for: %s", admin.log.tail())
	}
	db.start()
	took := admin.awaitReady(35 * time.Second)
	f.call("GET", "/v1/features", nil)

	db.kill()
	hasty := f.newAdmin(db.url(), "FLAGGERY_DB_WAIT=false")
	hasty.start()
	<-hasty.done
	if lines := hasty.log.grep("flaggery-admin: connect to the database", "connection refused"); hasty.cmd.ProcessState.ExitCode() != 1 || len(lines) != 1 {
		t.Errorf("%v: %s", hasty.cmd.ProcessState, hasty.log.tail())
	}
	measured(t, "PostgreSQL away at an admin's start", figures{"ready_after_s": took})
}
