package e2e

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/edge"
	"github.com/flaggery/flaggery/pkg/flaggery"
	"github.com/flaggery/flaggery/pkg/web"
)

// ranks are the kinds of callers, each with the permissions of the ones before: the
// columns of the matrix.
var ranks = []string{"anybody", "client", "viewer", "editor", "admin"}

// adminRoutes is every route of the admin by the lowest rank that may call it. It
// repeats what the code declares, so that nobody changes a permission by accident.
var adminRoutes = byRank(`
anybody
	GET  /assets/{hash}/{file}
	GET  /auth/callback
	GET  /auth/login
	GET  /console.css
	GET  /healthz
	GET  /readyz
	GET  /signin
	POST /signin
	POST /signout
client
	GET /v1/me
	GET /v1/subject/flags
viewer
	GET /
	GET /audit
	GET /buckets
	GET /docs
	GET /docs/*
	GET /edges
	GET /features
	GET /features/{feature}
	GET /groups
	GET /groups/{group}
	GET /metrics
	GET /openapi.json
	GET /start
	GET /subjects
	GET /subjects/{id}
	GET /tests
	GET /tests/{test}
	GET /tokens
	GET /v1/about
	GET /v1/abtests
	GET /v1/abtests/{test}
	GET /v1/audit
	GET /v1/buckets
	GET /v1/edges
	GET /v1/events
	GET /v1/export/subjects
	GET /v1/features
	GET /v1/features/{feature}
	GET /v1/features/{feature}/rollout
	GET /v1/features/{feature}/shares
	GET /v1/features/{feature}/subjects
	GET /v1/groups
	GET /v1/groups/{group}
	GET /v1/groups/{group}/subjects
	GET /v1/overlap
	GET /v1/search
	GET /v1/state
	GET /v1/state/schema
	GET /v1/subjects
	GET /v1/subjects/{id}
	GET /v1/subjects/{id}/explain
editor
	POST   /v1/abtests
	DELETE /v1/abtests/{test}
	PATCH  /v1/abtests/{test}
	POST   /v1/abtests/{test}/stop
	POST   /v1/audit/{revision}/revert
	POST   /v1/buckets
	POST   /v1/features
	DELETE /v1/features/{feature}
	PATCH  /v1/features/{feature}
	DELETE /v1/features/{feature}/default_variant
	PUT    /v1/features/{feature}/default_variant
	POST   /v1/features/{feature}/archive
	POST   /v1/features/{feature}/disabling_variant
	POST   /v1/features/{feature}/restore
	DELETE /v1/features/{feature}/rollout
	PATCH  /v1/features/{feature}/rollout
	POST   /v1/features/{feature}/rollout
	POST   /v1/features/{feature}/variants
	DELETE /v1/features/{feature}/variants/{variant}
	PATCH  /v1/features/{feature}/variants/{variant}
	POST   /v1/groups
	DELETE /v1/groups/{group}
	PATCH  /v1/groups/{group}
	DELETE /v1/groups/{group}/overrides/{feature}
	PUT    /v1/groups/{group}/overrides/{feature}
	POST   /v1/groups/{group}/subjects
	DELETE /v1/groups/{group}/subjects/{id}
	PUT    /v1/groups/{group}/subjects/{id}
	POST   /v1/import/subjects
	PUT    /v1/state
	POST   /v1/subjects
	POST   /v1/subjects/delete
	DELETE /v1/subjects/{id}
	PUT    /v1/subjects/{id}
admin
	GET    /v1/tokens
	POST   /v1/tokens
	DELETE /v1/tokens/{id}
`)

// edgeRoutes is the same for an edge that asks for tokens.
var edgeRoutes = byRank(`
anybody
	GET /healthz
	GET /readyz
client
	POST /ofrep/v1/evaluate/flags
	POST /ofrep/v1/evaluate/flags/{key}
	GET  /v1/subject/flags
	GET  /v1/subjects/{id}/flags
	POST /v1/subjects/flags
viewer
	GET /docs
	GET /docs/*
	GET /metrics
	GET /openapi.json
`)

