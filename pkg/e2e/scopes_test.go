package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// scopedWrite is a write of the matrix of scopes. Its names are in braces.
type scopedWrite struct {
	call  string // as in the table of calls
	of    string // which of several writes by the call, "" for the only one
	query string // with its question mark
	body  string
	names string   // those that must be in the scope; "" if no scope includes the write
	given []string // calls that make what the write needs
}

// Calls that make what a write needs.
const (
	addSubject  = `POST /v1/subjects {"id": "{id}"}`
	addFeature  = `POST /v1/features {"name": "{feature}", "variants": [{"name": "A"}, {"name": "B"}], "default_variant": "A"}`
	archive     = `POST /v1/features/{feature}/archive`
	addRollout  = `POST /v1/features/{feature}/rollout {"variant": "A"}`
	addGroup    = `POST /v1/groups {"name": "{group}"}`
	addMember   = `PUT /v1/groups/{group}/subjects/{id}`
	addOverride = `PUT /v1/groups/{group}/overrides/{feature} {"variant": "A"}`
)

var (
	addScheduled = `POST /v1/abtests ` + testOf("{test}", "2100", "2101", "{feature}")
	addLive      = `POST /v1/abtests ` + testOf("{test}", "2020", "2101", "{feature}")
	addEnded     = `POST /v1/abtests ` + testOf("{test}", "2020", "2021", "{feature}")
)

