package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

const (
	// keptChanges is how many changes a stream may be behind.
	keptChanges = 1000
	// maxStreams is the maximum number of streams at once.
	maxStreams = 500
	// heartbeat is how often a stream sends a comment if nothing happens, because proxies
	// close idle connections, and how often its token is checked.
	heartbeat = 15 * time.Second
	// maxEdges is the maximum number of edges that are sent to streams.
	maxEdges = 1000
)

// feed holds the events for all streams at one moment. Streams read the same feed at
// their own pace, so that a slow reader takes no additional memory.
type feed struct {
	since, revision int64   // changes are those of all revisions after since, up to revision
	changes         []event // in their order
	edges           []byte  // an event, nil before the first
	ended           bool
	next            chan struct{} // closed once there is a newer feed
}

// event is a change as it is sent to streams.
type event struct {
	revision int64
	ofToken  bool
	text     []byte
}

// with returns the feed with later changes. Feeds share memory: only the newest grows.
func (f *feed) with(news writer.News) feed {
	after := feed{since: f.since, revision: news.Revision, changes: f.changes, edges: f.edges}
	if news.Since != f.revision { // there is a gap, or an earlier change is invalid
		after.since, after.changes = news.Since, nil
	}
	for _, c := range news.Changes {
		after.changes = append(after.changes, event{c.Revision, writer.OfToken(c), encodeEvent("change", c.Revision, c)})
	}
	if n := len(after.changes) - keptChanges; n > 0 {
		after.since, after.changes = after.changes[n-1].revision, after.changes[n:]
	}
	return after
}

// first returns the index of the first change after a revision.
func (f *feed) first(revision int64) int {
	i, _ := slices.BinarySearchFunc(f.changes, revision+1, func(e event, r int64) int { return int(e.revision - r) })
	return i
}

// encodeEvent returns the text of an event. Its id is the revision, 0 for none.
func encodeEvent(name string, revision int64, data any) []byte {
	text, err := model.EncodeJSON(data)
	if err != nil {
		panic(err) // data has only texts, numbers and times
	}
	var out bytes.Buffer
	if revision > 0 {
		fmt.Fprintf(&out, "id: %d\n", revision)
	}
	fmt.Fprintf(&out, "event: %s\ndata: %s\n\n", name, text)
	return out.Bytes()
}

// events feeds all streams of an admin. One goroutine reads the database for all of
// them. Without streams, it does not read changes.
type events struct {
	feed    atomic.Pointer[feed]
	streams atomic.Int64
	woken   chan struct{} // there may be something new

	edgesSeen []byte // by the reading goroutine: the last edges, without their times
}

func newEvents() *events {
	e := &events{woken: make(chan struct{}, 1)}
	e.feed.Store(&feed{next: make(chan struct{})})
	return e
}

// wake makes watch read changes. It does not block.
func (e *events) wake() {
	select {
	case e.woken <- struct{}{}:
	default: // watch is already about to read
	}
}

func (e *events) publish(f feed) {
	f.next = make(chan struct{})
	close(e.feed.Swap(&f).next)
}

// enter counts a stream, or fails if there are too many; leave ends it.
func (e *events) enter() error {
	switch {
	case e.feed.Load().ended:
		return model.Errorf(model.NotReady, "shutting down")
	case e.streams.Add(1) > maxStreams:
		e.leave()
		return model.Errorf(model.NotReady, "there are already %d streams of events, the maximum: poll instead, or try again later", maxStreams)
	}
	e.wake() // changes may not have been read until now
	return nil
}

func (e *events) leave() { e.streams.Add(-1) }

// watch reads changes and edges for streams until ctx ends, and then ends all streams.
// It reads changes after notifications and, because those may be lost, at every tick;
// edges at every tick.
func (a *service) watch(ctx context.Context, ticks <-chan time.Time) {
	defer func() { a.events.publish(feed{ended: true}) }()
	for works := true; ; {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-a.events.woken:
			err = a.watchChanges(ctx)
		case <-ticks:
			err = errors.Join(a.watchChanges(ctx), a.watchEdges(ctx))
		}
		if err != nil && works && ctx.Err() == nil {
			a.log.Warn("reading changes and edges failed, retrying", "interval", watchInterval, "error", err)
		}
		works = err == nil
	}
}

func (a *service) watchChanges(ctx context.Context) error {
	if a.events.streams.Load() == 0 {
		return nil
	}
	f := a.events.feed.Load()
	news, err := a.writer.News(ctx, f.revision, keptChanges)
	if err == nil && (news.Revision != f.revision || news.Since != f.revision) {
		a.events.publish(f.with(news))
	}
	return err
}

// watchEdges reads the edges even without streams, so that lost edges are noticed. It
// publishes them if more has changed than their times.
func (a *service) watchEdges(ctx context.Context) error {
	edges, err := a.writer.Edges(ctx, writer.Page{Limit: maxEdges})
	if err != nil {
		return err
	}
	timeless := slices.Clone(edges.Value.Items)
	for i := range timeless {
		timeless[i].LastSeen = time.Time{}
	}
	if text := encodeEvent("edges", 0, timeless); !bytes.Equal(text, a.events.edgesSeen) {
		a.events.edgesSeen = text
		f := *a.events.feed.Load()
		f.edges = encodeEvent("edges", 0, edges.Value)
		a.events.publish(f)
	}
	return nil
}

