package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// clockVariable names a file with the seconds by which a program's clock is wrong.
// Go programs ask the kernel for the time themselves, so preloads of the C library
// have no effect. A program for this test is therefore built with another time.Now:
// the wall clock steps as the file says, the monotonic clock goes on, as on a
// machine whose clock is set.
const clockVariable = "FLAGGERY_FAULTS_CLOCK"

// A goroutine reads the file, because the runtime calls Now in places that must not
// do I/O.
const clockSource = `package time

import (
	"sync/atomic"
	"syscall"
)

var faultsOffset atomic.Int64

func init() {
	path, _ := syscall.Getenv("` + clockVariable + `")
	readFaultsOffset(path)
	go func() {
		for {
			Sleep(Millisecond)
			readFaultsOffset(path)
		}
	}()
}

func readFaultsOffset(path string) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	var text [32]byte
	n, _ := syscall.Read(fd, text[:])
	syscall.Close(fd)
	offset, sign := int64(0), int64(1)
	for _, c := range text[:max(n, 0)] {
		if c == '-' {
			sign = -1
		} else if '0' <= c && c <= '9' {
			offset = offset*10 + int64(c-'0')
		}
	}
	faultsOffset.Store(sign * offset)
}
`

// programWithClock builds the edge with a clock that a file sets.
func programWithClock(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	original, err := os.ReadFile(filepath.Join(folder, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const read = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	patched := strings.Replace(string(original), read, read+"\tsec += faultsOffset.Load()\n", 1)
	if patched == string(original) {
		t.Fatal("time.Now of this Go reads the clock in another way than this test knows")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	overlay, err := json.Marshal(object{"Replace": map[string]string{
		filepath.Join(folder, "time.go"):   write("time.go", patched),
		filepath.Join(folder, "faults.go"): write("faults.go", clockSource),
	}})
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "flaggery-edge")
	build(t, program, "flaggery-edge", "-overlay", write("overlay.json", string(overlay)))
	return program
}

// An edge's clock steps an hour forth and back, or is wrong from its start. Tests
// still begin and end on time, together with those of another edge, and the
// snapshot does not count as stale.
func TestClockSteps(t *testing.T) {
	onlyFull(t)
	program := programWithClock(t)
	clock := filepath.Join(t.TempDir(), "clock")
	set := func(seconds int) {
		// Renamed into place, so that no reader sees half of it.
		if err := os.WriteFile(clock+".new", fmt.Append(nil, seconds), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(clock+".new", clock); err != nil {
			t.Fatal(err)
		}
	}
	set(3600)
	f := newFixture(t, pgtest.Open(t)).start(1)
	wrong := f.newEdge(f.url, clockVariable+"="+clock)
	wrong.program = program
	wrong.run()
	reads := f.read(4, 2*time.Millisecond, f.edges...)

	var worst time.Duration
	steps := []int{3600, 0, -3600, 3600, -3600, 0}
	for i, offset := range steps {
		set(offset)
		name := fmt.Sprintf("clocked-%d", i)
		f.newFeature(name)
		start := time.Now().Add(2 * time.Second)
		end := start.Add(2 * time.Second)
		f.call("POST", "/v1/abtests?wait=5s", object{"name": name, "start": start, "end": end, "groups": []object{
			{"name": "one", "variants": object{name: "B"}}, {"name": "two", "variants": object{name: "B"}}}})
		for _, boundary := range []struct {
			at      time.Time
			variant string
		}{{start, "B"}, {end, "__DISABLE__"}} {
			flips := make(chan time.Duration, len(f.edges))
			for _, e := range f.edges {
				go func() { flips <- flip(t, e, name, boundary.variant, boundary.at) }()
			}
			for range f.edges {
				off := <-flips
				if off.Abs() > onTime {
					t.Errorf("clock off by %d s: the boundary at %v came %v late", offset, boundary.at, off)
				}
				worst = max(worst, off.Abs())
			}
		}
		m := scrape(t, wrong)
		if age := m.sum("flaggery_edge_snapshot_age_seconds"); age < 0 || age > 5 {
			t.Errorf("clock off by %d s: the snapshot's age is %g s", offset, age)
		}
		if m.sum("flaggery_edge_stale") != 0 || !wrong.ready() {
			t.Errorf("clock off by %d s: stale or not ready", offset)
		}
		if err := reportsAge(wrong, false); err != nil {
			t.Errorf("clock off by %d s: %v", offset, err)
		}
	}
	if len(wrong.log.grep("time="+time.Now().Add(time.Hour).Format("2006-01-02T15"))) == 0 {
		t.Error("the edge's log shows no wrong time: this test tested nothing")
	}
	served := reads.next()
	f.noFailure("clock steps", served)
	answers := f.finish()
	measured(t, "clock steps of an hour on the edge", figures{
		"steps": len(steps), "boundaries_off_by_s": worst, "requests": served.requests, "errors": served.failed, "answers_checked": answers,
	})
}

// onTime is the accepted difference between a boundary and the first answer after
// it.
const onTime = 100 * time.Millisecond

// flip returns how late an edge begins to answer with a variant.
func flip(t *testing.T, e *service, feature, variant string, at time.Time) time.Duration {
	c := client{addr: e.addr}
	defer c.close()
	err := within(time.Until(at)+waitLimit, func() error {
		a, err := c.get("/v1/subject/flags?subject_id=" + steady + "0&features=" + feature)
		if err != nil {
			return err
		}
		flags, err := parseFlags(a)
		if err == nil && flags != feature+"="+variant {
			err = errors.New(flags)
		}
		return err
	})
	if err != nil {
		t.Errorf("%s: never became %s: %v", feature, variant, err)
	}
	return time.Since(at)
}
