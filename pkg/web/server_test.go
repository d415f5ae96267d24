package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

type thing struct {
	Name    string   `json:"name"`
	Weight  *int64   `json:"weight,omitempty" minimum:"0" maximum:"9007199254740991"`
	Tags    []string `json:"tags,omitempty"`
	Payload any      `json:"payload,omitempty"`
	Parts   []part   `json:"parts,omitempty"`
}

type part struct {
	ID string `json:"id"`
}

type thingInput struct {
	ID    string `path:"id"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Body  thing
}

type thingOutput struct{ Body thing }

// logText is a log that is read while it is written: requests are logged after
// their answers.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start serves until the test ends and returns the address.
func start(t *testing.T, o Options, add func(*Server)) string {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Registry = NewRegistry("test")
	o.Calls = things
	s := New(o)
	add(s)
	return "http://" + listen(t, s)
}

var things = api.Calls{"POST /v1/things/{id}": {model.SubjectExists}}

func addThings(s *Server) {
	Handle(s, auth.Write, huma.Operation{Method: http.MethodPost, Path: "/v1/things/{id}", OperationID: "create-thing"},
		func(_ context.Context, in *thingInput) (*thingOutput, error) {
			switch in.ID {
			case "exists":
				return nil, model.Errorf(model.SubjectExists, "there is one")
			case "secret":
				return nil, errors.New("dial tcp 10.0.0.7: password is hunter2")
			case "panic":
				panic("hunter2")
			case "broken":
				return nil, io.ErrUnexpectedEOF
			case "away":
				return nil, &net.OpError{Err: errors.New("connection refused")}
			}
			in.Body.Tags = []string{in.ID}
			return &thingOutput{in.Body}, nil
		})
}

func do(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", api.MediaJSON)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

func TestProblems(t *testing.T) {
	var log logText
	url := start(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), StrictParameters: true}, addThings)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code                     model.Code
		location                 string
	}{
		{"no such route", "GET", "/v1/nothing", "", 404, model.NotFound, ""},
		{"no such method", "PUT", "/v1/things/a", "{}", 405, model.MethodNotAllowed, ""},
		{"more segments than the route", "POST", "/v1/things/a/b", "{}", 404, model.NotFound, ""},
		{"no JSON", "POST", "/v1/things/a", `{"name":`, 400, model.ValidationFailed, "body"},
		{"NaN", "POST", "/v1/things/a", `{"name":"a","weight":NaN}`, 400, model.ValidationFailed, "body"},
		{"no body", "POST", "/v1/things/a", ``, 400, model.ValidationFailed, ""},
		{"null", "POST", "/v1/things/a", `null`, 422, model.ValidationFailed, "body"},
		{"a list", "POST", "/v1/things/a", `[]`, 422, model.ValidationFailed, "body"},
		{"trailing data", "POST", "/v1/things/a", `{"name":"a"} {}`, 422, model.ValidationFailed, "body"},
		{"trailing brace", "POST", "/v1/things/a", `{"name":"a"}}`, 422, model.ValidationFailed, "body"},
		{"unknown field", "POST", "/v1/things/a", `{"name":"a","wieght":1}`, 422, model.ValidationFailed, "body.wieght"},
		{"field in other letters", "POST", "/v1/things/a", `{"name":"a","Weight":1}`, 422, model.ValidationFailed, "body.Weight"},
		{"missing field", "POST", "/v1/things/a", `{}`, 422, model.ValidationFailed, "body.name"},
		{"wrong type", "POST", "/v1/things/a", `{"name":1}`, 422, model.ValidationFailed, "body.name"},
		{"null for text", "POST", "/v1/things/a", `{"name":null}`, 422, model.ValidationFailed, "body.name"},
		{"negative", "POST", "/v1/things/a", `{"name":"a","weight":-1}`, 422, model.ValidationFailed, "body.weight"},
		{"fraction", "POST", "/v1/things/a", `{"name":"a","weight":1.5}`, 422, model.ValidationFailed, "body.weight"},
		{"one too large", "POST", "/v1/things/a", `{"name":"a","weight":9007199254740992}`, 422, model.ValidationFailed, "body.weight"},
		{"far too large", "POST", "/v1/things/a", `{"name":"a","weight":1e300}`, 422, model.ValidationFailed, "body.weight"},
		{"beyond numbers", "POST", "/v1/things/a", `{"name":"a","weight":1e999}`, 422, model.ValidationFailed, "body"},
		{"query out of range", "POST", "/v1/things/a?limit=0", `{"name":"a"}`, 422, model.ValidationFailed, "query.limit"},
		{"query of wrong type", "POST", "/v1/things/a?limit=x", `{"name":"a"}`, 422, model.ValidationFailed, "query.limit"},
		{"unknown query", "POST", "/v1/things/a?limti=3", `{"name":"a"}`, 422, model.ValidationFailed, "query.limti"},
		{"query of no UTF-8", "POST", "/v1/things/a?limit=%ff", `{"name":"a"}`, 422, model.ValidationFailed, "query.limit"},
		{"query wrongly encoded", "POST", "/v1/things/a?limit=%zz", `{"name":"a"}`, 422, model.ValidationFailed, "query"},
		{"path of no UTF-8", "POST", "/v1/things/%ff", `{"name":"a"}`, 422, model.ValidationFailed, "path.id"},
		{"path with a zero", "POST", "/v1/things/%00", `{"name":"a"}`, 422, model.ValidationFailed, "path.id"},
		{"long query", "POST", "/v1/things/a?limit=" + strings.Repeat("0", 8<<10), `{"name":"a"}`, 414, model.ValidationFailed, ""},
		{"large body", "POST", "/v1/things/a", `{"name":"` + strings.Repeat("a", 1<<20) + `"}`, 413, model.BodyTooLarge, ""},
		{"an error with a code", "POST", "/v1/things/exists", `{"name":"a"}`, 409, model.SubjectExists, ""},
		{"an error without", "POST", "/v1/things/secret", `{"name":"a"}`, 500, "", ""},
		{"a panic", "POST", "/v1/things/panic", `{"name":"a"}`, 500, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, text := do(t, c.method, url+c.path, c.body)
			if got := answer.Header.Get("Content-Type"); got != api.MediaProblem {
				t.Errorf("media type %q: %s", got, text)
			}
			var p api.Problem
			if err := json.Unmarshal([]byte(text), &p); err != nil {
				t.Fatal(err, text)
			}
			if answer.StatusCode != c.status || p.Status != c.status || p.Code != c.code {
				t.Errorf("status %d, code %q: %s", answer.StatusCode, p.Code, text)
			}
			if p.Type == "" || p.Title != http.StatusText(c.status) || p.Detail == "" {
				t.Errorf("incomplete: %s", text)
			}
			location := ""
			if len(p.Errors) > 0 {
				location = p.Errors[0].Location
			}
			if location != c.location {
				t.Errorf("location %q, not %q: %s", location, c.location, text)
			}
			if strings.Contains(text, "hunter2") || strings.Contains(text, "Go struct") || strings.Contains(text, "goroutine") {
				t.Errorf("shows internals: %s", text)
			}
		})
	}
	if got := strings.Count(log.String(), "hunter2"); got != 2 {
		t.Errorf("the log has %d of 2 internal errors:\n%s", got, log.String())
	}
	t.Run("wrong media type", func(t *testing.T) {
		answer, text := do(t, "POST", url+"/v1/things/a", `{"name":"a"}`, "Content-Type", "text/plain")
		if answer.StatusCode != 415 || answer.Header.Get("Content-Type") != api.MediaProblem {
			t.Error(answer.Status, text)
		}
	})
	t.Run("encodings", func(t *testing.T) {
		answer, text := do(t, "POST", url+"/v1/things/a", `{"name":"a"}`, "Content-Encoding", "gzip")
		if answer.StatusCode != 415 || !strings.Contains(text, `"unsupported_media_type"`) || !strings.Contains(text, "reads no Content-Encoding") {
			t.Error(answer.Status, text)
		}
		if answer, text := do(t, "POST", url+"/v1/things/a", `{"name":"a"}`, "Content-Encoding", "identity"); answer.StatusCode != 200 {
			t.Error(answer.Status, text)
		}
	})
	t.Run("allowed methods", func(t *testing.T) {
		answer, _ := do(t, "PUT", url+"/v1/things/a", `{}`)
		if got := answer.Header.Get("Allow"); !strings.Contains(got, "POST") {
			t.Errorf("Allow: %q", got)
		}
	})
}

// An answer that fails halfway must not look complete.
func TestBrokenAnswersAreCut(t *testing.T) {
	var log logText
	url := start(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(s *Server) {
		for path, end := range map[string]func() error{
			"/error": func() error { return errors.New("hunter2") },
			"/panic": func() error { panic("hunter2") },
			"/abort": func() error { panic(http.ErrAbortHandler) },
		} {
			s.Route(auth.Open, http.MethodGet, path, func(c echo.Context) error {
				c.Response().WriteHeader(http.StatusOK)
				_, _ = c.Response().Write([]byte("half"))
				c.Response().Flush()
				return end()
			})
		}
	})
	for _, path := range []string{"/error", "/panic", "/abort"} {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(answer.Body); err == nil || string(text) != "half" {
			t.Errorf("%s: %q, %v", path, text, err)
		}
		_ = answer.Body.Close()
	}
	if got := strings.Count(log.String(), "answer aborted"); got != 2 {
		t.Errorf("%d of 2 are in the log: %s", got, log.String())
	}
}

// The Accept header does not make a success look like a problem.
func TestAcceptedMediaTypes(t *testing.T) {
	url := start(t, Options{}, addThings)
	for _, accept := range []string{"", "*/*", "text/html", "application/problem+json", "application/problem+json, application/json;q=0.5"} {
		answer, _ := do(t, "POST", url+"/v1/things/a", `{"name":"a"}`, "Accept", accept)
		if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != api.MediaJSON {
			t.Errorf("%q: %d %s", accept, answer.StatusCode, answer.Header.Get("Content-Type"))
		}
	}
}

// A failure of the service names no revision.
func TestRevision(t *testing.T) {
	url := start(t, Options{Revision: func() int64 { return 7 }}, addThings)
	for path, want := range map[string]string{
		"a": "7", "a?limit=0": "7", "exists": "7", "none/none": "7", "secret": "", "panic": "", "broken": "", "away": "",
	} {
		if answer, _ := do(t, "POST", url+"/v1/things/"+path, `{"name":"a"}`); answer.Header.Get(api.HeaderRevision) != want {
			t.Errorf("%s: %d names revision %q, want %q", path, answer.StatusCode, answer.Header.Get(api.HeaderRevision), want)
		}
	}
}

func TestStatusOfEveryCode(t *testing.T) {
	source, err := os.ReadFile("../model/error.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Code += "(\w+)"`).FindAllSubmatch(source, -1)
	for _, code := range codes {
		if statusOf[model.Code(code[1])] == 0 {
			t.Errorf("%s has no status", code[1])
		}
	}
	if len(codes) != len(statusOf) {
		t.Errorf("%d codes, %d statuses", len(codes), len(statusOf))
	}
}

