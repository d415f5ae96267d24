package web

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"

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

func TestConnectionsBeyondTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), Limits: Limits{Connections: 2}})
	address := listen(t, s)
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, bufio.NewReader(c)
	}
	alive := func(c net.Conn, r *bufio.Reader) bool {
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode == http.StatusOK
	}
	first, firstReader := dial()
	second, secondReader := dial()
	if !alive(first, firstReader) || !alive(second, secondReader) {
		t.Fatal("connections within the limit must be served")
	}

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
	if n := testutil.ToFloat64(s.busy.shedConnections); n != 1 {
		t.Errorf("%v connections were counted as shed", n)
	}

	_ = first.Close()
	for { // the server notices on its own time
		if c, r := dial(); alive(c, r) {
			break
		}
	}
	if !alive(second, secondReader) {
		t.Error("a connection suffered for others")
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
		t.Errorf("%v requests were counted as shed", n)
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
		if got := c.limits.within(c.memory); got != c.want {
			t.Errorf("%+v in %d bytes are %+v, want %+v", c.limits, c.memory, got, c.want)
		}
	}
}
