package faults

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"
)

// The control is a bare net/http server in a process of its own. It gets as many
// requests as the edge at the same time, so that effects of a busy machine are not
// blamed on the fault.
const controlVariable = "FLAGGERY_FAULTS_CONTROL"

func isControl() bool { return os.Getenv(controlVariable) != "" }

func serveControl() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	body := []byte(`{"flags":{"f0":"A","f1":"B","f2":"A","f3":"__DISABLE__","growing":"__DISABLE__"}}`)
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // a test's own client
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
}

// newControl starts the control and returns its address.
func newControl(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), controlVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return addr[:len(addr)-1]
}

// pair is the times of an edge and of the control in one phase.
type pair struct{ edge, control phase }

// ratio is the growth of the edge's p99 between two phases, relative to the
// control's. Times under a millisecond count as one, because they measure the
// scheduler.
func (p pair) ratio(quiet pair) float64 {
	slower := func(now, then phase) float64 {
		return max(p99(now), time.Millisecond).Seconds() / max(p99(then), time.Millisecond).Seconds()
	}
	return slower(p.edge, quiet.edge) / max(1, slower(p.control, quiet.control))
}

func p99(p phase) time.Duration { return p.quantile(0.99) }

// probes asks an edge and the control in turn for flags.
type probes struct{ edge, control *job }

func (f *fixture) probe(edge *service, control string, pause time.Duration) probes {
	return probes{
		f.asking(4, pause, flagsOf, edge.addr),
		f.asking(4, pause, flagsOf, control),
	}
}

func (p probes) next() pair { return pair{p.edge.next(), p.control.next()} }
