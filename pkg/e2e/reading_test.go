package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/edge"
)

// operation is one call of a service as its OpenAPI document describes it: the tests
// below go through the document, so that they cover routes that are added later.
type operation struct {
	*documented
	call   string // "GET /v1/things/{id}"
	method string
	path   string
	query  url.Values // what it requires
	body   string
	media  string // of the body, "" for none
}

type documented struct {
	url, token string
	strict     bool // refuses parameters that a call does not declare
	Paths      map[string]map[string]struct {
		Parameters  []openAPIParameter
		RequestBody struct {
			Content map[string]struct{ Schema schema }
		}
		Responses map[string]struct{ Content map[string]any }
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

// What parameters are in these tests, and bodies that examples in the document do not
// make. All else follows from the document.
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
		"POST /v1/subjects/flags":             `{"subject_ids": ["seeded"]}`,
		"POST /ofrep/v1/evaluate/flags":       `{"context": {"targetingKey": "seeded"}}`,
		"POST /ofrep/v1/evaluate/flags/{key}": `{"context": {"targetingKey": "seeded"}}`,
	}
)

func testOf(name, startYear, endYear, feature string) string {
	return fmt.Sprintf(`{"name": %q, "start": "%s-01-01T00:00:00Z", "end": "%s-01-01T00:00:00Z", "groups": [
		{"name": "a", "variants": {%q: "A"}}, {"name": "b", "variants": {%q: "B"}}]}`, name, startYear, endYear, feature, feature)
}

// services are an admin and an edge that have an object of each kind.
type services struct {
	*World
	admin, edge *documented
	clientToken string
	revision    string
}

func startServices(t *testing.T) *services {
	t.Helper()
	s := &services{World: newWorld(t)}
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

const page = "https://shop.example"

func sharing(c *edge.Config) { _ = c.Origins.Set(page) }

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
					// Without at the clock is in the answer; with absent an import deletes one.
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

// streams reports whether an answer has no length before it is written.
func (o *operation) streams() bool {
	_, path, _ := strings.Cut(o.call, " ")
	for media := range o.Paths[path][strings.ToLower(o.method)].Responses["200"].Content {
		if media != api.MediaJSON {
			return true
		}
	}
	return false
}

// value is one that a parameter may have.
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

// value is JSON that fits a schema.
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

// answer is what came back, with the body read.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request, which change may have made another one.
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
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func setBody(r *http.Request, text string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
}

// addQuery adds to the query as it is written.
func addQuery(text string) func(*http.Request) {
	return func(r *http.Request) { r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&"+text, "&") }
}

// setQuery takes one parameter for the required one.
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

// What is changed below is the only fault of the requests.
func TestOperationsSucceed(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		if a := o.do(t, nil); a.status >= 300 {
			t.Errorf("with %s %s: %d %s", o.path, o.body, a.status, a.body)
		}
	})
}