func TestPathIsDecodedOnce(t *testing.T) {
	url := start(t, Options{}, addThings)
	for encoded, want := range map[string]string{
		"plain":              "plain",
		"a%20b":              "a b",
		"a+b":                "a+b",
		"a%2Fb":              "a/b",
		"%2F":                "/",
		"50%25":              "50%",
		"%252F":              "%2F",
		"a%2Fb%252F":         "a/b%2F",
		"%25zz":              "%zz",
		"%F0%9F%A6%8A":       "🦊",
		"%22quoted%22%27":    `"quoted"'`,
		"user%40example.com": "user@example.com",
		"..%2F..":            "../..",
		"a%3Fb%23c":          "a?b#c",
		"%E2%80%8B":          "\u200b",
	} {
		answer, text := do(t, "POST", url+"/v1/things/"+encoded, `{"name":"a"}`)
		var got thing
		if err := json.Unmarshal([]byte(text), &got); err != nil || answer.StatusCode != 200 || len(got.Tags) != 1 || got.Tags[0] != want {
			t.Errorf("%s: %s, want %q", encoded, text, want)
		}
	}
}

func TestPayloadKeepsItsNumbers(t *testing.T) {
	url := start(t, Options{}, addThings)
	const payload = `{"big":12345678901234567890123,"exact":0.1000000000000000055}`
	if _, text := do(t, "POST", url+"/v1/things/a", `{"name":"a","payload":`+payload+`}`); !strings.Contains(text, payload) {
		t.Error(text)
	}
}

