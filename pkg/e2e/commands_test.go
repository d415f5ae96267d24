package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/flaggery"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

// Every script has a database of its own, with one admin and one edge on it.
// Besides testscript's commands (cmp, stdout, env, exec…) there are:
//
//	admin METHOD PATH [BODY] [-H HEADER]… [-T TOKEN]
//	edge [@NAME] METHOD PATH [BODY] [-H HEADER]…
//		Send a request; the answer's body goes to stdout. BODY is JSON or @FILE,
//		whose ending decides on the media type. Fails unless the status is 2xx or
//		3xx; with ! in front, unless it is 4xx or 5xx.
//	status CODE
//		The last answer has this status.
//	problem CODE NAME [TEXT]
//		The last answer is a problem with this status and code, and TEXT is in its
//		detail or its errors.
//	json PATH VALUE
//		PATH of the last answer (.items[0].name; .items.length is the number) is
//		VALUE. With ! in front and no VALUE: there is no such field.
//	near PATH VALUE TOLERANCE
//		The number at PATH is as near as that.
//	header NAME REGEXP
//		A header of the last answer matches. With !: it does not.
//	let VARIABLE PATH, or: let VARIABLE header NAME
//		Keep a part of the last answer: $VARIABLE.
//	moment VARIABLE OFFSET
//		$VARIABLE is the time so much from now, as RFC 3339.
//	after VARIABLE
//		The time of $VARIABLE has come.
//	start-edge NAME [UNKNOWN]
//		One more edge, for 'edge @NAME'.
//	await-revision
//		Wait until every edge serves the revision of the admin's last answer.
//	await-flags ID FLAGS
//		Wait until the edge answers so: FLAGS is JSON.
//	await-refusal TOKEN
//		Wait until the admin rejects the token.
//	repeat COUNT TEXT FILE
//		Write TEXT so often, %d being the number of the time and %w 1 to 10 in turn.
//	share FEATURE VARIANT WANT TOLERANCE
//		The subjects that get VARIANT have about this share of all weight.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"admin":          cmdAdmin,
	"edge":           cmdEdge,
	"status":         cmdStatus,
	"problem":        cmdProblem,
	"json":           cmdJSON,
	"near":           cmdNear,
	"header":         cmdHeader,
	"let":            cmdLet,
	"moment":         cmdMoment,
	"after":          cmdAfter,
	"start-edge":     cmdStartEdge,
	"await-revision": cmdAwaitRevision,
	"await-flags":    cmdAwaitFlags,
	"await-refusal":  cmdAwaitRefusal,
	"repeat":         cmdRepeat,
	"share":          cmdShare,
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		Cmds:               commands,
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			t := env.T().(testing.TB)
			s := &session{Fixture: newFixture(t), edges: map[string]string{}}
			env.Values[sessionKey{}] = s
			var err error
			if s.admin, err = s.StartAdmin(); err != nil {
				return err
			}
			s.edges[""], err = s.StartEdge("edge", "reject")
			return err
		},
	})
}

