package postgres

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// report is what an edge says of itself. It is the application name of its
// listening connection, which every role may see in pg_stat_activity: without a
// write, without a right to one, and gone with the connection.
type report struct {
	name     string
	epoch    string // the first characters of its history's id, "" while it has none
	revision int64
	state    string
}

// States of an edge.
const (
	edgeLoading  = "loading"  // serves nothing yet
	edgeServing  = "serving"  // follows
	edgeRefusing = "refusing" // keeps its revision, as the one that followed cannot be right
)

const (
	reportPrefix = "flaggery-edge/"
	// maxReport is what PostgreSQL keeps of an application name.
	maxReport = 63
	// epochMark separates an epoch from the name before it.
	epochMark   = "~"
	epochLength = 6
)

var epochSuffix = regexp.MustCompile(`^` + epochMark + `[0-9a-f]*$`)

var stateMarks = map[string]string{edgeLoading: "?", edgeServing: "", edgeRefusing: "!"}

// String is "flaggery-edge/NAME~EPOCH REVISION", with a mark behind it if the edge
// does not follow. A long name is cut, the rest never. PostgreSQL takes printable
// ASCII only.
func (r report) String() string {
	end := " " + strconv.FormatInt(r.revision, 10) + stateMarks[r.state]
	if r.epoch != "" {
		end = epochMark + r.epoch[:min(len(r.epoch), epochLength)] + end
	}
	name := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, r.name)
	return reportPrefix + name[:min(len(name), maxReport-len(reportPrefix)-len(end))] + end
}

// parseReport reads what String wrote. The boolean is false if the application name
// is no report.
func parseReport(applicationName string) (report, bool) {
	text, ok := strings.CutPrefix(applicationName, reportPrefix)
	space := strings.LastIndexByte(text, ' ')
	if !ok || space < 0 {
		return report{}, false
	}
	r := report{name: text[:space], state: edgeServing}
	number := text[space+1:]
	for state, mark := range stateMarks {
		if rest, marked := strings.CutSuffix(number, mark); marked && mark != "" {
			number, r.state = rest, state
		}
	}
	// The edges of earlier versions report no epoch.
	if at := len(r.name) - epochLength - len(epochMark); at >= 0 && epochSuffix.MatchString(r.name[at:]) {
		r.name, r.epoch = r.name[:at], r.name[at+len(epochMark):]
	}
	var err error
	r.revision, err = strconv.ParseInt(number, 10, 64)
	return r, err == nil
}

// Edge is a connected edge.
type Edge struct {
	Name           string
	Revision       int64
	State          string     // loading, serving or refusing
	ConnectedSince *time.Time // nil if the role of this pool may not see it
}

// Edges lists the connected edges by name. One that serves another history than the
// database's, as after a restored backup, is loading: its revision means nothing here.
func (db *DB) Edges(ctx context.Context) ([]Edge, error) {
	var connections []struct {
		Name, Epoch string
		Since       *time.Time
	}
	err := db.single().selectAll(ctx, "list edges", &connections, `
		SELECT application_name AS name, backend_start AS since, (SELECT left(epoch::text, $2) FROM state) AS epoch
		FROM pg_stat_activity
		WHERE datname = current_database() AND starts_with(application_name, $1)
		ORDER BY application_name COLLATE "C", pid`, reportPrefix, epochLength)
	if err != nil {
		return nil, translate(err)
	}
	edges := []Edge{}
	for _, c := range connections {
		r, ok := parseReport(c.Name)
		if !ok {
			continue
		}
		if r.epoch != "" && r.epoch != c.Epoch {
			r.revision, r.state = 0, edgeLoading
		}
		if c.Since != nil {
			*c.Since = c.Since.UTC()
		}
		edges = append(edges, Edge{Name: r.name, Revision: r.revision, State: r.state, ConnectedSince: c.Since})
	}
	return edges, nil
}