func TestAuthorization(t *testing.T) {
	identities := map[string]auth.Identity{
		"c": {Name: "c", Role: auth.ClientRole}, "v": {Name: "v", Role: auth.ViewerRole}, "e": {Name: "e", Role: auth.EditorRole}, "a": {Name: "a", Role: auth.AdminRole},
	}
	url := start(t, Options{Authenticate: func(_ context.Context, token string) (auth.Identity, error) {
		if token == "away" {
			return auth.Identity{}, &net.OpError{Err: errors.New("connection refused")}
		}
		identity, ok := identities[token]
		if !ok {
			return auth.Identity{}, model.Errorf(model.Unauthenticated, "the token is not known")
		}
		return identity, nil
	}}, func(s *Server) {
		for _, p := range []auth.Permission{auth.Open, auth.Resolve, auth.Read, auth.Document, auth.Write, auth.Import, auth.Administer} {
			s.Route(p, http.MethodGet, "/"+string(p), func(c echo.Context) error {
				return c.String(200, Caller(c.Request().Context()).Name)
			})
		}
	})
	for path, tokens := range map[string]string{
		"/open": "-cvea", "/resolve": "cvea", "/read": "vea", "/document": "vea", "/write": "ea", "/import": "ea", "/administer": "a",
		"/healthz": "-cvea", "/readyz": "-cvea", "/openapi.json": "vea", "/docs": "vea", "/docs/swagger-ui.css": "vea",
	} {
		for _, token := range []string{"-", "c", "v", "e", "a"} {
			want := http.StatusForbidden
			switch {
			case strings.Contains(tokens, token):
				want = http.StatusOK
			case token == "-":
				want = http.StatusUnauthorized
			}
			var header []string
			if token != "-" {
				header = []string{"Authorization", "bearer " + token}
			}
			answer, text := do(t, "GET", url+path, "", header...)
			if answer.StatusCode != want {
				t.Errorf("%s with %s: %s", path, token, answer.Status)
			}
			if challenged := slices.Contains(answer.Header.Values("WWW-Authenticate"), "Bearer"); challenged != (want == 401) {
				t.Errorf("%s with %s: WWW-Authenticate %q", path, token, answer.Header.Values("WWW-Authenticate"))
			}
			if want == 200 && path[1:] != "open" && strings.HasPrefix("/resolve/read/write", path) && text != token {
				t.Errorf("%s with %s: caller %q", path, token, text)
			}
		}
	}
	for _, header := range []string{"Bearer", "Bearer ", "Bearer x", "Basic eDph", "a", "Bearer a b"} {
		if answer, _ := do(t, "GET", url+"/read", "", "Authorization", header); answer.StatusCode != 401 {
			t.Errorf("%q: %s", header, answer.Status)
		}
	}
	// If the token cannot be checked, the answer does not call it invalid.
	answer, _ := do(t, "GET", url+"/docs", "", "Authorization", "Bearer away")
	if answer.StatusCode != 503 || answer.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("nobody knows: %s, %v", answer.Status, answer.Header)
	}
	// A browser can send the token as a password, to pages only, and is asked for
	// it.
	if answer, _ := do(t, "GET", url+"/docs", ""); !strings.Contains(strings.Join(answer.Header.Values("WWW-Authenticate"), " "), "Basic realm=") {
		t.Errorf("docs: %q", answer.Header.Values("WWW-Authenticate"))
	}
	if answer, _ := do(t, "GET", url+"/docs", "", "Authorization", "Basic eDph"); answer.StatusCode != 200 {
		t.Errorf("docs with a password: %s", answer.Status)
	}
}

