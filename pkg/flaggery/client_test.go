package flaggery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// inProcess carries requests to a handler without a network, so that time in a
// synctest bubble stands still but for the client's own waiting.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	return w.Result(), nil
}

func newEdge(t *testing.T, h http.HandlerFunc, opts ...flaggery.Option) *flaggery.Edge {
	t.Helper()
	edge, err := flaggery.NewEdge("http://edge", append(opts, flaggery.HTTPClient(&http.Client{Transport: inProcess{h}}))...)
	if err != nil {
		t.Fatal(err)
	}
	return edge
}

func newAdmin(t *testing.T, h http.HandlerFunc, opts ...flaggery.Option) *flaggery.Admin {
	t.Helper()
	admin, err := flaggery.NewAdmin("http://admin/behind/a/path/", "secret", append(opts, flaggery.HTTPClient(&http.Client{Transport: inProcess{h}}))...)
	if err != nil {
		t.Fatal(err)
	}
	return admin
}

func answerProblem(w http.ResponseWriter, status int, code api.Code) {
	w.Header().Set("Content-Type", api.MediaProblem)
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status": %d, "code": %q, "detail": "as told"}`, status, code)
}

func TestReadsAreTriedAgain(t *testing.T) {
	for _, test := range []struct {
		name       string
		status     int
		retryAfter string
		attempts   int
		took       [2]time.Duration
	}{
		{"unavailable", 503, "", 3, [2]time.Duration{0, 300 * time.Millisecond}},
		{"asked to wait", 503, "1", 3, [2]time.Duration{2 * time.Second, 2300 * time.Millisecond}},
		{"asked to wait for long", 503, "60", 1, [2]time.Duration{}},
		{"rate limited", 429, "1", 3, [2]time.Duration{2 * time.Second, 2300 * time.Millisecond}},
		{"bad gateway", 502, "", 3, [2]time.Duration{0, 300 * time.Millisecond}},
		{"internal error", 500, "", 1, [2]time.Duration{}},
		{"not found", 404, "", 1, [2]time.Duration{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				edge := newEdge(t, func(w http.ResponseWriter, _ *http.Request) {
					attempts++
					w.Header().Set("Retry-After", test.retryAfter)
					answerProblem(w, test.status, api.NotReady)
				})
				start := time.Now()
				_, err := edge.Flags(t.Context(), "42")
				if flaggery.CodeOf(err) != api.NotReady {
					t.Errorf("error %v, want not_ready", err)
				}
				if took := time.Since(start); attempts != test.attempts || took < test.took[0] || took > test.took[1] {
					t.Errorf("%d attempts in %v, want %d in %v", attempts, took, test.attempts, test.took)
				}
			})
		})
	}
}

func TestAnotherAttemptSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		edge := newEdge(t, func(w http.ResponseWriter, r *http.Request) {
			if attempts++; attempts == 1 {
				<-r.Context().Done() // the first edge hangs
				return
			}
			w.Header().Set(api.HeaderRevision, "7")
			io.WriteString(w, `{"flags": {"foobar": "B", "off": "__DISABLE__"}}`)
		}, flaggery.Timeout(50*time.Millisecond))
		flags, err := edge.Flags(t.Context(), "42")
		if err != nil {
			t.Fatal(err)
		}
		if flags.Revision != 7 || flags.Variant("foobar") != "B" || !flags.Enabled("foobar") ||
			flags.Enabled("off") || flags.Variant("off") != api.DisablingVariant || flags.Enabled("absent") {
			t.Errorf("flags %+v", flags)
		}
	})
}

func TestWritesAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		admin := newAdmin(t, func(w http.ResponseWriter, _ *http.Request) {
			attempts++
			w.Header().Set("Retry-After", "1")
			answerProblem(w, 503, api.NotReady)
		})
		if _, err := admin.IncreaseBuckets(t.Context(), 1); flaggery.CodeOf(err) != api.NotReady || attempts != 1 {
			t.Errorf("%d attempts, error %v", attempts, err)
		}
	})
}

func TestContextEndsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		edge := newEdge(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			answerProblem(w, 503, api.NotReady)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := edge.Flags(ctx, "42")
		if took := time.Since(start); flaggery.CodeOf(err) != api.NotReady || took != 0 {
			t.Errorf("after %v: %v; want the problem at once, as the next attempt would come too late", took, err)
		}
	})
}

func TestTimeoutLeavesTimeToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(1900 * time.Millisecond):
				io.WriteString(w, `{}`)
			case <-r.Context().Done():
			}
		}
		admin := newAdmin(t, slow, flaggery.Timeout(time.Second))
		if _, err := admin.AddGroup(t.Context(), api.CreateGroup{Name: "friends"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without wait: %v, want a timeout", err)
		}
		if _, err := admin.AddGroup(t.Context(), api.CreateGroup{Name: "friends"}, flaggery.Wait(time.Second)); err != nil {
			t.Errorf("with wait: %v", err)
		}
		edge := newEdge(t, slow, flaggery.Timeout(time.Second), flaggery.Retries(0))
		if _, err := edge.Flags(t.Context(), "42", flaggery.MinRevision(7, time.Second)); err != nil {
			t.Errorf("with min_revision: %v", err)
		}
	})
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests []string
		revision, down := 1, false
		edge := newEdge(t, func(w http.ResponseWriter, r *http.Request) {
			requests = append(requests, r.URL.Query().Get("subject_id")+" "+r.URL.Query().Get("features")+" "+r.Header.Get("If-None-Match"))
			if down {
				answerProblem(w, 503, api.NotReady)
				return
			}
			etag := `"` + r.URL.Query().Get("features") + `1"`
			w.Header().Set(api.HeaderRevision, fmt.Sprint(revision))
			w.Header().Set("ETag", etag)
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			io.WriteString(w, `{"flags": {"foobar": "B"}}`)
		}, flaggery.Cache(2, time.Minute))

		ask := func(wantStale bool, wantRequests []string, id string, opts ...flaggery.FlagsOption) {
			t.Helper()
			requests = nil
			flags, err := edge.Flags(t.Context(), id, opts...)
			if err != nil || flags.Variant("foobar") != "B" || flags.Stale != wantStale {
				t.Errorf("flags %+v, error %v", flags, err)
			}
			if !slices.Equal(requests, wantRequests) {
				t.Errorf("requests %q, want %q", requests, wantRequests)
			}
		}
		ask(false, []string{"42  "}, "42")
		ask(false, nil, "42")
		ask(false, []string{"42 a,b "}, "42", flaggery.Only("a", "b"))
		ask(false, nil, "42", flaggery.MinRevision(1, 0))

		revision = 2 // the subject's flags are the same
		ask(false, []string{"42  "}, "42", flaggery.MinRevision(2, 0))
		ask(false, nil, "42", flaggery.MinRevision(2, 0))
		time.Sleep(time.Minute)
		ask(false, []string{`42  "1"`}, "42")
		ask(false, nil, "42")

		time.Sleep(time.Minute)
		down = true
		ask(true, []string{`42  "1"`}, "42") // once: an old answer now is better than a new one later
		ask(true, nil, "42")
		if _, err := edge.Flags(t.Context(), "42", flaggery.MinRevision(3, 0)); flaggery.CodeOf(err) != api.NotReady {
			t.Errorf("a newer revision than the cache has: %v, want not_ready", err)
		}
		down = false
		time.Sleep(time.Minute)
		ask(false, []string{`42  "1"`}, "42")

		ask(false, []string{"7  "}, "7")
		ask(false, []string{"8  "}, "8")
		ask(false, []string{"42  "}, "42") // pushed out
	})
}

func TestCacheForgetsNoUnknownSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := true
		edge := newEdge(t, func(w http.ResponseWriter, _ *http.Request) {
			if !known {
				answerProblem(w, 404, api.SubjectNotFound)
				return
			}
			io.WriteString(w, `{"flags": {}}`)
		}, flaggery.Cache(10, time.Minute))
		if _, err := edge.Flags(t.Context(), "42"); err != nil {
			t.Fatal(err)
		}
		known = false
		time.Sleep(time.Minute)
		if _, err := edge.Flags(t.Context(), "42"); flaggery.CodeOf(err) != api.SubjectNotFound {
			t.Errorf("a subject that was deleted: %v, want subject_not_found", err)
		}
	})
}

