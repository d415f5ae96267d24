package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/state"
)

// populate makes a little of everything: a feature with a rollout, one under a
// live test, a group with a member and an override.
func populate(c client) {
	c.t.Helper()
	c.must("POST", "/v1/buckets", `{"amount": 4}`)
	for _, id := range []string{"1", "42"} {
		c.must("POST", "/v1/subjects", api.CreateSubject{ID: id})
	}
	for _, feature := range []string{"foobar", "tested", "empty"} {
		c.must("POST", "/v1/features", api.CreateFeature{Name: feature})
	}
	for _, feature := range []string{"foobar", "tested"} {
		c.must("POST", "/v1/features/"+feature+"/variants", `{"name": "A"}`)
		c.must("POST", "/v1/features/"+feature+"/variants", `{"name": "B"}`)
	}
	c.must("PUT", "/v1/features/foobar/default_variant", `{"variant": "A"}`)
	c.must("POST", "/v1/features/foobar/rollout", `{"variant": "B"}`)
	c.must("POST", "/v1/abtests", abTest("live", "2020", "2100", "tested"))
	c.must("POST", "/v1/groups", `{"name": "friends"}`)
	c.must("PUT", "/v1/groups/friends/subjects/42", nil)
	c.must("PUT", "/v1/groups/friends/overrides/foobar", `{"variant": "B"}`)
}

// abTest is the body of a test of A against B.
func abTest(name, startYear, endYear, feature string) string {
	return fmt.Sprintf(`{"name": %q, "start": "%s-01-01T00:00:00Z", "end": "%s-01-01T00:00:00Z", "groups": [
		{"name": "control", "proportion": 0.8, "variants": {%q: "A"}},
		{"name": "experiment", "proportion": 0.2, "variants": {%q: "B"}}]}`, name, startYear, endYear, feature, feature)
}

// stateOf is a document with one test.
func stateOf(test string) string {
	name := strings.Split(test, `"`)[3]
	return fmt.Sprintf(`{"version": 1, "abtests": {%q: %s}}`, name, strings.Replace(test, fmt.Sprintf(`"name": %q, `, name), "", 1))
}

// groups is the body of a test of the feature foobar with these groups.
func groups(groups string) string {
	return `{"name": "t", "start": "2030-01-01T00:00:00Z", "end": "2031-01-01T00:00:00Z", "groups": [` + groups + `]}`
}

