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
	long := strings.Repeat("n", 100)
	for _, c := range []struct {
		report report
		text   string
		parsed report
	}{
		{report{"a", "", 17, edgeServing}, "flaggery-edge/a 17", report{"a", "", 17, edgeServing}},
		{report{"with space", "", 0, edgeLoading}, "flaggery-edge/with space 0?", report{"with space", "", 0, edgeLoading}},
		{report{"é\n", "", 3, edgeRefusing}, "flaggery-edge/?? 3!", report{"??", "", 3, edgeRefusing}},
		{report{long, "1a2b3c4d-5e6f", 9223372036854775807, edgeRefusing}, "flaggery-edge/" + long[:21] + "~1a2b3c 9223372036854775807!", report{long[:21], "1a2b3c", 9223372036854775807, edgeRefusing}},
		{report{"", "1a2b3c4d-5e6f", 1, edgeServing}, "flaggery-edge/~1a2b3c 1", report{"", "1a2b3c", 1, edgeServing}},
		{report{"", "", 1, edgeServing}, "flaggery-edge/ 1", report{"", "", 1, edgeServing}},
		{report{"eu~node-1", "", 1, edgeServing}, "flaggery-edge/eu~node-1 1", report{"eu~node-1", "", 1, edgeServing}},
	} {
		text := c.report.String()
		if text != c.text || len(text) > 63 {
			t.Errorf("%v is written as %q, want %q", c.report, text, c.text)
		}
		if parsed, ok := parseReport(text); !ok || parsed != c.parsed {
			t.Errorf("%q is read as %v, want %v", text, parsed, c.parsed)
		}
	}
	for _, text := range []string{"", "psql", "flaggery-edge/a", "flaggery-edge/a x", "flaggery-edge/a 1!!", "other/a 1"} {
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
		case <-time.After(10 * time.Second):
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
	edges[0].ConnectedSince = nil
	if want := (Edge{Name: "test", State: edgeLoading}); edges[0] != want {
		t.Errorf("the edge is %+v, want %+v", edges[0], want)
	}
	exec(`SELECT pg_notify('` + channel + `', '1')`)
	expect(true)

	var epoch string
	if err := db.pool.Get(&epoch, `SELECT epoch FROM state`); err != nil {
		t.Fatal(err)
	}
	db.feed.Report(model.Position{Epoch: epoch, Revision: 41}, false)
	db.feed.Report(model.Position{Epoch: epoch, Revision: 42}, true)
	// The report goes out on the connection that gets the next notification, at some time.
	want := Edge{Name: "test", Revision: 42, State: edgeRefusing}
	awaitReport(t, db, want)

	exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'flaggery-edge/%' AND datname = current_database()`)
	expect(false)
	awaitReport(t, db, want)
	exec(`SELECT pg_notify('` + channel + `', '1')`)
	expect(true)
	cancel()
	<-ended
}

func awaitReport(t *testing.T, db *database, want Edge) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(10 * time.Second); ; {
		edges, err := db.Edges(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(edges, func(e Edge) bool { e.ConnectedSince = nil; return e == want }) {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("edges report %v, want %v", edges, want)
		}
	}
}

// TestListenEndsWhileDialling has a database that never answers.
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