func TestParametersHaveOneReading(t *testing.T) {
	t.Parallel()
	freeTexts := []string{"comment", "prefix", "query", "q"}
	eachOperation(t, func(t *testing.T, s *services, o *operation) {
		for _, p := range o.parameters("query") {
			at, assignment := "query."+p.Name, p.Name+"="+url.QueryEscape(p.value())
			if p.Schema.Type == "array" {
				twice := p.Name + "=" + strings.ReplaceAll(p.value(), ",", "&"+p.Name+"=")
				o.do(t, setQuery(p.Name, twice)).is(t, twice, 200, "", "")
			} else {
				o.do(t, setQuery(p.Name, assignment+"&"+assignment)).is(t, p.Name+" twice", 422, api.ValidationFailed, at)
			}
			mayBeEmpty := p.Schema.Type == "boolean" || slices.Contains(freeTexts, p.Name)
			if mayBeEmpty != p.AllowEmptyValue {
				t.Errorf("%s may be empty: %t, is documented: %t", p.Name, mayBeEmpty, p.AllowEmptyValue)
			}
			for _, empty := range []string{p.Name, p.Name + "="} {
				switch a := o.do(t, setQuery(p.Name, empty)); {
				case !mayBeEmpty:
					a.is(t, empty, 422, api.ValidationFailed, at)
				case a.status >= 300:
					t.Errorf("%s is answered %d %s", empty, a.status, a.body)
				}
			}
		}
		for _, p := range o.parameters("query") {
			var refused []string
			switch p.Schema.Type {
			case "integer":
				refused = []string{"01", "%2B1", "1.5", "x"}
				o.do(t, setQuery(p.Name, p.Name+"=1.0")).is(t, p.Name+"=1.0", 200, "", "")
			case "boolean":
				refused = []string{"1", "0", "TRUE", "t", "yes"}
			}
			for _, value := range refused {
				o.do(t, setQuery(p.Name, p.Name+"="+value)).is(t, p.Name+"="+value, 422, api.ValidationFailed, "query."+p.Name)
			}
		}
		for _, p := range o.parameters("path") {
			if p.Schema.Type != "integer" {
				continue
			}
			for _, prefix := range []string{"0", "+"} {
				another := *o
				another.path = lastInteger.ReplaceAllString(o.path, "/"+prefix+"$1")
				another.do(t, nil).is(t, another.path, 422, api.ValidationFailed, "path."+p.Name)
			}
		}
		a := o.do(t, addQuery("undeclared=1"))
		if o.strict {
			a.is(t, "another parameter", 422, api.ValidationFailed, "query.undeclared")
		} else {
			a.is(t, "another parameter", 200, "", "")
		}
		if !o.writes() {
			return
		}
		revision := s.currentRevision(t)
		for _, dryRun := range []string{"dry_run", "dry_run="} {
			a := o.do(t, setQuery("dry_run", dryRun))
			a.is(t, dryRun, 200, "", "")
			if now := s.currentRevision(t); now != revision || !strings.Contains(a.body, `"dry_run":true`) {
				t.Errorf("%s: revision %s became %s, answered %s", dryRun, revision, now, a.body)
			}
		}
	})
}

// lastInteger is a number that is all of a segment.
var lastInteger = regexp.MustCompile(`/(\d+)`)

func (s *services) currentRevision(t *testing.T) string {
	t.Helper()
	return (&operation{documented: s.admin, method: "GET", path: "/v1/buckets"}).do(t, nil).header.Get(api.HeaderRevision)
}

func TestHeadersHaveOneReading(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		for name, value := range map[string]string{
			"Authorization": "Bearer " + o.token, "Content-Type": api.MediaJSON, "Last-Event-Id": "1",
		} {
			o.do(t, setHeader(name, value, value)).is(t, "two "+name, 422, api.ValidationFailed, "header."+name)
		}
		if !o.declares("header", "If-Match") {
			return
		}
		for _, tags := range [][]string{{""}, {" "}, {","}, {"", ""}} {
			o.do(t, setHeader("If-Match", tags...)).is(t, fmt.Sprintf("If-Match %q", tags), 422, api.ValidationFailed, "header.If-Match")
		}
		o.do(t, setHeader("If-Match", `"998"`, `"999"`)).is(t, "two If-Match", 412, api.PreconditionFailed, "")
		o.do(t, setHeader("If-Match", `"998"`, `999`)).is(t, "a second If-Match that is no ETag", 422, api.ValidationFailed, "header.If-Match")
	})
}

