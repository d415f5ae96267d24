package faults

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

var older = flag.String("old", "", "a folder with the programs of an earlier version, for TestUpgrade; without it they are this version's")

// An installation is upgraded under load, in steps between which both versions
// work side by side and no request fails: the schema, one edge, one admin, the other
// admin and the other edge. One more edge, which authenticates its callers, stays as
// it is.
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
	f := newFixture(t, url)
	admin := f.newAdmin(url)
	admin.program = old("flaggery-admin")
	admin.run()
	f.fill()
	edge := f.newEdge(url)
	edge.program = old("flaggery-edge")
	edge.run()
	authenticating := newService(t, "flaggery-edge", "127.0.0.1", "FLAGGERY_DB_URL="+url, "FLAGGERY_EDGE_NAME=authenticating", "FLAGGERY_EDGE_AUTH=token")
	authenticating.program = edge.program
	authenticating.run()

	reads := f.read(4, 5*time.Millisecond, f.edges...)
	writes := f.write(2, 10*time.Millisecond)
	spell := fullOr(10*time.Second, time.Second)
	elapse(spell)
	f.synced(allow(5 * time.Second))

	migrate(t, program(t, "flaggery-admin"), url)
	elapse(spell) // the old admin writes to the new schema, and the old edge reads it
	f.synced(allow(5 * time.Second))
	f.newEdge(url).run()
	f.newAdmin(url).run()
	both := f.write(2, 10*time.Millisecond) // through either admin
	elapse(spell)
	f.synced(allow(5 * time.Second))
	f.noFailure("upgrade: reads", reads.next())
	f.noFailure("upgrade: writes to the old admin", writes.next())
	f.noFailure("upgrade: writes to both admins", both.next())
	both.end()
	writes.end()
	reads.end()

	for _, s := range []*service{admin, edge} {
		s.terminate()
		s.program = program(t, filepath.Base(s.program))
		s.run()
	}
	tokensReach(t, f, authenticating)
	reads, writes = f.read(4, 5*time.Millisecond, f.edges...), f.write(4, 10*time.Millisecond)
	elapse(spell)
	after, written := reads.next(), writes.next()
	f.noFailure("after the upgrade: reads", after)
	f.noFailure("after the upgrade: writes", written)
	measured(t, "old and new programs side by side", figures{
		"answers_checked": f.finish(), "requests": after.requests, "writes": written.requests, "same_version": *older == "",
	})
}

// tokensReach makes a token and revokes it, and waits until an edge that authenticates
// its callers goes by both.
func tokensReach(t *testing.T, f *fixture, edge *service) {
	t.Helper()
	made := f.newToken("client")
	c := client{addr: edge.addr, token: made.Token}
	defer c.close()
	reaches := func(status int) {
		t.Helper()
		eventually(t, waitLimit, fmt.Sprintf("a token gets %d", status), func() error {
			a, err := c.get("/v1/subject/flags?subject_id=" + steady + "0")
			if err == nil && a.status != status {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			return err
		})
	}
	reaches(http.StatusOK)
	f.call("DELETE", fmt.Sprintf("/v1/tokens/%d", made.ID), nil)
	reaches(http.StatusUnauthorized)
}

func migrate(t *testing.T, admin, url string) {
	t.Helper()
	cmd := exec.Command(admin, "migrate", "up")
	cmd.Env = append(os.Environ(), "FLAGGERY_DB_URL="+url)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("migrate up: %v\n%s", err, out)
	}
}
