package e2e

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
)

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
			mayBeEmpty := p.Name == "dry_run" || slices.Contains(freeTexts, p.Name)
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

// lastInteger matches a number that is a whole segment.
var lastInteger = regexp.MustCompile(`/(\d+)`)

func (s *services) currentRevision(t *testing.T) string {
	t.Helper()
	return (&operation{documented: s.admin, method: "GET", path: "/v1/buckets"}).do(t, nil).header.Get(api.HeaderRevision)
}

// pages are the routes outside the OpenAPI documents.
func (s *services) pages() (all []*operation) {
	for path, services := range map[string][]*documented{
		"/healthz": {s.admin, s.edge}, "/readyz": {s.admin, s.edge}, "/openapi.json": {s.admin, s.edge}, "/docs": {s.admin, s.edge},
		"/metrics": {s.admin}, "/signin": {s.admin}, "/console.css": {s.admin}, "/auth/login": {s.admin}, "/auth/callback": {s.admin},
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
		first, another := o.do(t, nil), o.do(t, addQuery("undeclared=1"))
		if o.strict && o.path != "/auth/callback" { // providers add parameters of their own
			another.is(t, o.path, 422, api.ValidationFailed, "query.undeclared")
		} else if another.status != first.status {
			t.Errorf("%s with another parameter is answered %d, without it %d", o.path, another.status, first.status)
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
