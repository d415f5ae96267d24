package postgres

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flaggery/flaggery/pkg/model"
)

func TestReports(t *testing.T) {
	long := strings.Repeat("n", 100) + "-x2k4p"
	of := func(name, epoch string, revision int64, state string) report {
		return report{name: name, instance: "ab2def", version: "v1.2.0", format: 1, epoch: epoch, revision: revision, state: state}
	}
	polls := of("a", "1a2b3c", 17, edgeRefusing)
	polls.polls = true
	version := of("a", "1a2b3c", 17, edgeServing)
	version.version = "v1.10.0 /~-rc1"
	for _, c := range []struct {
		report report
		text   string
		parsed report
	}{
		{of("a", "", 17, edgeServing), "flaggery-edge/a#ab2def v1.2.0/1 17", of("a", "", 17, edgeServing)},
		{of("with space", "", 0, edgeLoading), "flaggery-edge/with space#ab2def v1.2.0/1 0?", of("with space", "", 0, edgeLoading)},
		{of("é\n", "", 3, edgeRefusing), "flaggery-edge/??#ab2def v1.2.0/1 3!", of("??", "", 3, edgeRefusing)},
		{of("a", "1a2b3c4d-5e6f", 3, edgeLeaving), "flaggery-edge/a#ab2def v1.2.0/1~1a2b3c 3>", of("a", "1a2b3c", 3, edgeLeaving)},
		{of("a", "1a2b3c4d-5e6f", 3, edgeGone), "flaggery-edge/a#ab2def v1.2.0/1~1a2b3c 3.", of("a", "1a2b3c", 3, edgeGone)},
		{polls, "flaggery-edge/a#ab2def v1.2.0/1~1a2b3c 17!+", polls},
		{of(long, "1a2b3c4d-5e6f", 12345, edgeServing), "flaggery-edge/nnnnn..nnnnn-x2k4p#ab2def v1.2.0/1~1a2b3c 12345", of("nnnnn..nnnnn-x2k4p", "1a2b3c", 12345, edgeServing)},
		{of(long, "", 0, edgeLoading), "flaggery-edge/nnnnnn..nnnnnnnn-x2k4p#ab2def v1.2.0/1 0?", of("nnnnnn..nnnnnnnn-x2k4p", "", 0, edgeLoading)},
		{of(long, "1a2b3c4d-5e6f", 9223372036854775807, edgeRefusing), "flaggery-edge/..4p#ab2def v1.2.0/1~1a2b3c 9223372036854775807!", of("..4p", "1a2b3c", 9223372036854775807, edgeRefusing)},
		{version, "flaggery-edge/a#ab2def v1.10.0???/1~1a2b3c 17", report{"a", "ab2def", "v1.10.0???", 1, "1a2b3c", 17, edgeServing, false}},
		{of("", "1a2b3c4d-5e6f", 1, edgeServing), "flaggery-edge/#ab2def v1.2.0/1~1a2b3c 1", of("", "1a2b3c", 1, edgeServing)},
		{of("eu~node#1", "", 1, edgeServing), "flaggery-edge/eu~node#1#ab2def v1.2.0/1 1", of("eu~node#1", "", 1, edgeServing)},
	} {
		text := c.report.String()
		if text != c.text || len(text) > 63 {
			t.Errorf("%v is written as %q, want %q", c.report, text, c.text)
		}
		if parsed, ok := parseReport(text); !ok || parsed != c.parsed {
			t.Errorf("%q is read as %v, want %v", text, parsed, c.parsed)
		}
	}
	// Reports of edges of earlier releases.
	for text, want := range map[string]report{
		"flaggery-edge/a~1a2b3c 17": {name: "a", epoch: "1a2b3c", revision: 17, state: edgeServing},
		"flaggery-edge/a 0?":        {name: "a", state: edgeLoading},
		"flaggery-edge/a#b c 3!":    {name: "a#b c", revision: 3, state: edgeRefusing},
	} {
		if parsed, ok := parseReport(text); !ok || parsed != want {
			t.Errorf("%q is read as %v, want %v", text, parsed, want)
		}
	}
	for _, text := range []string{"", "psql", "flaggery-edge/a", "flaggery-edge/a x", "flaggery-edge/a 1!!", "flaggery-edge/a 1+!", "flaggery-edge/a -1", "other/a 1"} {
		if r, ok := parseReport(text); ok {
			t.Errorf("%q is read as %+v", text, r)
		}
	}
}

