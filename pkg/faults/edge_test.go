package faults

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// An edge is stopped (SIGSTOP: a frozen machine, a starved container) while changes
// go on. The other edges and the admin are not affected, and it catches up when it
// continues.
func TestEdgeStopped(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(2)
	awake, asleep := f.edges[0], f.edges[1]
	reads, writes := f.read(2, 2*time.Millisecond, awake), f.write(2, 5*time.Millisecond)
	late := f.read(1, 2*time.Millisecond, asleep)
	elapse(500 * time.Millisecond)
	late.end()

	asleep.stop()
	lasted := fullOr(time.Minute, 2*time.Second)
	before := f.revision()
	elapse(lasted)
	if err := serves(awake, before)(); err != nil {
		t.Error(err)
	}
	missed := f.revision() - before
	asleep.cont()
	began := time.Now()
	eventually(t, allow(catchUp), "the edge catches up when it wakes", serves(asleep, before+missed))
	caughtUp := time.Since(began)
	f.read(1, 2*time.Millisecond, asleep)
	elapse(300 * time.Millisecond)
	served, written := reads.next(), writes.next()
	f.noFailure("other edge stopped: reads", served)
	f.noFailure("an edge stopped: writes", written)
	answers := f.finish()
	measured(t, "an edge stopped (SIGSTOP)", figures{
		"stopped_s": lasted, "missed_revisions": missed, "caught_up_s": caughtUp,
		"requests": served.requests, "errors": served.failed, "writes": written.requests, "writes_failed": written.failed,
		"answers_checked": answers,
	})
}

// The snapshot file cannot be written. Serving goes on; a metric and a log line
// report it.
func TestSnapshotPathUnwritable(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(0)
	notADir := filepath.Join(t.TempDir(), "file") // root may write to any folder, but not into a file
	if err := os.WriteFile(notADir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.snapshotPathFails(filepath.Join(notADir, "snapshot"), "not a folder")
}

// snapshotPathFails runs an edge with a snapshot file that it cannot write.
func (f *fixture) snapshotPathFails(path, how string) {
	t := f.t
	edge := f.newEdge(f.url, "FLAGGERY_SNAPSHOT_FILE="+path).run()
	reads, _ := f.read(2, 2*time.Millisecond, edge), f.write(1, 10*time.Millisecond)
	elapse(fullOr(time.Minute, time.Second))
	served := reads.next()
	f.noFailure("snapshot path "+how, served)
	answers := f.finish()
	failures := scrape(t, edge).sum("flaggery_edge_snapshot_file_total", `operation="write"`, `outcome="error"`)
	edge.terminate() // writes the file too, and must not fail for it
	lines := len(edge.log.grep("cannot write the snapshot file"))
	if lines != 1 {
		t.Errorf("%d log lines about the snapshot file, want one:\n%s", lines, edge.log.tail())
	}
	if *full && failures == 0 { // in a short run the only attempt is that at the end
		t.Error("no failed write was counted")
	}
	measured(t, "disk full, read-only snapshot path", figures{
		"how": how, "requests": served.requests, "errors": served.failed, "log_lines": lines, "failed_writes": failures, "answers_checked": answers,
	})
}