// Every code in the table of calls is reached, and no other is.
func TestProblems(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	c := startOn(t, dbURL)
	long := strings.Repeat("x", 257)
	reached := map[string][]model.Code{}
	problem := func(a answer, status int, code model.Code, location string) api.Problem {
		t.Helper()
		reached[a.row] = append(reached[a.row], code)
		return a.isProblem(status, code, location)
	}

	problem(c.do("POST", "/v1/subjects", `{"id": "1"}`), 409, model.NoBuckets, "")
	problem(c.do("POST", "/v1/subjects?dry_run=true", `{"id": "1"}`), 409, model.NoBuckets, "")
	problem(c.load(api.MediaNDJSON, `{"id": "1"}`, ""), 409, model.NoBuckets, "")
	populate(c)
	c.must("POST", "/v1/features/tested/disabling_variant", `{}`)
	c.must("POST", "/v1/abtests", abTest("next", "2200", "2201", "tested"))
	c.must("POST", "/v1/features", `{"name": "archived"}`)
	c.must("POST", "/v1/features/archived/variants", `{"name": "A", "make_default": true}`)
	c.must("POST", "/v1/features/archived/variants", `{"name": "B"}`)
	c.must("POST", "/v1/features/archived/rollout", `{"variant": "A"}`)
	c.must("PUT", "/v1/groups/friends/overrides/archived", `{"variant": "A"}`)
	archived := c.must("POST", "/v1/features/archived/archive", nil).Header.Get(api.HeaderRevision)
	c.must("PUT", "/v1/state", `{"version": 1, "owner": "repository", "groups": {"owned": {}}}`)
	c.must("POST", "/v1/groups", `{"name": "doomed"}`)
	// More than connections hold is read once the import knows the groups; then one of
	// them goes.
	line := io.MultiReader(strings.NewReader(strings.Repeat("\n", 16<<20)), onRead(func() { c.do("DELETE", "/v1/groups/doomed", nil).is(204, "") }), strings.NewReader(`{"id": "42", "groups": ["doomed"]}`))
	problem(c.do("POST", "/v1/import/subjects", line, "Content-Type", api.MediaNDJSON), 404, model.GroupNotFound, "")
	before := c.must("GET", "/v1/features", nil).Header.Get(api.HeaderRevision)

	for _, row := range []struct {
		call, body string
		status     int
		code       model.Code
		location   string // of the first field at fault, "" where none is
		detail     string // that the problem's detail or fields name
	}{
		// What is not there.
		{"GET /v1/subjects/7", "", 404, model.SubjectNotFound, "", "7"},
		{"PUT /v1/subjects/7", `{"weight": 1}`, 404, model.SubjectNotFound, "", ""},
		{"DELETE /v1/subjects/7", "", 404, model.SubjectNotFound, "", ""},
		{"GET /v1/subjects/7/explain", "", 404, model.SubjectNotFound, "", ""},
		{"GET /v1/subject/flags?subject_id=7", "", 404, model.SubjectNotFound, "", ""},
		{"GET /v1/features/none", "", 404, model.FeatureNotFound, "", "none"},
		{"PATCH /v1/features/none", `{"description": ""}`, 404, model.FeatureNotFound, "", ""},
		{"DELETE /v1/features/none", "", 404, model.FeatureNotFound, "", ""},
		{"GET /v1/features/none/shares", "", 404, model.FeatureNotFound, "", "none"},
		{"GET /v1/features/none/subjects?variant=A", "", 404, model.FeatureNotFound, "", "none"},
		{"GET /v1/overlap?features=foobar,none", "", 404, model.FeatureNotFound, "", "none"},
		{"POST /v1/features/none/archive", "", 404, model.FeatureNotFound, "", ""},
		{"POST /v1/features/none/restore", "", 404, model.FeatureNotFound, "", ""},
		{"POST /v1/features/none/variants", `{"name": "A"}`, 404, model.FeatureNotFound, "", ""},
		{"PATCH /v1/features/none/variants/A", `{"payload": 1}`, 404, model.FeatureNotFound, "", ""},
		{"DELETE /v1/features/none/variants/A", "", 404, model.FeatureNotFound, "", ""},
		{"POST /v1/features/none/disabling_variant", `{}`, 404, model.FeatureNotFound, "", ""},
		{"PUT /v1/features/none/default_variant", `{"variant": "A"}`, 404, model.FeatureNotFound, "", ""},
		{"DELETE /v1/features/none/default_variant", "", 404, model.FeatureNotFound, "", ""},
		{"GET /v1/features/none/rollout", "", 404, model.FeatureNotFound, "", ""},
		{"POST /v1/features/none/rollout", `{"variant": "A"}`, 404, model.FeatureNotFound, "", ""},
		{"PATCH /v1/features/none/rollout", `{"proportion": 0}`, 404, model.FeatureNotFound, "", ""},
		{"DELETE /v1/features/none/rollout", "", 404, model.FeatureNotFound, "", ""},
		{"GET /v1/features/empty/rollout", "", 404, model.RolloutNotFound, "", ""},
		{"PATCH /v1/features/empty/rollout", `{"proportion": 0}`, 404, model.RolloutNotFound, "", ""},
		{"DELETE /v1/features/empty/rollout", "", 404, model.RolloutNotFound, "", ""},
		{"GET /v1/features/foobar/subjects?variant=C", "", 404, model.VariantNotFound, "", "C"},
		{"GET /v1/features/foobar/subjects?variant=__DISABLE__", "", 404, model.VariantNotFound, "", ""},
		{"PATCH /v1/features/foobar/variants/C", `{"payload": 1}`, 404, model.VariantNotFound, "", "C"},
		{"DELETE /v1/features/foobar/variants/C", "", 404, model.VariantNotFound, "", ""},
		{"PUT /v1/features/foobar/default_variant", `{"variant": "C"}`, 404, model.VariantNotFound, "", ""},
		{"PUT /v1/features/foobar/default_variant", `{"variant": "__DISABLE__"}`, 404, model.VariantNotFound, "", ""},
		{"POST /v1/features/empty/rollout", `{"variant": "C"}`, 404, model.VariantNotFound, "", ""},
		{"PATCH /v1/features/foobar/rollout", `{"variant": "C"}`, 404, model.VariantNotFound, "", ""},
		{"PUT /v1/groups/friends/overrides/foobar", `{"variant": "C"}`, 404, model.VariantNotFound, "", ""},
		{"PUT /v1/groups/friends/overrides/none", `{"variant": "A"}`, 404, model.FeatureNotFound, "", ""},
		{"DELETE /v1/groups/friends/overrides/tested", "", 404, model.OverrideNotFound, "", ""},
		{"GET /v1/groups/none", "", 404, model.GroupNotFound, "", "none"},
		{"PATCH /v1/groups/none", `{"priority": 1}`, 404, model.GroupNotFound, "", ""},
		{"DELETE /v1/groups/none", "", 404, model.GroupNotFound, "", ""},
		{"GET /v1/groups/none/subjects", "", 404, model.GroupNotFound, "", ""},
		{"POST /v1/groups/none/subjects", `{"ids": ["42"]}`, 404, model.GroupNotFound, "", "none"},
		{"PUT /v1/groups/none/subjects/42", "", 404, model.GroupNotFound, "", ""},
		{"PUT /v1/groups/none/overrides/foobar", `{"variant": "A"}`, 404, model.GroupNotFound, "", ""},
		{"PUT /v1/groups/friends/subjects/7", "", 404, model.SubjectNotFound, "", ""},
		{"DELETE /v1/groups/none/subjects/42", "", 404, model.GroupNotFound, "", ""},
		{"DELETE /v1/groups/none/overrides/foobar", "", 404, model.GroupNotFound, "", ""},
		{"DELETE /v1/groups/friends/subjects/7", "", 404, model.SubjectNotFound, "", ""},
		{"DELETE /v1/groups/friends/subjects/1", "", 404, model.MemberNotFound, "", ""},
		{"DELETE /v1/groups/friends/overrides/none", "", 404, model.OverrideNotFound, "", "none"},
		{"GET /v1/abtests/none", "", 404, model.ABTestNotFound, "", "none"},
		{"PATCH /v1/abtests/none", `{}`, 404, model.ABTestNotFound, "", ""},
		{"POST /v1/abtests/none/stop", "", 404, model.ABTestNotFound, "", ""},
		{"DELETE /v1/abtests/none", "", 404, model.ABTestNotFound, "", ""},
		{"POST /v1/abtests", abTest("t", "2030", "2031", "none"), 404, model.FeatureNotFound, "body.groups[0].variants.none", "none"},
		{"POST /v1/abtests", strings.ReplaceAll(abTest("t", "2030", "2031", "foobar"), `"B"`, `"C"`), 404, model.VariantNotFound, "body.groups[1].variants.foobar", "C"},

		// What is there already, or still.
		{"POST /v1/subjects", `{"id": "42"}`, 409, model.SubjectExists, "", "42"},
		{"POST /v1/features", `{"name": "foobar"}`, 409, model.FeatureExists, "", ""},
		{"POST /v1/features/foobar/variants", `{"name": "A"}`, 409, model.VariantExists, "", "A"},
		{"POST /v1/features/tested/disabling_variant", `{}`, 409, model.VariantExists, "", "__DISABLE__"},
		{"POST /v1/features/foobar/rollout", `{"variant": "A"}`, 409, model.RolloutExists, "", ""},
		{"POST /v1/groups", `{"name": "friends"}`, 409, model.GroupExists, "", ""},
		{"POST /v1/abtests", abTest("live", "2300", "2301", "foobar"), 409, model.ABTestExists, "", "live"},
		{"POST /v1/abtests", abTest("second", "2030", "2031", "tested"), 409, model.ABTestOverlap, "", "live"},
		{"POST /v1/abtests", abTest("second", "2099", "2100", "tested"), 409, model.ABTestOverlap, "", "tested"},
		{"DELETE /v1/abtests/live", "", 409, model.ABTestLive, "", ""},
		{"POST /v1/features/tested/archive", "", 409, model.ABTestLive, "", "live"},
		{"DELETE /v1/features/foobar", "", 409, model.FeatureHasVariants, "", ""},
		{"DELETE /v1/features/tested?cascade=false", "", 409, model.FeatureHasVariants, "", ""},
		{"DELETE /v1/features/tested?cascade=true", "", 409, model.ABTestLive, "", "live"},
		{"DELETE /v1/features/tested?cascade=true&dry_run=true", "", 409, model.ABTestLive, "", ""},
		{"DELETE /v1/features/none?cascade=true", "", 404, model.FeatureNotFound, "", "none"},
		{"DELETE /v1/features/foobar?cascade=yes", "", 422, model.ValidationFailed, "query.cascade", ""},
		{"DELETE /v1/features/foobar/rollout?cascade=true", "", 422, model.ValidationFailed, "query.cascade", ""},
		{"DELETE /v1/features/foobar/variants/A", "", 409, model.VariantInUse, "", "default"},
		{"DELETE /v1/features/foobar/variants/B", "", 409, model.VariantInUse, "", "rollout"},
		{"DELETE /v1/features/foobar/variants/B", "", 409, model.VariantInUse, "", "friends"},
		{"DELETE /v1/features/tested/variants/B", "", 409, model.VariantInUse, "", "live"},

		{"PUT /v1/state", "{}", 422, model.ValidationFailed, "body.version", "line 1"},
		{"PUT /v1/state", "version: 1\nfeatures: [", 422, model.ValidationFailed, "body", "line 2"},
		{"PUT /v1/state", "version: 1\nfeatures:\n  foobar:\n    default: C", 422, model.ValidationFailed, "body.features.foobar.default", "line 4"},
		{"PUT /v1/state?prune=true", "version: 1", 422, model.ValidationFailed, "body.owner", "prune"},
		{"PUT /v1/state?for=promotion", "version: 1", 422, model.ValidationFailed, "query.for", ""},
		{"PUT /v1/state", "{version: 1, groups: {owned: {}}}", 409, model.ManagedElsewhere, "", `"repository"`},
		{"PUT /v1/state", stateOf(abTest("live", "2020", "2100", "foobar")), 409, model.ABTestLive, "", "live"},
		{"PUT /v1/state", stateOf(abTest("second", "2030", "2031", "tested")), 409, model.ABTestOverlap, "", "live"},
		{"PUT /v1/state", "{version: 1, features: {foobar: {variants: {A: null}}}}", 409, model.VariantInUse, "", "default"},
		{"PUT /v1/state", "{version: 1, features: {archived: {archived: true, variants: {C: {}}}}}", 409, model.FeatureArchived, "", "archived"},
		{"PUT /v1/state", "{version: 1, features: {archived: {}}}", 422, model.ValidationFailed, "body.features.archived", "archived: false"},
		{"PUT /v1/state", strings.Repeat(" ", state.MaxSize+1), 413, model.BodyTooLarge, "", ""},
		{"GET /v1/state?owner=", "", 422, model.ValidationFailed, "query.owner", ""},
		{"GET /v1/state?format=xml", "", 422, model.ValidationFailed, "query.format", ""},
		{"GET /v1/state?features=a/b", "", 422, model.ValidationFailed, "query.features", ""},

		// What belongs to an archived feature.
		{"POST /v1/features/archived/variants", `{"name": "C"}`, 409, model.FeatureArchived, "", "archived"},
		{"PATCH /v1/features/archived/variants/A", `{"payload": 1}`, 409, model.FeatureArchived, "", ""},
		{"DELETE /v1/features/archived/variants/B", "", 409, model.FeatureArchived, "", ""},
		{"POST /v1/features/archived/disabling_variant", `{}`, 409, model.FeatureArchived, "", ""},
		{"PUT /v1/features/archived/default_variant", `{"variant": "B"}`, 409, model.FeatureArchived, "", ""},
		{"DELETE /v1/features/archived/default_variant", "", 409, model.FeatureArchived, "", ""},
		{"POST /v1/features/archived/rollout", `{"variant": "A"}`, 409, model.FeatureArchived, "", ""},
		{"PATCH /v1/features/archived/rollout", `{"proportion": 1}`, 409, model.FeatureArchived, "", ""},
		{"DELETE /v1/features/archived/rollout", "", 409, model.FeatureArchived, "", ""},
		{"PUT /v1/groups/friends/overrides/archived", `{"variant": "B"}`, 409, model.FeatureArchived, "", ""},
		{"DELETE /v1/groups/friends/overrides/archived", "", 409, model.FeatureArchived, "", ""},
		{"DELETE /v1/groups/friends", "", 409, model.FeatureArchived, "", "archived"},
		{"POST /v1/abtests", abTest("t", "2030", "2031", "archived"), 409, model.FeatureArchived, "", "archived"},

		// Names.
		{"POST /v1/features", `{"name": ""}`, 422, model.ValidationFailed, "body.name", ""},
		{"POST /v1/features", `{"name": "-a"}`, 422, model.ValidationFailed, "body.name", ""},
		{"POST /v1/features", `{"name": "a/b"}`, 422, model.ValidationFailed, "body.name", ""},
		{"POST /v1/features", `{"name": "ä"}`, 422, model.ValidationFailed, "body.name", ""},
		{"POST /v1/features", `{"name": "` + long[:129] + `"}`, 422, model.ValidationFailed, "body.name", "128"},
		{"POST /v1/features/foobar/variants", `{"name": "__DISABLE__"}`, 422, model.ValidationFailed, "body.name", "reserved"},
		{"POST /v1/features/foobar/variants", `{"name": "a b"}`, 422, model.ValidationFailed, "body.name", ""},
		{"POST /v1/groups", `{"name": "a b"}`, 422, model.ValidationFailed, "body.name", ""},
		{"POST /v1/abtests", abTest("a b", "2030", "2031", "foobar"), 422, model.ValidationFailed, "body.name", ""},
		{"POST /v1/features", `{"name": "f", "description": "` + strings.Repeat("x", 4097) + `"}`, 422, model.ValidationFailed, "body.description", "4096"},
		{"POST /v1/features", `{"name": "f", "tags": [` + strings.Repeat(`"x",`, 64) + `"x"]}`, 422, model.ValidationFailed, "body.tags", "64"},
		{"POST /v1/features/foobar/variants", `{"name": "C", "payload": "` + strings.Repeat("x", 64<<10) + `"}`, 422, model.ValidationFailed, "body.payload", "64 KiB"},

		// Subject ids and weights.
		{"POST /v1/subjects", `{"id": ""}`, 422, model.ValidationFailed, "body.id", ""},
		{"POST /v1/subjects", `{"id": "` + long + `"}`, 422, model.ValidationFailed, "body.id", "256"},
		{"POST /v1/subjects", `{"id": "a\u0000b"}`, 422, model.ValidationFailed, "body.id", "control"},
		{"POST /v1/subjects", `{"id": "a\nb"}`, 422, model.ValidationFailed, "body.id", "control"},
		{"POST /v1/subjects", `{"id": "a\u0085b"}`, 422, model.ValidationFailed, "body.id", "control"},
		{"POST /v1/subjects", `{"id": 42}`, 422, model.ValidationFailed, "body.id", "string"},
		{"POST /v1/subjects", `{"weight": 42}`, 422, model.ValidationFailed, "body.id", "required"},
		{"POST /v1/subjects", `{"id": "7", "wieght": 2}`, 422, model.ValidationFailed, "body.wieght", ""},
		{"POST /v1/subjects", `{"id": "7", "weight": -1}`, 422, model.ValidationFailed, "body.weight", ""},
		{"POST /v1/subjects", `{"id": "7", "weight": 1.5}`, 422, model.ValidationFailed, "body.weight", ""},
		{"POST /v1/subjects", `{"id": "7", "weight": 9007199254740992}`, 422, model.ValidationFailed, "body.weight", ""},
		{"POST /v1/subjects", `{"id": "7", "weight": "1"}`, 422, model.ValidationFailed, "body.weight", ""},
		{"PUT /v1/subjects/42", `{}`, 422, model.ValidationFailed, "body.weight", "required"},
		{"PUT /v1/subjects/42", `{"weight": null}`, 422, model.ValidationFailed, "body.weight", ""},
		{"PUT /v1/subjects/42", `{"weight": 9007199254740992}`, 422, model.ValidationFailed, "body.weight", ""},
		{"GET /v1/subjects/" + long, "", 422, model.ValidationFailed, "path.id", "256"},
		{"GET /v1/subjects/%00", "", 422, model.ValidationFailed, "path.id", "control"},
		{"GET /v1/subjects/%ff", "", 422, model.ValidationFailed, "path.id", "UTF-8"},
		{"GET /v1/subject/flags", "", 422, model.ValidationFailed, "query.subject_id", ""},
		{"GET /v1/subject/flags?subject_id=" + long, "", 422, model.ValidationFailed, "query.subject_id", ""},

		// Many subjects.
		{"POST /v1/subjects/delete", `{"ids": []}`, 422, model.ValidationFailed, "body.ids", ""},
		{"POST /v1/subjects/delete", `{"ids": [` + strings.Repeat(`"x",`, 10_000) + `"x"]}`, 422, model.ValidationFailed, "body.ids", "10000"},
		{"POST /v1/subjects/delete", `{}`, 422, model.ValidationFailed, "body.ids", "required"},
		{"POST /v1/subjects/delete", `{"ids": ["1", 42]}`, 422, model.ValidationFailed, "body.ids[1]", "string"},
		{"POST /v1/subjects/delete", `{"ids": ["1", "a\nb"]}`, 422, model.ValidationFailed, "body.ids[1]", "control"},
		{"POST /v1/subjects/delete", `{"ids": ["1", "2", "1"]}`, 422, model.ValidationFailed, "body.ids[2]", "body.ids[0]"},
		{"POST /v1/groups/friends/subjects", `{"ids": []}`, 422, model.ValidationFailed, "body.ids", ""},
		{"POST /v1/groups/friends/subjects", `{"ids": ["", "` + long + `"]}`, 422, model.ValidationFailed, "body.ids[0]", "256"},
		{"POST /v1/groups/friends/subjects", `{"ids": ["1"], "leave": "yes"}`, 422, model.ValidationFailed, "body.leave", ""},
		{"GET /v1/groups/friends/subjects?view=weights", "", 422, model.ValidationFailed, "query.view", "subjects"},

		// Buckets.
		{"POST /v1/buckets", `{"amount": 0}`, 422, model.ValidationFailed, "body.amount", ""},
		{"POST /v1/buckets", `{"amount": -1}`, 422, model.ValidationFailed, "body.amount", ""},
		{"POST /v1/buckets", `{"amount": 100001}`, 422, model.ValidationFailed, "body.amount", ""},
		{"POST /v1/buckets", `{"amount": 99999}`, 422, model.ValidationFailed, "body.amount", ""}, // with the 4 there are
		{"POST /v1/buckets", `{"amount": 2.5}`, 422, model.ValidationFailed, "body.amount", ""},

		// Proportions.
		{"PATCH /v1/features/foobar/rollout", `{"proportion": -0.1}`, 422, model.ValidationFailed, "body.proportion", ""},
		{"PATCH /v1/features/foobar/rollout", `{"proportion": 1.1}`, 422, model.ValidationFailed, "body.proportion", ""},
		{"PATCH /v1/features/foobar/rollout", `{"proportion": "0.1"}`, 422, model.ValidationFailed, "body.proportion", ""},
		{"PATCH /v1/features/foobar/rollout", `{"proportion": NaN}`, 400, model.ValidationFailed, "body", ""},

		// Tests.
		{"POST /v1/abtests", abTest("t", "2031", "2030", "foobar"), 422, model.ValidationFailed, "body.end", ""},
		{"POST /v1/abtests", abTest("t", "2030", "2030", "foobar"), 422, model.ValidationFailed, "body.end", ""},
		{"POST /v1/abtests", `{"name": "t", "start": "tomorrow", "end": "2031-01-01T00:00:00Z", "groups": [{"name": "a", "variants": {}}, {"name": "b", "variants": {}}]}`, 422, model.ValidationFailed, "body.start", ""},
		{"POST /v1/abtests", groups(`{"name": "a", "proportion": 1, "variants": {"foobar": "A"}}`), 422, model.ValidationFailed, "body.groups", ""},
		{"POST /v1/abtests", groups(`{"name": "a", "variants": {"foobar": "A"}}, {"name": "a", "variants": {"foobar": "B"}}`), 422, model.ValidationFailed, "body.groups[1].name", ""},
		{"POST /v1/abtests", groups(`{"name": "a", "proportion": 0.5, "variants": {"foobar": "A"}}, {"name": "b", "proportion": 0.4, "variants": {"foobar": "B"}}`), 422, model.ValidationFailed, "body.groups", "0.9"},
		{"POST /v1/abtests", groups(`{"name": "a", "proportion": 0.5, "variants": {"foobar": "A"}}, {"name": "b", "variants": {"foobar": "B"}}`), 422, model.ValidationFailed, "body.groups[1].proportion", ""},
		{"POST /v1/abtests", groups(`{"name": "a", "proportion": -0.5, "variants": {"foobar": "A"}}, {"name": "b", "proportion": 1.5, "variants": {"foobar": "B"}}`), 422, model.ValidationFailed, "body.groups[0].proportion", ""},
		{"POST /v1/abtests", groups(`{"name": "a", "variants": {"foobar": "A"}}, {"name": "b", "variants": {"tested": "B"}}`), 422, model.ValidationFailed, "body.groups[1].variants", "tested"},
		{"POST /v1/abtests", groups(`{"name": "a", "variants": {}}, {"name": "b", "variants": {}}`), 422, model.ValidationFailed, "body.groups[0].variants", ""},
		{"POST /v1/abtests", strings.Replace(abTest("t", "2030", "2031", "foobar"), "{", `{"description": "`+strings.Repeat("x", 4097)+`", `, 1), 422, model.ValidationFailed, "body.description", "4096"},
		{"PATCH /v1/abtests/live", `{"start": "2030-01-01T00:00:00Z"}`, 422, model.ValidationFailed, "body.start", "started at 2020-01-01"},
		{"PATCH /v1/abtests/live", `{"end": "2020-01-01T00:00:00Z"}`, 422, model.ValidationFailed, "body.end", "now"},
		{"PATCH /v1/abtests/live", `{"end": "2010-01-01T00:00:00Z"}`, 422, model.ValidationFailed, "body.end", "2010"},
		{"PATCH /v1/abtests/live", `{"end": "0001-01-01T00:00:00Z"}`, 422, model.ValidationFailed, "body.end", "1970"},
		{"PATCH /v1/abtests/live", `{"end": "tomorrow"}`, 422, model.ValidationFailed, "body.end", ""},
		{"PATCH /v1/abtests/live", `{"end": null}`, 422, model.ValidationFailed, "body.end", ""},
		{"PATCH /v1/abtests/live", `{"name": "x"}`, 422, model.ValidationFailed, "body.name", ""},
		{"PATCH /v1/abtests/live", `{"description": "` + strings.Repeat("x", 4097) + `"}`, 422, model.ValidationFailed, "body.description", "4096"},
		{"PATCH /v1/abtests/next", `{"start": "2202-01-01T00:00:00Z"}`, 422, model.ValidationFailed, "body.end", "after start"},
		{"PATCH /v1/abtests/next", `{"end": "2200-01-01T00:00:00Z"}`, 422, model.ValidationFailed, "body.end", "2200"},
		{"PATCH /v1/abtests/next", `{"start": "2099-01-01T00:00:00Z"}`, 409, model.ABTestOverlap, "", "live"},
		{"GET /v1/abtests?state=running", "", 422, model.ValidationFailed, "query.state", ""},
		{"GET /v1/abtests?feature=a%20b", "", 422, model.ValidationFailed, "query.feature", ""},
		{"GET /v1/abtests?from=noon", "", 422, model.ValidationFailed, "query.from", ""},
		{"GET /v1/abtests?until=2027-01-01", "", 422, model.ValidationFailed, "query.until", ""},
		{"GET /v1/abtests?from=2027-01-01T00:00:00Z&until=2027-01-01T00:00:00Z", "", 422, model.ValidationFailed, "query.until", "after from"},
		{"GET /v1/abtests?from=9999-12-31T23:00:00-02:00", "", 422, model.ValidationFailed, "query.from", "9999"},
		{"GET /v1/abtests?since=2027-01-01T00:00:00Z", "", 422, model.ValidationFailed, "query.since", ""},

		// Groups.
		{"POST /v1/groups", `{"name": "g", "priority": 2147483648}`, 422, model.ValidationFailed, "body.priority", ""},
		{"PATCH /v1/groups/friends", `{"priority": "high"}`, 422, model.ValidationFailed, "body.priority", ""},

		// Bodies, queries.
		{"POST /v1/features", ``, 400, model.ValidationFailed, "", ""},
		{"POST /v1/features", `{"name": "f"`, 400, model.ValidationFailed, "body", ""},
		{"POST /v1/features", `{"name": "f"} {}`, 422, model.ValidationFailed, "body", ""},
		{"POST /v1/features", "{\"name\": \"\xff\"}", 400, model.ValidationFailed, "body", "UTF-8"},
		{"POST /v1/features", `{"name": "` + strings.Repeat("x", 1<<20) + `"}`, 413, model.BodyTooLarge, "", ""},
		{"POST /v1/features?dry-run=true", `{"name": "f"}`, 422, model.ValidationFailed, "query.dry-run", ""},
		{"POST /v1/features?dry_run=perhaps", `{"name": "f"}`, 422, model.ValidationFailed, "query.dry_run", ""},
		{"POST /v1/features?wait=31s", `{"name": "f"}`, 422, model.ValidationFailed, "query.wait", "30s"},
		{"POST /v1/features?wait=-1s", `{"name": "f"}`, 422, model.ValidationFailed, "query.wait", ""},
		{"POST /v1/features?wait=2", `{"name": "f"}`, 422, model.ValidationFailed, "query.wait", ""},
		{"GET /v1/features?limit=0", "", 422, model.ValidationFailed, "query.limit", ""},
		{"GET /v1/features?limit=1001", "", 422, model.ValidationFailed, "query.limit", ""},
		{"GET /v1/features?limit=all", "", 422, model.ValidationFailed, "query.limit", ""},
		{"GET /v1/buckets?view=rows", "", 422, model.ValidationFailed, "query.view", "columns"},
		{"GET /v1/buckets?view=columns&limit=5", "", 422, model.ValidationFailed, "query.limit", "leave it out"},
		{"GET /v1/buckets?view=columns&after=5", "", 422, model.ValidationFailed, "query.after", "leave it out"},
		{"GET /v1/subjects?sort=weight", "", 422, model.ValidationFailed, "query.sort", "-weight"},
		{"GET /v1/subjects?sort=-weight&after=42", "", 422, model.ValidationFailed, "query.after", "42"},
		{"GET /v1/subjects?bucket=0", "", 422, model.ValidationFailed, "query.bucket", ""},
		{"GET /v1/subjects?bucket=100001", "", 422, model.ValidationFailed, "query.bucket", ""},
		{"GET /v1/subjects?bucket=x", "", 422, model.ValidationFailed, "query.bucket", ""},
		{"GET /v1/buckets?after=x", "", 422, model.ValidationFailed, "query.after", ""},
		{"GET /v1/audit?after=x", "", 422, model.ValidationFailed, "query.after", ""},
		{"GET /v1/audit?since=yesterday", "", 422, model.ValidationFailed, "query.since", ""},
		{"GET /v1/audit?since=9999-12-31T23:59:59-23:59", "", 422, model.ValidationFailed, "query.since", ""},
		{"GET /v1/audit?until=0000-01-01T00:00:00Z", "", 422, model.ValidationFailed, "query.until", ""},
		{"GET /v1/audit?after=9223372036854775807-2147483648", "", 422, model.ValidationFailed, "query.after", ""},
		{"GET /v1/audit?after=9223372036854775808-0", "", 422, model.ValidationFailed, "query.after", ""},
		{"GET /v1/subjects/42/explain?at=9999-12-31T23:59:59-23:59", "", 422, model.ValidationFailed, "query.at", ""},
		{"GET /v1/subjects/42/explain?at=2019-06-01T00:00:00Z", "", 422, model.HistoryUnavailable, "", "the earliest moment is 20"},
		{"GET /v1/features/foobar/shares?at=9999-12-31T23:59:59-23:59", "", 422, model.ValidationFailed, "query.at", ""},
		{"GET /v1/features/foobar/shares?at=2019-06-01T00:00:00Z", "", 422, model.HistoryUnavailable, "", "the earliest moment is 20"},
		{"GET /v1/features/-/shares", "", 422, model.ValidationFailed, "path.feature", ""},
		{"GET /v1/features/foobar/subjects", "", 422, model.ValidationFailed, "query.variant", ""},
		{"GET /v1/features/foobar/subjects?variant=-", "", 422, model.ValidationFailed, "query.variant", ""},
		{"GET /v1/features/-/subjects?variant=A", "", 422, model.ValidationFailed, "path.feature", ""},
		{"GET /v1/overlap", "", 422, model.ValidationFailed, "query.features", ""},
		{"GET /v1/overlap?features=foobar", "", 422, model.ValidationFailed, "query.features", "foobar"},
		{"GET /v1/overlap?features=foobar,foobar", "", 422, model.ValidationFailed, "query.features", "different"},
		{"GET /v1/overlap?features=foobar,tested&features=empty", "", 422, model.ValidationFailed, "query.features", "empty"},
		{"GET /v1/overlap?features=foobar,-", "", 422, model.ValidationFailed, "query.features", ""},
		{"GET /v1/features?view=columns", "", 422, model.ValidationFailed, "query.view", ""},
		{"POST /v1/features", `{"name": "new", "contact": "a\tb"}`, 422, model.ValidationFailed, "body.contact", ""},
		{"POST /v1/features", `{"name": "new", "expires": "31.1.2027"}`, 422, model.ValidationFailed, "body.expires", "2027-01-31"},
		{"PATCH /v1/features/foobar", `{"contact": " "}`, 422, model.ValidationFailed, "body.contact", ""},
		{"PATCH /v1/features/foobar", `{"expires": "2027-02-29"}`, 422, model.ValidationFailed, "body.expires", "2027-02-29"},
		{"GET /v1/features?sort=name", "", 422, model.ValidationFailed, "query.sort", "view=summary"},
		{"GET /v1/features?query=x", "", 422, model.ValidationFailed, "query.query", "view=summary or view=names"},
		{"GET /v1/features?view=names&tag=x", "", 422, model.ValidationFailed, "query.tag", "view=summary"},
		{"GET /v1/features?tag=x", "", 422, model.ValidationFailed, "query.tag", "view=summary"},
		{"GET /v1/features?state=off", "", 422, model.ValidationFailed, "query.state", "view=summary"},
		{"GET /v1/features?stage=settled", "", 422, model.ValidationFailed, "query.stage", "view=summary"},
		{"GET /v1/features?view=summary&stage=stale", "", 422, model.ValidationFailed, "query.stage", ""},
		{"GET /v1/features?view=summary&state=on", "", 422, model.ValidationFailed, "query.state", ""},
		{"GET /v1/features?view=summary&sort=changed&after=foobar", "", 422, model.ValidationFailed, "query.after", ""},
		{"GET /v1/features?view=summary&sort=changed&after=0-foobar", "", 422, model.ValidationFailed, "query.after", ""},
		{"POST /v1/subjects", `{"id": "."}`, 422, model.ValidationFailed, "body.id", ""},
		{"POST /v1/subjects?dry_run", `{"id": ".."}`, 422, model.ValidationFailed, "body.id", ""},
		{"GET /v1/audit?actor=%00", "", 422, model.ValidationFailed, "query.actor", ""},
		{"GET /v1/subjects/42/explain?at=noon", "", 422, model.ValidationFailed, "query.at", ""},
		{"POST /v1/import/subjects", `{"id": "7"}`, 415, model.UnsupportedMediaType, "", "text/csv"},

		{"DELETE /v1/tokens/7", "", 404, model.TokenNotFound, "", "7"},
		{"POST /v1/audit/999/revert", "", 404, model.RevisionNotFound, "", "999"},
		{"POST /v1/audit/1/revert", "", 409, model.NotRevertible, "", "buckets"},

		// Not in this admin.
		{"GET /v1/tokens/7", "", 405, model.MethodNotAllowed, "", ""},
		{"PUT /v1/features", "{}", 405, model.MethodNotAllowed, "", ""},
	} {
		method, path, _ := strings.Cut(row.call, " ")
		var body any
		if row.body != "" {
			body = row.body
		} else if method == "POST" {
			body = ""
		}
		p := problem(c.do(method, path, body), row.status, row.code, row.location)
		if text := fmt.Sprint(p.Detail, p.Errors); !strings.Contains(text, row.detail) {
			t.Errorf("%s: does not name %q: %s", row.call, row.detail, text)
		}
	}

	c.do("DELETE", "/v1/features/empty", nil, "If-Match", `"1"`).isProblem(412, model.PreconditionFailed, "")
	problem(c.do("PUT", "/v1/state", "version: 1", "Content-Type", "text/plain"), 415, model.UnsupportedMediaType, "")
	nobody := client{t, c.url, ""}
	nobody.do("GET", "/v1/features", nil).isProblem(401, model.Unauthenticated, "")

	// An edge of the last release, which would serve what is off.
	connectAs(t, dbURL, "flaggery-edge/old 0")
	for _, call := range []string{
		"PATCH /v1/features/foobar", "POST /v1/features/foobar/archive", "POST /v1/features/archived/restore", "POST /v1/audit/" + archived + "/revert",
	} {
		method, path, _ := strings.Cut(call, " ")
		problem(c.do(method, path, map[string]any{"PATCH": `{"off": true}`, "POST": ""}[method]), 409, model.EdgesTooOld, "")
	}
	problem(c.do("PUT", "/v1/state", "{version: 1, features: {foobar: {off: true}}}"), 409, model.EdgesTooOld, "")
	c.must("PUT", "/v1/state?dry_run=true", "{version: 1, features: {foobar: {off: false}}}")
	c.must("PATCH", "/v1/features/foobar?dry_run=true", `{"description": "said of itself"}`)

	// Refused writes leave nothing behind.
	if after := c.must("GET", "/v1/features", nil).Header.Get(api.HeaderRevision); after != before {
		t.Errorf("revision %s became %s", before, after)
	}
	for call, codes := range api.AdminCalls {
		for _, code := range codes {
			if !slices.Contains(reached[call], code) {
				t.Errorf("%s: %s was not reached", call, code)
			}
		}
	}
}

