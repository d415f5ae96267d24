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
	// awayTime is how long an edge is listed as away after it lost its connection without
	// a drain.
	awayTime = 10 * time.Minute
	// refreshEdges limits the cost of edge_seen to one statement in that time, for any
	// number of edges and revisions.
	refreshEdges = 10 * time.Second
)

// Edge is an edge that is connected, or that lost its connection without a drain.
type Edge struct {
	Name           string
	Instance       string // distinguishes runs under one name; "" for edges of earlier releases
	Version        string
	Format         int // of the read model that it reads, 0 for edges of earlier releases
	Revision       int64
	State          string     // loading, serving, refusing, leaving or away
	ConnectedSince *time.Time // nil if it is away, or if the role of this pool may not read it
	LastSeen       time.Time  `db:"last_seen"`

	polls bool
}

// identity is the same for all reports of one edge. The name is not, as it is shortened
// further when the revision gets longer.
func (e *Edge) identity() string {
	if e.Instance == "" {
		return "/" + e.Name // no instance has a slash
	}
	return e.Instance
}

// Key is the sort key of edges. The name is not enough, as two edges may share one.
func (e *Edge) Key() string { return e.Name + "#" + e.Instance }

// Away reports whether the edge has lost its connection.
func (e *Edge) Away() bool { return e.State == edgeAway }

// staying reports whether the edge becomes away if its connection ends: it does not
// drain and has not ended.
func (e *Edge) staying() bool { return e.State != edgeLeaving && e.State != edgeGone }

// fleet is the state of all edges, as read at one moment.
type fleet struct {
	edges           []Edge // by key
	stored, dropped []Edge // to write to edge_seen, and to delete from it
}

// Edges lists, by key, the edges that are connected, and those that lost their connection
// within the last ten minutes without a drain. An edge that serves another history than
// the database's, for example after a backup was restored, counts as loading: its revision
// means nothing here.
//
// Edges also updates edge_seen, so that all admins know the same edges.
func (db *DB) Edges(ctx context.Context) ([]Edge, error) {
	f, err := db.look(ctx, db.single())
	if err == nil && len(f.stored)+len(f.dropped) > 0 {
		err = db.storeEdges(ctx)
		if pq.As(err, pqerror.LockNotAvailable) != nil {
			err = nil // another admin is writing the same
		}
	}
	return f.edges, ended(ctx, err)
}

// look reads the edges seen before the connected ones. In the reverse order, an edge that
// connects in between would be missing from the connected ones, and count as away.
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
	// Every role can report as it likes, but one that cannot read subjects is no edge's.
	err = q.selectAll(ctx, "list the edges connected", &connections, `
		SELECT coalesce(a.application_name, '') AS report, left(s.epoch::text, $2) AS epoch, a.backend_start AS since,
		       clock_timestamp() AS now, pg_postmaster_start_time() AS started
		FROM state s LEFT JOIN pg_stat_activity a ON a.datname = current_database() AND starts_with(a.application_name, $1)
			AND has_table_privilege(a.usesysid, 'subject', 'SELECT')`,
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
	// The time in which PostgreSQL was down does not count, as no edge could connect.
	return compare(known, connected, now.Add(-refreshEdges), func(e *Edge) bool {
		return now.Sub(e.LastSeen) > awayTime+refreshEdges && now.Sub(connections[0].Started) > awayTime
	}), nil
}

// compare updates the edges seen before by the connected ones. Those last seen before due
// are stored again.
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
		case isHere && e.staying(): // its name is shortened differently now
			f.stored, f.dropped = append(f.stored, e), append(f.dropped, k)
		case isHere, started[k.Name], expired(&k): // it drains or has ended, another run replaces it, or it was away too long
			f.dropped = append(f.dropped, k)
		default:
			k.State, k.LastSeen = edgeAway, k.LastSeen.UTC()
			f.edges = append(f.edges, k)
		}
	}
	slices.SortFunc(f.edges, func(a, b Edge) int { return strings.Compare(a.Key(), b.Key()) })
	return f
}

// overrules reports whether e is the valid one of two reports of one edge. An edge has
// several if the server has not noticed yet that a connection is lost, or if the edge
// polled before it listened. The higher revision is valid, as revisions never go back.
// Edges of earlier releases that share a name count as one, at the lowest revision.
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

// storeEdges reads the edges again and stores them. One admin does so at a time, and
// reads the connected edges after it has the lock. So no admin stores an edge again that
// another one has seen drain.
func (db *DB) storeEdges(ctx context.Context) error {
	return transact(ctx, db.pool, nil, func(q querier) error {
		// Not an advisory lock, which any role could take.
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
	text, err := json.Marshal(append([]Edge{}, edges...)) // an empty list instead of null
	if err != nil {
		panic(err) // texts, numbers and times always have a JSON form
	}
	return string(text)
}
