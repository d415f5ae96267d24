package faults

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

var older = flag.String("old", "", "a folder with the programs of an earlier version, for TestUpgrade; without it they are this version's")

// An installation is upgraded under load, in steps between which both versions
// work side by side and no request fails: one edge, then the schema, one admin,
// the other admin and the other edge. docs/operations.md begins with the schema;
// that the order does not matter to edges is one promise more.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	old := func(name string) string {
		if *older == "" {
			return program(t, name)
		}
		return filepath.Join(*older, name)
	}
	migrate(t, old("flaggery-admin"), url)
	w := newWorld(t, url)
	admin := w.newAdmin(url)
	admin.program = old("flaggery-admin")
	admin.run()
	w.fill()
	edge := w.newEdge(url)
	edge.program = old("flaggery-edge")
	edge.run()
	w.newEdge(url).run() // the new version, on the schema of the old one

	reads := w.read(4, 5*time.Millisecond, w.edges...)
	writes := w.write(2, 10*time.Millisecond)
	spell := fullOr(10*time.Second, time.Second)
	elapse(spell)
	w.synced(allow(5 * time.Second))

	migrate(t, program(t, "flaggery-admin"), url)
	elapse(spell) // the old admin writes to the new schema, and the old edge reads it
	w.synced(allow(5 * time.Second))
	w.newAdmin(url).run()
	both := w.write(2, 10*time.Millisecond) // through either admin
	elapse(spell)
	w.synced(allow(5 * time.Second))
	w.noFailure("upgrade: reads", reads.next())
	w.noFailure("upgrade: writes to the old admin", writes.next())
	w.noFailure("upgrade: writes to both admins", both.next())
	both.end()
	writes.end()
	reads.end()

	for _, s := range []*service{admin, edge} {
		s.terminate()
		s.program = program(t, filepath.Base(s.program))
		s.run()
	}
	reads, writes = w.read(4, 5*time.Millisecond, w.edges...), w.write(4, 10*time.Millisecond)
	elapse(spell)
	after, written := reads.next(), writes.next()
	w.noFailure("after the upgrade: reads", after)
	w.noFailure("after the upgrade: writes", written)
	measured(t, "old and new programs side by side", figures{
		"answers_checked": w.finish(), "requests": after.requests, "writes": written.requests, "same_version": *older == "",
	})
}

func migrate(t *testing.T, admin, url string) {
	t.Helper()
	cmd := exec.Command(admin, "migrate", "up")
	cmd.Env = append(os.Environ(), "FLAGGERY_DB_URL="+url)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("migrate up: %v\n%s", err, out)
	}
}
