package postgres

import (
	"regexp"
	"strconv"
	"strings"
)

// report is the state that an edge publishes. It is the application name of its
// listening connection, which every role may read in pg_stat_activity. So an edge needs
// no right to write, and the report ends with the connection.
type report struct {
	name     string
	instance string // drawn by each run of an edge; "" for edges of earlier releases
	version  string
	format   int    // of the read model that it reads, 0 for edges of earlier releases
	epoch    string // the first characters of the epoch; "" before the first load
	revision int64
	state    string
	polls    bool // of a reading connection: the edge does not listen
}

// States of an edge.
const (
	edgeLoading  = "loading"  // serves nothing yet
	edgeServing  = "serving"  // follows the database
	edgeRefusing = "refusing" // keeps its revision, as the next update is inconsistent
	edgeLeaving  = "leaving"  // drains, and follows until its last request is answered
	edgeGone     = "gone"     // has ended; see [Feed.reportGone]
	edgeAway     = "away"     // lost its connection without a drain; no edge reports it
)

// Formats of the read model. An edge would serve wrong answers from a format that it
// cannot read.
const (
	FeatureStatesFormat = 2 // with features that are off or archived
	readFormat          = FeatureStatesFormat
)

const (
	reportPrefix = "flaggery-edge/"
	// maxReport is the longest application name that PostgreSQL keeps.
	maxReport = 63
	// maxVersion leaves space for the name: v1.10.0-rc1 is cut by one character.
	maxVersion     = 10
	instanceLength = 6
	// epochMark begins an epoch.
	epochMark   = "~"
	epochLength = 6
	pollMark    = "+"
)

var (
	epochSuffix = regexp.MustCompile(`^` + epochMark + `[0-9a-f]*$`)
	// identified matches reports with an instance. Edges of earlier releases have none.
	identified = regexp.MustCompile(`^(.*)#([a-z2-7]{6}) ([^ ]*)/([0-9]{1,4})$`)
)

var stateMarks = map[string]string{edgeLoading: "?", edgeServing: "", edgeRefusing: "!", edgeLeaving: ">", edgeGone: "."}

// String returns "flaggery-edge/NAME#INSTANCE VERSION/FORMAT~EPOCH REVISION", followed
// by marks for the state and for an edge that polls. Only the name is shortened if it is
// too long. Admins of earlier releases take everything before the epoch as the name, and
// skip reports with unknown marks.
func (r report) String() string {
	end := " " + strconv.FormatInt(r.revision, 10)
	version := printable(r.version, " /~")
	identity := "#" + r.instance + " " + version[:min(len(version), maxVersion)] + "/" + strconv.Itoa(r.format)
	// Leave space for an epoch and two marks, so that the name does not change with them.
	room := maxReport - len(reportPrefix) - len(identity) - len(epochMark) - epochLength - len(end) - 2
	if r.epoch != "" {
		end = epochMark + r.epoch[:min(len(r.epoch), epochLength)] + end
	}
	end += stateMarks[r.state]
	if r.polls {
		end += pollMark
	}
	return reportPrefix + shorten(printable(r.name, ""), room) + identity + end
}

// printable replaces all characters except printable ASCII, which PostgreSQL does not
// accept in an application name, and the excluded ones.
func printable(text, excluded string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || strings.ContainsRune(excluded, c) {
			return '?'
		}
		return c
	}, text)
}

// shorten keeps both ends of a name, as the names of pods differ in the last characters.
func shorten(name string, most int) string {
	const gap = ".."
	if len(name) <= most {
		return name
	}
	if most <= len(gap) {
		return name[:max(0, most)]
	}
	head := (most - len(gap)) / 3
	return name[:head] + gap + name[len(name)-(most-len(gap)-head):]
}

// parseReport parses the result of String, of this release or an earlier one. It returns
// false if the application name is no report.
func parseReport(applicationName string) (report, bool) {
	text, ok := strings.CutPrefix(applicationName, reportPrefix)
	space := strings.LastIndexByte(text, ' ')
	if !ok || space < 0 {
		return report{}, false
	}
	r := report{name: text[:space], state: edgeServing}
	number, polls := strings.CutSuffix(text[space+1:], pollMark)
	r.polls = polls
	for state, mark := range stateMarks {
		if rest, marked := strings.CutSuffix(number, mark); marked && mark != "" {
			number, r.state = rest, state
		}
	}
	// The edges of the first version report no epoch.
	if at := len(r.name) - epochLength - len(epochMark); at >= 0 && epochSuffix.MatchString(r.name[at:]) {
		r.name, r.epoch = r.name[:at], r.name[at+len(epochMark):]
	}
	if m := identified.FindStringSubmatch(r.name); m != nil {
		r.name, r.instance, r.version = m[1], m[2], m[3]
		r.format, _ = strconv.Atoi(m[4]) // four digits
	}
	var err error
	r.revision, err = strconv.ParseInt(number, 10, 64)
	return r, err == nil && r.revision >= 0
}
