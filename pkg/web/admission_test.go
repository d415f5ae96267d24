package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// newBusyServer allows one working request. /work works and /wait waits until the
// test ends, and POST /read answers when it has read its body.
func newBusyServer(t *testing.T, authenticate Authenticator) (address string, begun chan struct{}) {
	t.Helper()
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), Limits: Limits{Requests: 1}, Authenticate: authenticate})
	begun = make(chan struct{})
	finish := make(chan struct{})
	blocking := func(begin func(context.Context) error) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := begin(c.Request().Context()); err != nil {
				return err
			}
			begun <- struct{}{}
			<-finish
			return c.NoContent(http.StatusNoContent)
		}
	}
	s.Route(auth.Open, http.MethodGet, "/work", blocking(func(context.Context) error { return nil }))
	s.Route(auth.Open, http.MethodGet, "/wait", blocking(Wait))
	s.Route(auth.Open, http.MethodPost, "/read", func(c echo.Context) error {
		if _, err := io.Copy(io.Discard, c.Request().Body); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	})
	s.Route(auth.Read, http.MethodGet, "/let-in", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	address = listen(t, s)
	t.Cleanup(func() { close(finish) })
	return address, begun
}

// send writes the beginning of a request and leaves the connection open.
func send(t *testing.T, address, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

func statusOfGet(t *testing.T, address, path string, header ...string) int {
	t.Helper()
	answer, _ := do(t, "GET", "http://"+address+path, "", header...)
	return answer.StatusCode
}

func TestWhatWaitsLeavesRoomForWhatWorks(t *testing.T) {
	t.Parallel()
	address, begun := newBusyServer(t, nil)
	for range 20 { // of which 64 could wait
		send(t, address, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
		<-begun
		send(t, address, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbeginning")
	}
	if answer, text := do(t, "POST", "http://"+address+"/read", "a body"); answer.StatusCode != http.StatusNoContent {
		t.Errorf("a request that works was refused for those that wait: %d %s", answer.StatusCode, text)
	}
	send(t, address, "GET /work HTTP/1.1\r\nHost: x\r\n\r\n")
	<-begun
	if status := statusOfGet(t, address, "/work"); status != http.StatusServiceUnavailable {
		t.Errorf("a second request may work: %d", status)
	}
	if answer, text := do(t, "POST", "http://"+address+"/read", "a body"); answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, `"code":"not_ready"`) {
		t.Errorf("a body that has been read is work, too: %d %s", answer.StatusCode, text)
	}
}

func TestBodiesCountWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), Limits: Limits{Requests: 1}})
	enter := func(body int64) error {
		p := &place{room: &s.busy.open}
		return errors.Join(p.enter(true), p.read(body))
	}
	if err := enter(MaxBody - 1); err != nil {
		t.Fatal(err)
	}
	if err := enter(MaxBody - 1); model.CodeOf(err) != model.NotReady {
		t.Errorf("two of the largest bodies fit into half of what a request costs: %v", err)
	}
	if err := enter(1000); err != nil {
		t.Errorf("a small body was refused: %v", err)
	}
}

func TestStrangersCannotFillTheRoomOfThoseLetIn(t *testing.T) {
	t.Parallel()
	address, begun := newBusyServer(t, func(_ context.Context, token string) (auth.Identity, error) {
		if token != "good" {
			return auth.Identity{}, model.Errorf(model.Unauthenticated, "is invalid")
		}
		return auth.Identity{Role: auth.ViewerRole}, nil
	})
	send(t, address, "GET /work HTTP/1.1\r\nHost: x\r\n\r\n")
	<-begun
	if status := statusOfGet(t, address, "/work"); status != http.StatusServiceUnavailable {
		t.Errorf("strangers have more than their share: %d", status)
	}
	if status := statusOfGet(t, address, "/let-in", "Authorization", "Bearer good"); status != http.StatusNoContent {
		t.Errorf("a caller who was let in was refused: %d", status)
	}
	if status := statusOfGet(t, address, "/let-in"); status != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", status)
	}
}

func TestPlacesAreGivenBack(t *testing.T) {
	t.Parallel()
	var r room
	r.resize(1)
	r.refused = newBusy(Limits{}, nil, false, NewRegistry("test")).open.refused
	p := &place{room: &r}
	for _, step := range []func() error{
		func() error { return p.enter(true) }, func() error { return p.read(100) }, p.work, p.work, p.wait, p.wait,
		func() error { return p.read(2 * MaxBody) }, p.work,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	p.leave()
	if working, waiting := r.working.taken.Load(), r.waiting.taken.Load(); working != 0 || waiting != 0 {
		t.Errorf("%d requests and %d bytes are left", working, waiting)
	}
}
