package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/auth"
)

// Operators have an address of their own, without tokens and beside all limits;
// clients do not find there what is theirs, nor operators' things where they are.
func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	s := New(Options{
		Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), ServeMetrics: true, MetricsAddress: "127.0.0.1:0",
		Limits:       Limits{Connections: 1, Requests: 1},
		Authenticate: func(context.Context, string) (auth.Identity, error) { return auth.Identity{}, nil },
	})
	address := listen(t, s)
	held, err := net.Dial("tcp", address) // and with it the only connection that there may be
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	operators := "http://" + s.operations.listener.Addr().String()
	for path, want := range map[string]string{
		"/metrics": "flaggery_build_info", "/healthz": "ok", "/readyz": "ok", "/debug/pprof/": "goroutine", "/debug/pprof/cmdline": "test",
	} {
		if answer, text := do(t, "GET", operators+path, ""); answer.StatusCode != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: status %d, %.200s", path, answer.StatusCode, text)
		}
	}
	if answer, _ := do(t, "GET", operators+"/openapi.json", ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("operators' address answers /openapi.json: %d", answer.StatusCode)
	}
	_ = held.Close()
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		for { // until the server notices that the connection is free
			answer, err := http.Get("http://" + address + path)
			if err != nil {
				continue // refused before the request was sent, which the client takes for a fault
			}
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusNotFound {
				break
			}
			if answer.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("clients' address answers %s: %d", path, answer.StatusCode)
			}
		}
	}
}

func TestMetricsAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), MetricsAddress: taken.Addr().String()})
	if l, err := s.Listen("127.0.0.1", 0); err == nil || !strings.Contains(err.Error(), "FLAGGERY_METRICS_ADDRESS") {
		t.Errorf("listens on %v, error %v", l, err)
	}
	for address, good := range map[string]bool{"": true, ":9090": true, "127.0.0.1:9090": true, "9090": false, "host": false, "host:": false} {
		if err := CheckAddress(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
