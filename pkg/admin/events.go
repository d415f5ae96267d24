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
	// keptChanges is how many changes a stream can be behind.
	keptChanges = 1000
	// maxStreams is how many there may be at once.
	maxStreams = 500
	// heartbeat is how often a stream says something if nothing happens, for proxies that
	// close idle connections, and how often its token is looked up.
	heartbeat = 15 * time.Second
	// maxEdges is how many edges streams hear of.
	maxEdges = 1000
)

// feed is what streams are sent, as it is at one moment. All streams read the same one,
// at their own pace: what a slow reader has not read yet takes no memory of its own.
type feed struct {
	since, revision int64   // changes are those of all revisions after since, up to revision
	changes         []event // in their order
	edges           []byte  // an event, nil before they were first seen
	ended           bool
	next            chan struct{} // closed once there is a newer feed
}

// event is a change as streams are sent it.
type event struct {
	revision int64
	ofToken  bool
	text     []byte
}

// with is the feed after what happened. Feeds share memory: only the newest one grows.
func (f *feed) with(news writer.News) feed {
	after := feed{since: f.since, revision: news.Revision, changes: f.changes, edges: f.edges}
	if news.Since != f.revision { // there is a gap, or what was known holds no longer
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

// first is the index of the first change after a revision.
func (f *feed) first(revision int64) int {
	i, _ := slices.BinarySearchFunc(f.changes, revision+1, func(e event, r int64) int { return int(e.revision - r) })
	return i
}

// encodeEvent is an event as it is sent. revision is its id, 0 for none.
func encodeEvent(name string, revision int64, data any) []byte {
	text, err := model.EncodeJSON(data)
	if err != nil {
		panic(err) // texts, numbers and times
	}
	var out bytes.Buffer
	if revision > 0 {
		fmt.Fprintf(&out, "id: %d\n", revision)
	}
	fmt.Fprintf(&out, "event: %s\ndata: %s\n\n", name, text)
	return out.Bytes()
}

// events is what feeds all streams of an admin. One goroutine reads the database,
// however many streams there are, and not even that for changes if there is none.
type events struct {
	feed    atomic.Pointer[feed]
	streams atomic.Int64
	woken   chan struct{} // there may be something new

	edgesSeen []byte // for the goroutine that reads: the edges, without when they were seen
}

func newEvents() *events {
	e := &events{woken: make(chan struct{}, 1)}
	e.feed.Store(&feed{next: make(chan struct{})})
	return e
}

// wake does not block.
func (e *events) wake() {
	select {
	case e.woken <- struct{}{}:
	default: // it is about to be read
	}
}

func (e *events) publish(f feed) {
	f.next = make(chan struct{})
	close(e.feed.Swap(&f).next)
}

// enter takes a place among the streams, which leave gives back.
func (e *events) enter() error {
	switch {
	case e.feed.Load().ended:
		return model.Errorf(model.NotReady, "shutting down")
	case e.streams.Add(1) > maxStreams:
		e.leave()
		return model.Errorf(model.NotReady, "there are %d streams of events already: read without one, and try again later", maxStreams)
	}
	e.wake() // nobody may have asked for changes until now
	return nil
}

func (e *events) leave() { e.streams.Add(-1) }

// watch reads what streams are sent until ctx ends, which ends all streams: changes when
// it is woken, and at every tick, as a notification may be lost; at every tick the edges.
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
			a.log.Warn("edges and changes are not watched, trying again", "interval", watchInterval, "error", err)
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

// watchEdges looks at the edges also if there is no stream, as one that is lost is to be
// missed. Streams hear of them if there is more to tell than when they were last seen.
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
	LastEventID string `header:"Last-Event-ID" doc:"A revision: the changes after it are sent first. Without it, changes from now on" example:"1042"`
}

// seen is the revision that the client has seen, -1 for none.
func (in *streamEventsInput) seen() (int64, error) {
	if in.LastEventID == "" {
		return -1, nil
	}
	revision, err := api.ParseInteger(in.LastEventID)
	if err != nil || revision < 0 {
		var faults model.Faults
		faults.Addf("header.Last-Event-ID", "must be a revision, is %q", in.LastEventID)
		return 0, faults.Err()
	}
	return revision, nil
}

// streamEvents answers with a stream that has no end of its own.
func streamEvents(a *service, r route) {
	op := r.operation()
	a.describeRead(&op, "Server-sent events, see docs/integrating.md. Each has one line of data, which is JSON: change has the schema Change and its revision as id; "+
		"edges is what GET /v1/edges answers; reload has the schema Reload and means that changes were left out", map[string]reflect.Type{api.MediaEvents: reflect.TypeFor[string]()})
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
				err = web.Wait(ctx) // it holds nothing but its connection
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
	hc.SetHeader("X-Accel-Buffering", "no") // nginx would keep events until there are many
	setRevision(hc, revision)
	hc.SetStatus(http.StatusOK)
}

// newEventBody is as that of an export, but goes on if nobody knows whether the token is
// still valid: browsers do not come back to a stream that is answered 503.
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
	tokens bool   // whether it is sent changes of tokens
	at     int64  // the revision up to which it was sent all
	edges  []byte // that it was sent last
}

// comment is what a stream says if there is nothing to say.
var comment = []byte(":\n\n")

// follow sends what happens after a revision, or after the one that the client has seen,
// until ctx or the feed ends or the client reads no more. At every tick it sends a comment.
func (s *eventStream) follow(ctx context.Context, e *events, seen, revision int64, ticks <-chan time.Time) error {
	if err := s.write(comment); err != nil {
		return err
	}
	f := e.feed.Load()
	for ; f.revision < revision && !f.ended; f = e.feed.Load() { // it has not heard of that yet
		select {
		case <-f.next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.at = revision
	if seen >= 0 {
		s.at = seen
		if f.first(seen)-f.first(seen-1) > 1 { // of its changes, the client may have seen only some
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

// send sends what is new in a feed.
func (s *eventStream) send(f *feed) error {
	var texts [][]byte
	if s.at < f.since || s.at > f.revision { // too far behind, or of a history that was there before a restored backup
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
