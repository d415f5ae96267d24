package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestDryRunStoresNothing(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	viewer, _ := c.makeToken(api.ViewerRole)
	at := c.must("GET", "/v1/features", nil).Header.Get(api.HeaderRevision)
	for _, call := range []struct{ method, path, body string }{
		{"POST", "/v1/buckets", `{"amount": 3}`},
		{"POST", "/v1/subjects", `{"id": "new"}`},
		{"PUT", "/v1/subjects/42", `{"weight": 9}`},
		{"DELETE", "/v1/subjects/42", ""},
		{"POST", "/v1/features", `{"name": "new"}`},
		{"PATCH", "/v1/features/foobar", `{"description": "new"}`},
		{"DELETE", "/v1/features/empty", ""},
		{"POST", "/v1/features/foobar/variants", `{"name": "C"}`},
		{"POST", "/v1/features/foobar/disabling_variant", `{"make_default": true}`},
		{"PUT", "/v1/features/foobar/default_variant", `{"variant": "B"}`},
		{"DELETE", "/v1/features/foobar/default_variant", ""},
		{"PATCH", "/v1/features/foobar/rollout", `{"proportion": 0.5}`},
		{"DELETE", "/v1/features/foobar/rollout", ""},
		{"POST", "/v1/abtests", abTest("new", "2030", "2031", "foobar")},
		{"POST", "/v1/abtests/live/stop", ""},
		{"POST", "/v1/groups", `{"name": "new"}`},
		{"DELETE", "/v1/groups/friends", ""},
		{"PUT", "/v1/groups/friends/subjects/1", ""},
		{"DELETE", "/v1/groups/friends/overrides/foobar", ""},
	} {
		viewer.do(call.method, call.path+"?dry_run=false", call.body).isProblem(403, model.Forbidden, "")
		a := viewer.must(call.method, call.path+"?dry_run", call.body)
		var dry api.DryRun[any]
		a.into(&dry)
		if draws := call.path == "/v1/abtests"; dry.Drawn != draws || (dry.Heaviest == nil) != draws || dry.Changes == nil {
			t.Errorf("%s: drawn is %t: %s", a.call, dry.Drawn, a.Body)
		}
		if a.Status != 200 || !dry.DryRun || dry.Result == nil || a.Header.Get("Location") != "" || a.Header.Get(api.HeaderRevision) != at {
			t.Errorf("%s: %d %v %s", a.call, a.Status, a.Header, a.Body)
		}
	}
	for _, call := range [][2]string{{"import/subjects", "{\"id\":\"a\"}\n"}, {"tokens", `{"name": "ci", "role": "viewer"}`}} {
		viewer.do("POST", "/v1/"+call[0]+"?dry_run=true", call[1], "Content-Type", api.MediaNDJSON).isProblem(403, model.Forbidden, "")
	}
	// What the handler does not read as a dry run takes the permission to write.
	for _, query := range []string{"dry_run=0", "dry_run=no", "dry_run=true&dry_run=false", "DRY_RUN=true", "dry%5Frun=", "dry_run=T"} {
		a := viewer.do("POST", "/v1/groups?"+query, `{"name": "other"}`)
		if dry := query == "dry%5Frun="; dry != (a.Status == 200) || !dry && a.Status != 403 {
			t.Errorf("%s: %d %s", query, a.Status, a.Body)
		}
	}
	if got := c.must("GET", "/v1/features", nil).Header.Get(api.HeaderRevision); got != at {
		t.Errorf("revision %s became %s", at, got)
	}
	// A dry run is refused for what the write would be refused for.
	c.do("POST", "/v1/features?dry_run=true", `{"name": "foobar"}`).isProblem(409, model.FeatureExists, "")
}