// HEAD of each GET, and of what the document does not show.
func TestHeadIsGetWithoutBody(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	for name, d := range map[string]*documented{"admin": s.admin, "edge": s.edge} {
		all := s.operations(t, d)
		for _, path := range []string{"/healthz", "/readyz", "/openapi.json", "/docs", "/none"} {
			all = append(all, &operation{documented: d, call: "GET " + path, method: "GET", path: path})
		}
		for _, o := range all {
			if o.method != http.MethodGet {
				continue
			}
			t.Run(name+" "+o.call, func(t *testing.T) {
				variants := []func(*http.Request){nil, addQuery("limit=0")}
				if o.streams() {
					variants = append(variants, setHeader("Accept", api.MediaNDJSON))
				}
				for _, change := range variants {
					get := o.do(t, change)
					head := o.do(t, func(r *http.Request) {
						r.Method = http.MethodHead
						if change != nil {
							change(r)
						}
					})
					differ := []string{"Date", "X-Request-Id"}
					if get.header.Get("Content-Type") == api.MediaNDJSON || strings.Contains(get.body, `"last_seen"`) {
						differ = append(differ, "Content-Length") // it is not known yet, or a time of now has fewer digits
					}
					for _, name := range differ {
						get.header.Del(name)
						head.header.Del(name)
					}
					if head.status != get.status || head.body != "" || !maps.EqualFunc(head.header, get.header, slices.Equal) {
						t.Errorf("HEAD: %d %v %s, GET: %d %v", head.status, head.header, head.body, get.status, get.header)
					}
				}
			})
		}
	}
}

func TestPathsHaveOneReading(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		plain, encoded, joined := *o, *o, *o
		encoded.path = fmt.Sprintf("/%%%02x%s", o.path[1], o.path[2:])
		want, got := plain.do(t, nil), encoded.do(t, nil)
		if got.status != want.status {
			t.Errorf("%s: %d %s, want %d %s", encoded.path, got.status, got.body, want.status, want.body)
		}
		joined.path = "/" + strings.Replace(o.path[1:], "/", "%2F", 1)
		joined.do(t, nil).is(t, joined.path, 404, api.NotFound, "")
	})
}

func TestBodiesHaveOneReading(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		if o.media != api.MediaJSON {
			return
		}
		_, path, _ := strings.Cut(o.call, " ")
		body := o.resolve(o.Paths[path][strings.ToLower(o.method)].RequestBody.Content[o.media].Schema)
		ofrep := strings.HasPrefix(path, "/ofrep/")
		unfit := 422
		if ofrep {
			unfit = 400 // the protocol knows no other
		}
		send := func(text string) answer {
			t.Helper()
			return o.do(t, func(r *http.Request) { setBody(r, text) })
		}
		refuse := func(what, text string, status int) {
			t.Helper()
			a := send(text)
			if ofrep {
				if a.status != status || !strings.Contains(a.body, `"errorCode"`) {
					t.Errorf("%s is answered %d %s", what, a.status, a.body)
				}
				return
			}
			a.is(t, what, status, api.ValidationFailed, "")
		}
		want := o.do(t, nil).status
		take := func(what, text string) {
			t.Helper()
			send(text).is(t, what, want, "", "")
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(o.body), &members); err != nil {
			t.Fatal(err)
		}
		name := slices.Sorted(maps.Keys(members))[0]
		with := func(member, value string) string {
			changed := maps.Clone(members)
			changed[member] = json.RawMessage(value)
			text, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}

		refuse("a member twice", fmt.Sprintf(`{%q: %s, %s`, name, members[name], o.body[1:]), 400)
		refuse("half a character", `{"\ud800": 1, `+o.body[1:], 400)
		refuse("half of the body", o.body[:len(o.body)-1], 400)
		refuse("another case", strings.Replace(o.body, name, strings.ToUpper(name), 1), unfit)
		refuse("two bodies", o.body+" {}", unfit)
		take("a byte order mark", api.ByteOrderMark+o.body)
		for member, s := range body.Properties {
			switch s = o.resolve(s); s.Type {
			case "integer":
				take(member+" 1.0", strings.Replace(with(member, "123456789"), "123456789", max(s.value(), "1")+".0", 1))
			case nil: // a payload
				if ofrep {
					continue // has none
				}
				take(member+" 64 deep", with(member, strings.Repeat("[", 64)+strings.Repeat("]", 64)))
				refuse(member+" 65 deep", with(member, strings.Repeat("[", 65)+strings.Repeat("]", 65)), 422)
			}
		}
	})
}