// byRank reads such a table into a map from method and path to rank.
func byRank(table string) map[string]string {
	ranked, rank := map[string]string{}, ""
	for line := range strings.Lines(strings.TrimSpace(table)) {
		words := strings.Fields(line)
		if len(words) == 1 {
			rank = words[0]
			continue
		}
		ranked[words[0]+" "+words[1]] = rank
	}
	return ranked
}

// TestRoles calls every route as every caller, and keeps docs/roles.md with the
// result.
func TestRoles(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	var routes []web.Declared
	base, err := w.StartAdmin(func(c *admin.Config) {
		c.Prometheus = true
		c.Routes = func(all []web.Declared) { routes = all }
	})
	if err != nil {
		t.Fatal(err)
	}
	callers := makeCallers(t, w, base)
	document := rolesDocument + "\n## Admin\n" + section(t, base, routes, adminRoutes, callers) + scopesDocument + scopes(t, base)

	edgeBase, err := w.StartEdge("edge", "reject", func(c *edge.Config) {
		c.Prometheus, c.Auth = true, edge.AuthToken
		c.Routes = func(all []web.Declared) { routes = all }
	})
	if err != nil {
		t.Fatal(err)
	}
	routes = slices.DeleteFunc(routes, func(r web.Declared) bool { // routes of the admin that an edge rejects
		call := r.Method + " " + parameter.ReplaceAllString(r.Path, "{$1}")
		_, ofAdmin := api.AdminCalls[call]
		_, ofEdge := api.EdgeCalls[call]
		return ofAdmin && !ofEdge
	})
	for i := range callers {
		if callers[i].name == "first token" { // which edges do not know
			callers[i].rank, callers[i].detail = "anybody", "not a token of Flaggery"
		}
	}
	document += edgesDocument + section(t, edgeBase, routes, edgeRoutes, callers)

	checkDocument(t, "roles.md", document)
}

const rolesDocument = `# Who may call what

Each token has a role. A test calls every route as every role, and compares the answers with this page:
` + "`go test -run Roles ./pkg/e2e -update`" + ` writes it. ✓ means allowed, ○ means allowed with ` + "`?dry_run=true`" + ` only. *Anybody* needs no token. A token
that is revoked, expired, damaged or unknown is rejected by all other calls.
`

const scopesDocument = `
## Scopes

A token of role editor may have a scope: up to 32 globs, each of 1 to 128 of the characters of names, ` + "`*` and `?`" + `. ` + "`*`" + ` stands for any number of any
characters, dots included, ` + "`?`" + ` for one, and a glob matches whole names. Every name that a write touches must match one of the globs, otherwise the write gets
403 ` + "`forbidden`" + ` and changes nothing. Subjects and buckets are outside every scope. Reads are not limited, nor are dry runs, except those of imports.
A test makes every write of this table: ✓ means allowed, – means forbidden.
`

const edgesDocument = `
## Edge

An edge allows every call to everybody, unless it runs with ` + "`FLAGGERY_EDGE_AUTH=token`" + `. This table is for such an edge.
Calls of the admin get 423 ` + "`read_only`" + ` for every caller.
`

// caller is somebody who calls every route.
type caller struct {
	name   string
	rank   string // whose permissions they have
	token  string // "" for none
	detail string // the problem's reason
}

// makeCallers stores a token of each role, and some that are expired, revoked or
// damaged.
func makeCallers(t *testing.T, w *Fixture, adminURL string) []caller {
	t.Helper()
	client, err := flaggery.NewAdmin(adminURL, Token)
	if err != nil {
		t.Fatal(err)
	}
	create := func(name string, role api.Role) api.Token {
		return must[flaggery.Result[api.Token]](t)(client.CreateToken(t.Context(), api.NewToken{Name: name, Role: role})).Value
	}
	revoked, expired := create("revoked", api.AdminRole), create("expired", api.AdminRole)
	must[flaggery.Receipt](t)(client.RevokeToken(t.Context(), revoked.ID))
	db := must[*sql.DB](t)(sql.Open("postgres", string(w.dbURL)))
	defer db.Close()
	// Nobody can make a token that has expired, so its time is moved.
	must[sql.Result](t)(db.ExecContext(t.Context(), `UPDATE token SET expires_at = now() - interval '1 second' WHERE id = $1`, expired.ID))
	good := create("good", api.AdminRole).Token
	damaged := []byte(good)
	damaged[len(damaged)-1] ^= 1
	callers := []caller{
		{"nobody", "anybody", "", "a token is needed"},
		{"revoked", "anybody", revoked.Token, "unknown or was revoked"},
		{"expired", "anybody", expired.Token, "expired at"},
		{"damaged", "anybody", string(damaged), "damaged"},
		{"first token", "admin", Token, ""},
	}
	for _, role := range []api.Role{api.ClientRole, api.ViewerRole, api.EditorRole, api.AdminRole} {
		callers = append(callers, caller{string(role), string(role), create("a "+string(role), role).Token, ""})
	}
	return callers
}

