package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/api"
)

// operation is one call of a service as described by its OpenAPI document. The
// tests of readings go through the document, so that they cover routes that are
// added later.
type operation struct {
	*documented
	call   string // "GET /v1/things/{id}"
	method string
	path   string
	query  url.Values // the required parameters
	body   string
	media  string // of the body, "" for none
}

type documented struct {
	url, token string
	strict     bool // rejects undeclared parameters
	Paths      map[string]map[string]struct {
		Parameters  []openAPIParameter
		RequestBody struct {
			Content map[string]struct{ Schema schema }
		}
		Responses map[string]struct{ Content, Headers map[string]any }
	}
	Components struct{ Schemas map[string]schema }
}

type openAPIParameter struct {
	Name, In                  string
	Required, AllowEmptyValue bool
	Schema                    schema
	Example                   any
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Format     string
	Enum       []any
	Examples   []any
	Minimum    int64
	Properties map[string]schema
	Required   []string
}

// Values of parameters, and bodies that the document's examples do not provide.
// Everything else follows from the document.
var (
	seeded = map[string]string{
		"id": "seeded", "subject_id": "seeded", "feature": "seeded", "features": "seeded,plain", "key": "seeded", "variant": "B",
		"group": "seeded", "test": "seeded", "absent": "delete",
	}
	seededAt = map[string]string{
		"POST /v1/features/{feature}/rollout":              "/v1/features/plain/rollout",
		"POST /v1/features/{feature}/variants":             "/v1/features/empty/variants",
		"DELETE /v1/features/{feature}":                    "/v1/features/empty",
		"DELETE /v1/features/{feature}/variants/{variant}": "/v1/features/plain/variants/B",
		"POST /v1/abtests/{test}/stop":                     "/v1/abtests/live/stop",
		"DELETE /v1/tokens/{id}":                           "/v1/tokens/1",
	}
	seededBodies = map[string]string{
		"POST /v1/abtests":                    testOf("new", "2100", "2101", "plain"),
		"POST /v1/import/subjects":            `{"id": "seeded"}`,
		"POST /v1/subjects/delete":            `{"ids": ["seeded"]}`,
		"POST /v1/groups/{group}/subjects":    `{"ids": ["seeded"]}`,
		"PUT /v1/state":                       `{"version": 1}`,
		"POST /v1/subjects/flags":             `{"subject_ids": ["seeded"]}`,
		"POST /ofrep/v1/evaluate/flags":       `{"context": {"targetingKey": "seeded"}}`,
		"POST /ofrep/v1/evaluate/flags/{key}": `{"context": {"targetingKey": "seeded"}}`,
	}
)

func testOf(name, startYear, endYear, feature string) string {
	return fmt.Sprintf(`{"name": %q, "start": "%s-01-01T00:00:00Z", "end": "%s-01-01T00:00:00Z", "groups": [
		{"name": "a", "variants": {%q: "A"}}, {"name": "b", "variants": {%q: "B"}}]}`, name, startYear, endYear, feature, feature)
}

// services are an admin and an edge with a resource of each kind.
type services struct {
	*Fixture
	admin, edge *documented
	clientToken string
	revision    string
}