// What the documents do not show.
func (s *services) pages() (all []*operation) {
	for path, services := range map[string][]*documented{
		"/healthz": {s.admin, s.edge}, "/readyz": {s.admin, s.edge}, "/openapi.json": {s.admin, s.edge}, "/docs": {s.admin, s.edge},
		"/metrics": {s.admin}, "/": {s.admin}, "/signin": {s.admin}, "/console.css": {s.admin}, "/auth/login": {s.admin}, "/auth/callback": {s.admin},
	} {
		for _, d := range services {
			all = append(all, &operation{documented: d, call: "GET " + path, method: "GET", path: path})
		}
	}
	return all
}

func TestPagesHaveOneReading(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	for _, o := range s.pages() {
		plain, another := o.do(t, nil), o.do(t, addQuery("undeclared=1"))
		if o.strict && o.path != "/auth/callback" { // providers add parameters of their own
			another.is(t, o.path, 422, api.ValidationFailed, "query.undeclared")
		} else if another.status != plain.status {
			t.Errorf("%s with another parameter is answered %d, else %d", o.path, another.status, plain.status)
		}
		if o.path != "/auth/callback" {
			o.do(t, func(r *http.Request) { setBody(r, "[]") }).is(t, o.path+" with a body", 422, api.ValidationFailed, "body")
		}
	}
	for path, status := range map[string]int{"/signin?next=/docs": 200, "/signin?next=": 200, "/signin?next=/&next=/docs": 422, "/metrics?name[]=up&name[]=go_info": 200} {
		if a := (&operation{documented: s.admin, method: "GET", path: path}).do(t, nil); a.status != status {
			t.Errorf("%s is answered %d %s", path, a.status, a.body)
		}
	}
}

// The form of an answer is the one that Accept prefers.
func TestAcceptHasOneReading(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		plain := o.do(t, nil).header.Get("Content-Type")
		for accept, want := range map[string]string{
			"*/*": plain, "text/html": plain, "json": plain, "application/problem+json": plain, "application/x-ndjson;q=0": plain, ",;": plain,
			"APPLICATION/X-NDJSON": api.MediaNDJSON, "application/json;q=0.5, application/x-ndjson": api.MediaNDJSON, "application/json;Q=0, application/*": api.MediaNDJSON,
		} {
			if want == api.MediaNDJSON && !o.streams() {
				want = plain
			}
			if a := o.do(t, setHeader("Accept", accept)); a.status >= 300 || a.header.Get("Content-Type") != want {
				t.Errorf("Accept: %s is answered %d %s, want %s", accept, a.status, a.header.Get("Content-Type"), want)
			}
		}
		if a := o.do(t, setHeader("Accept", "application/json;q=0", "application/x-ndjson")); o.streams() && a.header.Get("Content-Type") != api.MediaNDJSON {
			t.Errorf("two lines of Accept are answered %d %s", a.status, a.header.Get("Content-Type"))
		}
		if o.streams() && o.declares("query", "after") {
			for _, name := range []string{"limit", "after"} {
				a := o.do(t, func(r *http.Request) { setHeader("Accept", api.MediaNDJSON)(r); setQuery(name, name+"=1")(r) })
				a.is(t, name+" of an export", 422, api.ValidationFailed, "query."+name)
			}
		}
	})
}

