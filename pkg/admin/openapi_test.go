package admin

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/postgres"
)

// newTestService is an admin that nobody calls: its database is never used.
func newTestService(t *testing.T) *service {
	t.Helper()
	db, err := postgres.New("postgres://nobody@127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return newService(Config{Token: testToken, Version: "test", Logger: slog.New(slog.DiscardHandler)}, db)
}

// contract is the admin part of the HTTP contract, but for what comes later: the
// state as one document.
const contract = `
GET POST          /v1/buckets
GET POST          /v1/subjects
GET PUT DELETE    /v1/subjects/{id}
POST              /v1/import/subjects
GET               /v1/export/subjects
GET POST          /v1/features
GET PATCH DELETE  /v1/features/{feature}
POST              /v1/features/{feature}/variants
PATCH DELETE      /v1/features/{feature}/variants/{variant}
POST              /v1/features/{feature}/disabling_variant
PUT DELETE        /v1/features/{feature}/default_variant
POST GET PATCH DELETE /v1/features/{feature}/rollout
POST GET          /v1/abtests
GET DELETE        /v1/abtests/{test}
POST              /v1/abtests/{test}/stop
GET POST          /v1/groups
GET PATCH DELETE  /v1/groups/{group}
GET               /v1/groups/{group}/subjects
PUT DELETE        /v1/groups/{group}/subjects/{id}
PUT DELETE        /v1/groups/{group}/overrides/{feature}
GET               /v1/subject/flags
GET               /v1/subjects/{id}/explain
GET POST          /v1/tokens
DELETE            /v1/tokens/{id}
GET               /v1/audit
POST              /v1/audit/{revision}/revert
GET               /v1/edges
`

func operations(item *huma.PathItem) map[string]*huma.Operation {
	all := map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}
	maps.DeleteFunc(all, func(_ string, op *huma.Operation) bool { return op == nil })
	return all
}

func TestDocumentAgreesWithTheContract(t *testing.T) {
	t.Parallel()
	var want, got []string
	for line := range strings.Lines(strings.TrimSpace(contract)) {
		words := strings.Fields(line)
		for _, method := range words[:len(words)-1] {
			want = append(want, words[len(words)-1]+" "+method)
		}
	}
	for path, item := range newTestService(t).web.API.OpenAPI().Paths {
		for method := range operations(item) {
			got = append(got, path+" "+method)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestDocumentIsWhole(t *testing.T) {
	t.Parallel()
	api := newTestService(t).web.API.OpenAPI()
	text, err := json.Marshal(api)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllSubmatch(text, -1) {
		name := strings.TrimPrefix(string(ref[1]), "#/components/schemas/")
		if api.Components.Schemas.Map()[name] == nil {
			t.Errorf("no schema for %s", ref[1])
		}
	}
	ids := map[string]bool{}
	for path, item := range api.Paths {
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
			creates := method == http.MethodPost && !strings.HasSuffix(path, "/stop") && !strings.HasSuffix(path, "/revert") && path != "/v1/import/subjects"
			if success["201"] != creates || success["204"] != (method == http.MethodDelete) || !success["200"] {
				t.Errorf("%s %s: successes %v", method, path, success)
			}
			if method != http.MethodGet && (op.Responses["200"].Content["application/json"] == nil || op.Responses["422"] == nil) {
				t.Errorf("%s %s: dry runs and faults are not described", method, path)
			}
		}
	}
}
