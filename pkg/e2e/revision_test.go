package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
)

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

	// Another admin's write counts as soon as it is read.
	another := &documented{url: must[string](t)(s.StartAdmin()), token: Token}
	for i, call := range []string{"GET /v1/groups/none", "DELETE /v1/groups/none", "POST /v1/audit/999/revert"} {
		write := &operation{documented: another, method: "POST", media: api.MediaJSON, path: "/v1/groups", body: fmt.Sprintf(`{"name": "later-%d"}`, i)}
		s.revision = write.do(t, nil).header.Get(api.HeaderRevision)
		method, path, _ := strings.Cut(call, " ")
		check(t, s, &operation{documented: s.admin, method: method, path: path}, "after another admin", nil)
	}
}
