package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// smallMemory is a tight limit for an edge.
const smallMemory = 128 << 20

// An edge in a container with little memory gets many of the largest requests,
// which together would take many times as much. It rejects what does not fit and
// goes on serving: the kernel does not kill it, and no ordinary request is
// rejected. The test runs alone, because its clients use the whole machine.
func TestMemoryRush(t *testing.T) {
	group := newMemoryGroup(t, smallMemory)
	f := newFixture(t, pgtest.Open(t)).start(0)
	edge := f.newEdge(f.url)
	edge.withoutRace(t)
	edge.wrap = []string{"/bin/sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(group, "cgroup.procs")}
	edge.run()
	limited := edge.log.grep("memory is limited")
	if len(limited) == 0 {
		t.Fatal("the edge does not know of its container's limit")
	}
	reads := f.asking(4, 2*time.Millisecond, flagsOf, edge.addr)

	var batch strings.Builder
	batch.WriteString(`{"subject_ids":["` + steady + `0"`)
	for i := range 9_999 { // as many as one request may name, in nearly a megabyte
		fmt.Fprintf(&batch, `,"%s%d"`, strings.Repeat("x", 95), i)
	}
	body := []byte(batch.String() + `]}`)
	var served, refused, cutOff atomic.Int64
	var rush sync.WaitGroup
	end := time.Now().Add(fullOr(30*time.Second, 2*time.Second))
	for range fullOr(160, 40) {
		rush.Go(func() {
			c := client{addr: edge.addr}
			c.asked = func() (sent int) { // the first bodies stay incomplete until there are too many
				sent, _ = c.conn.Write(body[:len(body)-1]) // fails if the answer is there
				if c.conn.SetReadDeadline(time.Now().Add(3*time.Second)) == nil {
					_, _ = c.in.Peek(1)
				}
				_ = c.conn.SetReadDeadline(time.Now().Add(waitLimit))
				return sent
			}
			defer c.close()
			for first := true; first || time.Now().Before(end); first = false {
				a, err := c.do("POST", "/v1/subjects/flags", body, "")
				c.asked = nil
				switch {
				case err == nil && a.status == 503 && a.header.Get("Retry-After") != "":
					refused.Add(1)
				case err == nil && a.status == 200:
					served.Add(1)
				case err == nil:
					t.Errorf("status %d: %s", a.status, a.body)
					return
				default: // rejected before the whole request was sent
					cutOff.Add(1)
				}
			}
		})
	}
	rush.Wait()
	if edge.ended() {
		t.Fatalf("the edge ended: %s", edge.log.tail())
	}
	if served.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d large requests were served, %d refused: want some of both", served.Load(), refused.Load())
	}
	quiet := reads.next()
	f.noFailure("memory rush: reads", quiet)
	measured(t, "rejected before memory runs out", figures{
		"limit_mb": smallMemory >> 20, "peak_mb": peakOf(t, group) >> 20, "large_served": served.Load(), "large_refused": refused.Load(),
		"large_cut_off": cutOff.Load(), "requests": quiet.requests, "errors": quiet.failed, "p99_s": p99(quiet),
	})
}

// withoutRace builds the program without the race detector, which takes ten times
// the memory.
func (s *service) withoutRace(t *testing.T) {
	t.Helper()
	if !raceEnabled {
		return
	}
	path := filepath.Join(scratch(t), "flaggery-edge-without-race")
	run.Lock()
	defer run.Unlock()
	if run.programs[path] == "" {
		build(t, path, "flaggery-edge")
		run.programs[path] = path
	}
	s.program = path
}

// memoryFiles are the file names of the two versions of cgroups.
var memoryFiles = []struct{ root, limit, peak string }{
	{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"},
	{"/sys/fs/cgroup", "memory.max", "memory.peak"},
}

// newMemoryGroup makes a cgroup of limited memory.
func newMemoryGroup(t *testing.T, limit int64) (folder string) {
	t.Helper()
	for _, f := range memoryFiles {
		if _, err := os.Stat(filepath.Join(f.root, "cgroup.procs")); err != nil {
			continue
		}
		folder = filepath.Join(f.root, fmt.Sprintf("flaggery-faults-%d", os.Getpid()))
		if os.Mkdir(folder, 0o755) != nil || os.WriteFile(filepath.Join(folder, f.limit), strconv.AppendInt(nil, limit, 10), 0o644) != nil {
			_ = os.Remove(folder)
			continue
		}
		t.Cleanup(func() {
			eventually(t, waitLimit, "the cgroup is empty", func() error { return os.Remove(folder) })
		})
		return folder
	}
	needs(t, "root, and cgroups that limit memory", false)
	return ""
}

// peakOf is the peak memory of the cgroup, or 0 if the kernel does not report it.
func peakOf(t *testing.T, group string) int64 {
	t.Helper()
	for _, f := range memoryFiles {
		if text, err := os.ReadFile(filepath.Join(group, f.peak)); err == nil {
			n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}
