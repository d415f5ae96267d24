package faults

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var (
	full   = flag.Bool("full", false, "let each fault last as long as its promise says")
	seed   = flag.Uint64("seed", 0, "repeat the random choices of an earlier run; 0 draws new ones")
	soak   = flag.Duration("soak", 10*time.Minute, "how long TestSoak runs")
	report = flag.String("report", "", "append the measured figures to this file, one JSON object a line")
)

func TestMain(m *testing.M) {
	if isControl() {
		serveControl()
		return
	}
	flag.Parse()
	if !*full {
		// Quick tests spend most of their time waiting, so many run in parallel.
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	status := m.Run()
	if run.dir != "" {
		os.RemoveAll(run.dir)
	}
	os.Exit(status)
}

// fullOr is the first value in full runs and the second one in quick ones.
func fullOr[T any](whole, quick T) T {
	if *full {
		return whole
	}
	return quick
}

// allow is a promise's own time in full runs, and twice that in quick ones, which
// share the machine with other tests.
func allow(d time.Duration) time.Duration { return fullOr(d, 2*d) }

// needs ends a test that cannot cause its fault on this machine. A full run fails
// instead, because it must cover all promises.
func needs(t *testing.T, what string, ok bool) {
	t.Helper()
	switch {
	case ok:
	case *full:
		t.Fatalf("this fault needs %s", what)
	default:
		t.Skipf("NOT TESTED HERE: this fault needs %s", what)
	}
}

// onlyFull ends a test whose fault has no short form.
func onlyFull(t *testing.T) {
	t.Helper()
	if !*full {
		t.Skip("runs with -full (make test-faults) only")
	}
}

// random is this test's source of choices. It prints the seed that repeats them.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	return rand.New(rand.NewPCG(s, 1))
}

// figures are what a test measured. Durations are in seconds.
type figures map[string]any

// measured prints the figures of a promise, as one JSON object on a line.
func measured(t *testing.T, promise string, f figures) {
	t.Helper()
	for name, value := range f {
		if d, ok := value.(time.Duration); ok {
			f[name] = float64(d.Round(time.Microsecond)) / float64(time.Second)
		}
	}
	line, err := json.Marshal(struct {
		Test    string  `json:"test"`
		Promise string  `json:"promise"`
		Full    bool    `json:"full"`
		Race    bool    `json:"race"`
		Figures figures `json:"figures"`
	}{t.Name(), promise, *full, raceEnabled, f})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("measured %s", line)
	if *report == "" {
		return
	}
	file, err := os.OpenFile(*report, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "%s\n", line); err != nil {
		t.Fatal(err)
	}
}

// run is shared by the tests of one run: a folder with the two programs, built from
// the working tree.
var run struct {
	sync.Mutex
	dir      string
	programs map[string]string
}

// scratch is a folder that lasts as long as the run.
func scratch(t *testing.T) string {
	t.Helper()
	run.Lock()
	defer run.Unlock()
	if run.dir == "" {
		dir, err := os.MkdirTemp("", "flaggery-faults-")
		if err != nil {
			t.Fatal(err)
		}
		run.dir, run.programs = dir, map[string]string{}
	}
	return run.dir
}

// program is the path of flaggery-admin or flaggery-edge. If the tests run with the
// race detector, so do the programs.
func program(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(scratch(t), name)
	run.Lock()
	defer run.Unlock()
	if run.programs[name] == "" {
		var race []string
		if raceEnabled {
			race = []string{"-race"}
		}
		build(t, path, name, race...)
		run.programs[name] = path
	}
	return path
}

func build(t *testing.T, path, name string, flags ...string) {
	t.Helper()
	args := append([]string{"build", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, "./cmd/"+name)...)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", name, err, out)
	}
}
