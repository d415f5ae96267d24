package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// pollInterval is how often an edge polls.
const pollInterval = time.Second

// No notification reaches the edge. It finds changes by polling.
func TestNotificationLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(0)
	relay := pgtest.NewRelay(t, f.url)
	relay.Mute.Store(true)
	edge := f.newEdge(relay.URL()).run()
	reads := f.read(2, 2*time.Millisecond, edge)

	var delays []time.Duration
	for range fullOr(60, 5) {
		revision := f.aChange()
		began := time.Now()
		eventually(t, allow(pollInterval+time.Second), "a change is found without a notification", serves(edge, revision))
		delays = append(delays, time.Since(began))
		elapse(time.Duration(f.random.IntN(700)) * time.Millisecond)
	}
	if relay.Muted.Load() == 0 {
		t.Error("no notification was lost: this test tested nothing")
	}
	served := reads.next()
	f.noFailure("notifications lost", served)
	answers := f.finish()
	slices.Sort(delays)
	measured(t, "every notification lost", figures{
		"changes": len(delays), "notifications_lost": relay.Muted.Load(),
		"median_s": delays[len(delays)/2], "worst_s": delays[len(delays)-1],
		"requests": served.requests, "errors": served.failed, "answers_checked": answers,
	})
}

// The server's side of all connections is silent although TCP is alive: the edge
// sees neither a reset nor a timeout. Stuck connections stay stuck; only new ones
// work again.
func TestConnectionsStall(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(0)
	relay := pgtest.NewRelay(t, f.url)
	edge := f.newEdge(relay.URL()).run()
	reads := f.read(2, 2*time.Millisecond, edge)
	f.settled()

	relay.Freeze()
	began := time.Now()
	revision := f.aChange()
	eventually(t, allow(silence), "the edge notices", func() error { return reportsAge(edge, true) })
	noticed := time.Since(began)
	elapse(fullOr(time.Minute, 0))
	if err := serves(edge, revision)(); err == nil {
		t.Error("the change got through a stalled connection: this test tested nothing")
	}
	relay.Thaw()
	thawed := time.Now()
	eventually(t, allow(catchUp), "the edge catches up", serves(edge, revision))
	caughtUp := time.Since(thawed)
	f.reportNoAge()
	revision = f.aChange()
	eventually(t, allow(silence), "notifications arrive again", func() error {
		if n := scrape(t, edge).sum("flaggery_edge_listening_connections_total"); n < 2 {
			return fmt.Errorf("%g listening connections since the start", n)
		}
		return serves(edge, revision)()
	})
	served := reads.next()
	f.noFailure("connections stalled", served)
	answers := f.finish()
	relay.Freeze()
	stopped := edge.terminate() // stuck connections do not delay it
	measured(t, "network cut without a reset", figures{
		"how": "connections stall", "noticed_s": noticed, "caught_up_s": caughtUp, "stopped_while_stuck_s": stopped,
		"requests": served.requests, "errors": served.failed, "p99_s": p99(served), "answers_checked": answers,
	})
}

// silence is how soon an edge notices a silent database.
const silence = 15 * time.Second

// An inconsistent change gets into the database past the schema's checks. The edge
// rejects it as a whole, keeps its snapshot, logs the reason, and goes on once the
// data is repaired.
func TestUnfittingChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(1)
	edge := f.edges[0]
	reads := f.read(2, 2*time.Millisecond, edge)
	good := f.aChange()
	f.synced(waitLimit)
	refused := scrape(t, edge).sum("flaggery_edge_updates_refused_total")

	forge := func(statement string) int64 {
		tx, err := f.db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback() //nolint:errcheck // without effect after the commit
		var revision int64
		for _, s := range []string{
			`SET LOCAL session_replication_role = replica`, // no foreign keys, no triggers
			statement,
			`UPDATE state SET revision = revision + 1`,
			`INSERT INTO change (revision, label, config, at) SELECT revision, null, true, now() FROM state`,
			`SELECT pg_notify('flaggery', revision::text) FROM state`,
		} {
			if _, err := tx.Exec(s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
		if err := tx.QueryRow(`SELECT revision FROM state`).Scan(&revision); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		return revision
	}
	wrong := map[string][2]string{
		"rollout of a variant that does not exist": {
			`UPDATE rollout SET variant = 'Z' WHERE feature = 'f0'`, `UPDATE rollout SET variant = 'A' WHERE feature = 'f0'`},
		"default variant that does not exist": {
			`UPDATE feature SET default_variant = 'Z' WHERE name = 'f1'`, `UPDATE feature SET default_variant = 'A' WHERE name = 'f1'`},
		"bucket that does not exist": {
			`UPDATE rollout SET buckets = '{1,999}' WHERE feature = 'f3'`, `UPDATE rollout SET buckets = '{1}' WHERE feature = 'f3'`},
		"override of a feature that does not exist": {
			`INSERT INTO override SELECT id, 'ghost', 'A' FROM subject_group WHERE name = 'g0'`, `DELETE FROM override WHERE feature = 'ghost'`},
	}
	var worst time.Duration
	for what, statements := range wrong {
		bad := forge(statements[0])
		eventually(t, allow(catchUp), what+" is refused and counted", func() error {
			if n := scrape(t, edge).sum("flaggery_edge_updates_refused_total"); n <= refused {
				return fmt.Errorf("refused %g, before %g", n, refused)
			}
			return nil
		})
		if err := serves(edge, bad)(); err == nil {
			t.Errorf("%s: the edge serves it", what)
		}
		if err := serves(edge, good)(); err != nil {
			t.Errorf("%s: the last good snapshot is gone: %v", what, err)
		}
		mended := forge(statements[1])
		began := time.Now()
		eventually(t, allow(catchUp), what+": the edge goes on when it is mended", serves(edge, mended))
		worst = max(worst, time.Since(began))
		good = mended
		refused = scrape(t, edge).sum("flaggery_edge_updates_refused_total")
	}
	served := reads.next()
	f.noFailure("unfitting change", served)
	f.halt()
	measured(t, "a change that does not fit", figures{
		"kinds": len(wrong), "mended_s": worst, "requests": served.requests, "errors": served.failed,
	})
}
