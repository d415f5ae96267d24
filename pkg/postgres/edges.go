package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

const (
	// awayTime is how long an edge counts that is not connected and did not leave.
	awayTime = 10 * time.Minute
	// refreshEdges bounds what edge_seen costs: one statement in that time, however many
	// edges and revisions there are.
	refreshEdges = 10 * time.Second
)

// Edge is an edge that is connected, or that was and did not leave.
type Edge struct {
	Name           string
	Instance       string // tells runs of one name apart, "" for edges of earlier releases
	Version        string
	Format         int // of the read model that it reads, 0 for edges of earlier releases
	Revision       int64
	State          string     // loading, serving, refusing, leaving or away
	ConnectedSince *time.Time // nil if it is away, or if the role of this pool may not see it
	LastSeen       time.Time  `db:"last_seen"`

	polls bool
}

// identity is the same for all reports of one edge. Its name alone is not: it is
// shortened further when the revision gets longer.
func (e *Edge) identity() string {
	if e.Instance == "" {
		return "/" + e.Name // no instance looks like this
	}
	return e.Instance
}

// Key is what edges are sorted by: two may have one name.
func (e *Edge) Key() string { return e.Name + "#" + e.Instance }

// Away says that the edge is not connected.
func (e *Edge) Away() bool { return e.State == edgeAway }

// staying says that the edge is to be missed once its connection ends.
func (e *Edge) staying() bool { return e.State != edgeLeaving && e.State != edgeGone }

// fleet is what one look at the edges found.
type fleet struct {
	edges           []Edge // by key
	stored, dropped []Edge // to be written to edge_seen, and to be removed from it
}

// Edges lists the edges that are connected, and those that were within the last ten
// minutes and did not leave, by key. One that serves another history than the database's,
// as after a restored backup, is loading: its revision means nothing here.
//
// It keeps edge_seen, so that each admin knows the same edges.
func (db *DB) Edges(ctx context.Context) ([]Edge, error) {
	f, err := db.look(ctx, db.single())
	if err == nil && len(f.stored)+len(f.dropped) > 0 {
		err = db.storeEdges(ctx)
		if pq.As(err, pqerror.LockNotAvailable) != nil {
			err = nil // another admin is about to write the same
		}
	}
	return f.edges, ended(ctx, err)
}

// look reads what admins have seen before it reads who is connected: an edge that
// connects in between is in both.
func (db *DB) look(ctx context.Context, q querier) (f fleet, err error) {
	var known []Edge
	err = q.selectAll(ctx, "list the edges seen", &known, `SELECT name, instance, version, format, revision, last_seen FROM edge_seen`)
	if err != nil {
		return f, err
	}
	var connections []struct {
		Report, Epoch string
		Since         *time.Time
		Now, Started  time.Time
	}
	err = q.selectAll(ctx, "list the edges connected", &connections, `
		SELECT coalesce(a.application_name, '') AS report, left(s.epoch::text, $2) AS epoch, a.backend_start AS since,
		       clock_timestamp() AS now, pg_postmaster_start_time() AS started
		FROM state s LEFT JOIN pg_stat_activity a ON a.datname = current_database() AND starts_with(a.application_name, $1)`,
		reportPrefix, epochLength)
	if err != nil {
		return f, err
	}
	now := connections[0].Now
	if db.now != nil {
		now = db.now()
	}
	var connected []Edge
	for _, c := range connections {
		r, ok := parseReport(c.Report)
		if !ok {
			continue
		}
		if r.epoch != "" && r.epoch != c.Epoch {
			r.revision = 0
			if r.state == edgeServing || r.state == edgeRefusing {
				r.state = edgeLoading
			}
		}
		if c.Since != nil {
			*c.Since = c.Since.UTC()
		}
		connected = append(connected, Edge{
			Name: r.name, Instance: r.instance, Version: r.version, Format: r.format, Revision: r.revision, State: r.state,
			ConnectedSince: c.Since, LastSeen: now.UTC().Truncate(time.Microsecond), polls: r.polls,
		})
	}
	// No edge could connect while PostgreSQL was down: that time does not count.
	return compare(known, connected, now.Add(-refreshEdges), func(e *Edge) bool {
		return now.Sub(e.LastSeen) > awayTime+refreshEdges && now.Sub(connections[0].Started) > awayTime
	}), nil
}