var scopedWrites = []scopedWrite{
	{call: "POST /v1/buckets", body: `{"amount": 1}`},

	{call: "POST /v1/subjects", body: `{"id": "{id}"}`},
	{call: "POST /v1/subjects/delete", body: `{"ids": ["{id}"]}`, given: []string{addSubject}},
	{call: "PUT /v1/subjects/{id}", body: `{"weight": 7}`, given: []string{addSubject}},
	{call: "DELETE /v1/subjects/{id}", given: []string{addSubject}},
	{call: "POST /v1/import/subjects", body: `{"id": "{id}"}`},

	{call: "POST /v1/features", body: `{"name": "{feature}", "variants": [{"name": "A"}], "rollout": {"variant": "A", "proportion": 1}}`, names: "feature"},
	{call: "PATCH /v1/features/{feature}", body: `{"off": true}`, names: "feature", given: []string{addFeature}},
	{call: "DELETE /v1/features/{feature}", names: "feature", given: []string{`POST /v1/features {"name": "{feature}"}`}},
	{call: "DELETE /v1/features/{feature}", of: "with what belongs to it", query: "?cascade=true", names: "feature test group",
		given: []string{addFeature, addRollout, addEnded, addGroup, addOverride}},
	{call: "POST /v1/features/{feature}/archive", names: "feature", given: []string{addFeature}},
	{call: "POST /v1/features/{feature}/restore", names: "feature", given: []string{addFeature, archive}},
	{call: "POST /v1/features/{feature}/variants", body: `{"name": "C"}`, names: "feature", given: []string{addFeature}},
	{call: "PATCH /v1/features/{feature}/variants/{variant}", body: `{"payload": 1}`, names: "feature", given: []string{addFeature}},
	{call: "DELETE /v1/features/{feature}/variants/{variant}", names: "feature", given: []string{addFeature}},
	{call: "POST /v1/features/{feature}/disabling_variant", body: `{}`, names: "feature", given: []string{addFeature}},
	{call: "PUT /v1/features/{feature}/default_variant", body: `{"variant": "B"}`, names: "feature", given: []string{addFeature}},
	{call: "DELETE /v1/features/{feature}/default_variant", names: "feature", given: []string{addFeature}},

	{call: "POST /v1/features/{feature}/rollout", body: `{"variant": "A"}`, names: "feature", given: []string{addFeature}},
	{call: "PATCH /v1/features/{feature}/rollout", body: `{"proportion": 1}`, names: "feature", given: []string{addFeature, addRollout}},
	{call: "DELETE /v1/features/{feature}/rollout", names: "feature", given: []string{addFeature, addRollout}},

	{call: "POST /v1/abtests", body: strings.TrimPrefix(addScheduled, "POST /v1/abtests "), names: "feature test", given: []string{addFeature}},
	{call: "PATCH /v1/abtests/{test}", body: `{"end": "2102-01-01T00:00:00Z"}`, names: "feature test", given: []string{addFeature, addLive}},
	{call: "POST /v1/abtests/{test}/stop", names: "feature test", given: []string{addFeature, addLive}},
	{call: "DELETE /v1/abtests/{test}", names: "feature test", given: []string{addFeature, addScheduled}},

	{call: "POST /v1/groups", body: `{"name": "{group}"}`, names: "group"},
	{call: "PATCH /v1/groups/{group}", body: `{"priority": 1}`, names: "feature group", given: []string{addFeature, addGroup, addOverride}},
	{call: "DELETE /v1/groups/{group}", names: "feature group", given: []string{addFeature, addGroup, addOverride}},
	{call: "POST /v1/groups/{group}/subjects", body: `{"ids": ["{id}"]}`, names: "group", given: []string{addSubject, addGroup}},
	{call: "PUT /v1/groups/{group}/subjects/{id}", names: "group", given: []string{addSubject, addGroup}},
	{call: "DELETE /v1/groups/{group}/subjects/{id}", names: "group", given: []string{addSubject, addGroup, addMember}},
	{call: "PUT /v1/groups/{group}/overrides/{feature}", body: `{"variant": "A"}`, names: "feature group", given: []string{addFeature, addGroup}},
	{call: "DELETE /v1/groups/{group}/overrides/{feature}", names: "feature group", given: []string{addFeature, addGroup, addOverride}},

	{call: "POST /v1/audit/{revision}/revert", of: "of a feature", names: "feature", given: []string{addFeature}},
	{call: "POST /v1/audit/{revision}/revert", of: "of a test", names: "feature test", given: []string{addFeature, addScheduled}},
	{call: "POST /v1/audit/{revision}/revert", of: "of an override", names: "feature group", given: []string{addFeature, addGroup, addOverride}},
	{call: "POST /v1/audit/{revision}/revert", of: "of a deleted group", names: "feature group",
		given: []string{addFeature, addGroup, addOverride, `DELETE /v1/groups/{group}`}},
	{call: "POST /v1/audit/{revision}/revert", of: "of a member", names: "group", given: []string{addSubject, addGroup, addMember}},
	{call: "POST /v1/audit/{revision}/revert", of: "of a subject", given: []string{addSubject}},

	{call: "PUT /v1/state", of: "with a feature, a group and a test", names: "feature test group",
		body: `{"version": 1, "features": {"{feature}": {"variants": {"A": {}, "B": {}}}}, "groups": {"{group}": {"overrides": {"{feature}": "A"}}}, "abtests": {"{test}": ` +
			strings.Replace(testOf("{test}", "2100", "2101", "{feature}"), `"name": "{test}", `, "", 1) + `}}`},

	{call: "POST /v1/tokens", body: `{"name": "more", "role": "editor"}`},
	{call: "DELETE /v1/tokens/{id}"},
}

// Kinds of names that a scope is about: the columns of the matrix of scopes.
var scopedNames = []string{"feature", "test", "group"}