// What a problem says to programs beside its code.
func TestProblemsExtend(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	c.must("POST", "/v1/abtests", abTest("earlier", "2000", "2010", "tested"))

	// Whose change an old ETag does not know of: of a resource with a revision, and of a subject.
	for path, body := range map[string]string{"/v1/features/foobar": `{"description": "changed"}`, "/v1/subjects/42": `{"weight": 7}`} {
		old := c.must("GET", path, nil).Header.Get("ETag")
		method := map[string]string{"/v1/features/foobar": "PATCH", "/v1/subjects/42": "PUT"}[path]
		changed := c.must(method, path, body)
		for _, dryRun := range []string{"", "?dry_run=true"} {
			p := c.do("DELETE", path+dryRun, nil, "If-Match", old).isProblem(412, model.PreconditionFailed, "")
			if p.Current != changed.Header.Get("ETag") || p.Current == old {
				t.Errorf("%s: current is %s, changed from %s to %s", path, p.Current, old, changed.Header.Get("ETag"))
			}
			if who := p.Changed; who == nil || fmt.Sprint(who.Revision) != changed.Header.Get(api.HeaderRevision) || who.Actor != "FLAGGERY_ADMIN_TOKEN" || who.At.IsZero() {
				t.Errorf("%s: changed by %+v, want revision %s", path, who, changed.Header.Get(api.HeaderRevision))
			}
		}
	}

	overlap := c.do("POST", "/v1/abtests", abTest("second", "2005", "2030", "tested")).isProblem(409, model.ABTestOverlap, "")
	at := func(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
	conflicts := []model.Conflict{
		{Test: "earlier", Features: []string{"tested"}, Start: at(2000), End: at(2010)},
		{Test: "live", Features: []string{"tested"}, Start: at(2020), End: at(2100)},
	}
	if diff := cmp.Diff(conflicts, overlap.Conflicts); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}

	c.must("PUT", "/v1/features/foobar/default_variant", `{"variant": "B"}`)
	used := append(c.do("DELETE", "/v1/features/foobar/variants/B", nil).isProblem(409, model.VariantInUse, "").UsedBy,
		c.do("DELETE", "/v1/features/tested/variants/A", nil).isProblem(409, model.VariantInUse, "").UsedBy...)
	places := []model.VariantPlace{
		{Place: "default", Path: "features/foobar/default_variant"}, {Place: "rollout", Path: "features/foobar/rollout"},
		{Place: "group", Path: "groups/friends/overrides/foobar"},
		{Place: "test", Path: "abtests/earlier", TestGroup: "control"}, {Place: "test", Path: "abtests/live", TestGroup: "control"},
	}
	if diff := cmp.Diff(places, used); diff != "" {
		t.Errorf("used by (-want +got):\n%s", diff)
	}
}

