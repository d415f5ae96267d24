package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/shortcut"
)

// ask queries flags without a listener.
func ask(e *service, query, ifNoneMatch string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, flagsPath, nil)
	r.URL.RawQuery = query
	if ifNoneMatch != "" {
		r.Header.Set(fieldIfNoneMatch, ifNoneMatch)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

// compareForms sends a query as it is, in a form that only a route takes and, if it is
// in the plain form, through the shortcut. It returns the answer that all of them get.
func compareForms(t *testing.T, e *service, query, ifNoneMatch string) *httptest.ResponseRecorder {
	t.Helper()
	got := ask(e, query, ifNoneMatch)
	if got.Code >= 500 {
		t.Errorf("%q: status %d: %s", query, got.Code, got.Body)
	}
	want := said(got.Code, got.Header(), got.Body.String())
	routed := ask(e, query+"&", ifNoneMatch)
	if routed := said(routed.Code, routed.Header(), routed.Body.String()); routed != want {
		t.Errorf("%q with %q: the answer is %s, that of the route %s", query, ifNoneMatch, want, routed)
	}
	r := httptest.NewRequest(http.MethodGet, flagsPath, nil)
	r.URL.RawQuery = query
	id, plain := plainID(r)
	if !plain {
		return got
	}
	short := saidShort(t, e.answerShort, shortcut.Request{Value: []byte(id), IfNoneMatch: []byte(ifNoneMatch)})
	if short != want && (short != "" || got.Code < 400) {
		t.Errorf("%q with %q: the answer is %s, that of the shortcut %s", query, ifNoneMatch, want, short)
	}
	return got
}

// saidShort is the content of the shortcut's answer, "" if it has none.
func saidShort(t *testing.T, answer func([]byte, [][]byte, shortcut.Request) ([]byte, [][]byte, bool), r shortcut.Request) string {
	t.Helper()
	head, body, ok := answer(nil, nil, r)
	if !ok {
		return ""
	}
	raw := append(append(head, "\r\n"...), bytes.Join(body, nil)...)
	short, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(short.Body)
	if err != nil {
		t.Fatal(err)
	}
	return said(short.StatusCode, short.Header, string(text))
}

// said is the part of an answer that concerns flags.
func said(status int, header http.Header, body string) string {
	all := fmt.Sprint(status)
	for _, field := range []string{"Content-Type", "ETag", api.HeaderRevision, api.HeaderSnapshotAge} {
		all += fmt.Sprintf(" %s=%s", field, header.Values(field))
	}
	return all + " " + body
}

// Every answer has the age of the snapshot once its source is unreachable.
func TestStaleSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &source{subjects: 10}
		e := serving(t, from, nil)
		etag := ask(e, "subject_id=7", "").Header().Get("ETag")
		compare := func(age string) {
			t.Helper()
			for query, status := range map[string]int{
				"subject_id=7": 200, "subject_id=99": 404, "subject_id=": 422, "subject_id=7&features=feature-number-01": 200,
			} {
				answer := compareForms(t, e, query, "")
				if answer.Code != status || answer.Header().Get(api.HeaderSnapshotAge) != age || answer.Header().Get(api.HeaderRevision) != "123456" {
					t.Errorf("%s: %d %v, want %d of age %q", query, answer.Code, answer.Header(), status, age)
				}
				compareForms(t, e, query, etag)
			}
			for path, status := range map[string]int{"/v1/subjects/7/flags": 200, "/v1/features": 423, "/healthz": 200, "/nothing": 404} {
				w := httptest.NewRecorder()
				e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if w.Code != status || w.Header().Get(api.HeaderSnapshotAge) != age || w.Header().Get(api.HeaderRevision) != "123456" {
					t.Errorf("%s: %d %v, want %d of age %q", path, w.Code, w.Header(), status, age)
				}
			}
		}
		compare("")
		from.revision.Store(0)
		time.Sleep(time.Minute) // of the test's own clock
		compare("60.000")
	})
}

// Answers to requests that wait name the revision that they are from, problems too.
func TestAnswersNameTheRevisionThatCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &source{subjects: 10}
		e := serving(t, from, nil)
		for i, c := range []struct {
			id      string
			come    int64 // how many revisions after the requested one
			status  int
			problem string
		}{{"7", 0, 200, ""}, {"99", 1, 404, "subject_not_found"}, {"7", -1, 503, "not_ready"}} {
			asked := 200_000 + 10*int64(i)
			answer := make(chan *httptest.ResponseRecorder)
			go func() { answer <- ask(e, fmt.Sprintf("subject_id=%s&wait=10s&min_revision=%d", c.id, asked), "") }()
			synctest.Wait() // until it waits
			from.revision.Store(asked + c.come)
			a := <-answer
			if a.Code != c.status || a.Header().Get(api.HeaderRevision) != fmt.Sprint(asked+c.come) || !strings.Contains(a.Body.String(), c.problem) {
				t.Errorf("asked for %d, at %d: %d %v %s", asked, asked+c.come, a.Code, a.Header(), a.Body)
			}
		}
	})
}

// Each form of a request counts once against the rate limit of a token.
func TestRequestsCountOnce(t *testing.T) {
	const limit = 3
	for name, request := range map[string]func() *http.Request{
		"plain":   func() *http.Request { return httptest.NewRequest(http.MethodGet, flagsPath+"?subject_id=7", nil) },
		"unknown": func() *http.Request { return httptest.NewRequest(http.MethodGet, flagsPath+"?subject_id=99", nil) },
		"features": func() *http.Request {
			return httptest.NewRequest(http.MethodGet, flagsPath+"?subject_id=7&features=a", nil)
		},
		"path": func() *http.Request { return httptest.NewRequest(http.MethodGet, "/v1/subjects/7/flags", nil) },
		"batch": func() *http.Request {
			r := httptest.NewRequest(http.MethodPost, "/v1/subjects/flags", strings.NewReader(`{"subject_ids":["7"]}`))
			r.Header.Set("Content-Type", api.MediaJSON)
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				token := auth.NewToken()
				hash, _ := auth.HashToken(token)
				e := serving(t, &source{subjects: 10, tokens: []auth.Credential{{Hash: hash, Role: auth.ClientRole}}}, func(c *Config) {
					c.Auth, c.Callers.Requests, c.Callers.Failures = AuthToken, limit, limit
				})
				status := func(token string) int {
					r, w := request(), httptest.NewRecorder()
					r.Header.Set("Authorization", "Bearer "+token)
					e.ServeHTTP(w, r)
					return w.Code
				}
				for i := range limit + 1 { // no time passes
					if got := status(token); (got == http.StatusTooManyRequests) != (i == limit) {
						t.Errorf("request %d: status %d", i+1, got)
					}
				}
				for i := range limit + 1 {
					want := http.StatusUnauthorized
					if i == limit {
						want = http.StatusTooManyRequests
					}
					if got := status("unknown"); got != want {
						t.Errorf("failure %d: status %d", i+1, got)
					}
				}
			})
		})
	}
}