// scopes makes every write with a token that has a scope: with all its names in the
// scope, and with each of them outside. It returns the result as Markdown.
func scopes(t *testing.T, base string) string {
	t.Helper()
	client := must[*flaggery.Admin](t)(flaggery.NewAdmin(base, Token))
	token := must[flaggery.Result[api.Token]](t)(client.CreateToken(t.Context(), api.NewToken{Name: "scoped", Role: api.EditorRole, Scope: []string{"in.*"}})).Value
	s := &scopeTest{T: t, all: &documented{url: base, token: Token}, scoped: &documented{url: base, token: token.Token}}
	s.must(`POST /v1/buckets {"amount": 4}`)
	var out strings.Builder
	fmt.Fprintf(&out, "\n| write | all in the scope | %s outside |\n|---|%s\n", strings.Join(scopedNames, " outside | "), strings.Repeat(":-:|", 1+len(scopedNames)))
	covered := map[string]bool{}
	for _, w := range scopedWrites {
		covered[w.call] = true
		fmt.Fprintf(&out, "| %s |%s |", strings.TrimSuffix("`"+w.call+w.query+"`, "+w.of, ", "), s.try(w, ""))
		for _, name := range scopedNames {
			if slices.Contains(strings.Fields(w.names), name) {
				out.WriteString(s.try(w, name))
			}
			out.WriteString(" |")
		}
		out.WriteByte('\n')
	}
	for call := range api.AdminCalls {
		if !strings.HasPrefix(call, "GET ") && !covered[call] {
			t.Errorf("%s is not in the table of this test: which names must be in the scope?", call)
		}
	}
	return out.String()
}

// scopeTest calls an admin with a token for everything and one with a scope.
type scopeTest struct {
	*testing.T
	all, scoped *documented
	tries       int
}

// try makes a write with all names in the scope except one, "" for none, and returns its
// mark.
func (s *scopeTest) try(w scopedWrite, outside string) string {
	s.Helper()
	s.tries++ // makes names unique
	names := map[string]string{}
	for _, name := range scopedNames {
		names[name] = fmt.Sprintf("in.%s.%d", name, s.tries)
	}
	if outside != "" {
		names[outside] = "out" + names[outside]
	}
	id := fmt.Sprint("id", s.tries)
	fill := func(text string) string {
		return strings.NewReplacer("{feature}", names["feature"], "{test}", names["test"], "{group}", names["group"], "{id}", id, "{variant}", "B").Replace(text)
	}
	revision := s.must(`GET /v1/about`)
	for _, call := range w.given {
		revision = s.must(fill(call))
	}
	method, path, _ := strings.Cut(strings.ReplaceAll(fill(w.call), "{revision}", revision), " ")
	write := &operation{documented: s.scoped, method: method, path: path + w.query, media: api.MediaJSON, body: fill(w.body)}
	if strings.Contains(path, "import") {
		write.media = api.MediaNDJSON
	}
	what := fmt.Sprintf("%s %s, %s outside", w.call, w.of, outside)

	// A dry run changes nothing, so it needs no more than role viewer.
	dry := write.do(s.T, addQuery("dry_run=true"))
	if readable := !strings.Contains(path, "import") && !strings.Contains(path, "tokens"); (dry.status == 200) != readable {
		s.Errorf("%s: a dry run is answered %d %s", what, dry.status, dry.body)
	}
	a := write.do(s.T, nil)
	after := s.must(`GET /v1/about`)
	if outside == "" && w.names != "" {
		if a.status >= 300 || after == revision {
			s.Errorf("%s: %d %s", what, a.status, a.body)
		}
		return " ✓"
	}
	var problem api.Problem
	err := json.Unmarshal([]byte(a.body), &problem)
	named := strings.Contains(problem.Detail, "the scope of the token (in.*) does not include") && strings.Contains(problem.Detail, names[outside]) ||
		strings.Contains(path, "tokens") && strings.Contains(problem.Detail, "role editor")
	if err != nil || a.status != 403 || problem.Code != api.Forbidden || !named || after != revision {
		s.Errorf("%s: %d %s, revision %s after %s", what, a.status, a.body, after, revision)
	}
	return " –"
}

// must makes a call that everything is allowed to, and returns the revision.
func (s *scopeTest) must(call string) string {
	s.Helper()
	method, rest, _ := strings.Cut(call, " ")
	path, body, _ := strings.Cut(rest, " ")
	a := (&operation{documented: s.all, method: method, path: path, media: api.MediaJSON, body: body}).do(s.T, nil)
	if a.status >= 300 {
		s.Fatalf("%s: %d %s", call, a.status, a.body)
	}
	return a.header.Get(api.HeaderRevision)
}
