package web

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/flaggery/flaggery/pkg/auth"
)

// listen serves s on a free port until the test ends.
func listen(t *testing.T, s *Server) (address string) {
	t.Helper()
	l, err := s.Listen("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// dialer opens connections to a server, which end with the test.
func dialer(t *testing.T, address string) func() (net.Conn, *bufio.Reader) {
	return func() (net.Conn, *bufio.Reader) {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, bufio.NewReader(c)
	}
}

// alive requests the health of a service over a connection.
func alive(c net.Conn, r *bufio.Reader) bool {
	_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode == http.StatusOK
}

// await polls until done returns true: the server's side of a connection sends no
// signal.
func await(t *testing.T, done func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("waited in vain")
		}
	}
}

// awaitIdle returns when this many connections are idle.
func awaitIdle(t *testing.T, s *Server, want int) {
	t.Helper()
	await(t, func() bool {
		s.busy.connections.mu.Lock()
		defer s.busy.connections.mu.Unlock()
		n := 0
		for c := range s.busy.connections.open {
			if c.state.Load() == idle {
				n++
			}
		}
		return n == want
	})
}

func TestConnectionsBeyondTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), Limits: Limits{Connections: 2}})
	dial := dialer(t, listen(t, s))
	first, firstReader := dial()
	second, secondReader := dial()
	if !alive(first, firstReader) || !alive(second, secondReader) {
		t.Fatal("connections within the limit must be served")
	}
	awaitIdle(t, s, 2)
	for _, c := range []net.Conn{first, second} { // the beginning of a request
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\n")
	}
	awaitIdle(t, s, 0)

	_, third := dial()
	answer, err := http.ReadResponse(third, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") != "1" ||
		!strings.Contains(string(text), `"code":"not_ready"`) || !answer.Close {
		t.Errorf("status %d, %v, %s, error %v", answer.StatusCode, answer.Header, text, err)
	}
	if n := testutil.ToFloat64(s.busy.connections.refused); n != 1 {
		t.Errorf("%v connections were counted as refused", n)
	}
	for c, r := range map[net.Conn]*bufio.Reader{first: firstReader, second: secondReader} {
		_, _ = io.WriteString(c, "Host: x\r\n\r\n")
		if answer, err := http.ReadResponse(r, nil); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("a connection suffered for others: %v", err)
		}
	}
}

func TestIdleConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), Limits: Limits{Connections: 3}})
	dial := dialer(t, listen(t, s))
	inUse, inUseReader := dial()
	_, _ = io.WriteString(inUse, "GET /healthz HTTP/1.1\r\n")
	await(t, func() bool { // its bytes may arrive after the next connection
		open, _ := s.busy.connections.count()
		return open == 1
	})
	awaitIdle(t, s, 0)
	longest, longestReader := dial()
	if !alive(longest, longestReader) {
		t.Fatal("a connection within the limit must be served")
	}
	awaitIdle(t, s, 1)
	later, laterReader := dial()
	if !alive(later, laterReader) {
		t.Fatal("a connection within the limit must be served")
	}
	awaitIdle(t, s, 2)
	if c, r := dial(); !alive(c, r) {
		t.Error("a new connection was refused while others are idle")
	}
	if alive(longest, longestReader) {
		t.Error("the connection that was idle for longest is still open")
	}
	if !alive(later, laterReader) {
		t.Error("a connection was closed that was not idle for longest")
	}
	_, _ = io.WriteString(inUse, "Host: x\r\n\r\n")
	if answer, err := http.ReadResponse(inUseReader, nil); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("a connection in use was closed: %v", err)
	}
	if n := testutil.ToFloat64(s.busy.connections.closed); n != 1 {
		t.Errorf("%v connections were counted as closed", n)
	}
}

func TestNewConnectionsHaveTimeForTheirFirstRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := &newBusy(Limits{Connections: 2}, nil, false, NewRegistry("test")).connections
		began := time.Now()
		fresh := func(later time.Duration) *boundConn {
			c := &boundConn{all: all, TCPConn: &net.TCPConn{}}
			c.idleSince.Store(began.Add(newGrace + later).UnixNano())
			return c
		}
		first := fresh(0)
		all.add(first)
		all.add(fresh(1)) // of two equally old ones, either may be closed
		if !all.add(fresh(2)) || time.Since(began) < newGrace || first.state.Load() != evicted {
			t.Errorf("after %v, the first connection is in state %d", time.Since(began), first.state.Load())
		}
	})
}