// onRead is a part of a body that holds nothing: it is called when it is read.
type onRead func()

func (f onRead) Read([]byte) (int, error) { f(); return 0, io.EOF }

// isProblem checks a problem: its status, code and the location of its first
// field at fault.
func (a answer) isProblem(status int, code model.Code, location string) api.Problem {
	a.t.Helper()
	var p api.Problem
	if err := json.Unmarshal(a.Body, &p); err != nil || a.Header.Get("Content-Type") != api.MediaProblem {
		a.t.Errorf("%.80s: no problem: %d %s", a.call, a.Status, a.Body)
		return p
	}
	if a.Status != status || p.Status != status || p.Code != code || p.Title != http.StatusText(status) || p.Detail == "" {
		a.t.Errorf("%.80s: not %d %s: %s", a.call, status, code, a.Body)
	}
	locations := []string{""}
	for i, f := range p.Errors {
		locations = slices.Insert(locations, i, f.Location)
	}
	if locations[0] != location {
		a.t.Errorf("%.80s: at %q, not %q: %s", a.call, locations[0], location, a.Body)
	}
	return p
}

func TestTotalWeightIsBounded(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/buckets", `{"amount": 1}`)
	const most = 1<<53 - 1
	var lines strings.Builder
	for i := range 1024 { // 2^10 times 2^53-1 is just below 2^63
		fmt.Fprintf(&lines, "{\"id\": \"%d\", \"weight\": %d}\n", i, most)
	}
	c.load(api.MediaNDJSON, lines.String(), "").is(200, `{"created": 1024, "updated": 0, "unchanged": 0, "deleted": 0}`)
	c.load(api.MediaCSV, fmt.Sprintf("id,weight\nmore,%d\n", most), "").isProblem(422, model.ValidationFailed, "")
	c.do("POST", "/v1/subjects", fmt.Sprintf(`{"id": "more", "weight": %d}`, most)).isProblem(422, model.ValidationFailed, "")
	c.must("POST", "/v1/subjects", `{"id": "less", "weight": 1023}`)
	c.do("PUT", "/v1/subjects/less", `{"weight": 1025}`).isProblem(422, model.ValidationFailed, "")
}