// The log names the caller, also of rejected requests.
func TestAccessLogTellsTheCaller(t *testing.T) {
	var log logText
	known := func(context.Context, string) (auth.Identity, error) {
		return auth.Identity{Name: "ci", Role: auth.ClientRole}, nil
	}
	server := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Registry: NewRegistry("test"), Authenticate: known})
	server.Route(auth.Read, http.MethodGet, "/read", func(c echo.Context) error { return c.NoContent(200) })
	request := httptest.NewRequest(http.MethodGet, "/read", nil)
	request.Header.Set("Authorization", "Bearer x")
	server.ServeHTTP(httptest.NewRecorder(), request)
	if !strings.Contains(log.String(), "status=403") || !strings.Contains(log.String(), "caller=ci") {
		t.Error(log.String())
	}
}

func TestServerWithAnUndeclaredRouteDoesNotStart(t *testing.T) {
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test")})
	s.echo.GET("/forgotten", func(echo.Context) error { return nil })
	err := s.Serve(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "GET /forgotten declares no permission") {
		t.Error(err)
	}
}

func TestRequestsAreCountedByRoute(t *testing.T) {
	var server *Server
	url := start(t, Options{ServeMetrics: true}, func(s *Server) { addThings(s); server = s })
	for range 3 {
		do(t, "POST", url+"/v1/things/a", `{"name":"a"}`)
	}
	do(t, "POST", url+"/v1/things/a", `{}`)
	do(t, "POST", url+"/v1/no/such/1", ``)
	do(t, "GET", url+"/v1/no/such/2", ``)
	do(t, "FOO", url+"/v1/no/such/3", ``)
	do(t, "BAR", url+"/v1/things/a", ``)
	if got := testutil.CollectAndCount(server.metrics.duration); got != 5 {
		t.Errorf("%d series", got)
	}
	_, text := do(t, "GET", url+"/metrics", "")
	for _, line := range []string{
		`flaggery_http_request_duration_seconds_count{method="POST",route="/v1/things/:id",status="2xx"} 3`,
		`flaggery_http_request_duration_seconds_count{method="POST",route="/v1/things/:id",status="4xx"} 1`,
		`flaggery_http_request_duration_seconds_count{method="POST",route="unmatched",status="4xx"} 1`,
		`flaggery_http_request_duration_seconds_count{method="GET",route="unmatched",status="4xx"} 1`,
		`flaggery_http_request_duration_seconds_count{method="other",route="unmatched",status="4xx"} 2`,
		`flaggery_build_info{`,
		`go_goroutines`,
		`process_open_fds`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %s", line)
		}
	}
}