// ids that do not survive a careless client or server.
var ids = []string{
	"42", "a/b", "/", "//", "..", ".", "...", "%", "%2F", "%2e%2e", "é", "日本", "😀", " ", "a b", "+", "a+b", "?", "a?b=c", "#",
	"&", "=", ";", ",", ":", "@", "'", `"`, `\`, "<>", "^`{|}", "user@example.com", "stop", strings.Repeat("é", 128),
}

func TestIDsStayOneSegment(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What came over the wire counts: a proxy may clean paths.
		switch segments := strings.Split(r.URL.EscapedPath(), "/"); {
		case len(segments) == 4:
			got = r.FormValue("subject_id")
		case len(segments) != 5 || segments[3] == "." || segments[3] == "..":
			got = "another path: " + r.URL.EscapedPath()
		default:
			got, _ = url.PathUnescape(segments[3])
		}
		io.WriteString(w, `{}`)
	}))
	t.Cleanup(server.Close)
	admin, err := flaggery.NewAdmin(server.URL, "secret", flaggery.HTTPClient(server.Client()))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := admin.Explain(t.Context(), id, time.Time{}); err != nil || got != id {
			t.Errorf("in the path, %q arrived as %q, error %v", id, got, err)
		}
		if _, err := admin.SubjectVariants(t.Context(), id); err != nil || got != id {
			t.Errorf("in the query, %q arrived as %q, error %v", id, got, err)
		}
	}
}

func TestRequest(t *testing.T) {
	admin := newAdmin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := fmt.Sprintf("%s %s %s %s %s %s %s", r.Method, r.URL, r.Header.Get("Authorization"), r.Header.Get("User-Agent"),
			r.Header.Get("Content-Type"), r.Header.Get("If-Match"), body)
		want := `PATCH http://admin/behind/a/path/v1/features/foobar/rollout?dry_run=true&wait=1m30s Bearer secret shop/1.0 application/json "7" {"proportion":0.1}`
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		w.Header().Set(api.HeaderRevision, "7")
		io.WriteString(w, `{"dry_run": true, "affected": {"subjects": 3, "weight": 9},
			"changes": [{"feature": "foobar", "from": null, "to": "A", "subjects": 3, "weight": 9}],
			"heaviest": [{"id": "7", "weight": 5, "feature": "foobar", "from": null, "to": "A"}], "result": {"feature": "foobar", "proportion": 0.1}}`)
	}, flaggery.UserAgent("shop/1.0"))
	rollout, err := admin.SetRolloutProportion(t.Context(), "foobar", 0.1,
		flaggery.DryRun(), flaggery.Wait(90*time.Second), flaggery.IfMatch(`"7"`))
	if err != nil {
		t.Fatal(err)
	}
	a := "A"
	effect := api.Effect{
		Affected: api.Affected{Subjects: 3, Weight: 9},
		Changes:  []api.FlagChange{{Feature: "foobar", To: &a, Subjects: 3, Weight: 9}},
		Heaviest: []api.ChangedSubject{{ID: "7", Weight: 5, Feature: "foobar", To: &a}},
	}
	if !rollout.DryRun || rollout.Revision != 7 || rollout.Value.Feature != "foobar" {
		t.Errorf("result %+v", rollout)
	}
	if diff := cmp.Diff(effect, rollout.Effect); diff != "" {
		t.Errorf("effect (-want +got):\n%s", diff)
	}
}

