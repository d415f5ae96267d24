package admin

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
)

func TestBuckets(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.do("GET", "/v1/buckets?view=columns", nil).is(200, `{"ids": [], "weights": [], "subjects": []}`)
	a := c.do("POST", "/v1/buckets", `{"amount": 3}`)
	a.is(201, `{"bucket_ids": [1, 2, 3]}`)
	if a.Header.Get("Location") != "/v1/buckets" || a.Header.Get(api.HeaderRevision) != "1" {
		t.Error(a.Header)
	}
	c.do("POST", "/v1/buckets", `{"amount": 2}`).is(201, `{"bucket_ids": [4, 5]}`)
	c.do("POST", "/v1/subjects", `{"id": "42", "weight": 7}`).is(201, `{"id": "42", "weight": 7, "bucket_id": 1, "groups": []}`)
	a = c.do("GET", "/v1/buckets?limit=2", nil)
	a.is(200, `{"items": [{"id": 1, "weight": 7, "subjects": 1}, {"id": 2, "weight": 0, "subjects": 0}], "next": "2"}`)
	if a.Header.Get(api.HeaderRevision) != "3" {
		t.Error(a.Header)
	}
	c.do("GET", "/v1/buckets?limit=3&after=2", nil).is(200, `{"items": [{"id": 3, "weight": 0, "subjects": 0},
		{"id": 4, "weight": 0, "subjects": 0}, {"id": 5, "weight": 0, "subjects": 0}]}`)
	a = c.do("GET", "/v1/buckets?view=columns", nil)
	a.is(200, `{"ids": [1, 2, 3, 4, 5], "weights": [7, 0, 0, 0, 0], "subjects": [1, 0, 0, 0, 0]}`)
	if a.Header.Get(api.HeaderRevision) != "3" {
		t.Error(a.Header)
	}
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/buckets", `{"amount": 1}`)
	c.do("GET", "/v1/subjects", nil).is(200, `{"items": []}`)
	a := c.do("POST", "/v1/subjects", `{"id": "42"}`)
	a.is(201, `{"id": "42", "weight": 1, "bucket_id": 1, "groups": []}`)
	if a.Header.Get("Location") != "/v1/subjects/42" || a.Header.Get("ETag") == "" {
		t.Error(a.Header)
	}
	if got := c.must("GET", "/v1/subjects/42", nil).Header.Get("ETag"); got != a.Header.Get("ETag") {
		t.Errorf("ETag %s after %s", got, a.Header.Get("ETag"))
	}
	c.do("PUT", "/v1/subjects/42", `{"weight": 9007199254740991}`).is(200, `{"id": "42", "weight": 9007199254740991, "bucket_id": 1, "groups": []}`)
	c.do("PUT", "/v1/subjects/42", `{"weight": 0}`).is(200, `{"id": "42", "weight": 0, "bucket_id": 1, "groups": []}`)
	for _, id := range []string{"4", "421", "5"} {
		c.must("POST", "/v1/subjects", api.CreateSubject{ID: id})
	}
	c.do("GET", "/v1/subjects?prefix=42", nil).is(200, `{"items": [{"id": "42", "weight": 0, "bucket_id": 1, "groups": []},
		{"id": "421", "weight": 1, "bucket_id": 1, "groups": []}]}`)
	c.do("GET", "/v1/subjects?sort=-weight&bucket=1&prefix=42&limit=1", nil).is(200, `{"items": [{"id": "421", "weight": 1, "bucket_id": 1, "groups": []}], "next": "1-421"}`)
	c.do("GET", "/v1/subjects?bucket=2", nil).is(200, `{"items": []}`)
	if got := strings.Join(all(c, "/v1/subjects?sort=-weight&limit=1"), " "); got != "4 421 5 42" {
		t.Error(got)
	}
	c.do("DELETE", "/v1/subjects/42", nil).is(204, "")
	if got := strings.Join(all(c, "/v1/subjects?limit=1"), " "); got != "4 421 5" {
		t.Error(got)
	}
}

