package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// doorman is a server that accepts tokens beginning with "good", with a clock that
// stands still.
func doorman(t *testing.T, limits Callers) (*Server, *time.Time) {
	t.Helper()
	if err := limits.Validate(); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	s := New(Options{
		Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), ServeMetrics: true, Callers: limits,
		Authenticate: func(_ context.Context, token string) (auth.Identity, error) {
			if strings.HasPrefix(token, "good") {
				return auth.Identity{Role: auth.ViewerRole}, nil
			}
			return auth.Identity{}, model.Errorf(model.Unauthenticated, "%s", auth.ErrUnknownToken)
		},
	})
	s.rates.now = func() time.Time { return now }
	return s, &now
}

// call asks for something from an address, with a token.
func call(s *Server, address, token, forwardedFor string) (status int, retryAfter string) {
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.RemoteAddr = address + ":1234"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if forwardedFor != "" {
		r.Header.Set("X-Forwarded-For", forwardedFor)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Header().Get("Retry-After")
}

func TestFailuresAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	s, now := doorman(t, Callers{Failures: 3})
	expect := func(what, address, token string, want int) {
		t.Helper()
		got, retryAfter := call(s, address, token, "10.9.9.9") // which is not trusted
		if got != want || (want == http.StatusTooManyRequests) != (retryAfter != "") {
			t.Errorf("%s: status %d, Retry-After %q, want %d", what, got, retryAfter, want)
		}
	}
	expect("a good token", "10.0.0.1", "good 1", 200)
	for range 3 {
		expect("a bad token", "10.0.0.1", "bad", 401)
	}
	for range 5 {
		expect("no token, which costs nothing", "10.0.0.1", "", 401)
	}
	expect("one too many", "10.0.0.1", "bad", 429)
	expect("another one too many", "10.0.0.1", "bad", 429)
	expect("a valid token, not seen before", "10.0.0.1", "good 2", 200)
	expect("a valid token that was seen", "10.0.0.1", "good 1", 200)
	expect("another address", "10.0.0.2", "bad", 401)
	if n := testutil.ToFloat64(s.rates.limited["failure"]); n != 2 {
		t.Errorf("%v were counted", n)
	}
	*now = now.Add(20 * time.Second)
	expect("a third of a minute later", "10.0.0.1", "bad", 401)
	expect("and again", "10.0.0.1", "bad", 429)
	*now = now.Add(time.Hour)
	for range 3 {
		expect("much later", "10.0.0.1", "bad", 401)
	}
	expect("much later, too often", "10.0.0.1", "bad", 429)
}

func TestTrustedProxiesSayWhoCalls(t *testing.T) {
	t.Parallel()
	s, _ := doorman(t, Callers{Failures: 1, Proxies: "10.0.0.0/8, fd00::/8"})
	for _, c := range []struct {
		address, forwardedFor string
		want                  int
	}{
		{"10.0.0.1", "192.0.2.1", 401},
		{"10.0.0.1", "192.0.2.1", 429},
		{"10.0.0.1", "192.0.2.2", 401},
		{"10.0.0.1", "192.0.2.3, 192.0.2.1", 429}, // the first one is from the client
		{"[fd00::1]", "192.0.2.1", 429},
		{"198.51.100.1", "192.0.2.9", 401},
		{"198.51.100.1", "192.0.2.10", 429}, // no proxy: its own address counts
	} {
		if got, _ := call(s, c.address, "bad", c.forwardedFor); got != c.want {
			t.Errorf("%s for %s: status %d, want %d", c.address, c.forwardedFor, got, c.want)
		}
	}
}

// One client has all addresses of an IPv6 network.
func TestFailuresAreLimitedByNetwork(t *testing.T) {
	t.Parallel()
	s, _ := doorman(t, Callers{Failures: 2})
	for _, row := range []struct {
		address string
		want    int
	}{
		{"[2001:db8:1:1::1]", 401},
		{"[2001:db8:1:1:ffff::2]", 401},
		{"[2001:db8:1:1:1:2:3:4]", 429},
		{"[2001:db8:1:2::1]", 401}, // another network
		{"[fe80::1%eth0]", 401},
		{"[fe80::2%eth1]", 401},
		{"[fe80::3]", 429},
		{"[::ffff:10.0.0.1]", 401}, // IPv4 in the form of IPv6 is one address
		{"[::ffff:10.0.0.2]", 401},
		{"[::ffff:10.0.0.3]", 401},
	} {
		if got, _ := call(s, row.address, "bad", ""); got != row.want {
			t.Errorf("%s: status %d, want %d", row.address, got, row.want)
		}
	}
}

func TestRequestsAreLimitedByToken(t *testing.T) {
	t.Parallel()
	s, now := doorman(t, Callers{Requests: 2})
	for i, want := range []int{200, 200, 429, 429} {
		if got, _ := call(s, "10.0.0.1", "good 1", ""); got != want {
			t.Errorf("request %d: status %d, want %d", i, got, want)
		}
	}
	if got, _ := call(s, "10.0.0.1", "good 2", ""); got != 200 {
		t.Errorf("another token: status %d", got)
	}
	*now = now.Add(time.Second)
	if got, _ := call(s, "10.0.0.2", "good 1", ""); got != 200 {
		t.Errorf("a second later: status %d", got)
	}
	for range 100 { // without a limit of failures
		if got, _ := call(s, "10.0.0.1", "bad", ""); got != 401 {
			t.Fatalf("status %d", got)
		}
	}
}

// Any number of addresses and tokens takes bounded memory.
func TestCallersAreForgotten(t *testing.T) {
	t.Parallel()
	r := newRates(Callers{Failures: 1, Requests: 1}, NewRegistry("test"))
	for i := range 3 * rememberedCallers {
		name := strings.Repeat("x", i%50) + time.Duration(i).String()
		_ = r.failed(name)
		_ = r.allow(name)
	}
	if r.addresses.Len() > rememberedCallers || r.tokens.Len() > rememberedCallers {
		t.Errorf("%d addresses and %d tokens are remembered", r.addresses.Len(), r.tokens.Len())
	}
}

func TestCallersNameTheirSettings(t *testing.T) {
	t.Parallel()
	err := (&Callers{Failures: -1, Requests: -2, Proxies: "10.0.0.1"}).Validate()
	for _, setting := range []string{"FLAGGERY_MAX_FAILURES", "FLAGGERY_MAX_TOKEN_REQUESTS", "FLAGGERY_TRUSTED_PROXIES"} {
		if err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%v does not name %s", err, setting)
		}
	}
}