func TestWriteAnswers(t *testing.T) {
	propagation := api.Propagation{Edges: 3, Applied: 2, Seconds: 0.5, Behind: []string{"edge-eu-3"}}
	for _, test := range []struct {
		name, body string
		status     int
		applied    *api.Propagation
	}{
		{"nothing", "", 204, nil},
		{"propagation alone", `{"propagation": {"edges": 3, "applied": 2, "seconds": 0.5, "behind": ["edge-eu-3"]}}`, 200, &propagation},
		{"an empty dry run", `{"dry_run": true, "affected": {"subjects": 0, "weight": 0}, "result": {}}`, 200, nil},
	} {
		admin := newAdmin(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(api.HeaderRevision, "8")
			w.Header().Set("ETag", `"8"`)
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		})
		receipt, err := admin.DeleteGroup(t.Context(), "friends")
		if err != nil || receipt.Revision != 8 || receipt.ETag != `"8"` {
			t.Errorf("%s: %+v, %v", test.name, receipt, err)
		}
		if diff := cmp.Diff(test.applied, receipt.Propagation); diff != "" {
			t.Errorf("%s: propagation (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestPayloadsStayAsTheyAre(t *testing.T) {
	const payload = `{"limit": 9007199254740993,` + "\n\t" + `"ratio": 1.0, "html": "<a>&\u003c"}`
	admin := newAdmin(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if want := `{"name":"A","payload":` + payload + `}`; err != nil || string(body) != want {
			t.Errorf("sent %s, %v, want %s", body, err, want)
		}
		w.Write(body)
	})
	variant, err := admin.AddVariant(t.Context(), "foobar", api.CreateVariant{Name: "A", Payload: json.RawMessage(payload)})
	if got, _ := variant.Value.Payload.(json.RawMessage); err != nil || string(got) != payload {
		t.Errorf("payload %s, error %v", got, err)
	}
	_, err = admin.AddVariant(t.Context(), "foobar", api.CreateVariant{Name: "A", Payload: json.RawMessage("{")})
	if err == nil || !strings.Contains(err.Error(), `must be valid JSON, is "{"`) {
		t.Errorf("no JSON: %v", err)
	}
}

// Answers and items are there as they were sent, with what this release does not know.
func TestAnswersStayAsTheyAre(t *testing.T) {
	const group, items = `{"name": "a",  "later": [1]}`, `{"items": [{"name": "a",  "later": 1}, {"later": 2}]}`
	admin := newAdmin(t, func(w http.ResponseWriter, r *http.Request) {
		answer := group
		if r.Method == http.MethodGet {
			answer = items
			if r.URL.Path != "/behind/a/path/v1/groups/a b/subjects" || r.URL.Query().Get("view") != "subjects" {
				t.Errorf("asks %s", r.URL)
			}
		}
		fmt.Fprint(w, answer)
	})
	result, err := admin.PatchGroup(t.Context(), "a", api.PatchGroup{})
	if err != nil || string(result.Body) != group || result.Value.Name != "a" {
		t.Errorf("%s, error %v", result.Body, err)
	}
	var found []string
	for item, err := range admin.List(t.Context(), url.Values{"view": {"subjects"}}, "groups", "a b", "subjects") {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, string(item))
	}
	if want := []string{`{"name": "a",  "later": 1}`, `{"later": 2}`}; !slices.Equal(found, want) {
		t.Errorf("%q", found)
	}
}

func TestAnyRequest(t *testing.T) {
	admin := newAdmin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Method, " ", r.URL, " ", r.Header.Get("Content-Type"), " ", string(body))
	})
	for want, call := range map[string][3]string{
		"GET http://admin/behind/a/path/v1/a%2Fb?x=1&y=%20  ":     {"GET", "/v1/a%2Fb?x=1&y=%20"},
		"PUT http://admin/behind/a/path/v1/a application/json {}": {"PUT", "/v1/a", "{}"},
		"DELETE http://admin/behind/a/path/v1/a?wait=2s  ":        {"DELETE", "/v1/a?wait=2s"},
	} {
		var body []byte
		if call[2] != "" {
			body = []byte(call[2])
		}
		receipt, err := admin.Call(t.Context(), call[0], call[1], body)
		if got := string(receipt.Body); err != nil || strings.ReplaceAll(got, "+", "%20") != want {
			t.Errorf("%s, want %s, error %v", got, want, err)
		}
	}
	for _, target := range []string{"", "v1/features", "http://other/v1/features", "//other/v1", "/v1/%zz"} {
		if receipt, err := admin.Call(t.Context(), "GET", target, nil); err == nil {
			t.Errorf("%q is answered %s", target, receipt.Body)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		code   api.Code
		says   string
	}{
		{"problem", func(w http.ResponseWriter, _ *http.Request) { answerProblem(w, 409, api.GroupExists) },
			api.GroupExists, "POST /v1/groups: as told"},
		{"problem of a large document", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", api.MediaProblem)
			w.WriteHeader(422)
			_ = json.NewEncoder(w).Encode(api.Problem{Code: api.ValidationFailed, Detail: strings.Repeat("x", 1<<20)})
		}, api.ValidationFailed, "POST /v1/groups: xxx"},
		{"proxy", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", 502) },
			"", "502 Bad Gateway, but not by Flaggery"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
		}, "", "301 Moved Permanently, but not by Flaggery"},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "welcome") },
			"", "decode the answer"},
	} {
		admin := newAdmin(t, test.answer)
		_, err := admin.AddGroup(t.Context(), api.CreateGroup{Name: "friends"})
		if flaggery.CodeOf(err) != test.code || err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: code %q, error %v; want %q in it", test.name, flaggery.CodeOf(err), err, test.says)
		}
	}
}

