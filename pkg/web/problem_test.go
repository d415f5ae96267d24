package web

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// Problems of a request depend on huma's errors. This test fails if a new version
// of huma reports them differently.
func TestProblemsThatHumaFinds(t *testing.T) {
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test"), Calls: things})
	addThings(s)
	for name, c := range map[string]struct {
		path   string
		body   io.Reader
		status int
		code   model.Code
		detail string
		fields []model.FieldError
	}{
		"no body": {"a", http.NoBody, 400, model.ValidationFailed, "request body is required", nil},
		"no body, wrong query": {"a?limit=0", http.NoBody, 400, model.ValidationFailed, "request body is required",
			[]model.FieldError{{Location: "query.limit", Message: "must be at least 1"}}},
		"no JSON": {"a", strings.NewReader(`{"name":`), 400, model.ValidationFailed, "the request body is not valid JSON",
			[]model.FieldError{{Location: "body", Message: "must be valid JSON: unexpected EOF in /name at byte 8"}}},
		"trailing data": {"a", strings.NewReader(`{"name":"a"} {}`), 422, model.ValidationFailed, "the request is not valid",
			[]model.FieldError{{Location: "body", Message: "must be a single JSON value"}}},
		"large number": {"a", strings.NewReader(`{"name":"a","weight":1e999}`), 422, model.ValidationFailed, "the request is not valid",
			[]model.FieldError{{Location: "body", Message: "must not hold numbers beyond 1.8e308"}}},
		"missing fields": {"a", strings.NewReader(`{"parts":[{"id":"1"},{}]}`), 422, model.ValidationFailed, "the request is not valid",
			[]model.FieldError{{Location: "body.name", Message: "is required"}, {Location: "body.parts[1].id", Message: "is required"}}},
		"unknown field": {"a", strings.NewReader(`{"name":"a","weihgt":1}`), 422, model.ValidationFailed, "the request is not valid",
			[]model.FieldError{{Location: "body.weihgt", Message: "is not known here"}}},
		"large body":               {"a", strings.NewReader(strings.Repeat(" ", MaxBody)), 413, model.BodyTooLarge, "the request body must have at most 1048576 bytes", nil},
		"body that ends early":     {"a", iotest.ErrReader(io.ErrUnexpectedEOF), 400, model.ValidationFailed, "the request body ended early", nil},
		"body that takes too long": {"a", iotest.ErrReader(os.ErrDeadlineExceeded), 408, model.ValidationFailed, "request body read timeout", nil},
		// The same error is internal if it comes from a handler.
		"handler that fails":       {"broken", strings.NewReader(`{"name":"a"}`), 500, "", "internal error, logged with request id test", nil},
		"handler without database": {"away", strings.NewReader(`{"name":"a"}`), 503, model.NotReady, "the database does not answer", nil},
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(http.MethodPost, "/v1/things/"+c.path, c.body)
			request.Header.Set("Content-Type", api.MediaJSON)
			request.Header.Set("X-Request-Id", "test")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, request)
			var got api.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err, w.Body)
			}
			want := api.Problem{Type: "about:blank", Title: http.StatusText(c.status), Status: c.status, Code: c.code, Detail: c.detail, Errors: c.fields}
			if diff := cmp.Diff(want, got); w.Code != c.status || diff != "" {
				t.Errorf("status %d, problem (-want +got):\n%s", w.Code, diff)
			}
			if retry := w.Header().Get("Retry-After"); (retry != "") != (c.status == 503) {
				t.Errorf("Retry-After: %q", retry)
			}
		})
	}
}

// Operations are in the table of calls, so that their codes are documented.
func TestOperationOutsideTheTableOfCalls(t *testing.T) {
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test")})
	defer func() {
		if p := recover(); p != "POST /v1/things/{id} is not in the table of calls" {
			t.Error(p)
		}
	}()
	addThings(s)
}
