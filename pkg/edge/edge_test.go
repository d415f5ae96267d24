package edge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/writer"
)

// edge is an edge that runs for a test.
type edge struct {
	t    testing.TB
	base string
	stop func() // begins the drain; the test's cleanup waits for its end
}

func start(t testing.TB, dbURL string, change func(*Config)) edge {
	t.Helper()
	listening := make(chan net.Addr, 1)
	config := Config{
		DBURL: command.DatabaseURL(dbURL), Host: "127.0.0.1", Name: "test", Unknown: "reject", Prometheus: true,
		Poll: time.Second, Shortcut: true, Version: "test", Logger: slog.New(slog.DiscardHandler),
		Ready: func(a net.Addr) { listening <- a },
	}
	if change != nil {
		change(&config)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, config) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the edge ended with %v", err)
		}
	})
	select {
	case a := <-listening:
		return edge{t, "http://" + a.String(), cancel}
	case err := <-ended:
		ended <- nil
		t.Fatalf("the edge ended with %v", err)
	}
	panic("unreachable")
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (e edge) do(method, path, body string, header ...string) answer {
	e.t.Helper()
	request, err := http.NewRequest(method, e.base+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	if body == "" {
		request.Body, request.ContentLength = http.NoBody, 0
	} else {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// at waits until the edge serves a revision.
func (e edge) at(revision int64) edge {
	e.t.Helper()
	e.ready()
	a := e.do("GET", fmt.Sprintf("/v1/subject/flags?subject_id=nobody&wait=20s&min_revision=%d", revision), "")
	if a.status != http.StatusNotFound {
		e.t.Fatalf("waiting for revision %d: %d %s", revision, a.status, a.body)
	}
	return e
}

func openWriter(t testing.TB, dbURL string) *writer.Writer {
	t.Helper()
	w, err := writer.Open(t.Context(), dbURL, writer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// must returns the result of a write and its revision, and fails the test on an error.
func must[T any](t testing.TB, result writer.Result[T], err error) (T, int64) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return result.Value, result.Revision
}

// quickstart makes two features for the subjects 42 and "a b/ü%": foobar with
// default A, and empty, which resolves to nothing; 42 gets B by its group.
func quickstart(t testing.TB, w *writer.Writer) (revision int64) {
	t.Helper()
	ctx := t.Context()
	write := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(w.IncreaseBuckets(ctx, 10))
	write(w.AddFeature(ctx, api.CreateFeature{Name: "foobar"}))
	write(w.AddFeature(ctx, api.CreateFeature{Name: "empty"}))
	write(w.AddFeature(ctx, api.CreateFeature{Name: "off"}))
	write(w.AddVariant(ctx, "foobar", api.CreateVariant{Name: "A", MakeDefault: true}))
	write(w.AddVariant(ctx, "foobar", api.CreateVariant{Name: "B"}))
	write(w.AddDisablingVariant(ctx, "off", api.CreateDisablingVariant{MakeDefault: true}))
	write(w.AddSubject(ctx, api.CreateSubject{ID: "42"}))
	write(w.AddSubject(ctx, api.CreateSubject{ID: "a b/ü%"}))
	write(w.AddGroup(ctx, api.CreateGroup{Name: "friends"}))
	write(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	r, err := w.AddSubjectToGroup(ctx, "friends", "42")
	write(r, err)
	return r.Revision
}

// TestContract queries an edge with the shortcut, one without it, and both in a form
// that only a route takes. All answers must be the same.
func TestContract(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	revision := quickstart(t, openWriter(t, dbURL))
	short := start(t, dbURL, nil).at(revision)
	long := start(t, dbURL, func(c *Config) { c.Shortcut = false }).at(revision)
	const b, a = `{"flags":{"foobar":"B","off":"__DISABLE__"}}`, `{"flags":{"foobar":"A","off":"__DISABLE__"}}`
	etag := short.do("GET", "/v1/subject/flags?subject_id=42", "").header.Get("ETag")
	if len(etag) < 10 || etag[0] != '"' {
		t.Fatalf("the ETag is %s", etag)
	}
	for _, c := range []struct {
		path, ifNoneMatch string
		status            int
		body              string // or the code of the problem
	}{
		{"/v1/subject/flags?subject_id=42", "", 200, b},
		{"/v1/subject/flags?subject_id=%34%32", "", 200, b},
		{"/v1/subject/flags?subject_id=a+b%2F%C3%BC%25", "", 200, a},
		{"/v1/subject/flags?subject_id=42", `"other"`, 200, b},
		{"/v1/subject/flags?subject_id=42", etag, 304, ""},
		{"/v1/subject/flags?subject_id=42", `"x", W/` + etag, 304, ""},
		{"/v1/subject/flags?subject_id=42", `*`, 304, ""},
		{"/v1/subject/flags?subject_id=9", "", 404, "subject_not_found"},
		{"/v1/subject/flags?subject_id=9", etag, 404, "subject_not_found"},
		{"/v1/subject/flags?subject_id=", "", 422, "validation_failed"},
		{"/v1/subject/flags?subject_id=" + strings.Repeat("x", 257), "", 422, "validation_failed"},
		{"/v1/subject/flags?subject_id=%00", "", 422, "validation_failed"},
		{"/v1/subject/flags?subject_id=%zz", "", 422, "validation_failed"},
		{"/v1/subject/flags?other=1", "", 422, "validation_failed"},
		{"/v1/subject/flags", "", 422, "validation_failed"},
	} {
		answers := map[string]answer{}
		for name, e := range map[string]edge{"shortcut": short, "net/http": long} {
			header := []string{"If-None-Match", c.ifNoneMatch}
			if c.ifNoneMatch == "" {
				header = nil
			}
			answers[name] = e.do("GET", c.path, "", header...)
			answers[name+", general"] = e.do("GET", c.path+"&wait=1s", "", header...)
		}
		for name, got := range answers {
			if strings.Contains(name, "general") && !strings.Contains(c.path, "?") {
				continue
			}
			if got.status != c.status || c.status < 400 && got.body != c.body || c.status >= 400 && got.code(t) != c.body {
				t.Errorf("%s of %s with %q: %d %s; want %d %s", name, c.path, c.ifNoneMatch, got.status, got.body, c.status, c.body)
			}
			first := answers["shortcut"]
			for _, field := range []string{"Content-Type", "ETag", "Flaggery-Revision", "Content-Length"} {
				if c.status < 400 && got.header.Get(field) != first.header.Get(field) {
					t.Errorf("%s of %s: %s is %q, want %q", name, c.path, field, got.header.Get(field), first.header.Get(field))
				}
			}
			if got.header.Get("Flaggery-Revision") != fmt.Sprint(revision) {
				t.Errorf("%s of %s: the revision is %q, want %d", name, c.path, got.header.Get("Flaggery-Revision"), revision)
			}
		}
	}
	for _, e := range []edge{short, long} {
		e.expect("GET", "/v1/subjects/42/flags", "", 200, b)
		e.expect("GET", "/v1/subjects/a%20b%2F%C3%BC%25/flags", "", 200, a)
		e.expect("GET", "/v1/subjects/9/flags", "", 404, "subject_not_found")
		e.expect("GET", "/v1/subjects/42/flags?features=off,foobar,nothing", "", 200, b)
		e.expect("GET", "/v1/subject/flags?subject_id=42&features=off", "", 200, `{"flags":{"off":"__DISABLE__"}}`)
		e.expect("GET", "/v1/subject/flags?subject_id=42&features=nothing", "", 200, `{"flags":{}}`)
		e.expect("GET", "/v1/subject/flags?subject_id=42&features=,", "", 422, "validation_failed")
		e.expect("GET", "/v1/subject/flags?subject_id=42&wait=1h", "", 422, "validation_failed")
		e.expect("GET", "/v1/subject/flags?subject_id=42&min_revision=-1", "", 422, "validation_failed")
		e.expect("GET", fmt.Sprintf("/v1/subject/flags?subject_id=42&min_revision=%d", revision), "", 200, b)
		e.expect("GET", fmt.Sprintf("/v1/subject/flags?subject_id=42&wait=10ms&min_revision=%d", revision+1), "", 503, "not_ready")
		e.expect("POST", "/v1/subjects/flags", `{"subject_ids": ["42", "9", "a b/ü%", "42", "\"'"]}`, 200,
			`{"flags":{"42":`+b[9:len(b)-1]+`,"a b/ü%":`+a[9:len(a)-1]+`},"unknown":["9","\"'"]}`)
		e.expect("POST", "/v1/subjects/flags", `{"subject_ids": ["9"]}`, 200, `{"flags":{},"unknown":["9"]}`)
		e.expect("POST", "/v1/subjects/flags", `{"subject_ids": ["42"]}`, 200, `{"flags":{"42":`+b[9:len(b)-1]+`},"unknown":[]}`)
		e.expect("POST", "/v1/subjects/flags", `{"subject_ids": []}`, 422, "validation_failed")
		e.expect("POST", "/v1/subjects/flags", `{"subject_ids": [""]}`, 422, "validation_failed")
		e.expect("POST", "/v1/subjects/flags", `{"subject_ids": [42]}`, 422, "validation_failed")
		e.expect("POST", "/v1/subjects/flags", `{"subjects": ["42"]}`, 422, "validation_failed")
		e.expect("POST", "/v1/subjects/flags", `{"subject_ids": ["42"]`, 400, "validation_failed")
		e.expect("POST", "/v1/subjects/flags", `{"subject_ids": ["`+strings.Repeat(`x","`, 10_000)+`"]}`, 422, "validation_failed")
		for _, request := range []string{
			"GET /v1/subjects", "POST /v1/subjects", "GET /v1/subjects/42", "PUT /v1/subjects/42", "DELETE /v1/subjects/42",
			"PUT /v1/subjects/flags", "PATCH /v1/features/foobar", "GET /v1/features", "GET /v1/subjects/fl%61gs",
		} {
			method, path, _ := strings.Cut(request, " ")
			e.expect(method, path, "", 423, "read_only")
		}
		if got := e.do("HEAD", "/v1/features", ""); got.status != 423 || got.body != "" {
			t.Errorf("HEAD of what the admin has: %d %s", got.status, got.body)
		}
		for request, status := range map[string]int{
			"POST /v1/subject/flags": 405, "PUT /v1/features": 405, "GET /v1/": 404, "GET /v1/nope": 404, "GET /nope": 404, "POST /healthz": 405,
		} {
			method, path, _ := strings.Cut(request, " ")
			e.expect(method, path, "", status, map[int]string{404: "not_found", 405: "method_not_allowed"}[status])
		}
		e.expect("GET", "/v1/subject/fl%61gs?subject_id=42", "", 200, b)
		e.expect("HEAD", "/v1/subject/flags?subject_id=42", "", 200, "")
		e.expect("HEAD", "/readyz", "", 200, "")
		e.expect("GET", "/v1/subject/flags?subject_id=42&features=off&features=nothing", "", 200, `{"flags":{"off":"__DISABLE__"}}`)
		for _, query := range []string{"subject_id=42&subject_id=42", "subject_id=42&features=", "subject_id=42&wait=", "subject_id=42&min_revision=1&min_revision=1"} {
			e.expect("GET", "/v1/subject/flags?"+query, "", 422, "validation_failed")
		}
		e.expect("GET", "/healthz", "", 200, "ok\n")
		e.expect("GET", "/readyz", "", 200, "ok\n")
		if got := e.do("GET", "/docs", ""); got.status != 200 {
			t.Errorf("the documentation answers %d", got.status)
		}
	}
	if a := short.do("GET", "/v1/subject/flags?subject_id=42&wait=0s&min_revision=9999", ""); a.header.Get("Retry-After") == "" {
		t.Error("an answer that is not ready has no Retry-After")
	}
}

func (a answer) code(t testing.TB) string {
	t.Helper()
	var problem api.Problem
	if err := json.Unmarshal([]byte(a.body), &problem); err != nil {
		t.Errorf("%d %q is no problem: %v", a.status, a.body, err)
	}
	return string(problem.Code)
}

func (e edge) expect(method, path, body string, status int, want string) {
	e.t.Helper()
	got := e.do(method, path, body)
	if got.status != status || status < 400 && got.body != want || status >= 400 && got.code(e.t) != want {
		e.t.Errorf("%s %.100s: %d %s; want %d %s", method, path, got.status, got.body, status, want)
	}
	if got.header.Get("Flaggery-Revision") == "" {
		e.t.Errorf("%s %.100s: no revision", method, path)
	}
}

func TestUnknownSubjects(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	w := openWriter(t, dbURL)
	quickstart(t, w)
	if _, err := w.AddRollout(t.Context(), "foobar", "B"); err != nil {
		t.Fatal(err)
	}
	r, err := w.SetRolloutProportion(t.Context(), "foobar", 1)
	_, revision := must(t, r, err)
	for unknown, want := range map[string]string{
		"defaults": `{"flags":{"foobar":"A","off":"__DISABLE__"}}`,
		"hash":     `{"flags":{"foobar":"B","off":"__DISABLE__"}}`,
	} {
		e := start(t, dbURL, func(c *Config) { c.Unknown = unknown })
		e.ready()
		e.expect("GET", fmt.Sprintf("/v1/subject/flags?subject_id=visitor&wait=9s&min_revision=%d", revision), "", 200, want)
		e.expect("GET", "/v1/subject/flags?subject_id=visitor", "", 200, want)
		e.expect("GET", "/v1/subject/flags?subject_id="+strings.Repeat("x", 257), "", 422, "validation_failed")
		e.expect("POST", "/v1/subjects/flags", `{"subject_ids": ["visitor"]}`, 200, `{"flags":{"visitor":`+want[9:len(want)-1]+`},"unknown":[]}`)
	}
}

// ready waits for the first load.
func (e edge) ready() {
	e.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(time.Minute); e.do("GET", "/readyz", "").status != 200; {
		select {
		case <-ticker.C:
		case <-deadline:
			e.t.Fatal("the edge is not ready")
		}
	}
}

// TestFollowsWrites makes random changes. After each it compares, for every subject,
// the answers of two edges with the writer's.
func TestFollowsWrites(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	w := openWriter(t, dbURL)
	quickstart(t, w)
	edges := []edge{start(t, dbURL, nil), start(t, dbURL, func(c *Config) { c.Shortcut, c.Name = false, "another" })}
	for _, e := range edges {
		e.ready()
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ctx, now := t.Context(), time.Now()
	ids := []string{"42", "a b/ü%", "n0", "n1", "n2", "n3", "n4", "n5"}
	id := func() string { return ids[random.IntN(len(ids))] }
	for i := range 120 {
		var (
			revision int64
			err      error
		)
		note := func(r int64, e error) { revision, err = r, e }
		switch random.IntN(11) {
		case 0, 1:
			r, err := w.AddSubject(ctx, api.CreateSubject{ID: id()})
			note(r.Revision, err)
		case 2:
			r, err := w.DeleteSubject(ctx, id())
			note(r.Revision, err)
		case 3:
			r, err := w.AddSubjectToGroup(ctx, "friends", id())
			note(r.Revision, err)
		case 4:
			r, err := w.RemoveSubjectFromGroup(ctx, "friends", id())
			note(r.Revision, err)
		case 5:
			r, err := w.SetRolloutProportion(ctx, "foobar", random.Float64())
			note(r.Revision, err)
		case 6:
			r, err := w.AddRollout(ctx, "foobar", "B")
			note(r.Revision, err)
		case 7:
			r, err := w.IncreaseBuckets(ctx, 1)
			note(r.Revision, err)
		case 8:
			variant := []string{"A", "B"}[random.IntN(2)]
			r, err := w.AddGroupOverride(ctx, "friends", "foobar", variant)
			note(r.Revision, err)
		case 9:
			r, err := w.DeleteGroupOverride(ctx, "friends", "foobar")
			note(r.Revision, err)
		case 10:
			r, err := w.AddABTest(ctx, api.CreateABTest{Name: fmt.Sprint("t", i), Start: now.Add(-time.Hour), End: now.Add(time.Hour),
				Groups: []api.CreateTestGroup{{Name: "x", Variants: map[string]string{"foobar": "A"}}, {Name: "y", Variants: map[string]string{"foobar": "B"}}}})
			note(r.Revision, err)
			if err == nil && random.IntN(2) == 0 {
				r, err := w.StopABTest(ctx, fmt.Sprint("t", i))
				note(r.Revision, err)
			}
		}
		if model.CodeOf(err) != "" {
			continue // the current state does not allow it
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range edges {
			e.at(revision)
		}
		for _, id := range ids {
			want := `404`
			if flags, err := w.SubjectVariants(ctx, id); err == nil {
				text, _ := json.Marshal(api.Flags{Flags: flags.Value})
				want = string(text)
			} else if model.CodeOf(err) != model.SubjectNotFound {
				t.Fatal(err)
			}
			for n, e := range edges {
				a := e.do("GET", "/v1/subject/flags?subject_id="+url.QueryEscape(id), "")
				got := a.body
				if a.status == 404 {
					got = "404"
				}
				if got != want {
					t.Fatalf("after revision %d edge %d gives %q %s, want %s", revision, n, id, got, want)
				}
			}
		}
	}
	listed, err := w.Edges(ctx, writer.Page{})
	if err != nil {
		t.Fatal(err)
	}
	if names := listed.Value.Items; len(names) != 2 || names[0].Name != "another" || names[1].Name != "test" {
		t.Errorf("the edges are listed as %+v", names)
	}
}

// TestABTestBeginsOnTime queries across the start and the end of a test.
func TestABTestBeginsOnTime(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	w := openWriter(t, dbURL)
	e := start(t, dbURL, nil).at(quickstart(t, w))
	begin := time.Now().Add(700 * time.Millisecond)
	end := begin.Add(500 * time.Millisecond)
	all := map[string]string{"foobar": "B"}
	r, err := w.AddABTest(t.Context(), api.CreateABTest{Name: "t", Start: begin, End: end,
		Groups: []api.CreateTestGroup{{Name: "x", Variants: all}, {Name: "y", Variants: all}}})
	_, revision := must(t, r, err)
	e.at(revision)
	const slack = 50 * time.Millisecond // for this loop; edge and database share a clock here
	live := 0
	for now := time.Now(); now.Before(end.Add(2 * slack)); now = time.Now() {
		got := e.do("GET", "/v1/subject/flags?subject_id=a+b%2F%C3%BC%25", "").body
		after := time.Now()
		isLive := strings.Contains(got, `"foobar":"B"`)
		if isLive {
			live++
		}
		if isLive && (after.Before(begin.Add(-slack)) || now.After(end.Add(slack))) || !isLive && now.After(begin.Add(slack)) && after.Before(end.Add(-slack)) {
			t.Fatalf("between %v and %v before the start the edge gives %s", begin.Sub(now), begin.Sub(after), got)
		}
	}
	if live == 0 {
		t.Error("the test never was live")
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	revision := quickstart(t, openWriter(t, dbURL))
	e := start(t, dbURL, nil).at(revision)
	for range 3 {
		e.do("GET", "/v1/subject/flags?subject_id=42", "")
	}
	e.do("GET", "/v1/subject/flags?subject_id=42&features=off", "")
	e.do("GET", "/v1/subject/flags?subject_id=42", "", "If-None-Match", "*")
	text := e.do("GET", "/metrics", "").body
	for _, line := range []string{
		fmt.Sprintf("flaggery_edge_revision %d", revision),
		"flaggery_edge_subjects 2", "flaggery_edge_buckets 10", "flaggery_edge_features 3", "flaggery_edge_stale 0",
		`flaggery_edge_variant_served_total{feature="foobar",variant="B"} 4`,
		`flaggery_edge_variant_served_total{feature="off",variant="__DISABLE__"} 5`,
		`flaggery_http_request_duration_seconds_count{method="GET",route="/v1/subject/flags",status="2xx"} 4`,
		`flaggery_http_request_duration_seconds_count{method="GET",route="/v1/subject/flags",status="3xx"} 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the metrics do not have %s", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestNotReadyBeforeTheFirstLoad(t *testing.T) {
	t.Parallel()
	e := start(t, "postgres://127.0.0.1:1/nothing", nil)
	if a := e.do("GET", "/healthz", ""); a.status != 200 {
		t.Errorf("healthz answers %d", a.status)
	}
	for _, path := range []string{"/readyz", "/v1/subject/flags?subject_id=42"} {
		if a := e.do("GET", path, ""); a.status != 503 || a.code(t) != "not_ready" {
			t.Errorf("%s answers %d %s", path, a.status, a.body)
		}
	}
	if a := e.do("POST", "/v1/subjects/flags", `{"subject_ids": ["1"]}`); a.status != 503 {
		t.Errorf("a batch answers %d %s", a.status, a.body)
	}
}

// TestStartsFromTheSnapshotFile gives only the first edge a database.
func TestStartsFromTheSnapshotFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "snapshot")
	dbURL := pgtest.Open(t)
	revision := quickstart(t, openWriter(t, dbURL))
	t.Run("written", func(t *testing.T) {
		start(t, dbURL, func(c *Config) { c.SnapshotFile = file }).at(revision)
	})
	e := start(t, "postgres://127.0.0.1:1/nothing", func(c *Config) { c.SnapshotFile = file })
	e.ready()
	a := e.do("GET", "/v1/subject/flags?subject_id=42", "")
	if a.body != `{"flags":{"foobar":"B","off":"__DISABLE__"}}` || a.header.Get("Flaggery-Revision") != fmt.Sprint(revision) {
		t.Errorf("the edge answers %s at revision %s, want revision %d", a.body, a.header.Get("Flaggery-Revision"), revision)
	}
}

// During the drain, connections of the shortcut are closed after their next answer, new
// ones too, and idle ones at the end.
func TestDrainOfTheShortcut(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	e := start(t, dbURL, nil).at(quickstart(t, openWriter(t, dbURL)))
	dial := func() (answers *bufio.Reader, ask func() (closes bool)) {
		c, err := net.Dial("tcp", strings.TrimPrefix(e.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		answers = bufio.NewReader(c)
		return answers, func() bool {
			if _, err := io.WriteString(c, "GET /v1/subject/flags?subject_id=42 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			return answer.Close
		}
	}
	_, ask := dial()
	silent, askOnce := dial()
	if ask() || askOnce() {
		t.Fatal("a connection is closed before the drain")
	}
	e.stop()
	for !ask() { // until the drain has begun
	}
	if _, ask := dial(); !ask() {
		t.Error("a new connection stays open")
	}
	if _, err := silent.ReadByte(); err != io.EOF {
		t.Errorf("the silent connection must be closed, reading gives %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	err := Run(t.Context(), Config{Port: -1, Unknown: "maybe"})
	for _, fault := range []string{"FLAGGERY_DB_URL", "FLAGGERY_PORT", "FLAGGERY_UNKNOWN_SUBJECTS", "FLAGGERY_POLL_INTERVAL"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%v does not name %s", err, fault)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = Run(t.Context(), Config{DBURL: "postgres://127.0.0.1:1/x", Host: "127.0.0.1", Port: taken.Addr().(*net.TCPAddr).Port,
		Unknown: "reject", Poll: time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "listen") {
		t.Errorf("a port in use: %v", err)
	}
}