// newFixture is a fixture that ends with the test.
func newFixture(t testing.TB) *Fixture {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	w := NewFixture(pgtest.Open(t), log)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// session is the state of a script.
type session struct {
	*Fixture
	admin    string
	edges    map[string]string // base URL by name, "" for the first
	revision string            // of the admin's last answer
	last     struct {
		status int
		header http.Header
		body   []byte
	}
}

type sessionKey struct{}

func sessionOf(ts *testscript.TestScript) *session { return ts.Value(sessionKey{}).(*session) }

func cmdAdmin(ts *testscript.TestScript, neg bool, args []string) {
	s := sessionOf(ts)
	s.request(ts, neg, s.admin, args, Token)
	if revision := s.last.header.Get(api.HeaderRevision); revision != "" {
		s.revision = revision
	}
}

func cmdEdge(ts *testscript.TestScript, neg bool, args []string) {
	s, name := sessionOf(ts), ""
	if len(args) > 0 && strings.HasPrefix(args[0], "@") {
		name, args = args[0][1:], args[1:]
	}
	url, ok := s.edges[name]
	if !ok {
		ts.Fatalf("there is no edge %q", name)
	}
	s.request(ts, neg, url, args, "")
}

func (s *session) request(ts *testscript.TestScript, neg bool, base string, args []string, token string) {
	s.send(ts, base, args, token)
	fmt.Fprintf(ts.Stdout(), "%s", s.last.body)
	if failed := s.last.status >= 400; failed != neg {
		ts.Fatalf("status %d", s.last.status)
	}
}

func (s *session) send(ts *testscript.TestScript, base string, args []string, token string) {
	if len(args) < 2 {
		ts.Fatalf("usage: METHOD PATH [BODY] [-H HEADER]…")
	}
	method, path, args := args[0], args[1], args[2:]
	header, body := http.Header{}, []byte(nil)
	if len(args)%2 == 1 {
		header.Set("Content-Type", api.MediaJSON)
		body = []byte(args[0])
		if file, ok := strings.CutPrefix(args[0], "@"); ok {
			body = []byte(ts.ReadFile(file))
			switch file[strings.LastIndexByte(file, '.'):] {
			case ".ndjson":
				header.Set("Content-Type", api.MediaNDJSON)
			case ".csv":
				header.Set("Content-Type", api.MediaCSV)
			}
		}
		args = args[1:]
	}
	for ; len(args) > 0; args = args[2:] {
		switch args[0] {
		case "-H":
			name, value, _ := strings.Cut(args[1], ":")
			header.Set(name, strings.TrimSpace(value))
		case "-T":
			token = args[1]
		default:
			ts.Fatalf("unknown option %s", args[0])
		}
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	r, err := http.NewRequestWithContext(s.ctx, method, base+path, bytes.NewReader(body))
	ts.Check(err)
	r.Header = header
	response, err := http.DefaultTransport.RoundTrip(r)
	ts.Check(err)
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	ts.Check(err)
	s.last.status, s.last.header, s.last.body = response.StatusCode, response.Header, body
}

func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	s := sessionOf(ts)
	if len(args) != 1 || neg {
		ts.Fatalf("usage: status CODE")
	}
	if got := strconv.Itoa(s.last.status); got != args[0] {
		ts.Fatalf("status %s", got)
	}
}

func cmdProblem(ts *testscript.TestScript, neg bool, args []string) {
	s := sessionOf(ts)
	if len(args) < 2 || len(args) > 3 || neg {
		ts.Fatalf("usage: problem CODE NAME [TEXT]")
	}
	var p api.Problem
	if got := s.last.header.Get("Content-Type"); got != api.MediaProblem {
		ts.Fatalf("media type %q", got)
	}
	ts.Check(json.Unmarshal(s.last.body, &p))
	if strconv.Itoa(s.last.status) != args[0] || p.Status != s.last.status || string(p.Code) != args[1] {
		ts.Fatalf("problem %d %s", s.last.status, p.Code)
	}
	if len(args) == 3 && !strings.Contains(p.Error(), args[2]) {
		ts.Fatalf("it says: %s", p.Error())
	}
	// No problem shows internals.
	if internal := regexp.MustCompile(`(?i)pq:|sql|constraint|goroutine|\.go:|panic`).Find(s.last.body); internal != nil {
		ts.Fatalf("the problem shows %q", internal)
	}
}

// lookup follows a path such as .items[0].name or .items.length.
func lookup(body []byte, path string) (any, bool, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, false, err
	}
	path = strings.ReplaceAll(strings.ReplaceAll(path, "[", "."), "]", "")
	for key := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' }) {
		switch v := value.(type) {
		case map[string]any:
			field, ok := v[key]
			if !ok {
				return nil, false, nil
			}
			value = field
		case []any:
			if key == "length" {
				value = json.Number(strconv.Itoa(len(v)))
				continue
			}
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false, err
			}
			value = v[i]
		default:
			return nil, false, nil
		}
	}
	return value, true, nil
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	s := sessionOf(ts)
	if neg && len(args) != 1 || !neg && len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE, or: ! json PATH")
	}
	got, ok, err := lookup(s.last.body, args[0])
	ts.Check(err)
	if neg {
		if ok {
			ts.Fatalf("%s is %v", args[0], got)
		}
		return
	}
	if !ok {
		ts.Fatalf("there is no %s", args[0])
	}
	if text, isText := got.(string); isText {
		if text != args[1] {
			ts.Fatalf("%s is %q", args[0], text)
		}
		return
	}
	want, _, err := lookup([]byte(args[1]), "")
	ts.Check(err)
	if diff := cmp.Diff(want, got); diff != "" {
		ts.Fatalf("%s (-want +got):\n%s", args[0], diff)
	}
}

func cmdNear(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: near PATH VALUE TOLERANCE")
	}
	got, _, err := lookup(sessionOf(ts).last.body, args[0])
	ts.Check(err)
	near(ts, fmt.Sprint(got), args[1], args[2])
}

func near(ts *testscript.TestScript, got, want, tolerance string) {
	var numbers [3]float64
	for i, text := range []string{got, want, tolerance} {
		n, err := strconv.ParseFloat(text, 64)
		ts.Check(err)
		numbers[i] = n
	}
	if !(math.Abs(numbers[0]-numbers[1]) <= numbers[2]) {
		ts.Fatalf("%s is not within %s of %s", got, tolerance, want)
	}
}