func startServices(t *testing.T) *services {
	t.Helper()
	s := &services{Fixture: newFixture(t)}
	s.admin = &documented{url: must[string](t)(s.StartAdmin(func(c *admin.Config) { c.Prometheus = true })), token: Token, strict: true}
	edgeURL := must[string](t)(s.StartEdge("edge", "reject", sharing))
	send := func(method, path, body string) answer {
		t.Helper()
		a := (&operation{documented: s.admin, method: method, media: api.MediaJSON, path: path, body: body}).do(t, nil)
		if a.status >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
		}
		return a
	}
	send("POST", "/v1/buckets", `{"amount": 4}`)
	send("POST", "/v1/subjects", `{"id": "seeded"}`)
	send("POST", "/v1/subjects", `{"id": "spare"}`)
	for _, feature := range []string{"seeded", "plain", "tested", "empty"} {
		send("POST", "/v1/features", `{"name": "`+feature+`"}`)
		if feature != "empty" {
			send("POST", "/v1/features/"+feature+"/variants", `{"name": "A", "make_default": true}`)
			send("POST", "/v1/features/"+feature+"/variants", `{"name": "B"}`)
		}
	}
	send("POST", "/v1/features/seeded/rollout", `{"variant": "B"}`)
	send("POST", "/v1/abtests", testOf("live", "2020", "2100", "tested"))
	send("POST", "/v1/abtests", testOf("seeded", "2100", "2101", "tested"))
	send("POST", "/v1/groups", `{"name": "seeded"}`)
	send("PUT", "/v1/groups/seeded/subjects/seeded", "")
	send("PUT", "/v1/groups/seeded/overrides/seeded", `{"variant": "B"}`)
	var token api.Token
	if err := json.Unmarshal([]byte(send("POST", "/v1/tokens", `{"name": "page", "role": "client"}`).body), &token); err != nil {
		t.Fatal(err)
	}
	s.clientToken = token.Token
	s.revision = send("PATCH", "/v1/features/seeded?wait=30s", `{"description": "to revert"}`).header.Get(api.HeaderRevision)
	s.edge = &documented{url: edgeURL}
	for _, d := range []*documented{s.admin, s.edge} {
		a := (&operation{documented: d, method: "GET", path: "/openapi.json"}).do(t, nil)
		if err := json.Unmarshal([]byte(a.body), d); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// operations are those of a service, in the order of their calls.
func (s *services) operations(t *testing.T, d *documented) (all []*operation) {
	t.Helper()
	for path, item := range d.Paths {
		for method, op := range item {
			o := &operation{documented: d, method: strings.ToUpper(method), query: url.Values{}}
			o.call = o.method + " " + path
			o.path = path
			for _, p := range op.Parameters {
				switch {
				case p.In == "path" && p.Name == "revision":
					o.path = strings.ReplaceAll(o.path, "{revision}", s.revision)
				case p.In == "path":
					o.path = strings.ReplaceAll(o.path, "{"+p.Name+"}", p.value())
				case p.In == "query" && (p.Required || p.Name == "at" || p.Name == "absent"):
					// Without at, the answer depends on the clock; with absent, an import deletes one.
					o.query.Set(p.Name, p.value())
				}
			}
			o.path = cmp.Or(seededAt[o.call], o.path)
			for _, media := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
				o.media = media
				o.body = cmp.Or(seededBodies[o.call], o.object(op.RequestBody.Content[media].Schema))
				break
			}
			if o.writes() {
				o.query.Set("dry_run", "true") // so that all start from the same state
			}
			all = append(all, o)
		}
	}
	if len(all) < 5 {
		t.Fatalf("%s documents %d operations", d.url, len(all))
	}
	slices.SortFunc(all, func(a, b *operation) int { return cmp.Compare(a.call, b.call) })
	return all
}

func (o *operation) parameters(in string) (all []openAPIParameter) {
	_, path, _ := strings.Cut(o.call, " ")
	for _, p := range o.Paths[path][strings.ToLower(o.method)].Parameters {
		if p.In == in {
			all = append(all, p)
		}
	}
	return all
}

func (o *operation) declares(in, name string) bool {
	return slices.ContainsFunc(o.parameters(in), func(p openAPIParameter) bool { return p.Name == name })
}

func (o *operation) writes() bool { return o.declares("query", "dry_run") }

// streams reports whether the length of an answer is unknown before it is written.
func (o *operation) streams() bool {
	_, path, _ := strings.Cut(o.call, " ")
	for media := range o.Paths[path][strings.ToLower(o.method)].Responses["200"].Content {
		if media != api.MediaJSON {
			return true
		}
	}
	return false
}

// exports reports whether the answer can be NDJSON.
func (o *operation) exports() bool {
	_, path, _ := strings.Cut(o.call, " ")
	return o.Paths[path][strings.ToLower(o.method)].Responses["200"].Content[api.MediaNDJSON] != nil
}

// value is a valid value of a parameter.
func (p openAPIParameter) value() string {
	if value, known := seeded[p.Name]; known {
		return value
	}
	switch {
	case p.Example != nil:
		return fmt.Sprint(p.Example)
	case p.Schema.Format == "date-time":
		return "2126-01-01T00:00:00Z"
	case p.Schema.Type == "boolean":
		return "true"
	}
	return strings.Trim(p.Schema.value(), `"`)
}

// value is valid JSON of a schema.
func (s schema) value() string {
	for _, given := range [][]any{s.Examples, s.Enum} {
		if len(given) > 0 {
			text, _ := json.Marshal(given[0]) // it comes out of JSON
			return string(text)
		}
	}
	switch s.Type {
	case "integer", "number":
		return fmt.Sprint(max(s.Minimum, 1))
	case "boolean":
		return "true"
	case "array":
		return "[]"
	case "object":
		return "{}"
	case "string":
		return `"x"`
	}
	return "null"
}

