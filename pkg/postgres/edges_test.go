package postgres

import (
	"database/sql"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCompareEdges(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	// An edge is written as NAME#INSTANCE REVISION STATE, with + at the end if it polls.
	parse := func(texts []string, age time.Duration) (edges []Edge) {
		for _, text := range texts {
			e := Edge{LastSeen: now.Add(-age), State: edgeServing}
			text, e.polls = strings.CutSuffix(text, "+")
			key, rest, _ := strings.Cut(text, " ")
			e.Name, e.Instance, _ = strings.Cut(key, "#")
			if _, err := fmt.Sscan(rest, &e.Revision, &e.State); err != nil && e.Revision == 0 {
				t.Fatal(text, err)
			}
			edges = append(edges, e)
		}
		return edges
	}
	write := func(edges []Edge) (texts []string) {
		for _, e := range edges {
			texts = append(texts, fmt.Sprint(e.Key(), " ", e.Revision, " ", e.State))
		}
		slices.Sort(texts)
		return texts
	}
	type texts = []string
	for _, c := range []struct {
		name                   string
		known                  texts
		age                    time.Duration
		connected              texts
		edges, stored, dropped texts
	}{
		{name: "a new edge is stored", connected: texts{"a#1 7"}, edges: texts{"a#1 7 serving"}, stored: texts{"a#1 7 serving"}},
		{name: "a revision alone is not", known: texts{"a#1 7"}, age: refreshEdges, connected: texts{"a#1 8"}, edges: texts{"a#1 8 serving"}},
		{name: "until it is due", known: texts{"a#1 7"}, age: refreshEdges + 1, connected: texts{"a#1 8"}, edges: texts{"a#1 8 serving"}, stored: texts{"a#1 8 serving"}},
		{name: "a lost edge is away", known: texts{"a#1 7", "b#2 7"}, connected: texts{"b#2 8"}, edges: texts{"a#1 7 away", "b#2 8 serving"}},
		{name: "for ten minutes at least", known: texts{"a#1 7"}, age: awayTime + refreshEdges, edges: texts{"a#1 7 away"}},
		{name: "and then no more", known: texts{"a#1 7"}, age: awayTime + refreshEdges + 1, dropped: texts{"a#1 7 serving"}},
		{name: "one that is connected does not expire", known: texts{"a#1 7"}, age: time.Hour, connected: texts{"a#1 7"}, edges: texts{"a#1 7 serving"}, stored: texts{"a#1 7 serving"}},
		{name: "one that drains is listed, and not to be missed", known: texts{"a#1 7"}, connected: texts{"a#1 8 leaving"}, edges: texts{"a#1 8 leaving"}, dropped: texts{"a#1 7 serving"}},
		{name: "even if it was not seen before", connected: texts{"a#1 8 leaving"}, edges: texts{"a#1 8 leaving"}},
		{name: "one that has ended is forgotten", known: texts{"a#1 7"}, connected: texts{"a#1 8 gone"}, dropped: texts{"a#1 7 serving"}},
		{name: "though it is still connected", known: texts{"a#1 7"}, connected: texts{"a#1 9", "a#1 8 gone"}, dropped: texts{"a#1 7 serving"}},
		{name: "a new run of a name replaces what is away", known: texts{"a#1 7"}, connected: texts{"a#2 8"}, edges: texts{"a#2 8 serving"}, stored: texts{"a#2 8 serving"}, dropped: texts{"a#1 7 serving"}},
		{name: "and not what is connected", known: texts{"a#1 7"}, connected: texts{"a#1 7", "a#2 8"}, edges: texts{"a#1 7 serving", "a#2 8 serving"}, stored: texts{"a#2 8 serving"}},
		{name: "one that was there before replaces nothing", known: texts{"a#1 7", "a#2 7"}, connected: texts{"a#2 8"}, edges: texts{"a#1 7 away", "a#2 8 serving"}},
		{name: "a name that is shortened further is the same edge", known: texts{"a..bc#1 9"}, connected: texts{"a..c#1 10"}, edges: texts{"a..c#1 10 serving"}, stored: texts{"a..c#1 10 serving"}, dropped: texts{"a..bc#1 9 serving"}},
		{name: "of two connections the later revision counts", connected: texts{"a#1 7", "a#1 8+", "a#1 6"}, edges: texts{"a#1 8 serving"}, stored: texts{"a#1 8 serving"}},
		{name: "of one revision the one that listens", connected: texts{"a#1 7+", "a#1 7 refusing", "a#1 7+"}, edges: texts{"a#1 7 refusing"}, stored: texts{"a#1 7 refusing"}},
		{name: "edges of earlier releases count by name", known: texts{"a 6"}, connected: texts{"a 8", "a 7", "b 8"}, edges: texts{"a# 7 serving", "b# 8 serving"}, stored: texts{"b# 8 serving"}},
		{name: "and may be away", known: texts{"a 6"}, connected: texts{"b#1 8"}, edges: texts{"a# 6 away", "b#1 8 serving"}, stored: texts{"b#1 8 serving"}},
		{name: "until they are upgraded", known: texts{"a 6"}, connected: texts{"a#1 8"}, edges: texts{"a#1 8 serving"}, stored: texts{"a#1 8 serving"}, dropped: texts{"a# 6 serving"}},
	} {
		f := compare(parse(c.known, c.age), parse(c.connected, 0), now.Add(-refreshEdges), func(e *Edge) bool {
			return now.Sub(e.LastSeen) > awayTime+refreshEdges
		})
		for what, pair := range map[string][2]texts{
			"edges": {write(f.edges), c.edges}, "stored": {write(f.stored), c.stored}, "dropped": {write(f.dropped), c.dropped},
		} {
			if !slices.Equal(pair[0], pair[1]) {
				t.Errorf("%s: %s %q, want %q", c.name, what, pair[0], pair[1])
			}
		}
	}
}

// BenchmarkEdges measures the cost of listing 200 edges: if it only reads, and if it
// stores all of them, once in ten seconds.
func BenchmarkEdges(b *testing.B) {
	now := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	db := openWith(b, Options{Now: func() time.Time { return now }})
	db.feed.pool.SetMaxOpenConns(0)
	for i := range 200 {
		conn, err := db.feed.pool.Connx(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		r := report{name: "flaggery-edge-7d9f8b6c5d-x2k4p", instance: newInstance(), version: "v1.2.0", format: 1, revision: int64(i), state: edgeServing}
		if _, err := conn.ExecContext(b.Context(), `SELECT set_config('application_name', $1, false)`, r.String()); err != nil {
			b.Fatal(err)
		}
	}
	for _, look := range []struct {
		what  string
		after time.Duration
	}{{"read", 0}, {"store", refreshEdges + 1}} {
		b.Run(look.what, func(b *testing.B) {
			for b.Loop() {
				now = now.Add(look.after)
				if edges, err := db.Edges(b.Context()); err != nil || len(edges) != 200 {
					b.Fatal(len(edges), err)
				}
			}
		})
	}
}

// Every role can name its connection like an edge. One that cannot read subjects is none.
func TestEdgesCanReadSubjects(t *testing.T) {
	t.Parallel()
	db := open(t)
	role := fmt.Sprintf("reader_%d", time.Now().UnixNano())
	connect := func(address string) *sql.DB {
		conn, err := sql.Open("postgres", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	owner := connect(db.url)
	run := func(statements ...string) {
		t.Helper()
		for _, s := range statements {
			if _, err := owner.Exec(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(`CREATE ROLE `+role+` LOGIN PASSWORD 'secret'`, `GRANT USAGE ON SCHEMA public TO `+role)
	address, err := url.Parse(db.url)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(role, "secret")
	query := address.Query()
	query.Set("application_name", report{name: "pretender", instance: "k7q2mx", version: "v1.0.0", format: readFormat}.String())
	address.RawQuery = query.Encode()
	pretender := connect(address.String())
	if err := pretender.Ping(); err != nil {
		t.Fatal(err)
	}
	for _, listed := range []int{0, 1} {
		edges, err := db.Edges(t.Context())
		if err != nil || len(edges) != listed {
			t.Errorf("edges %+v, %v; want %d", edges, err, listed)
		}
		run(`GRANT SELECT ON subject TO ` + role)
	}
	if err := pretender.Close(); err != nil {
		t.Fatal(err)
	}
	run(`DROP OWNED BY `+role, `DROP ROLE `+role)
}
