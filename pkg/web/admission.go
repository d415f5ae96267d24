package web

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// A request either works or waits: for its body, for an event, for a client that
// reads a prepared answer. Working requests are bounded in number, waiting ones by
// the bytes they hold, so that waiting requests do not take the places of working
// ones. A request with a body begins to work when the body has been read, any other
// one at once. [Wait] ends its work.

// waitCost is the memory of a waiting request besides its body: goroutine, header
// and context.
const waitCost = 32 << 10

// pool bounds how much of something requests take at once.
type pool struct {
	limit int64
	taken atomic.Int64
}

func (p *pool) take(n int64) bool {
	if p.taken.Add(n) <= p.limit {
		return true
	}
	p.give(n)
	return false
}

func (p *pool) give(n int64) { p.taken.Add(-n) }

// room is the capacity that is reserved for callers of one kind.
type room struct {
	working, waiting pool // in requests, in bytes
	refused          prometheus.Counter
}

// resize sets how many requests may work at once; 0 is no limit. Waiting requests
// may hold half as much memory.
func (r *room) resize(requests int) {
	r.working.limit, r.waiting.limit = int64(requests), int64(requests)*requestCost/2
	if requests == 0 {
		r.working.limit, r.waiting.limit = math.MaxInt64, math.MaxInt64
	}
}

// place is the share of a room that one request takes.
type place struct {
	room *room

	mu      sync.Mutex
	working bool
	body    int64 // bytes read, MaxBody at most: larger bodies are streams
}

type placeKey struct{}

// Wait makes the request in ctx a waiting one, which holds only its body. Call it
// before waiting, and before writing a prepared answer. It fails with not_ready if
// too many requests wait; the request then stays a working one. Requests without a
// limiting server always may.
func Wait(ctx context.Context) error {
	if p, ok := ctx.Value(placeKey{}).(*place); ok {
		return p.wait()
	}
	return nil
}

func (p *place) refuse() error {
	p.room.refused.Inc()
	return model.Errorf(model.NotReady, "too many requests are in flight, try again in a second")
}

func (p *place) work() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.working {
		return nil
	}
	if !p.room.working.take(1) {
		return p.refuse()
	}
	p.room.waiting.give(waitCost + p.body)
	p.working = true
	return nil
}

func (p *place) wait() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.working {
		return nil
	}
	if !p.room.waiting.take(waitCost + p.body) {
		return p.refuse()
	}
	p.room.working.give(1)
	p.working = false
	return nil
}

// read counts n more bytes of the body.
func (p *place) read(n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = min(n, MaxBody-p.body)
	if !p.working && !p.room.waiting.take(n) {
		return p.refuse()
	}
	p.body += n
	return nil
}

// enter takes the first place of a request: to wait for a body, or to work.
func (p *place) enter(hasBody bool) error {
	if !hasBody {
		p.working = p.room.working.take(1)
	} else if p.room.waiting.take(waitCost) {
		return nil
	}
	if !p.working {
		return p.refuse()
	}
	return nil
}

func (p *place) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.working {
		p.room.working.give(1)
	} else {
		p.room.waiting.give(waitCost + p.body)
	}
}

// admit gives each request its place, or rejects it. Probes and scrapes always
// pass: a busy service is alive. It comes after authorization: authenticated
// callers have a room of their own that nobody else can fill.
func (s *Server) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if operational(c.Path()) {
			return next(c)
		}
		r := c.Request()
		p := &place{room: &s.busy.open}
		if permission, matched := s.permissions[route{r.Method, c.Path()}]; matched && permission != auth.Open {
			p.room = &s.busy.letIn
		}
		hasBody := r.ContentLength != 0
		if err := p.enter(hasBody); err != nil {
			return err
		}
		defer p.leave()
		r = r.WithContext(context.WithValue(r.Context(), placeKey{}, p))
		if hasBody {
			r.Body = &admittedBody{r.Body, p, c.Response().Header()}
		}
		c.SetRequest(r)
		return next(c)
	}
}

// admittedBody is a body whose bytes count while the rest of it is awaited.
type admittedBody struct {
	io.ReadCloser
	place  *place
	answer http.Header
}

func (b *admittedBody) Read(to []byte) (int, error) {
	n, err := b.ReadCloser.Read(to)
	refused := b.place.read(int64(n))
	if refused == nil && errors.Is(err, io.EOF) {
		refused = b.place.work()
	}
	if refused != nil {
		b.answer.Set(echo.HeaderRetryAfter, "1") // huma drops the headers of a body's error
		return n, refused
	}
	return n, err
}
