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
		report EdgeReport
		text   string
		parsed EdgeReport
	}{
		{EdgeReport{"a", "", 17, EdgeServing}, "flaggery-edge/a 17", EdgeReport{"a", "", 17, EdgeServing}},
		{EdgeReport{"with space", "", 0, EdgeLoading}, "flaggery-edge/with space 0?", EdgeReport{"with space", "", 0, EdgeLoading}},
		{EdgeReport{"é\n", "", 3, EdgeRefusing}, "flaggery-edge/?? 3!", EdgeReport{"??", "", 3, EdgeRefusing}},
		{EdgeReport{long, "1a2b3c4d-5e6f", 9223372036854775807, EdgeRefusing}, "flaggery-edge/" + long[:21] + "~1a2b3c 9223372036854775807!", EdgeReport{long[:21], "1a2b3c", 9223372036854775807, EdgeRefusing}},
		{EdgeReport{"", "1a2b3c4d-5e6f", 1, EdgeServing}, "flaggery-edge/~1a2b3c 1", EdgeReport{"", "1a2b3c", 1, EdgeServing}},
		{EdgeReport{"", "", 1, EdgeServing}, "flaggery-edge/ 1", EdgeReport{"", "", 1, EdgeServing}},
		{EdgeReport{"eu~node-1", "", 1, EdgeServing}, "flaggery-edge/eu~node-1 1", EdgeReport{"eu~node-1", "", 1, EdgeServing}},
	} {
		text := FormatReport(c.report)
		if text != c.text || len(text) > 63 {
			t.Errorf("%v is written as %q, want %q", c.report, text, c.text)
		}
		if parsed, ok := ParseReport(text); !ok || parsed != c.parsed {
			t.Errorf("%q is read as %v, want %v", text, parsed, c.parsed)
		}
	}
	for _, text := range []string{"", "psql", "flaggery-edge/a", "flaggery-edge/a x", "flaggery-edge/a 1!!", "other/a 1"} {
		if r, ok := ParseReport(text); ok {
			t.Errorf("%q is read as %v", text, r)
		}
	}
}

// TestListener hears bells, reports, and comes back after its connection was
// ended.
func TestListener(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	db := open(t)
	defer db.Close()
	l, err := db.NewListener("test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sounds, ended := make(chan bool, 100), make(chan struct{})
	go func() {
		defer close(ended)
		l.Listen(ctx, func(bell bool) { sounds <- bell })
	}()
	expect := func(want bool) {
		t.Helper()
		select {
		case got := <-sounds:
			if got != want {
				t.Fatalf("heard %v, want %v", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("heard nothing, want %v", want)
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
	if err != nil || len(edges) != 1 || edges[0].EdgeReport != (EdgeReport{"test", "", 0, EdgeLoading}) {
		t.Fatalf("edges are %v, %v", edges, err)
	}
	if age := time.Since(*edges[0].ConnectedSince); age < -time.Minute || age > time.Minute {
		t.Errorf("connected for %v", age)
	}
	exec(`SELECT pg_notify('` + Channel + `', '1')`)
	expect(true)

	var epoch string
	if err := db.pool.Get(&epoch, `SELECT epoch FROM state`); err != nil {
		t.Fatal(err)
	}
	l.Report(model.Position{Epoch: epoch, Revision: 41}, false)
	l.Report(model.Position{Epoch: epoch, Revision: 42}, true)
	// The report goes out on the connection that hears the next bell, at some time.
	awaitReport(t, db, EdgeReport{"test", epoch[:6], 42, EdgeRefusing})

	exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'flaggery-edge/%' AND datname = current_database()`)
	expect(false)
	awaitReport(t, db, EdgeReport{"test", epoch[:6], 42, EdgeRefusing})
	exec(`SELECT pg_notify('` + Channel + `', '1')`)
	expect(true)
	cancel()
	<-ended
}

func awaitReport(t *testing.T, db *DB, want EdgeReport) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(10 * time.Second); ; {
		edges, err := db.Edges(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(edges, func(e Edge) bool { return e.EdgeReport == want }) {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("edges report %v, want %v", edges, want)
		}
	}
}

// TestListenerEndsWhileDialling has a database that never answers.
func TestListenerEndsWhileDialling(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	db, err := New("postgres://" + silent.Addr().String() + "/nothing")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l, err := db.NewListener("test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	l.Listen(ctx, func(bool) { t.Error("heard something") })
}