func TestOneAddressDoesNotTakeAllConnections(t *testing.T) {
	t.Parallel()
	place := func(ip string) *boundConn {
		c := &boundConn{}
		c.address, c.trusted = (&connections{proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}).locate(
			&net.TCPAddr{IP: net.ParseIP(ip), Port: 1})
		c.state.Store(inUse)
		return c
	}
	all := &newBusy(Limits{Connections: 8}, nil, false, NewRegistry("test")).connections
	for i := range 8 {
		if added := all.add(place("192.0.2.1")); added != (i < 6) {
			t.Errorf("connection %d of one address: %v", i, added)
		}
	}
	if !all.add(place("192.0.2.2")) {
		t.Error("another address found no room")
	}
	if all.add(place("2001:db8::1")); all.add(place("2001:db8::2")) {
		t.Error("there are more than the limit")
	}
	all = &newBusy(Limits{Connections: 8}, nil, false, NewRegistry("test")).connections
	for i := range 8 {
		if !all.add(place("10.1.2.3")) {
			t.Errorf("connection %d of a trusted proxy was refused", i)
		}
	}
	if a, b := place("2001:db8::1"), place("2001:db8::2"); a.address != b.address {
		t.Errorf("one client of version 6 is two: %v, %v", a.address, b.address)
	}
}

func TestRequestsBeyondTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), Limits: Limits{Requests: 2}})
	begun, finish := make(chan struct{}), make(chan struct{})
	s.Route(auth.Open, http.MethodGet, "/slow", func(c echo.Context) error {
		begun <- struct{}{}
		<-finish
		return c.String(http.StatusOK, "done")
	})
	address := listen(t, s)
	answered := make(chan string)
	for range 2 {
		go func() {
			_, text := do(t, "GET", "http://"+address+"/slow", "")
			answered <- text
		}()
		<-begun
	}

	answer, text := do(t, "GET", "http://"+address+"/slow", "")
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") != "1" || !strings.Contains(text, `"code":"not_ready"`) {
		t.Errorf("status %d, %v, %s", answer.StatusCode, answer.Header, text)
	}
	if answer, _ := do(t, "GET", "http://"+address+"/healthz", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("a busy service is not alive: %d", answer.StatusCode)
	}
	if n := testutil.ToFloat64(s.busy.open.refused); n != 1 {
		t.Errorf("%v requests were counted as rejected", n)
	}

	close(finish)
	for range 2 {
		if text := <-answered; text != "done" {
			t.Error(text)
		}
	}
	go func() { <-begun }()
	if _, text := do(t, "GET", "http://"+address+"/slow", ""); text != "done" {
		t.Errorf("after the rush: %s", text)
	}
}

func TestLimitsNameTheirSettings(t *testing.T) {
	t.Parallel()
	err := (&Limits{Connections: -1, Requests: -2}).Validate()
	if err == nil || !strings.Contains(err.Error(), "FLAGGERY_MAX_CONNECTIONS") || !strings.Contains(err.Error(), "FLAGGERY_MAX_REQUESTS") {
		t.Error(err)
	}
}

func TestLimitsFitInMemory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limits Limits
		memory int64
		want   Limits
	}{
		{Limits{10_000, 500}, math.MaxInt64, Limits{10_000, 500}},
		{Limits{10_000, 500}, 128 << 20, Limits{1024, 8}},
		{Limits{10, 5}, 128 << 20, Limits{10, 5}},
		{Limits{0, 0}, 128 << 20, Limits{0, 0}},
		{Limits{10, 5}, 1, Limits{1, 1}},
	} {
		if got := c.limits.fitting(c.memory); got != c.want {
			t.Errorf("%+v in %d bytes are %+v, want %+v", c.limits, c.memory, got, c.want)
		}
	}
}
