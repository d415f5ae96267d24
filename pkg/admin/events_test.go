package admin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

// listener is a client of GET /v1/events.
type listener struct {
	t      *testing.T
	header http.Header
	lines  *bufio.Reader
}

// listen opens a stream. The head has come once it returns.
func (c client) listen(header ...string) *listener {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), "GET", c.url+"/v1/events", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := httpClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != api.MediaEvents {
		c.t.Fatalf("%d %v", response.StatusCode, response.Header)
	}
	c.t.Cleanup(func() { _ = response.Body.Close() })
	return &listener{c.t, response.Header, bufio.NewReader(response.Body)}
}

// next is the next event but those of edges: "17 change create features/foobar".
func (l *listener) next() string {
	l.t.Helper()
	for {
		text, err := l.event()
		if err != nil {
			l.t.Fatal(err)
		}
		if !strings.Contains(text, "event: edges\n") && text != string(comment) {
			return short(l.t, text)
		}
	}
}

// event is the next event as it was sent.
func (l *listener) event() (text string, err error) {
	for !strings.HasSuffix(text, "\n\n") {
		line, err := l.lines.ReadString('\n')
		if text += line; err != nil {
			return text, err
		}
	}
	return text, nil
}

// short is an event in one line.
func short(t *testing.T, text string) string {
	t.Helper()
	var id int64
	var name string
	if _, err := fmt.Sscanf(text, "id: %d\nevent: %s\n", &id, &name); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	_, data, _ := strings.Cut(text, "\ndata: ")
	var c api.Change
	if err := api.DecodeExact([]byte(data), &c); err != nil || c.Revision != id {
		t.Fatalf("%v: %q", err, text)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s %s", id, name, c.Action, c.Resource))
}

func (l *listener) expect(want ...string) {
	l.t.Helper()
	for _, want := range want {
		if got := l.next(); got != want {
			l.t.Fatalf("%q, want %q", got, want)
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	c, other := startOn(t, dbURL), startOn(t, dbURL)
	c.must("POST", "/v1/features", `{"name": "before"}`)
	live := c.listen()
	if live.header.Get(api.HeaderRevision) != "1" || live.header.Get("Cache-Control") != "no-store" {
		t.Error(live.header)
	}
	c.must("POST", "/v1/features", `{"name": "foobar"}`)
	c.must("POST", "/v1/features?dry_run=true", `{"name": "tried"}`)
	other.must("PATCH", "/v1/features/foobar", `{"description": "by another admin"}`)
	live.expect("2 change create features/foobar", "3 change update features/foobar")

	// What was missed comes first.
	c.listen("Last-Event-ID", "1").expect("2 change create features/foobar", "3 change update features/foobar")
	all := other.listen("Last-Event-ID", "0")
	all.expect("1 change create features/before", "2 change create features/foobar", "3 change update features/foobar")
	last := c.listen("Last-Event-ID", "3")
	c.must("DELETE", "/v1/features/before", nil)
	for _, l := range []*listener{live, all, last} {
		l.expect("4 change delete features/before")
	}
	c.listen("Last-Event-ID", "9").expect("4 reload") // of another history
	for _, id := range []string{"x", "-1", "01", "9223372036854775808"} {
		c.do("GET", "/v1/events", nil, "Last-Event-ID", id).isProblem(422, model.ValidationFailed, "header.Last-Event-ID")
	}

	var entry api.Page[api.AuditEntry]
	c.must("GET", "/v1/audit?limit=1", nil).into(&entry)
	one := c.listen("Last-Event-ID", "3")
	text, err := one.event()
	for err == nil && !strings.Contains(text, "change") {
		text, err = one.event()
	}
	at, _ := entry.Items[0].At.MarshalJSON()
	if want := `id: 4` + "\nevent: change\ndata: " + `{"revision":4,"at":` + string(at) + `,"actor":"FLAGGERY_ADMIN_TOKEN","action":"delete","resource":"features/before"}` + "\n\n"; err != nil || text != want {
		t.Errorf("%q, %v, want %q", text, err, want)
	}
	head := c.do("HEAD", "/v1/events", nil)
	if head.Status != 200 || head.Header.Get("Content-Type") != api.MediaEvents || head.Header.Get(api.HeaderRevision) != "4" {
		t.Errorf("HEAD: %d %v", head.Status, head.Header)
	}
}

// What is kept from a role at /v1/tokens and in the audit is not among the events.
func TestEventsOfTokensAreForAdmins(t *testing.T) {
	t.Parallel()
	c := start(t)
	viewer, token := c.makeToken(auth.ViewerRole)
	seen := viewer.listen("Last-Event-ID", "0")
	all := c.listen("Last-Event-ID", "0")
	c.must("POST", "/v1/features", `{"name": "tokens"}`)
	seen.expect("2 change create features/tokens")
	all.expect(fmt.Sprintf("1 change create tokens/%d", token.ID), "2 change create features/tokens")
	viewer.token = "none"
	viewer.do("GET", "/v1/events", nil).isProblem(401, model.Unauthenticated, "")
	ofClient, _ := c.makeToken(auth.ClientRole)
	ofClient.do("GET", "/v1/events", nil).isProblem(403, model.Forbidden, "")
}

func TestEventsOfEdges(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	c := startOn(t, dbURL)
	l := c.listen()
	await := func(what string) {
		t.Helper()
		for {
			text, err := l.event()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, "event: edges\n") && strings.Contains(text, what) {
				return
			}
		}
	}
	await(`data: {"items":[]}`)
	edge := connectAs(t, dbURL, "flaggery-edge/eu#aaaaaa v1.2.0/1 0")
	await(`"name":"eu","revision":0,"lag_revisions":0,`)
	if err := edge.Close(); err != nil {
		t.Fatal(err)
	}
	await(`"state":"away"`)
}

// An admin that shuts down does not wait for streams to end by themselves.
func TestEventsEndWithTheAdmin(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	var l *listener
	t.Run("admin", func(admin *testing.T) { l = client{t, startOn(admin, dbURL).url, testToken}.listen() })
	err := error(nil)
	for err == nil {
		_, err = l.event()
	}
	if !errors.Is(err, io.EOF) { // but an unexpected one, if it was cut off
		t.Errorf("the stream ended with %v", err)
	}
	ended := newEvents()
	ended.publish(feed{ended: true})
	if err := ended.enter(); model.CodeOf(err) != model.NotReady {
		t.Errorf("after the end: %v", err)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	e := newEvents()
	for range maxStreams {
		if err := e.enter(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.enter(); model.CodeOf(err) != model.NotReady || !strings.Contains(err.Error(), "500 streams") {
		t.Errorf("one more: %v", err)
	}
	e.leave()
	if err := e.enter(); err != nil {
		t.Errorf("in the place of one that left: %v", err)
	}
}

// newsOf has one change of each revision.
func newsOf(since int64, revisions ...int64) writer.News {
	news := writer.News{Since: since, Revision: revisions[len(revisions)-1]}
	for _, r := range revisions {
		news.Changes = append(news.Changes, api.Change{Revision: r, Action: "create", Resource: fmt.Sprintf("features/f%d", r)})
	}
	return news
}

// sent is what a stream that has sent all up to a revision sends of a feed.
func sent(t *testing.T, f feed, at int64) string {
	t.Helper()
	var out bytes.Buffer
	s := eventStream{w: &out, flush: func() {}, at: at}
	if err := s.send(&f); err != nil || s.at != f.revision {
		t.Fatalf("at %d, %v", s.at, err)
	}
	var all []string
	for text := range strings.SplitAfterSeq(out.String(), "\n\n") {
		if text != "" {
			all = append(all, short(t, text))
		}
	}
	return strings.Join(all, ", ")
}

func TestFeed(t *testing.T) {
	f := new(feed).with(newsOf(0, 1, 2))
	older := f
	f = f.with(newsOf(2, 3, 3, 4))
	if got := sent(t, older, 0); got != "1 change create features/f1, 2 change create features/f2" {
		t.Errorf("the older feed: %s", got)
	}
	for at, want := range map[int64]string{
		4: "", 3: "4 change create features/f4", 5: "4 reload",
		1: "2 change create features/f2, 3 change create features/f3, 3 change create features/f3, 4 change create features/f4",
	} {
		if got := sent(t, f, at); got != want {
			t.Errorf("after %d: %s, want %s", at, got, want)
		}
	}
	// A gap, and a restored backup.
	if f := f.with(newsOf(7, 8)); sent(t, f, 7) != "8 change create features/f8" || sent(t, f, 4) != "8 reload" {
		t.Errorf("after a gap: %+v", f)
	}
	if f := f.with(newsOf(0, 1)); sent(t, f, 0) != "1 change create features/f1" || sent(t, f, 4) != "1 reload" {
		t.Errorf("after a restored backup: %+v", f)
	}
	// It keeps so many.
	revisions := make([]int64, keptChanges)
	for i := range revisions {
		revisions[i] = int64(i + 5)
	}
	f = f.with(newsOf(4, revisions...))
	if len(f.changes) != keptChanges || sent(t, f, 3) != "1004 reload" || !strings.HasPrefix(sent(t, f, 4), "5 change ") {
		t.Errorf("%d are kept, after %d", len(f.changes), f.since)
	}
}

// recorder is a client, which says when it has been sent something.
type recorder struct {
	bytes.Buffer
	flushed chan string
	fault   error
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.fault != nil {
		return 0, r.fault
	}
	return r.Buffer.Write(p)
}

func (r *recorder) flush() { r.flushed <- r.String(); r.Reset() }

func TestStreamFollows(t *testing.T) {
	t.Parallel()
	e := newEvents()
	follow := func(seen, revision int64, fault error) (*recorder, chan time.Time, chan error) {
		r, ticks, ended := &recorder{flushed: make(chan string, 1), fault: fault}, make(chan time.Time), make(chan error, 1)
		s := eventStream{w: r, flush: r.flush}
		go func() { ended <- s.follow(t.Context(), e, seen, revision, ticks) }()
		return r, ticks, ended
	}
	expect := func(r *recorder, want string) {
		t.Helper()
		if got := <-r.flushed; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	text := func(revision int64) string {
		return string(encodeEvent("change", revision, newsOf(0, revision).Changes[0]))
	}
	e.publish(new(feed).with(newsOf(0, 1, 2, 2)))
	live, ticks, ended := follow(-1, 3, nil)
	expect(live, ":\n\n")
	behind, _, endedToo := follow(2, 3, nil)
	expect(behind, ":\n\n")
	// Revision 3 is committed, but the feed has not heard of it yet: it is before the first
	// stream's time, and the second one's client may have missed a part of 2.
	e.publish(e.feed.Load().with(newsOf(2, 3)))
	expect(behind, text(2)+text(2)+text(3))
	e.publish(e.feed.Load().with(newsOf(3, 4)))
	expect(live, text(4))
	expect(behind, text(4))
	ticks <- time.Time{}
	expect(live, ":\n\n")
	gone := errors.New("gone")
	if _, _, ended := follow(-1, 4, gone); !errors.Is(<-ended, gone) {
		t.Error("a stream goes on whose client does not read")
	}
	e.publish(feed{ended: true})
	if err := errors.Join(<-ended, <-endedToo); err != nil {
		t.Error(err)
	}
}

// A stream ends soon after its token, but goes on while the database is away.
func TestEventsEndWithTheToken(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	c := startOn(t, dbURL)
	w, err := writer.Open(t.Context(), dbURL, writer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_, token := c.makeToken(auth.ViewerRole)
	ctx := web.WithCaller(t.Context(), auth.Identity{Role: auth.ViewerRole, Bearer: token.ID}, nil)
	now := time.Now()
	stream := func(a *service) func() error {
		body := a.newEventBody(ctx, io.Discard)
		body.now = func() time.Time { return now }
		return func() error { _, err := body.Write(comment); return err }
	}
	write, away := stream(&service{writer: w}), stream(newTestService(t))
	now = now.Add(heartbeat)
	if err := write(); err != nil {
		t.Error(err)
	}
	c.must("DELETE", fmt.Sprintf("/v1/tokens/%d", token.ID), nil)
	if err := write(); err != nil {
		t.Errorf("it is looked up at every heartbeat: %v", err)
	}
	now = now.Add(heartbeat)
	if err := write(); model.CodeOf(err) != model.Unauthenticated {
		t.Errorf("after it was revoked: %v", err)
	}
	if err := away(); err != nil {
		t.Errorf("without a database: %v", err)
	}
}
