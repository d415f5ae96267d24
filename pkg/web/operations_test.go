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

// Operators have addresses of their own, without tokens and limits. Those do not
// serve clients, and the clients' address does not serve operators.
func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	s := New(Options{
		Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), ServeMetrics: true, MetricsAddress: "127.0.0.1:0", ProfilesAddress: "127.0.0.1:0",
		Limits:       Limits{Connections: 1, Requests: 1},
		Authenticate: func(context.Context, string) (auth.Identity, error) { return auth.Identity{}, nil },
	})
	address := listen(t, s)
	held, err := net.Dial("tcp", address) // takes the only connection that is allowed
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	metrics, profiles := "http://"+s.operations[0].listener.Addr().String(), "http://"+s.operations[1].listener.Addr().String()
	for url, want := range map[string]string{
		metrics + "/metrics": "flaggery_build_info", metrics + "/healthz": "ok", metrics + "/readyz": "ok",
		profiles + "/debug/pprof/": "goroutine", profiles + "/debug/pprof/heap?debug=1": "heap profile",
	} {
		if answer, text := do(t, "GET", url, ""); answer.StatusCode != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: status %d, %.200s", url, answer.StatusCode, text)
		}
	}
	for _, url := range []string{metrics + "/openapi.json", metrics + "/debug/pprof/", profiles + "/metrics", profiles + "/debug/pprof/cmdline"} {
		if answer, _ := do(t, "GET", url, ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", url, answer.StatusCode)
		}
	}
	_ = held.Close()
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		await(t, func() bool { // until the server notices that the connection is free
			answer, err := http.Get("http://" + address + path)
			if err != nil {
				return false // rejected before the request was sent, which is an error of the client
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusNotFound && answer.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("clients' address answers %s: %d", path, answer.StatusCode)
			}
			return answer.StatusCode == http.StatusNotFound
		})
	}
}

func TestMetricsAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for setting, o := range map[string]Options{
		"FLAGGERY_METRICS_ADDRESS":  {MetricsAddress: taken.Addr().String()},
		"FLAGGERY_PROFILES_ADDRESS": {MetricsAddress: "127.0.0.1:0", ProfilesAddress: taken.Addr().String()},
	} {
		o.Logger, o.Registry = slog.New(slog.DiscardHandler), NewRegistry("test")
		if l, err := New(o).Listen("127.0.0.1", 0); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("listens on %v, error %v", l, err)
		}
	}
	for address, good := range map[string]bool{"": true, ":9090": true, "127.0.0.1:9090": true, "9090": false, "host": false, "host:": false} {
		if err := CheckAddress(MetricsAddress, address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