// resolve follows a reference.
func (d *documented) resolve(s schema) schema {
	if s.Ref != "" {
		return d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	return s
}

// object is a body: what a schema requires, or one of its properties.
func (d *documented) object(s schema) string {
	s = d.resolve(s)
	names := slices.Clone(s.Required)
	if len(names) == 0 && len(s.Properties) > 0 {
		names = slices.Sorted(maps.Keys(s.Properties))[:1]
	}
	var members []string
	for _, name := range names {
		members = append(members, fmt.Sprintf("%q: %s", name, s.Properties[name].value()))
	}
	return "{" + strings.Join(members, ", ") + "}"
}

// answer is an answer with its body.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request after change has modified it.
func (o *operation) do(t *testing.T, change func(r *http.Request)) answer {
	t.Helper()
	target := o.url + o.path
	if len(o.query) > 0 {
		target += "?" + o.query.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), o.method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.token != "" {
		r.Header.Set("Authorization", "Bearer "+o.token)
	}
	if o.media != "" {
		r.Header.Set("Content-Type", o.media)
		setBody(r, o.body)
	}
	if change != nil {
		change(r)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Type") == api.MediaEvents {
		return answer{response.StatusCode, response.Header, ""} // which has no end
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func setBody(r *http.Request, text string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
}

// addQuery appends raw text to the query.
func addQuery(text string) func(*http.Request) {
	return func(r *http.Request) { r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&"+text, "&") }
}

// setQuery sets a parameter, in place of a required one.
func setQuery(name, text string) func(*http.Request) {
	return func(r *http.Request) {
		query := r.URL.Query()
		query.Del(name)
		r.URL.RawQuery = query.Encode()
		addQuery(text)(r)
	}
}

func setHeader(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = values }
}

// is checks the status and, if a code is given, that the answer is a problem.
func (a answer) is(t *testing.T, what string, status int, code api.Code, location string) {
	t.Helper()
	var p api.Problem
	if code != "" {
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.header.Get("Content-Type") != api.MediaProblem {
			t.Errorf("%s is answered %d with %s %s", what, a.status, a.header.Get("Content-Type"), a.body)
			return
		}
	}
	found := location == "" || slices.ContainsFunc(p.Errors, func(e api.FieldError) bool { return e.Location == location })
	if a.status != status || p.Code != code || !found {
		t.Errorf("%s is answered %d %s, want %d %s at %q", what, a.status, a.body, status, code, location)
	}
}

// eachOperation runs a test for each call of both services.
func eachOperation(t *testing.T, test func(t *testing.T, s *services, o *operation)) {
	t.Helper()
	s := startServices(t)
	for name, d := range map[string]*documented{"admin": s.admin, "edge": s.edge} {
		for _, o := range s.operations(t, d) {
			t.Run(name+" "+o.call, func(t *testing.T) { test(t, s, o) })
		}
	}
}

// Unchanged requests succeed, so the changes below are their only faults.
func TestOperationsSucceed(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		if a := o.do(t, nil); a.status >= 300 {
			t.Errorf("with %s %s: %d %s", o.path, o.body, a.status, a.body)
		}
	})
}

// TestETagsAreDocumented makes the writes as well, each once.
func TestETagsAreDocumented(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	for _, d := range []*documented{s.edge, s.admin} {
		refused := 0
		// One after the other, so that those come late that take from others what they need.
		order := []string{"GET", "PATCH", "PUT", "POST", "DELETE"}
		all := s.operations(t, d)
		slices.SortStableFunc(all, func(a, b *operation) int {
			return cmp.Compare(slices.Index(order, a.method), slices.Index(order, b.method))
		})
		for _, o := range all {
			o.query.Del("dry_run")
			a := o.do(t, nil)
			if a.status >= 300 {
				refused++
				t.Logf("%s is not checked: %s", o.call, a.body)
				continue
			}
			_, path, _ := strings.Cut(o.call, " ")
			responses, tag := d.Paths[path][strings.ToLower(o.method)].Responses, a.header.Get("ETag")
			if _, documented := responses[strconv.Itoa(a.status)].Headers["ETag"]; documented != (tag != "") {
				t.Errorf("%s has ETag %q, and that it has one is documented: %v", o.call, tag, documented)
			}
			if _, conditional := responses["304"]; conditional {
				if again := o.do(t, setHeader("If-None-Match", tag)); again.status != http.StatusNotModified || again.header.Get("ETag") != tag {
					t.Errorf("%s answers %d with ETag %q to If-None-Match: %s", o.call, again.status, again.header.Get("ETag"), tag)
				}
			}
		}
		if refused > len(all)/4 {
			t.Errorf("%d of %d operations are not checked", refused, len(all))
		}
	}
}