// all follows a list of subjects to its end.
func all(c client, path string) (ids []string) {
	c.t.Helper()
	for next := path; ; {
		var page api.Page[api.Subject]
		c.must("GET", next, nil).into(&page)
		for _, s := range page.Items {
			ids = append(ids, s.ID)
		}
		if next = path + "&after=" + url.QueryEscape(page.Next); page.Next == "" {
			return ids
		}
	}
}

// Ids go through JSON, paths, queries and the database and come back the same.
func TestSubjectIDsOfAllKinds(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/buckets", `{"amount": 2}`)
	c.must("POST", "/v1/groups", `{"name": "friends"}`)
	ids := []string{
		"0", "-1", "18446744073709551616", "3f9c2c4e-7a0b-4f6e-9d3b-5e8a1c2d3e4f", "user+tag@example.com", "a b", " ", "a/b", "/", "//", "...", "a/../b", "%", "%2F", "%25", "%zz",
		`"`, `'; DROP TABLE subject; --`, `\`, "a?b=c&d#e", "a;b", "a,b", "null", "🦊", "e\u0301", "\u00e9", "\u202eabc", "explain", "*", "{id}", ":id", strings.Repeat("x", 256), strings.Repeat("🦊", 64),
	}
	for _, id := range ids {
		path := "/v1/subjects/" + url.PathEscape(id)
		a := c.do("POST", "/v1/subjects", api.CreateSubject{ID: id})
		if a.Status != 201 || a.Header.Get("Location") != path {
			t.Errorf("%q: %d %s %s", id, a.Status, a.Header.Get("Location"), a.Body)
			continue
		}
		var s api.Subject
		if c.must("GET", path, nil).into(&s); s.ID != id {
			t.Errorf("%q became %q", id, s.ID)
		}
		c.do("GET", "/v1/subject/flags?subject_id="+url.QueryEscape(id), nil).is(200, `{"flags": {}}`)
		var e api.Explanation
		if c.must("GET", path+"/explain", nil).into(&e); e.Subject.ID != id {
			t.Errorf("%q is explained as %q", id, e.Subject.ID)
		}
		c.do("PUT", path, `{"weight": 2}`).is(200, string(mustMarshal(t, api.Subject{ID: id, Weight: 2, BucketID: s.BucketID, Groups: []string{}})))
		if c.must("PUT", "/v1/groups/friends/subjects/"+url.PathEscape(id), nil).into(&s); s.ID != id || len(s.Groups) != 1 {
			t.Errorf("%q: %v", id, s)
		}
	}
	// Those that POST refuses come with an import.
	for _, id := range []string{".", ".."} {
		c.load(api.MediaNDJSON, api.ImportLine{ID: id}, "").is(200, `{"created": 1, "updated": 0, "unchanged": 0, "deleted": 0}`)
		var s api.Subject
		if c.must("GET", "/v1/subjects/"+id, nil).into(&s); s.ID != id {
			t.Errorf("%q became %q", id, s.ID)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if got := all(c, "/v1/subjects?limit=5"); !slices.Equal(got, ids) {
		t.Errorf("\n got %q\nwant %q", got, ids)
	}
	for _, id := range ids {
		c.do("DELETE", "/v1/subjects/"+url.PathEscape(id), nil).is(204, "")
	}
}

func mustMarshal(t *testing.T, value any) []byte {
	t.Helper()
	text, err := api.Encode(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestFeaturesAndVariants(t *testing.T) {
	t.Parallel()
	c := start(t)
	a := c.do("POST", "/v1/features", `{"name": "foobar", "description": "d", "tags": ["x", "y"]}`)
	a.is(201, `{"name": "foobar", "description": "d", "tags": ["x", "y"], "variants": [], "default_variant": null, "rollout": null, "off": false, "archived": false, "contact": "", "expires": null, "permanent": false, "owner": null, "revision": 1}`)
	if a.Header.Get("Location") != "/v1/features/foobar" || a.Header.Get("ETag") != `"1"` {
		t.Error(a.Header)
	}
	a = c.do("POST", "/v1/features/foobar/variants", `{"name": "A", "payload": {"n": 12345678901234567890, "f": 0.10, "html": "<&>"}}`)
	a.is(201, `{"name": "A", "disabling": false, "payload": {"n": 12345678901234567890, "f": 0.10, "html": "<&>"}}`)
	if !strings.Contains(string(a.Body), `12345678901234567890`) || !strings.Contains(string(a.Body), `<&>`) {
		t.Errorf("the payload changed: %s", a.Body)
	}
	if a.Header.Get("Location") != "/v1/features/foobar/variants/A" {
		t.Error(a.Header)
	}
	c.do("POST", "/v1/features/foobar/variants", `{"name": "B", "make_default": true}`).is(201, `{"name": "B", "disabling": false, "payload": null}`)
	a = c.do("POST", "/v1/features/foobar/disabling_variant", `{"make_default": true}`)
	a.is(201, `{"name": "__DISABLE__", "disabling": true, "payload": null}`)
	if a.Header.Get("Location") != "/v1/features/foobar/variants/__DISABLE__" {
		t.Error(a.Header)
	}
	const variants = `[{"name": "A", "disabling": false, "payload": [1]}, {"name": "B", "disabling": false, "payload": null}, {"name": "__DISABLE__", "disabling": true, "payload": null}]`
	c.do("PATCH", "/v1/features/foobar/variants/A", `{"payload": [1]}`).is(200, `{"name": "A", "disabling": false, "payload": [1]}`)
	c.do("GET", "/v1/features/foobar", nil).is(200, `{"name": "foobar", "description": "d", "tags": ["x", "y"], "variants": `+variants+`, "default_variant": "__DISABLE__", "rollout": null, "off": false, "archived": false, "contact": "", "expires": null, "permanent": false, "owner": null, "revision": 5}`)
	c.do("PATCH", "/v1/features/foobar/variants/A", `{"payload": null}`).is(200, `{"name": "A", "disabling": false, "payload": null}`)
	c.do("PUT", "/v1/features/foobar/default_variant", `{"variant": "B"}`).is(200, `{"variant": "B"}`)
	c.do("DELETE", "/v1/features/foobar/default_variant", nil).is(204, "")
	c.do("DELETE", "/v1/features/foobar/default_variant", nil).is(204, "") // there is none, and nothing changes
	c.do("PATCH", "/v1/features/foobar", `{"tags": []}`).is(200, `{"name": "foobar", "description": "d", "tags": [], "default_variant": null, "rollout": null, "off": false, "archived": false, "contact": "", "expires": null, "permanent": false, "owner": null, "revision": 9,
		"variants": [{"name": "A", "disabling": false, "payload": null}, {"name": "B", "disabling": false, "payload": null}, {"name": "__DISABLE__", "disabling": true, "payload": null}]}`)
	for _, variant := range []string{"A", "B", "__DISABLE__"} {
		c.do("DELETE", "/v1/features/foobar/variants/"+variant, nil).is(204, "")
	}
	c.must("POST", "/v1/features", `{"name": "other"}`)
	c.do("GET", "/v1/features?limit=1", nil).is(200, `{"items": [{"name": "foobar", "description": "d", "tags": [], "variants": [], "default_variant": null, "rollout": null, "off": false, "archived": false, "contact": "", "expires": null, "permanent": false, "owner": null, "revision": 12}], "next": "foobar"}`)
	c.do("DELETE", "/v1/features/foobar", nil).is(204, "")
	c.do("GET", "/v1/features", nil).is(200, `{"items": [{"name": "other", "description": "", "tags": [], "variants": [], "default_variant": null, "rollout": null, "off": false, "archived": false, "contact": "", "expires": null, "permanent": false, "owner": null, "revision": 13}]}`)
}

func TestRollouts(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/buckets", `{"amount": 2}`)
	c.must("POST", "/v1/subjects", `{"id": "a", "weight": 5}`)
	c.must("POST", "/v1/subjects", `{"id": "b", "weight": 5}`)
	c.must("POST", "/v1/features", `{"name": "foobar"}`)
	c.must("POST", "/v1/features/foobar/variants", `{"name": "A"}`)
	c.must("POST", "/v1/features/foobar/variants", `{"name": "B"}`)
	a := c.do("POST", "/v1/features/foobar/rollout", `{"variant": "A"}`)
	a.is(201, `{"feature": "foobar", "variant": "A", "proportion": 0, "effective_proportion": 0, "effective_weight": 0, "total_weight": 10, "buckets": []}`)
	if a.Header.Get("Location") != "/v1/features/foobar/rollout" {
		t.Error(a.Header)
	}
	const whole = `{"feature": "foobar", "variant": "B", "proportion": 1, "effective_proportion": 1, "effective_weight": 10, "total_weight": 10, "buckets": [1, 2]}`
	c.do("PATCH", "/v1/features/foobar/rollout?dry_run=true", `{"proportion": 1, "variant": "B"}`).is(200, `{"dry_run": true, "affected": {"subjects": 2, "weight": 10},
		"changes": [{"feature": "foobar", "from": null, "to": "B", "subjects": 2, "weight": 10}],
		"heaviest": [{"id": "a", "weight": 5, "feature": "foobar", "from": null, "to": "B"},
			{"id": "b", "weight": 5, "feature": "foobar", "from": null, "to": "B"}], "result": `+whole+`}`)
	c.do("PATCH", "/v1/features/foobar/rollout", `{"proportion": 1, "variant": "B"}`).is(200, whole)
	c.do("GET", "/v1/features/foobar/rollout", nil).is(200, whole)
	c.do("GET", "/v1/subject/flags?subject_id=a", nil).is(200, `{"flags": {"foobar": "B"}}`)
	c.do("DELETE", "/v1/features/foobar/rollout", nil).is(204, "")
	c.do("GET", "/v1/subject/flags?subject_id=a", nil).is(200, `{"flags": {}}`)
}

func TestABTests(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	equal := strings.NewReplacer(`"proportion": 0.8, `, "", `"proportion": 0.2, `, "").Replace(abTest("soon", "2100", "2101", "foobar"))
	a := c.do("POST", "/v1/abtests", equal)
	var test api.ABTest
	a.into(&test)
	if a.Status != 201 || a.Header.Get("Location") != "/v1/abtests/soon" || test.State != "scheduled" || test.Groups[0].Proportion != 0.5 ||
		len(test.Groups[0].Buckets)+len(test.Groups[1].Buckets) != 4 {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	names := func(path string) string {
		var page api.Page[api.ABTest]
		c.must("GET", path, nil).into(&page)
		var names []string
		for _, test := range page.Items {
			names = append(names, test.Name)
		}
		return strings.Join(names, " ")
	}
	for path, want := range map[string]string{"": "live soon", "?state=scheduled": "soon", "?state=live": "live", "?state=ended": "", "?limit=1&after=live": "soon"} {
		if got := names("/v1/abtests" + path); got != want {
			t.Errorf("%s: %q, not %q", path, got, want)
		}
	}
	if c.must("GET", "/v1/abtests/live", nil).into(&test); test.State != "live" || test.Groups[0].EffectiveWeight+test.Groups[1].EffectiveWeight != 2 {
		t.Error(test)
	}
	stopped := c.must("POST", "/v1/abtests/live/stop", nil)
	if stopped.into(&test); test.State != "ended" || stopped.Status != 200 {
		t.Error(stopped.Status, test)
	}
	if got := names("/v1/abtests?state=ended"); got != "live" {
		t.Error(got)
	}
	c.do("DELETE", "/v1/abtests/live", nil).is(204, "")
	c.do("DELETE", "/v1/abtests/soon", nil).is(204, "")
}

func TestGroupsAndOverrides(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	a := c.do("POST", "/v1/groups", `{"name": "beta", "priority": -2147483648}`)
	a.is(201, `{"name": "beta", "priority": -2147483648, "members": 0, "overrides": {}, "owner": null}`)
	if a.Header.Get("Location") != "/v1/groups/beta" {
		t.Error(a.Header)
	}
	c.do("PATCH", "/v1/groups/beta", `{"priority": 5}`).is(200, `{"name": "beta", "priority": 5, "members": 0, "overrides": {}, "owner": null}`)
	c.do("PUT", "/v1/groups/beta/subjects/42", nil).is(200, `{"id": "42", "weight": 1, "bucket_id": 2, "groups": ["beta", "friends"]}`)
	joined := c.do("PUT", "/v1/groups/beta/subjects/42", nil)
	joined.is(200, `{"id": "42", "weight": 1, "bucket_id": 2, "groups": ["beta", "friends"]}`)
	c.do("PUT", "/v1/groups/beta/overrides/foobar", `{"variant": "A"}`).is(200, `{"variant": "A"}`)
	c.do("GET", "/v1/groups/beta", nil).is(200, `{"name": "beta", "priority": 5, "members": 1, "overrides": {"foobar": "A"}, "owner": null}`)
	c.do("GET", "/v1/subject/flags?subject_id=42", nil).is(200, `{"flags": {"foobar": "A", "tested": `+testedBy42(c)+`}}`)
	c.do("GET", "/v1/groups", nil).is(200, `{"items": [{"name": "beta", "priority": 5, "members": 1, "overrides": {"foobar": "A"}, "owner": null},
		{"name": "friends", "priority": 0, "members": 1, "overrides": {"foobar": "B"}, "owner": null}]}`)
	c.do("GET", "/v1/groups/beta/subjects", nil).is(200, `{"items": ["42"]}`)
	c.do("DELETE", "/v1/groups/beta/overrides/foobar", nil).is(204, "")
	c.do("DELETE", "/v1/groups/beta/subjects/42", nil).is(204, "")
	c.do("GET", "/v1/groups/beta/subjects", nil).is(200, `{"items": []}`)
	c.do("DELETE", "/v1/groups/beta", nil).is(204, "")
	c.do("GET", "/v1/subjects/42", nil).is(200, `{"id": "42", "weight": 1, "bucket_id": 2, "groups": ["friends"]}`)
}

// testedBy42 is the variant that the live test has for subject 42.
func testedBy42(c client) string {
	var e api.Explanation
	c.must("GET", "/v1/subjects/42/explain", nil).into(&e)
	return fmt.Sprintf("%q", *e.Features["tested"].Variant)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	var e api.Explanation
	a := c.must("GET", "/v1/subjects/42/explain", nil)
	a.into(&e)
	f := e.Features["foobar"]
	if e.Subject.ID != "42" || fmt.Sprint(e.Revision) != a.Header.Get(api.HeaderRevision) || *f.Variant != "B" || *f.Reason != "override" || len(f.Steps) != 4 {
		t.Errorf("%s", a.Body)
	}
	if reason := e.Features["tested"].Reason; *reason != "abtest" {
		t.Errorf("now: %s", *reason)
	}
	now := e.Configuration
	if now.Revision != e.Revision || e.Subject.Weight == nil {
		t.Errorf("now: %s", a.Body)
	}
	c.must("DELETE", "/v1/features/foobar/rollout", nil)
	e = api.Explanation{}
	c.must("GET", "/v1/subjects/42/explain?at="+now.At.Format(time.RFC3339Nano), nil).into(&e)
	if e.Features["foobar"].Steps[1] != f.Steps[1] || e.Configuration != now || e.Revision == now.Revision || e.Subject.Weight != nil || !slices.Equal(e.Subject.Groups, []string{"friends"}) {
		t.Errorf("before the last change: %+v", e)
	}
	e = api.Explanation{}
	c.must("GET", "/v1/subjects/42/explain?at=2219-06-01T00:00:00%2B02:00", nil).into(&e)
	if e.Features["tested"].Reason != nil || e.At.Format("2006-01-02T15:04Z07:00") != "2219-05-31T22:00Z" || e.Configuration.Revision != e.Revision {
		t.Errorf("after the test: %+v", e)
	}
}

func TestWhoGetsWhat(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	c.must("PATCH", "/v1/features/foobar", `{"description": "The Checkout", "tags": ["Shop"]}`)
	c.do("GET", "/v1/features/foobar/shares", nil).is(200, `{"revision": 17, "total_weight": 2, "total_subjects": 2, "steps": [
		{"step": "default", "variant": "A", "test_group": null, "group": null, "weight": 1, "subjects": 1},
		{"step": "rollout", "variant": "B", "test_group": null, "group": null, "weight": 0, "subjects": 0},
		{"step": "override", "variant": "B", "test_group": null, "group": "friends", "weight": 1, "subjects": 1}]}`)
	c.do("GET", "/v1/features/empty/shares?at=2099-01-01T00:00:00Z", nil).is(200, `{"revision": 17, "total_weight": 2, "total_subjects": 2, "steps": [
		{"step": "nothing", "variant": null, "test_group": null, "group": null, "weight": 2, "subjects": 2}]}`)
	c.do("GET", "/v1/features/foobar/subjects?variant=B", nil).is(200, `{"items": [{"id": "42", "weight": 1, "step": "override"}]}`)
	c.do("GET", "/v1/overlap?features=empty,foobar", nil).is(200, `{"total_weight": 2, "cells": [
		{"a": null, "b": "A", "weight": 1, "subjects": 1}, {"a": null, "b": "B", "weight": 1, "subjects": 1}]}`)
	var changes api.Page[api.AuditEntry]
	c.must("GET", "/v1/audit?limit=1", nil).into(&changes)
	at := changes.Items[0].At.Format(time.RFC3339Nano)
	c.do("GET", "/v1/features?view=summary&tag=Shop", nil).is(200, `{"items": [{"name": "foobar", "description": "The Checkout", "tags": ["Shop"],
		"state": "default", "stage": "rolling", "settled_on": null, "contact": "", "expires": null, "permanent": false, "owner": null, "variants": ["A", "B"], "default_variant": "A", "rollout": {"variant": "B", "proportion": 0, "effective_proportion": 0}, "test": null, "next_test": null, "overrides": 1,
		"shares": [{"variant": "A", "step": "default", "weight": 1, "subjects": 1}, {"variant": "B", "step": "override", "weight": 1, "subjects": 1}],
		"changed": {"at": "`+at+`", "actor": "FLAGGERY_ADMIN_TOKEN", "revision": 17}}]}`)

	c.must("POST", "/v1/features", `{"name": "last", "variants": [{"name": "A"}], "rollout": {"variant": "A", "proportion": 1}}`)
	c.must("POST", "/v1/features", `{"name": "half", "variants": [{"name": "A"}], "rollout": {"variant": "A", "proportion": 0.5}}`)
	c.must("POST", "/v1/features", `{"name": "away"}`)
	c.must("POST", "/v1/features/away/archive", nil)
	c.must("PATCH", "/v1/features/empty", `{"off": true}`)
	for query, want := range map[string]string{
		"":                            "empty foobar half last tested",
		"&limit=2":                    "empty foobar half last tested",
		"&sort=name&limit=1":          "empty foobar half last tested",
		"&sort=changed":               "empty half last foobar tested",
		"&sort=changed&limit=1":       "empty half last foobar tested",
		"&sort=changed&query=a":       "half last foobar",
		"&query=":                     "empty foobar half last tested",
		"&query=FOO":                  "foobar",
		"&query=checkout":             "foobar",
		"&query=sHo":                  "foobar",
		"&query=%25":                  "",
		"&tag=shop":                   "",
		"&state=default":              "foobar",
		"&state=rolling":              "half",
		"&state=everyone":             "last",
		"&state=testing":              "tested",
		"&state=off":                  "empty",
		"&state=archived":             "away",
		"&archived=true":              "away",
		"&state=off&archived=true":    "",
		"&state=testing&sort=changed": "tested",
		"&stage=new":                  "",
		"&stage=rolling":              "foobar half last",
		"&stage=testing":              "tested",
		"&stage=settled":              "",
		"&stage=off":                  "empty",
		"&stage=expired":              "",
		"&stage=archived":             "away",
		"&stage=rolling&query=half":   "half",
	} {
		var names []string
		for after := ""; ; {
			var page api.Page[api.FeatureSummary]
			c.must("GET", "/v1/features?view=summary"+query+after, nil).into(&page)
			for _, f := range page.Items {
				names = append(names, f.Name)
			}
			if page.Next == "" {
				break
			}
			after = "&after=" + url.QueryEscape(page.Next)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q lists %q, want %q", query, got, want)
		}
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/features", `{"name": "foobar"}`, "X-Request-Id", "request-1")
	c.must("PATCH", "/v1/features/foobar", `{"description": "d"}`)
	c.must("PATCH", "/v1/features/foobar?dry_run=true", `{"description": "e"}`)
	c.must("POST", "/v1/groups", `{"name": "friends"}`)
	list := func(query string) []api.AuditEntry {
		var page api.Page[api.AuditEntry]
		c.must("GET", "/v1/audit?"+query, nil).into(&page)
		return page.Items
	}
	entries := list("")
	if len(entries) != 3 || entries[0].Resource != "groups/friends" || entries[2].RequestID != "request-1" || entries[2].Revision != 1 ||
		entries[1].Actor != "FLAGGERY_ADMIN_TOKEN" || entries[1].Action != "update" {
		t.Errorf("%+v", entries)
	}
	if before, ok := entries[1].Before.(map[string]any); !ok || before["description"] != "" {
		t.Errorf("%+v", entries[1])
	}
	for query, want := range map[string]int{
		"resource=features/foobar": 2, "resource=features/foo": 0, "actor=FLAGGERY_ADMIN_TOKEN": 3, "actor=nobody": 0,
		"since=2100-01-01T00:00:00Z": 0, "since=2000-01-01T00:00:00Z": 3, "limit=2": 2,
		"since=2000-01-01T00:00:00-23:59": 3, "after=9223372036854775807-2147483647": 3,
		"request_id=" + entries[1].RequestID: 1, "request_id=none": 0,
	} {
		if got := len(list(query)); got != want {
			t.Errorf("%s: %d entries, not %d", query, got, want)
		}
	}
}

func TestEveryAnswerTellsItsRevision(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	at := c.must("GET", "/v1/features", nil).Header.Get(api.HeaderRevision)
	for _, path := range []string{
		"/v1/buckets", "/v1/subjects", "/v1/subjects/42", "/v1/export/subjects", "/v1/features", "/v1/features/foobar", "/v1/features/foobar/rollout",
		"/v1/abtests", "/v1/abtests/live", "/v1/groups", "/v1/groups/friends", "/v1/groups/friends/subjects", "/v1/subject/flags?subject_id=42",
		"/v1/subjects/42/explain", "/v1/audit", "/v1/edges", "/v1/me", "/v1/about", "/v1/search?q=f",
	} {
		if got := c.must("GET", path, nil).Header.Get(api.HeaderRevision); got != at {
			t.Errorf("%s: revision %q, not %q", path, got, at)
		}
	}
}

// What is for its caller is not kept on the way, nor in a browser.
func TestAnswersAreNotStored(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	for _, a := range []answer{
		c.must("GET", "/v1/features", nil), c.must("GET", "/v1/export/subjects", nil), c.must("POST", "/v1/tokens", `{"name": "ci", "role": "viewer"}`),
		c.do("GET", "/v1/features/none", nil), client{t, c.url, ""}.do("GET", "/v1/features", nil), c.do("GET", "/v1/none", nil),
	} {
		if got := a.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%d %s: Cache-Control is %q", a.Status, a.Body, got)
		}
		if got := a.Header.Get("Strict-Transport-Security"); got != "" {
			t.Errorf("plain HTTP has Strict-Transport-Security: %s", got)
		}
	}
}

// Before anybody is there, shares are those of the buckets.
func TestProportionsWithoutWeight(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/buckets", `{"amount": 4}`)
	c.must("POST", "/v1/features", `{"name": "foobar"}`)
	c.must("POST", "/v1/features/foobar/variants", `{"name": "A"}`)
	c.must("POST", "/v1/features/foobar/rollout", `{"variant": "A"}`)
	for asked, want := range map[string]string{"1": "1", "0.5": "0.5", "-0.0": "0"} {
		a := c.must("PATCH", "/v1/features/foobar/rollout", `{"proportion": `+asked+`}`)
		if !strings.Contains(string(a.Body), `"proportion":`+want+`,"effective_proportion":`+want+`,`) {
			t.Errorf("asked for %s: %s", asked, a.Body)
		}
		a = c.must("GET", "/metrics", nil)
		for _, name := range []string{"proportion", "effective_proportion"} {
			if series := "\nflaggery_admin_rollout_" + name + `{feature="foobar",variant="A"} ` + want + "\n"; !strings.Contains(string(a.Body), series) {
				t.Errorf("asked for %s: no %s", asked, series)
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	c.do("POST", "/v1/groups", `{"name": "friends"}`)
	c.must("POST", "/v1/groups?dry_run=true", `{"name": "other"}`)
	c.must("PATCH", "/v1/features/foobar/rollout", `{"proportion": 0.4}`) // of two subjects, one
	var live api.ABTest
	c.must("GET", "/v1/abtests/live", nil).into(&live)
	a := c.must("GET", "/metrics", nil)
	for series, want := range map[string]string{
		"flaggery_admin_database_up":                                                "1",
		"flaggery_admin_database_connections_limit":                                 "297", // 300, and 3 for superusers
		"flaggery_admin_buckets":                                                    "4",
		"flaggery_admin_subjects":                                                   "2",
		"flaggery_admin_subjects_weight":                                            "2",
		"flaggery_admin_features":                                                   "3",
		"flaggery_admin_revision":                                                   c.must("GET", "/v1/features", nil).Header.Get(api.HeaderRevision),
		`flaggery_admin_rollout_proportion{feature="foobar",variant="B"}`:           "0.4",
		`flaggery_admin_rollout_effective_proportion{feature="foobar",variant="B"}`: "0.5",
		`flaggery_admin_abtest_proportion{group="control",test="live"}`:             "0.8",
		`flaggery_admin_abtest_effective_proportion{group="control",test="live"}`:   fmt.Sprint(live.Groups[0].EffectiveProportion), // drawn
		`flaggery_admin_writes_total{operation="add-group",outcome="stored"}`:       "1",
		`flaggery_admin_writes_total{operation="add-group",outcome="refused"}`:      "1",
		`flaggery_admin_writes_total{operation="add-group",outcome="dry_run"}`:      "1",
	} {
		if !strings.Contains(string(a.Body), "\n"+series+" "+want+"\n") {
			t.Errorf("no %s %s", series, want)
		}
	}
}

// Every call that the document shows asks for a token; who reads, who writes and
// who resolves is told there.
func TestEveryCallAsksForAToken(t *testing.T) {
	t.Parallel()
	c := start(t)
	document := newTestService(t).web.API.OpenAPI()
	calls := 0
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		for method, op := range operations(document.Paths[path]) {
			calls++
			want := "read"
			switch {
			case path == "/v1/subject/flags", path == "/v1/me":
				want = "resolve"
			case strings.HasPrefix(path, "/v1/tokens"):
				want = "administer"
			case path == "/v1/import/subjects":
				want = "import"
			case method != http.MethodGet:
				want = "write"
			}
			if got := fmt.Sprint(op.Security); got != "[map[token:["+want+"]]]" {
				t.Errorf("%s %s: permission %s, not %s", method, path, got, want)
			}
			for _, token := range []string{"", "wrong"} {
				stranger := client{t, c.url, token}
				a := stranger.do(method, strings.NewReplacer("{", "", "}", "").Replace(path), nil)
				if a.Status != 401 || a.Header.Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("%s %s with token %q: %d", method, path, token, a.Status)
				}
			}
		}
	}
	if calls < 40 {
		t.Errorf("only %d calls", calls)
	}
}