type streamEventsInput struct {
	LastEventID string `header:"Last-Event-ID" doc:"A revision: changes after it are sent first. If left out, only later changes are sent" example:"1042"`
}

// seen returns the last revision that the client has seen, -1 for none.
func (in *streamEventsInput) seen() (int64, error) {
	if in.LastEventID == "" {
		return -1, nil
	}
	revision, err := api.ParseInteger(in.LastEventID)
	if err != nil || revision < 0 {
		var faults model.Faults
		faults.Addf("header.Last-Event-ID", "must be a revision, such as 1042, is %q", in.LastEventID)
		return 0, faults.Err()
	}
	return revision, nil
}

// streamEvents answers with a stream of events that ends only with the client, the
// admin or the token.
func streamEvents(a *service, r route) {
	op := r.operation()
	a.describeRead(&op, "Server-sent events, each with one line of JSON as data: change has the schema Change, and its revision as id; "+
		"edges has the answer of GET /v1/edges; reload has the schema Reload and means that changes were skipped: read again what you keep", map[string]reflect.Type{api.MediaEvents: reflect.TypeFor[string]()})
	for _, data := range []reflect.Type{reflect.TypeFor[api.Change](), reflect.TypeFor[api.Reload]()} {
		a.schemas().Schema(data, true, "")
	}
	web.Handle(a.web, r.permission, op, func(ctx context.Context, in *streamEventsInput) (*huma.StreamResponse, error) {
		seen, err := in.seen()
		if err != nil {
			return nil, err
		}
		revision, err := a.writer.Revision(ctx)
		a.answersFrom(ctx, revision)
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			if web.IsHead(ctx) {
				headOfEvents(hc, revision)
				return
			}
			err := a.events.enter()
			if err == nil {
				defer a.events.leave()
				err = web.Wait(ctx) // a stream takes no more than its connection
			}
			if err != nil {
				a.web.WriteProblem(hc, err)
				return
			}
			headOfEvents(hc, revision)
			ticks := time.NewTicker(heartbeat)
			defer ticks.Stop()
			s := eventStream{w: a.newEventBody(ctx, hc.BodyWriter()), flush: func() { web.Flush(ctx) }, tokens: web.Caller(ctx).Role.Allows(auth.Administer)}
			if err := s.follow(ctx, a.events, seen, revision, ticks.C); err != nil {
				a.log.DebugContext(ctx, "stream of events ended", "request_id", web.RequestID(ctx), "error", err)
			}
		}}, err
	})
}

func headOfEvents(hc huma.Context, revision int64) {
	hc.SetHeader("Content-Type", api.MediaEvents)
	hc.SetHeader("X-Accel-Buffering", "no") // nginx would buffer events
	setRevision(hc, revision)
	hc.SetStatus(http.StatusOK)
}

// newEventBody is the body of an export, but continues if the token cannot be checked:
// browsers do not reconnect to a stream that is answered 503.
func (a *service) newEventBody(ctx context.Context, w io.Writer) *exportBody {
	b := a.newExportBody(ctx, w)
	b.every = heartbeat
	check := b.check
	b.check = func() error {
		if err := check(); model.CodeOf(err) == model.Unauthenticated {
			return err
		}
		return nil
	}
	return b
}

// eventStream is one client of the feed.
type eventStream struct {
	w      io.Writer
	flush  func()
	tokens bool   // whether to send changes of tokens
	at     int64  // the revision up to which everything was sent
	edges  []byte // the last sent
}

// comment keeps a stream without events alive.
var comment = []byte(":\n\n")

// follow sends all events after a revision, or after the one that the client has seen,
// until ctx or the feed ends or the client is gone. At every tick it sends a comment.
func (s *eventStream) follow(ctx context.Context, e *events, seen, revision int64, ticks <-chan time.Time) error {
	if err := s.write(comment); err != nil {
		return err
	}
	f := e.feed.Load()
	for ; f.revision < revision && !f.ended; f = e.feed.Load() { // the feed is behind the revision
		select {
		case <-f.next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.at = revision
	if seen >= 0 {
		s.at = seen
		if f.first(seen)-f.first(seen-1) > 1 { // the client may have seen only some of its changes
			s.at--
		}
	}
	for !f.ended {
		if err := s.send(f); err != nil {
			return err
		}
		select {
		case <-f.next:
			f = e.feed.Load()
		case <-ticks:
			if err := s.write(comment); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// send sends the events of a feed that were not sent yet.
func (s *eventStream) send(f *feed) error {
	var texts [][]byte
	if s.at < f.since || s.at > f.revision { // too far behind, or from before a backup was restored
		texts = append(texts, encodeEvent("reload", f.revision, api.Reload{Revision: f.revision}))
	} else {
		for _, c := range f.changes[f.first(s.at):] {
			if s.tokens || !c.ofToken {
				texts = append(texts, c.text)
			}
		}
	}
	s.at = f.revision
	if !bytes.Equal(s.edges, f.edges) {
		texts = append(texts, f.edges)
		s.edges = f.edges
	}
	return s.write(texts...)
}

func (s *eventStream) write(texts ...[]byte) error {
	for _, text := range texts {
		if _, err := s.w.Write(text); err != nil {
			return err
		}
	}
	if len(texts) > 0 {
		s.flush()
	}
	return nil
}