// A body is what its Content-Type says, for every call alike; one that nobody would
// read is refused.
func TestBodiesAreWhatTheySay(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		success := o.do(t, nil).status
		if o.media == "" {
			for _, nothing := range []string{"", " ", "{}", " {}\r\n"} {
				o.do(t, func(r *http.Request) { setBody(r, nothing) }).is(t, fmt.Sprintf("the body %q", nothing), success, "", "")
				o.do(t, func(r *http.Request) { setBody(r, nothing); r.ContentLength = -1 }).is(t, fmt.Sprintf("the body %q in chunks", nothing), success, "", "")
			}
			for _, something := range []string{`{"dry_run": true}`, `null`, `[]`, `{`, "{}" + strings.Repeat(" ", 1<<10) + "1"} {
				o.do(t, func(r *http.Request) { setBody(r, something) }).is(t, "a body", 422, api.ValidationFailed, "body")
				o.do(t, func(r *http.Request) { setBody(r, something); r.ContentLength = -1 }).is(t, "a body in chunks", 422, api.ValidationFailed, "body")
			}
			return
		}
		named := func(values ...string) answer {
			t.Helper()
			return o.do(t, func(r *http.Request) {
				if r.Header["Content-Type"] = values; values == nil {
					delete(r.Header, "Content-Type")
				}
			})
		}
		for _, as := range []string{"", "; charset=utf-8", ";charset=\"UTF-8\"", " ; version=1", ";"} {
			named(o.media+as).is(t, o.media+as, success, "", "")
		}
		named(strings.ToUpper(o.media)).is(t, "upper case", success, "", "")
		for _, other := range []string{"", " ", "text/plain", "application/x-www-form-urlencoded", "application/vnd.api+json", "application/jsonx", o.media + "; charset=iso-8859-1", o.media + ", " + o.media} {
			named(other).is(t, other, 415, api.UnsupportedMediaType, "")
		}
		if o.media == api.MediaJSON {
			named().is(t, "no Content-Type", success, "", "")
		} else {
			named().is(t, "no Content-Type", 415, api.UnsupportedMediaType, "")
		}
	})
}

// null is no way to leave a member out: it has a meaning, or it is refused.
func TestNullsHaveOneReading(t *testing.T) {
	t.Parallel()
	meant := []string{"payload"}
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		_, path, _ := strings.Cut(o.call, " ")
		if o.media != api.MediaJSON || strings.HasPrefix(path, "/ofrep/") { // which takes what clients send
			return
		}
		body := o.resolve(o.Paths[path][strings.ToLower(o.method)].RequestBody.Content[o.media].Schema)
		for name := range body.Properties {
			var members map[string]any
			if err := json.Unmarshal([]byte(o.body), &members); err != nil {
				t.Fatal(err)
			}
			members[name] = nil
			text, err := json.Marshal(members)
			if err != nil {
				t.Fatal(err)
			}
			a := o.do(t, func(r *http.Request) { setBody(r, string(text)) })
			if slices.Contains(meant, name) {
				a.is(t, string(text), 200, "", "")
			} else {
				a.is(t, string(text), 422, api.ValidationFailed, "body."+name)
			}
		}
		o.do(t, func(r *http.Request) { setBody(r, "null") }).is(t, "null", 422, api.ValidationFailed, "body")
	})
}

func TestEdgesRefuseWhatTheAdminDoes(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	ours := map[string]bool{}
	for _, o := range s.operations(t, s.edge) {
		ours[o.call] = true
	}
	for _, o := range s.operations(t, s.admin) {
		if ours[o.call] {
			continue
		}
		t.Run(o.call, func(t *testing.T) {
			o.documented = s.edge
			o.do(t, nil).is(t, o.call, 423, api.ReadOnly, "")
			o.do(t, setHeader("Authorization", "")).is(t, "without a token", 423, api.ReadOnly, "")
		})
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(t *testing.T, _ *services, o *operation) {
		longer := *o
		longer.path += "/none/none/none"
		longer.do(t, nil).is(t, longer.path, 404, api.NotFound, "")
		a := o.do(t, func(r *http.Request) { r.Method = "PROPFIND" })
		a.is(t, "PROPFIND", 405, api.MethodNotAllowed, "")
		if allow := a.header.Get("Allow"); !strings.Contains(allow, o.method) {
			t.Errorf("the methods allowed are %q, without %s", allow, o.method)
		}
	})
}

func TestPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	guarded := *s.edge
	guarded.url = must[string](t)(s.StartEdge("guarded", "reject", sharing, func(c *edge.Config) { c.Auth = edge.AuthToken }))
	guarded.token = s.clientToken
	for name, d := range map[string]*documented{"open": s.edge, "with tokens": &guarded} {
		for _, o := range s.operations(t, d) {
			t.Run(name+" "+o.call, func(t *testing.T) {
				shared := func(what, origin, want string, a answer) {
					t.Helper()
					_, credentials := a.header["Access-Control-Allow-Credentials"]
					if got := a.header.Get("Access-Control-Allow-Origin"); got != want || a.header.Get("Vary") != "Origin" || credentials {
						t.Errorf("%s from %q: %d %v", what, origin, a.status, a.header)
					}
				}
				for origin, want := range map[string]string{"": "", page: page, "https://shop.example.net": "", "null": ""} {
					ask := func(what string, status int, change func(r *http.Request)) {
						t.Helper()
						a := o.do(t, func(r *http.Request) {
							if origin != "" {
								r.Header.Set("Origin", origin)
							}
							change(r)
						})
						a.is(t, what, status, "", "")
						shared(what, origin, want, a)
					}
					ask("a success", 200, func(*http.Request) {})
					for _, status := range []int{404, 405, 422} {
						a := o.do(t, func(r *http.Request) {
							if origin != "" {
								r.Header.Set("Origin", origin)
							}
							switch status {
							case 404:
								r.URL.Path = "/none"
							case 405:
								r.Method = "PROPFIND"
							case 422:
								setHeader("Content-Type", api.MediaJSON, api.MediaJSON)(r)
							}
						})
						if a.status != status {
							t.Errorf("%d instead of %d: %s", a.status, status, a.body)
						}
						shared("an error", origin, want, a)
					}
				}
				a := o.do(t, func(r *http.Request) {
					r.Method = http.MethodOptions
					r.Header = http.Header{"Origin": {page}, "Access-Control-Request-Method": {o.method}, "Access-Control-Request-Headers": {"authorization, content-type"}}
				})
				shared("a preflight", page, page, a)
				if a.status != 204 || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), o.method) || a.header.Get("Access-Control-Allow-Headers") != "authorization, content-type" {
					t.Errorf("preflight: %d %v", a.status, a.header)
				}
			})
		}
	}
}

func TestEveryAnswerNamesItsRevision(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, s *services, o *operation, what string, change func(*http.Request)) {
		t.Helper()
		a := o.do(t, change)
		if got := a.header.Get(api.HeaderRevision); got != s.revision || len(a.header[api.HeaderRevision]) != 1 {
			t.Errorf("%s %s: %d names revision %q, want %s", what, o.path, a.status, a.header[api.HeaderRevision], s.revision)
		}
	}
	faults := map[string]func(*http.Request){
		"none": nil, "a parameter": addQuery("limit=x"), "no token": setHeader("Authorization"), "a method": func(r *http.Request) { r.Method = "PROPFIND" },
		"a path": func(r *http.Request) { r.URL.Path += "/none/none" }, "a media type": setHeader("Content-Type", "a/b"),
		"a condition": setHeader("If-Match", `"999"`), "two tokens": setHeader("Authorization", "a", "b"),
		"a resource": func(r *http.Request) { r.URL.Path = strings.ReplaceAll(r.URL.Path, "seeded", "none") },
	}
	eachOperation(t, func(t *testing.T, s *services, o *operation) {
		for fault, change := range faults {
			check(t, s, o, fault, change)
		}
	})
	s := startServices(t)
	for _, o := range s.pages() {
		for _, fault := range []string{"none", "a parameter", "no token", "a method", "a path"} {
			check(t, s, o, fault, faults[fault])
		}
	}

	// What another admin wrote counts as soon as it is read.
	another := &documented{url: must[string](t)(s.StartAdmin()), token: Token}
	for i, call := range []string{"GET /v1/groups/none", "DELETE /v1/groups/none", "POST /v1/audit/999/revert"} {
		write := &operation{documented: another, method: "POST", media: api.MediaJSON, path: "/v1/groups", body: fmt.Sprintf(`{"name": "later-%d"}`, i)}
		s.revision = write.do(t, nil).header.Get(api.HeaderRevision)
		method, path, _ := strings.Cut(call, " ")
		check(t, s, &operation{documented: s.admin, method: method, path: path}, "after another admin", nil)
	}
}