func TestMetricsAreServedOnlyWhereEnabled(t *testing.T) {
	url := start(t, Options{}, func(*Server) {})
	if answer, _ := do(t, "GET", url+"/metrics", ""); answer.StatusCode != 404 {
		t.Error(answer.Status)
	}
}

func TestDocumentation(t *testing.T) {
	url := start(t, Options{Title: "Things", Version: "1.2.3"}, addThings)
	_, text := do(t, "GET", url+"/openapi.json", "")
	var document struct {
		OpenAPI    string
		Paths      map[string]map[string]any
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	if document.OpenAPI != "3.1.0" || document.Paths["/v1/things/{id}"]["post"] == nil {
		t.Error(text)
	}
	if _, ok := document.Components.Schemas["Problem"].Properties["code"]; !ok {
		t.Errorf("problems have no code: %s", text)
	}
	_, page := do(t, "GET", url+"/docs", "")
	if !strings.Contains(page, "/openapi.json") || strings.Contains(strings.ReplaceAll(page, `"https://"`, ""), "https://") ||
		strings.Contains(page, "//cdn") || strings.Contains(page, `src="//`) {
		t.Error(page)
	}
	for _, asset := range []string{"swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "favicon-32x32.png"} {
		if !strings.Contains(page, "/docs/"+asset) {
			t.Errorf("the page does not use %s", asset)
		}
		if answer, body := do(t, "GET", url+"/docs/"+asset, ""); answer.StatusCode != 200 || body == "" {
			t.Errorf("%s: %s", asset, answer.Status)
		}
	}
}

func TestRequestID(t *testing.T) {
	url := start(t, Options{}, addThings)
	for given, kept := range map[string]bool{"abc-1.2_3": true, "a b": false, strings.Repeat("a", 65): false, `a"b`: false} {
		answer, _ := do(t, "GET", url+"/healthz", "", "X-Request-Id", given)
		if got := answer.Header.Get("X-Request-Id"); got == "" || (got == given) != kept {
			t.Errorf("%q became %q", given, got)
		}
	}
}

func TestReadiness(t *testing.T) {
	var failure error
	url := start(t, Options{Ready: func(ctx context.Context) error {
		if _, limited := ctx.Deadline(); !limited {
			t.Error("the check may take for ever")
		}
		return failure
	}}, func(*Server) {})
	if answer, _ := do(t, "GET", url+"/readyz", ""); answer.StatusCode != 200 {
		t.Error(answer.Status)
	}
	failure = errors.New("hunter2")
	answer, text := do(t, "GET", url+"/readyz", "")
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" || strings.Contains(text, "hunter2") {
		t.Error(answer.Status, text)
	}
	if answer, _ := do(t, "GET", url+"/healthz", ""); answer.StatusCode != 200 {
		t.Error(answer.Status)
	}
}