// compare finds what became of the edges seen before. Those last seen before due are
// stored again.
func compare(known, connected []Edge, due time.Time, expired func(*Edge) bool) (f fleet) {
	here := map[string]Edge{}
	for _, e := range connected {
		if other, ok := here[e.identity()]; !ok || e.overrules(&other) {
			here[e.identity()] = e
		}
	}
	seen, started := map[string]bool{}, map[string]bool{}
	for _, k := range known {
		seen[k.identity()] = true
	}
	for identity, e := range here {
		if e.State != edgeGone {
			f.edges = append(f.edges, e)
		}
		if e.staying() && !seen[identity] {
			started[e.Name] = true
			f.stored = append(f.stored, e)
		}
	}
	for _, k := range known {
		e, isHere := here[k.identity()]
		switch {
		case isHere && e.staying() && e.Name == k.Name:
			if k.LastSeen.Before(due) || e.Version != k.Version || e.Format != k.Format {
				f.stored = append(f.stored, e)
			}
		case isHere && e.staying(): // under a name that is shortened in another way
			f.stored, f.dropped = append(f.stored, e), append(f.dropped, k)
		case isHere, started[k.Name], expired(&k): // it leaves, another run takes its place, or it was away for long
			f.dropped = append(f.dropped, k)
		default:
			k.State, k.LastSeen = edgeAway, k.LastSeen.UTC()
			f.edges = append(f.edges, k)
		}
	}
	slices.SortFunc(f.edges, func(a, b Edge) int { return strings.Compare(a.Key(), b.Key()) })
	return f
}

// overrules says which of two reports of one edge holds. It has several where the server
// does not know yet that a connection is lost, or where it polled before it listened:
// its revision never goes back. Edges of earlier releases that share a name are one,
// which is as far as the last of them.
func (e *Edge) overrules(other *Edge) bool {
	switch {
	case e.Instance == "":
		return e.Revision < other.Revision
	case (e.State == edgeGone) != (other.State == edgeGone):
		return e.State == edgeGone
	case e.Revision != other.Revision:
		return e.Revision > other.Revision
	}
	return other.polls && !e.polls
}

// storeEdges looks again and writes what it finds. One admin does so at a time, and sees
// who is connected after it has the lock: so none brings back an edge that another one
// saw leave.
func (db *DB) storeEdges(ctx context.Context) error {
	return transact(ctx, db.pool, nil, func(q querier) error {
		// Not an advisory lock, which anybody who connects may hold.
		err := q.exec(ctx, "lock the edges seen", `LOCK TABLE edge_seen IN SHARE UPDATE EXCLUSIVE MODE NOWAIT`)
		if err != nil {
			return err
		}
		f, err := db.look(ctx, q)
		if err != nil {
			return err
		}
		err = q.exec(ctx, "forget edges", `
			DELETE FROM edge_seen s USING json_to_recordset($1) AS e ("Name" text, "Instance" text)
			WHERE s.name = e."Name" AND s.instance = e."Instance"`, encodeEdges(f.dropped))
		if err != nil {
			return err
		}
		return q.exec(ctx, "store the edges seen", `
			INSERT INTO edge_seen (name, instance, version, format, revision, last_seen)
			SELECT * FROM json_to_recordset($1)
				AS e ("Name" text, "Instance" text, "Version" text, "Format" integer, "Revision" bigint, "LastSeen" timestamptz)
			ON CONFLICT (name, instance) DO UPDATE
			SET version = excluded.version, format = excluded.format, revision = excluded.revision, last_seen = excluded.last_seen`,
			encodeEdges(f.stored))
	})
}

func encodeEdges(edges []Edge) string {
	text, err := json.Marshal(append([]Edge{}, edges...)) // of none, an empty list
	if err != nil {
		panic(err) // texts, numbers and times
	}
	return string(text)
}