func cmdHeader(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: header NAME REGEXP")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	if got := sessionOf(ts).last.header.Get(args[0]); pattern.MatchString(got) == neg {
		ts.Fatalf("%s: %s", args[0], got)
	}
}

func cmdLet(ts *testscript.TestScript, neg bool, args []string) {
	s := sessionOf(ts)
	switch {
	case len(args) == 3 && args[1] == "header" && !neg:
		ts.Setenv(args[0], s.last.header.Get(args[2]))
	case len(args) == 2 && !neg:
		value, ok, err := lookup(s.last.body, args[1])
		ts.Check(err)
		if !ok {
			ts.Fatalf("there is no %s", args[1])
		}
		ts.Setenv(args[0], fmt.Sprint(value))
	default:
		ts.Fatalf("usage: let VARIABLE PATH, or: let VARIABLE header NAME")
	}
}

func cmdMoment(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: moment VARIABLE OFFSET")
	}
	offset, err := time.ParseDuration(args[1])
	ts.Check(err)
	ts.Setenv(args[0], time.Now().Add(offset).UTC().Format(time.RFC3339Nano))
}

func cmdAfter(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: after VARIABLE")
	}
	moment, err := time.Parse(time.RFC3339Nano, ts.Getenv(args[0]))
	ts.Check(err)
	if early := time.Until(moment); early > 0 {
		ts.Fatalf("it is %v before $%s", early, args[0])
	}
}

func cmdStartEdge(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 || neg {
		ts.Fatalf("usage: start-edge NAME [UNKNOWN]")
	}
	s := sessionOf(ts)
	url, err := s.StartEdge(args[0], append(args, "reject")[1])
	ts.Check(err)
	s.edges[args[0]] = url
}

func cmdAwaitRevision(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 0 || neg {
		ts.Fatalf("usage: await-revision")
	}
	s := sessionOf(ts)
	for _, url := range s.edges {
		response, err := http.Get(url + "/v1/subject/flags?subject_id=anybody&wait=20s&min_revision=" + s.revision)
		ts.Check(err)
		body, err := io.ReadAll(response.Body)
		ts.Check(err)
		response.Body.Close()
		if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusNotFound {
			ts.Fatalf("%s: %s", response.Status, body)
		}
	}
}

func cmdAwaitFlags(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: await-flags ID FLAGS")
	}
	s := sessionOf(ts)
	timeout := time.After(time.Minute)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		response, err := http.Get(s.edges[""] + "/v1/subject/flags?subject_id=" + args[0])
		ts.Check(err)
		body, err := io.ReadAll(response.Body)
		ts.Check(err)
		response.Body.Close()
		if strings.TrimSpace(string(body)) == `{"flags":`+args[1]+`}` {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			ts.Fatalf("the edge answers %s", body)
		}
	}
}

func cmdAwaitRefusal(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: await-refusal TOKEN")
	}
	s := sessionOf(ts)
	timeout := time.After(time.Minute)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		s.send(ts, s.admin, []string{http.MethodGet, "/v1/features"}, args[0])
		if s.last.status == http.StatusUnauthorized {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			ts.Fatalf("the admin answers %d %s", s.last.status, s.last.body)
		}
	}
}

func cmdRepeat(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: repeat COUNT TEXT FILE")
	}
	count, err := strconv.Atoi(args[0])
	ts.Check(err)
	var out bytes.Buffer
	text := strings.ReplaceAll(args[1], `\n`, "\n")
	for i := range count {
		line := strings.ReplaceAll(text, "%d", strconv.Itoa(i+1))
		out.WriteString(strings.ReplaceAll(line, "%w", strconv.Itoa(i%10+1)))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), out.Bytes(), 0o600))
}

func cmdShare(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 || neg {
		ts.Fatalf("usage: share FEATURE VARIANT WANT TOLERANCE")
	}
	s := sessionOf(ts)
	admin, err := flaggery.NewAdmin(s.admin, Token)
	ts.Check(err)
	edge, err := flaggery.NewEdge(s.edges[""])
	ts.Check(err)
	weights, total, got := map[string]int64{}, int64(0), int64(0)
	var ids []string
	for subject, err := range admin.Subjects(s.ctx, "") {
		ts.Check(err)
		ids = append(ids, subject.ID)
		weights[subject.ID] = subject.Weight
		total += subject.Weight
	}
	for some := range slices.Chunk(ids, 10_000) {
		flags, _, err := edge.BatchFlags(s.ctx, some)
		ts.Check(err)
		for id, f := range flags {
			if f.Variant(args[0]) == args[1] {
				got += weights[id]
			}
		}
	}
	near(ts, fmt.Sprint(float64(got)/float64(total)), args[2], args[3])
}