func TestListsReadAllPages(t *testing.T) {
	admin := newAdmin(t, func(w http.ResponseWriter, r *http.Request) {
		switch q := r.URL.Query(); {
		case q.Get("prefix") != "a":
			t.Errorf("query %v", q)
		case q.Get("after") == "":
			io.WriteString(w, `{"items": [{"id": "a1"}, {"id": "a2"}], "next": "a2"}`)
		case q.Get("after") == "a2":
			io.WriteString(w, `{"items": [{"id": "a3"}], "next": "a3"}`)
		default:
			answerProblem(w, 500, "")
		}
	})
	for range 2 { // an iterator may run twice
		var got []string
		var last error
		subjects := admin.Subjects(t.Context(), "a")
		for s, err := range subjects {
			if last = err; err == nil {
				got = append(got, s.ID)
			}
		}
		if problem := (*api.Problem)(nil); !slices.Equal(got, []string{"a1", "a2", "a3"}) || !errors.As(last, &problem) || problem.Status != 500 {
			t.Errorf("got %q, then %v", got, last)
		}
		for s, err := range subjects {
			if err != nil || s.ID != "a1" {
				t.Errorf("got %v, %v", s, err)
			}
			break
		}
	}
}

func TestFindSubjects(t *testing.T) {
	for want, q := range map[string]api.SubjectQuery{
		"limit=1000":                                {},
		"bucket=7&limit=1000":                       {Bucket: 7},
		"limit=1000&prefix=a":                       {Prefix: "a"},
		"bucket=7&limit=1000&prefix=a&sort=-weight": {Prefix: "a", Bucket: 7, Sort: api.HeaviestFirst},
	} {
		admin := newAdmin(t, func(w http.ResponseWriter, r *http.Request) {
			if got := r.URL.Query().Encode(); got != want {
				t.Errorf("query %s, want %s", got, want)
			}
			io.WriteString(w, `{"items": []}`)
		})
		for s, err := range admin.FindSubjects(t.Context(), q) {
			t.Error(s, err)
		}
	}
}

func subjects(n int, last error) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		for i := range n {
			if !yield(api.ImportLine{ID: fmt.Sprint(i)}, nil) {
				return
			}
		}
		if last != nil {
			yield(api.ImportLine{}, last)
		}
	}
}

func TestImportStreams(t *testing.T) {
	received := make(chan int64, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("dry_run") {
		case "true": // refuses without reading on
			answerProblem(w, 401, api.Unauthenticated)
		default:
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil {
				n = -1
			}
			received <- n
			io.WriteString(w, `{"created": 3}`)
		}
	}))
	t.Cleanup(server.Close)
	admin, err := flaggery.NewAdmin(server.URL, "secret", flaggery.HTTPClient(server.Client()))
	if err != nil {
		t.Fatal(err)
	}

	imported, err := admin.ImportSubjects(t.Context(), subjects(3, nil))
	if n := <-received; err != nil || imported.Value.Created != 3 || n != int64(len("{\"id\":\"0\"}\n")*3) {
		t.Errorf("imported %+v of %d bytes, error %v", imported, n, err)
	}
	broken := errors.New("the file is damaged")
	if _, err := admin.ImportSubjects(t.Context(), subjects(100_000, broken)); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the lines", err)
	}
	if n := <-received; n != -1 {
		t.Errorf("the service saw a whole request of %d bytes, of lines that broke off", n)
	}
	// More than any buffer on the way holds.
	if _, err := admin.ImportSubjects(t.Context(), subjects(10_000_000, nil), flaggery.DryRun()); flaggery.CodeOf(err) != api.Unauthenticated {
		var network net.Error // the service may have hung up before its answer was read
		if !errors.As(err, &network) {
			t.Errorf("error %v, want unauthenticated", err)
		}
	}
}