func TestStopLetsRequestsEnd(t *testing.T) {
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test")})
	begun, finish := make(chan struct{}), make(chan struct{})
	s.Route(auth.Open, http.MethodGet, "/slow", func(c echo.Context) error {
		close(begun)
		<-finish
		return c.String(200, "done")
	})
	l, err := s.Listen("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, l) }()
	answered := make(chan string)
	go func() {
		_, text := do(t, "GET", "http://"+l.Addr().String()+"/slow", "")
		answered <- text
	}()
	<-begun
	stop()
	close(finish)
	if text := <-answered; text != "done" {
		t.Error(text)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if !s.draining.Load() {
		t.Error("was ready to the end")
	}
}

// Clients are asked to close their kept-alive connections before the server closes
// any, and requests in the meantime are served.
func TestStopAnnouncesTheDrain(t *testing.T) {
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Registry: NewRegistry("test")})
	l, err := s.Listen("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, l) }()
	client := http.Client{Transport: &http.Transport{}}
	get := func() (closed bool) {
		t.Helper()
		answer, err := client.Get("http://" + l.Addr().String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body) // otherwise the connection is not reused
		_ = answer.Body.Close()
		return answer.Close
	}
	if get() {
		t.Error("a connection is closed before the end")
	}
	inFront, drained := make(chan context.Context), make(chan struct{})
	s.BeforeShutdown(func(ctx context.Context) {
		inFront <- ctx
		<-drained
	})
	stop()
	for !s.draining.Load() {
	}
	for range 2 { // the existing connection, and a new one
		if !get() {
			t.Error("a client is not asked to close its connection")
		}
	}
	if ctx := <-inFront; ctx.Err() != nil {
		t.Error("what is in front has no time to drain")
	} else if _, bounded := ctx.Deadline(); !bounded {
		t.Error("what is in front may drain for ever")
	}
	if !get() {
		t.Error("a connection stays open while what is in front drains")
	}
	close(drained)
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestListenAddress(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{"": ":80", "::1": "[::1]:80", "[::1]": "[::1]:80", "127.0.0.1": "127.0.0.1:80", "localhost": "localhost:80"} {
		if got := listenAddress(host, 80); got != want {
			t.Errorf("%q: got %s, want %s", host, got, want)
		}
	}
}
