package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

const testToken = "a-token-for-tests-and-nothing-else"

// client calls one admin, as its only administrator unless told otherwise.
type client struct {
	t     *testing.T
	url   string
	token string
}

// start runs an admin on a database of its own until the test ends.
func start(t *testing.T) client {
	t.Helper()
	return startOn(t, pgtest.Open(t))
}

func startOn(t *testing.T, dbURL string, changes ...func(*Config)) client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	addr, ended := make(chan net.Addr, 1), make(chan error, 1)
	config := Config{
		DBURL: command.DatabaseURL(dbURL), Host: "127.0.0.1", Prometheus: true, Token: testToken,
		Version: "test", Logger: slog.New(slog.DiscardHandler),
		Ready: func(a net.Addr) { addr <- a },
	}
	for _, change := range changes {
		change(&config)
	}
	go func() { ended <- Run(ctx, config) }()
	select {
	case err := <-ended:
		cancel()
		t.Fatal(err)
		return client{}
	case a := <-addr:
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return client{t, "http://" + a.String(), testToken}
	}
}

// calls has a route for each row of the table of calls.
var calls = func() *http.ServeMux {
	mux := http.NewServeMux()
	for call := range api.AdminCalls {
		mux.Handle(call, http.NotFoundHandler())
	}
	return mux
}()

// httpClient lets a request that expects 100 Continue wait for it.
var httpClient = func() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ExpectContinueTimeout = time.Minute
	return &http.Client{Transport: transport}
}()

// answer is what came back.
type answer struct {
	t      *testing.T
	call   string
	row    string // of the table of calls, "" for none
	Status int
	Header http.Header
	Body   []byte
}

// do sends body (nil for none, a string or bytes as they are, else as JSON);
// header is pairs of names and values.
func (c client) do(method, path string, body any, header ...string) answer {
	c.t.Helper()
	var content io.Reader
	media := api.MediaJSON
	switch b := body.(type) {
	case nil:
	case string:
		content = bytes.NewReader([]byte(b))
		if strings.HasPrefix(path, "/v1/state") {
			media = api.MediaYAML
		}
	case io.Reader:
		content = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, content)
	if err != nil {
		c.t.Fatal(err)
	}
	if content != nil {
		request.Header.Set("Content-Type", media)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := httpClient.Do(request)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	_, row := calls.Handler(request)
	a := answer{c.t, method + " " + path, row, response.StatusCode, response.Header, text}
	a.isPromised()
	return a
}

// general are the codes that are in no row of the table of calls.
var general = []model.Code{
	"", model.ValidationFailed, model.NotReady, model.Unauthenticated, model.Forbidden, model.RateLimited, model.BodyTooLarge, model.UnsupportedMediaType, model.PreconditionFailed,
}

// isPromised checks that the code of a problem is one that the call may have.
func (a answer) isPromised() {
	a.t.Helper()
	if a.Header.Get("Content-Type") != api.MediaProblem || a.row == "" {
		return
	}
	var p api.Problem
	if a.into(&p); !slices.Contains(general, p.Code) && !slices.Contains(api.AdminCalls[a.row], p.Code) {
		a.t.Errorf("%.80s: %s is not in the table of calls", a.call, p.Code)
	}
}

// must is do for calls that succeed.
func (c client) must(method, path string, body any, header ...string) answer {
	c.t.Helper()
	a := c.do(method, path, body, header...)
	if a.Status >= 300 {
		c.t.Fatalf("%s: %d %s", a.call, a.Status, a.Body)
	}
	return a
}

// into decodes the answer strictly: a field that the type does not have fails.
func (a answer) into(value any) {
	a.t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(value); err != nil {
		a.t.Fatalf("%s: %v: %s", a.call, err, a.Body)
	}
}

// is checks status and JSON, whatever the order of its fields.
func (a answer) is(status int, want string) {
	a.t.Helper()
	if a.Status != status {
		a.t.Errorf("%s: status %d, not %d: %s", a.call, a.Status, status, a.Body)
		return
	}
	if want == "" {
		if len(a.Body) > 0 {
			a.t.Errorf("%s: has a body: %s", a.call, a.Body)
		}
		return
	}
	if diff := cmp.Diff(decoded(a.t, want), decoded(a.t, string(a.Body))); diff != "" {
		a.t.Errorf("%s (-want +got):\n%s", a.call, diff)
	}
}

func decoded(t *testing.T, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}