func TestExportTellsWhereItBroke(t *testing.T) {
	cut := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(api.HeaderRevision, "7")
		io.WriteString(w, "{\"id\":\"1\"}\n{\"id\":\"2\",\"weight\":5,\"groups\":[\"friends\"]}\n")
		if cut {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(server.Close)
	admin, err := flaggery.NewAdmin(server.URL, "secret", flaggery.HTTPClient(server.Client()))
	if err != nil {
		t.Fatal(err)
	}
	export := func() (got []string, last error) {
		for line, err := range admin.ExportSubjects(t.Context()) {
			if last = err; err == nil {
				got = append(got, line.ID)
			}
		}
		return got, last
	}
	if got, err := export(); len(got) != 2 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %q, %v", got, err)
	}
	if _, err := admin.ExportSubjectsTo(t.Context(), io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
	cut = false
	if got, err := export(); len(got) != 2 || err != nil {
		t.Errorf("whole: %q, %v", got, err)
	}
	if revision, err := admin.ExportSubjectsTo(t.Context(), io.Discard); revision != 7 || err != nil {
		t.Errorf("whole: %d, %v", revision, err)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	connections := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("subject_id") == "unknown" {
			answerProblem(w, 404, api.SubjectNotFound)
			return
		}
		io.WriteString(w, `{"flags": {}}`+strings.Repeat(" ", 10_000))
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections++
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	edge, err := flaggery.NewEdge(server.URL, flaggery.HTTPClient(server.Client()))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"42", "unknown", "42", "unknown"} {
		_, _ = edge.Flags(t.Context(), id)
	}
	if connections != 1 {
		t.Errorf("%d connections, want 1", connections)
	}
}

func TestBaseURL(t *testing.T) {
	for _, bad := range []string{"", "localhost:8080", "127.0.0.1:8080", "ftp://host", "http://", "http://host?x=y", "http://host#x", "http://[::1"} {
		if _, err := flaggery.NewEdge(bad); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("base URL %q must be like http://host:8080", bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"me:hunter2@host", "http://me:hunter2@[::1", "http://me:hunter2@host?x=y"} {
		if _, err := flaggery.NewAdmin(bad, ""); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := flaggery.NewAdmin("http://host", "", flaggery.Cache(1, time.Second)); err == nil {
		t.Error("an admin took a cache")
	}
}

func TestEvents(t *testing.T) {
	admin := newAdmin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/behind/a/path/v1/events" || r.Header.Get("Last-Event-ID") != "16" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		io.WriteString(w, ":\n\nid: 17\nevent: change\ndata: {\"revision\":17,\"at\":\"2027-01-01T00:00:00Z\",\"actor\":\"ci\",\"action\":\"create\",\"resource\":\"features/a: b\",\"later\":1}\n\n"+
			"event: later\ndata: {}\n\nevent: edges\ndata: {\"items\":[{\"name\":\"eu\"}]}\n\nid: 99\nevent: reload\ndata: {\"revision\":99}\n\n")
	})
	var got []string
	for e, err := range admin.Events(t.Context(), 16) {
		switch {
		case err != nil:
			got = append(got, err.Error())
		case e.Change != nil:
			got = append(got, fmt.Sprint(e.Change.Revision, " ", e.Change.At.Year(), " ", e.Change.Actor, " ", e.Change.Action, " ", e.Change.Resource))
		case e.Edges != nil:
			got = append(got, e.Edges.Items[0].Name)
		case e.Reload != nil:
			got = append(got, fmt.Sprint("reload ", e.Reload.Revision))
		}
	}
	if want := []string{"17 2027 ci create features/a: b", "eu", "reload 99", "events: EOF"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A stream ends if its admin sends nothing.
func TestEventsOfASilentAdmin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		admin := newAdmin(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		began := time.Now()
		for _, err := range admin.Events(t.Context(), 0) {
			if err == nil || err.Error() != "the admin has sent nothing for 45s" || time.Since(began) != 45*time.Second {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		}
	})
}
