package admin

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"
	"time"

	_ "github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// connectAs opens the database under the name that an edge reports, or another one.
func connectAs(t *testing.T, dbURL, applicationName string) *sql.DB {
	t.Helper()
	u, err := url.Parse(dbURL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("application_name", applicationName)
	u.RawQuery = query.Encode()
	db, err := sql.Open("postgres", u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	return db
}

// An admin notes which edges there are though nobody asks it, and misses one that is lost.
func TestEdgesAreWatched(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	c, db, edge := startOn(t, dbURL), connectAs(t, dbURL, "test"), connectAs(t, dbURL, "flaggery-edge/eu#aaaaaa v1.2.0/1 0")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	await := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.After(10 * time.Second); !is(); {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatal("not " + what)
			}
		}
	}
	await("noted", func() (noted bool) {
		if err := db.QueryRow(`SELECT EXISTS (SELECT FROM edge_seen WHERE name = 'eu')`).Scan(&noted); err != nil {
			t.Fatal(err)
		}
		return noted
	})
	if err := edge.Close(); err != nil {
		t.Fatal(err)
	}
	await("missed", func() bool {
		metrics := string(c.must("GET", "/metrics", nil).Body)
		return strings.Contains(metrics, "\nflaggery_admin_edges{state=\"away\"} 1\n") && strings.Contains(metrics, "\nflaggery_admin_edges{state=\"connected\"} 0\n")
	})
}