var parameter = regexp.MustCompile(`:(\w+)`) // of a path

// section calls every route of a service as every caller, compares with the table
// of lowest ranks, and returns the result as Markdown.
func section(t *testing.T, base string, routes []web.Declared, lowest map[string]string, callers []caller) string {
	t.Helper()
	lowest = maps.Clone(lowest)
	var out strings.Builder
	fmt.Fprintf(&out, "\n| route | %s |\n|---|%s\n", strings.Join(ranks, " | "), strings.Repeat(":-:|", len(ranks)))
	for _, r := range routes {
		call := r.Method + " " + parameter.ReplaceAllString(r.Path, "{$1}")
		least, listed := lowest[call]
		if !listed {
			t.Errorf("%s is not in the table of this test: who may call it?", call)
		}
		delete(lowest, call)
		leastToTry := least
		if least == "editor" && call != "POST /v1/import/subjects" {
			leastToTry = "viewer"
		}
		let := map[string]string{}
		for _, c := range callers {
			for _, try := range []struct{ query, least, mark string }{{"?dry_run=true", leastToTry, " ○"}, {"", least, " ✓"}} {
				if try.query != "" && least != "editor" {
					continue
				}
				in := letIn(t, base, r, try.query, c)
				if want := slices.Index(ranks, c.rank) >= slices.Index(ranks, try.least); in != want {
					t.Errorf("%s%s as %s: let in is %v, the table of this test says %v", call, try.query, c.name, in, want)
				}
				if in {
					let[c.rank] = try.mark
				}
			}
		}
		fmt.Fprintf(&out, "| `%s` |", call)
		for _, rank := range ranks {
			out.WriteString(let[rank] + " |")
		}
		out.WriteByte('\n')
	}
	for _, call := range slices.Sorted(maps.Keys(lowest)) {
		t.Errorf("%s is in the table of this test, and no route", call)
	}
	return out.String()
}

// letIn calls a route and reports whether the caller was authorized. The resource
// does not exist and the body is incomplete, so the call changes nothing.
func letIn(t *testing.T, base string, route web.Declared, query string, c caller) bool {
	t.Helper()
	path := parameter.ReplaceAllString(strings.Replace(route.Path, "*", "swagger-ui.css", 1), "999999999")
	var body bytes.Buffer
	if route.Method != http.MethodGet && route.Method != http.MethodDelete {
		body.WriteString("{}")
	}
	request, err := http.NewRequestWithContext(t.Context(), route.Method, base+path+query, &body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", api.MediaJSON)
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%s %s as %s: %v", route.Method, path, c.name, err)
	}
	defer response.Body.Close() // unread, as a stream has no end
	call := fmt.Sprintf("%s %s as %s: %d", route.Method, path+query, c.name, response.StatusCode)
	var problem api.Problem
	switch response.StatusCode {
	case http.StatusUnauthorized:
		err := json.NewDecoder(response.Body).Decode(&problem)
		if err != nil || problem.Code != api.Unauthenticated || !strings.Contains(problem.Detail, c.detail) || c.detail == "" ||
			!slices.Contains(response.Header.Values("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s %+v, error %v; want %q", call, problem, err, c.detail)
		}
		return false
	case http.StatusForbidden:
		if err := json.NewDecoder(response.Body).Decode(&problem); err != nil || problem.Code != api.Forbidden || c.detail != "" {
			t.Errorf("%s %+v, error %v", call, problem, err)
		}
		return false
	case http.StatusMethodNotAllowed, http.StatusTooManyRequests:
		t.Errorf("%s does not mention permissions", call)
	}
	if response.StatusCode >= http.StatusInternalServerError {
		t.Error(call)
	}
	return true
}
