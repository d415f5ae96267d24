package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// An edge reports by the application name of its listening connection, which
// every role may see in pg_stat_activity: without a write, without a right to
// one, and gone with the connection.

// EdgeState is how an edge fares.
type EdgeState string

// How an edge fares.
const (
	EdgeLoading  EdgeState = "loading"  // serves nothing yet
	EdgeServing  EdgeState = "serving"  // follows
	EdgeRefusing EdgeState = "refusing" // keeps its revision, as the one that followed cannot be right
)

// EdgeReport is what an edge tells of itself.
type EdgeReport struct {
	Name     string
	Epoch    string // the first characters of its history's id, "" while it has none
	Revision int64
	State    EdgeState
}

const (
	reportPrefix = "flaggery-edge/"
	// maxReport is what PostgreSQL keeps of an application name.
	maxReport = 63
	// epochMark sets an epoch off from the name before it.
	epochMark   = "~"
	epochLength = 6
)

var epochSuffix = regexp.MustCompile(`^` + epochMark + `[0-9a-f]*$`)

var stateMarks = map[EdgeState]string{EdgeLoading: "?", EdgeServing: "", EdgeRefusing: "!"}

// FormatReport puts a report into an application name: "flaggery-edge/NAME~EPOCH
// REVISION", with a mark behind it where the edge does not follow. A long name is
// cut, the rest never. PostgreSQL takes printable ASCII only.
func FormatReport(r EdgeReport) string {
	end := " " + strconv.FormatInt(r.Revision, 10) + stateMarks[r.State]
	if r.Epoch != "" {
		end = epochMark + r.Epoch[:min(len(r.Epoch), epochLength)] + end
	}
	name := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, r.Name)
	return reportPrefix + name[:min(len(name), maxReport-len(reportPrefix)-len(end))] + end
}

// ParseReport reads what FormatReport wrote. The boolean is false where the
// application name is no report.
func ParseReport(applicationName string) (EdgeReport, bool) {
	text, ok := strings.CutPrefix(applicationName, reportPrefix)
	space := strings.LastIndexByte(text, ' ')
	if !ok || space < 0 {
		return EdgeReport{}, false
	}
	r := EdgeReport{Name: text[:space], State: EdgeServing}
	number := text[space+1:]
	for state, mark := range stateMarks {
		if rest, marked := strings.CutSuffix(number, mark); marked && mark != "" {
			number, r.State = rest, state
		}
	}
	// The edges of earlier versions report no epoch.
	if at := len(r.Name) - epochLength - len(epochMark); at >= 0 && epochSuffix.MatchString(r.Name[at:]) {
		r.Name, r.Epoch = r.Name[:at], r.Name[at+len(epochMark):]
	}
	var err error
	r.Revision, err = strconv.ParseInt(number, 10, 64)
	return r, err == nil
}

// Edge is a connected edge.
type Edge struct {
	EdgeReport
	ConnectedSince *time.Time // nil where the role of this pool may not see it
}

// Edges lists the edges that are connected, by name. One that serves another
// history than the database's, as after a restored backup, is loading: its
// revision means nothing here.
func (db *DB) Edges(ctx context.Context) ([]Edge, error) {
	rows, err := db.pool.QueryContext(ctx, `
		SELECT application_name, backend_start, (SELECT left(epoch::text, $2) FROM state) FROM pg_stat_activity
		WHERE datname = current_database() AND starts_with(application_name, $1)
		ORDER BY application_name COLLATE "C", pid`, reportPrefix, epochLength)
	if err != nil {
		return nil, fmt.Errorf("list edges: %w", translate(err))
	}
	defer rows.Close()
	edges := []Edge{}
	for rows.Next() {
		var (
			name, epoch string
			since       sql.NullTime
		)
		if err := rows.Scan(&name, &since, &epoch); err != nil {
			return nil, fmt.Errorf("list edges: %w", err)
		}
		report, ok := ParseReport(name)
		if !ok {
			continue
		}
		if report.Epoch != "" && report.Epoch != epoch {
			report.Revision, report.State = 0, EdgeLoading
		}
		e := Edge{EdgeReport: report}
		if since.Valid {
			utc := since.Time.UTC()
			e.ConnectedSince = &utc
		}
		edges = append(edges, e)
	}
	return edges, rows.Err()
}
