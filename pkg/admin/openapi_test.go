package admin

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/state"
)

// newTestService is an admin that nobody calls: its database is never used.
func newTestService(t *testing.T) *service {
	t.Helper()
	db, err := postgres.New("postgres://nobody@127.0.0.1:1/none", postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return newService(Config{Token: testToken, Version: "test", Logger: slog.New(slog.DiscardHandler)}, db)
}

func operations(item *huma.PathItem) map[string]*huma.Operation {
	all := map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}
	maps.DeleteFunc(all, func(_ string, op *huma.Operation) bool { return op == nil })
	return all
}

// The table of calls is the contract, and every call in it has a route.
func TestEveryCallHasARoute(t *testing.T) {
	t.Parallel()
	paths := newTestService(t).web.API.OpenAPI().Paths
	for call := range api.AdminCalls {
		method, path, _ := strings.Cut(call, " ")
		if paths[path] == nil || operations(paths[path])[method] == nil {
			t.Errorf("%s has no route", call)
		}
	}
}

func TestDocumentIsWhole(t *testing.T) {
	t.Parallel()
	document := newTestService(t).web.API.OpenAPI()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllSubmatch(text, -1) {
		name := strings.TrimPrefix(string(ref[1]), "#/components/schemas/")
		if document.Components.Schemas.Map()[name] == nil {
			t.Errorf("no schema for %s", ref[1])
		}
	}
	ids := map[string]bool{}
	for path, item := range document.Paths {
		for method, op := range operations(item) {
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || len(op.Tags) != 1 {
				t.Errorf("%s %s: id %q, summary %q, tags %v", method, path, op.OperationID, op.Summary, op.Tags)
			}
			ids[op.OperationID] = true
			for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				if !slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == "path" && p.Name == name[1] }) {
					t.Errorf("%s %s: no parameter %s", method, path, name[1])
				}
			}
			success := map[string]bool{}
			for status, r := range op.Responses {
				if r.Description == "" {
					t.Errorf("%s %s: %s without a description", method, path, status)
				}
				if status[0] == '2' {
					success[status] = true
					if r.Headers["Flaggery-Revision"] == nil {
						t.Errorf("%s %s: %s without revision", method, path, status)
					}
				}
			}
			_, last, _ := strings.Cut(path, "}/")
			creates := method == http.MethodPost && !slices.Contains([]string{"stop", "revert", "archive", "restore"}, last) &&
				!slices.Contains([]string{"/v1/import/subjects", "/v1/subjects/delete", "/v1/groups/{group}/subjects"}, path)
			if success["201"] != creates || success["204"] != (method == http.MethodDelete) || !success["200"] {
				t.Errorf("%s %s: successes %v", method, path, success)
			}
			if method != http.MethodGet && (op.Responses["200"].Content["application/json"] == nil || op.Responses["422"] == nil) {
				t.Errorf("%s %s: dry runs and faults are not described", method, path)
			}
		}
	}
	for id := range texts {
		if !ids[id] {
			t.Errorf("there is a text for %s, but no operation", id)
		}
	}
}

// What an operation says of If-Match, of large bodies and of wrong parameters is so.
func TestGeneralProblemsAreAsDocumented(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	c.must("POST", "/v1/tokens", `{"name": "ci", "role": "viewer"}`)
	there := strings.NewReplacer("{feature}", "foobar", "{variant}", "A", "{group}", "friends", "{test}", "live", "tokens/{id}", "tokens/1", "{id}", "42", "{revision}", "1")
	bodies := map[string]string{ // that are right; {} is, elsewhere, or is never read
		"PUT /v1/subjects/{id}":                           `{"weight": 2}`,
		"PATCH /v1/features/{feature}/variants/{variant}": `{"payload": 1}`,
		"PUT /v1/features/{feature}/default_variant":      `{"variant": "A"}`,
		"PUT /v1/groups/{group}/overrides/{feature}":      `{"variant": "A"}`,
		"PUT /v1/state": `{"version": 1}`,
	}
	large := `{"x": "` + strings.Repeat("x", state.MaxSize) + `"}` // the largest of all limits
	service := newTestService(t)
	for path, item := range service.web.API.OpenAPI().Paths {
		for method, op := range operations(item) {
			url := there.Replace(path)
			c.do(method, url+"?wrong=%ff", nil).isProblem(422, model.ValidationFailed, "query.wrong")
			if method == http.MethodGet {
				continue
			}
			url += "?dry_run=true"
			a := c.do(method, url, cmp.Or(bodies[method+" "+path], "{}"), "If-Match", `"1"`)
			if said := op.Responses["412"] != nil; (a.Status == 412) != said {
				t.Errorf("%s with If-Match: %d %s, but that it fails is documented: %t", a.call, a.Status, a.Body, said)
			}
			request := httptest.NewRequest(method, url, strings.NewReader(large))
			request.Header.Set("Authorization", "Bearer "+testToken)
			request.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			service.web.ServeHTTP(w, request)
			if said := op.Responses["413"] != nil; (w.Code == 413) != said {
				t.Errorf("%s with a large body: %d %s, but that it fails is documented: %t", a.call, w.Code, w.Body, said)
			}
		}
	}
}