func TestWaitingTellsOfTheEdges(t *testing.T) {
	t.Parallel()
	c := start(t)
	var created struct {
		api.Group
		Propagation *api.Propagation `json:"propagation"`
	}
	a := c.must("POST", "/v1/groups?wait=100ms", `{"name": "friends"}`)
	a.into(&created)
	if a.Status != 201 || created.Name != "friends" || created.Propagation == nil || created.Propagation.Edges != 0 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	var deleted struct {
		Propagation *api.Propagation `json:"propagation"`
	}
	a = c.must("DELETE", "/v1/groups/friends?wait=100ms", nil)
	a.into(&deleted)
	if a.Status != 200 || deleted.Propagation == nil {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := c.must("POST", "/v1/groups?wait=0s", `{"name": "friends"}`); strings.Contains(string(a.Body), "propagation") {
		t.Errorf("did not wait: %s", a.Body)
	}
	if a := c.must("DELETE", "/v1/groups/friends?wait=1s&dry_run=true", nil); strings.Contains(string(a.Body), "propagation") {
		t.Errorf("a dry run waits for nobody: %s", a.Body)
	}
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/features", `{"name": "foobar"}`)
	const path = "/v1/features/foobar"
	patches := 0
	patch := func(header string) answer {
		patches++
		return c.do("PATCH", path, fmt.Sprintf(`{"description": "%d"}`, patches), "If-Match", header)
	}
	current := func() string { return c.must("GET", path, nil).Header.Get("ETag") }

	stale := current()
	if a := patch(stale); a.Status != 200 || a.Header.Get("ETag") == stale || a.Header.Get("ETag") != current() {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	compressed := func(tag string) string { return strings.TrimSuffix(tag, `"`) + `-gzip"` }
	for _, header := range []string{
		stale, `"0"`, `"abc"`, `"-1"`, `"+2"`, "W/" + current(), `W/"1", "1"`, `"1","abc"`, `""`, `"99999999999999999999"`, strings.Replace(current(), `"`, `"0`, 1),
		compressed(stale), "W/" + compressed(current()), compressed(compressed(current())), `"-gzip"`,
	} {
		patch(header).isProblem(412, model.PreconditionFailed, "")
	}
	for _, header := range []string{"*", ` "1" , CURRENT`, `CURRENT,"1"`, `W/"1",CURRENT`, "COMPRESSED", `"1-gzip",COMPRESSED`} {
		if a := patch(strings.NewReplacer("CURRENT", current(), "COMPRESSED", compressed(current())).Replace(header)); a.Status != 200 {
			t.Errorf("%s: %d %s", header, a.Status, a.Body)
		}
	}
	many := strings.Repeat(`"1",`, 15) // as many as one write may name, with another
	if a := patch(many + current()); a.Status != 200 {
		t.Errorf("16 tags: %d %s", a.Status, a.Body)
	}
	for _, header := range []string{"3", `"3`, "W/3", "*, \"3\"", many + `"1",` + current()} {
		patch(header).isProblem(422, model.ValidationFailed, "header.If-Match")
	}
	// What is not there cannot have changed.
	c.do("PATCH", "/v1/features/none", `{}`, "If-Match", stale).isProblem(404, model.FeatureNotFound, "")

	// Each kind of resource has a version, also the dry run honours it.
	populated := start(t)
	populate(populated)
	for _, path := range []string{"/v1/features/foobar", "/v1/features/foobar/rollout", "/v1/subjects/42", "/v1/groups/friends", "/v1/abtests/live"} {
		tag := populated.must("GET", path, nil).Header.Get("ETag")
		if tag == "" {
			t.Errorf("%s has no ETag", path)
		}
		populated.do("DELETE", path+"?dry_run=true", nil, "If-Match", `"1"`).isProblem(412, model.PreconditionFailed, "")
	}
	populated.must("DELETE", "/v1/features/foobar/rollout", nil, "If-Match", populated.must("GET", "/v1/features/foobar/rollout", nil).Header.Get("ETag"))
	populated.must("DELETE", "/v1/subjects/42", nil, "If-Match", populated.must("GET", "/v1/subjects/42", nil).Header.Get("ETag"))
}

func TestMergeKeepsBothObjects(t *testing.T) {
	t.Parallel()
	for _, row := range [][3]string{
		{`{}`, `{"b":1}`, `{"b":1}`},
		{`{"a":{}}`, `{"b":1}`, `{"a":{},"b":1}`},
	} {
		if got := string(merge([]byte(row[0]), []byte(row[1]))); got != row[2] {
			t.Errorf("%s and %s became %s", row[0], row[1], got)
		}
	}
}