// TestListen is notified, reports, and connects again after its connection was ended.
func TestListen(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	db := open(t)
	defer db.DB.Close()
	defer db.feed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	notifications, ended := make(chan bool, 100), make(chan struct{})
	go func() {
		defer close(ended)
		db.feed.Listen(ctx, func(announced bool) { notifications <- announced })
	}()
	expect := func(want bool) {
		t.Helper()
		select {
		case got := <-notifications:
			if got != want {
				t.Fatalf("notified of %v, want %v", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("not notified, want %v", want)
		}
	}
	exec := func(statement string) {
		t.Helper()
		if _, err := db.pool.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	expect(false)
	edges, err := db.Edges(ctx)
	if err != nil || len(edges) != 1 {
		t.Fatalf("edges are %v, %v", edges, err)
	}
	if age := time.Since(*edges[0].ConnectedSince); age < -time.Minute || age > time.Minute {
		t.Errorf("connected for %v", age)
	}
	if got, want := reported(edges[0]), (Edge{Name: "test", Version: "v1.2.0", Format: readFormat, State: edgeLoading}); got != want {
		t.Errorf("the edge is %+v, want %+v", got, want)
	}
	exec(`SELECT pg_notify('` + channel + `', '1')`)
	expect(true)

	var epoch string
	if err := db.pool.Get(&epoch, `SELECT epoch FROM state`); err != nil {
		t.Fatal(err)
	}
	db.feed.Report(model.Position{Epoch: epoch, Revision: 41}, false)
	db.feed.Report(model.Position{Epoch: epoch, Revision: 42}, true)
	// The report is sent on the connection that gets the next notification, at some time.
	want := Edge{Name: "test", Version: "v1.2.0", Format: readFormat, Revision: 42, State: edgeRefusing}
	awaitReport(t, db, want)

	exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'flaggery-edge/%' AND datname = current_database()`)
	expect(false)
	awaitReport(t, db, want)
	exec(`SELECT pg_notify('` + channel + `', '1')`)
	expect(true)

	// An edge that drains follows until its end, and is then forgotten.
	db.feed.Drain()
	db.feed.Report(model.Position{Epoch: epoch, Revision: 43}, false)
	want.Revision, want.State = 43, edgeLeaving
	awaitReport(t, db, want)
	cancel()
	<-ended
	if edges, err := db.Edges(t.Context()); err != nil || len(edges) != 0 {
		t.Errorf("after the end of the edge there are %v, %v", edges, err)
	}
}

// An admin is notified when it connects, as it may have missed commits, and of each
// commit after that.
func TestAdminsListen(t *testing.T) {
	t.Parallel()
	db := open(t)
	ctx, stop := context.WithCancel(t.Context())
	notifications, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		db.Listen(ctx, func() { notifications <- struct{}{} })
	}()
	<-notifications
	if _, err := db.pool.ExecContext(ctx, `SELECT pg_notify('`+channel+`', '1')`); err != nil {
		t.Fatal(err)
	}
	<-notifications
	stop()
	<-ended
	if edges, err := db.Edges(t.Context()); err != nil || len(edges) != 0 {
		t.Errorf("an admin counts as an edge: %v, %v", edges, err)
	}
}

// TestEndsAreSeen runs edges that end while no admin reads the edges, and one that loses
// its connection.
func TestEndsAreSeen(t *testing.T) {
	t.Parallel()
	db := open(t)
	for _, end := range []struct {
		how  string
		poll bool // it never listens
		want int
	}{{"listens", false, 0}, {"polls", true, 0}} {
		feed, err := NewFeed(db.url, FeedOptions{Name: end.how})
		if err != nil {
			t.Fatal(err)
		}
		defer feed.Close()
		ctx, stop := context.WithCancel(t.Context())
		if end.poll {
			feed.listenURL = "postgres://127.0.0.1:1/refused"
		}
		ended, listens := make(chan struct{}), make(chan bool, 1)
		go func() {
			defer close(ended)
			feed.Listen(ctx, func(bool) { listens <- true })
		}()
		if end.poll {
			err = feed.Update(ctx, model.Position{}, func(u *model.Update) error {
				feed.Report(u.Position, false)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		} else {
			<-listens
		}
		edges, err := db.Edges(ctx)
		if err != nil || len(edges) != 1 || edges[0].Name != end.how || edges[0].Away() || edges[0].polls != end.poll {
			t.Errorf("an edge that %s: %+v, %v", end.how, edges, err)
		}
		stop()
		<-ended
		_ = feed.Close()
		if edges, err = db.Edges(t.Context()); err != nil || len(edges) != end.want {
			t.Errorf("an edge that %s, after its end: %+v, %v", end.how, edges, err)
		}
	}
}

// reported is an edge without the fields that differ in each run.
func reported(e Edge) Edge {
	e.ConnectedSince, e.LastSeen, e.Instance = nil, time.Time{}, ""
	return e
}

func awaitReport(t *testing.T, db *database, want Edge) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(time.Minute); ; {
		edges, err := db.Edges(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(edges, func(e Edge) bool { return reported(e) == want }) {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("edges report %v, want %v", edges, want)
		}
	}
}

// TestListenEndsWhileDialling uses a database that never answers.
func TestListenEndsWhileDialling(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	feed, err := NewFeed("postgres://"+silent.Addr().String()+"/nothing", FeedOptions{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	feed.Listen(ctx, func(bool) { t.Error("notified of something") })
}
