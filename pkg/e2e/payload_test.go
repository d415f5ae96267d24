package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/edge"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// spaced has everything that an encoder might write differently.
const spaced = "{ \"marker\" :\t[1.0, -0, 1E2, 12345678901234567890.10],\r\n  \"b\": \"<a>&\\u00e9\\/\u2028\", \"a\": {} }"

// keepsPayloads checks that an answer has all payloads in their original form.
func keepsPayloads(t *testing.T, what string, a answer) (payloads int) {
	t.Helper()
	payloads = strings.Count(a.body, spaced)
	if marked := strings.Count(a.body, "marker"); marked != payloads || a.status >= 300 {
		t.Errorf("%s: %d with %d of %d payloads as they were sent: %s", what, a.status, payloads, marked, a.body)
	}
	return payloads
}

func TestPayloadsAreKeptByteForByte(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	post := &operation{documented: s.admin, method: "POST", media: api.MediaJSON, path: "/v1/features/seeded/variants", body: `{"name": "C", "payload": ` + spaced + ` }`}
	if a := post.do(t, nil); keepsPayloads(t, "POST", a) != 1 {
		t.Errorf("POST: %s", a.body)
	}
	patch := &operation{documented: s.admin, method: "PATCH", media: api.MediaJSON, path: "/v1/features/seeded/variants/B", body: `{"payload":` + spaced + `}`}
	added := patch.do(t, nil)
	if keepsPayloads(t, "PATCH", added) != 1 {
		t.Errorf("PATCH: %s", added.body)
	}
	s.revision = added.header.Get(api.HeaderRevision)
	if again := patch.do(t, nil); again.header.Get(api.HeaderRevision) != s.revision {
		t.Errorf("the same payload again makes revision %s after %s", again.header.Get(api.HeaderRevision), s.revision)
	}
	found := map[string]int{}
	for _, o := range s.operations(t, s.admin) {
		switch o.call { // dry runs of these show the payload
		case "PATCH /v1/features/{feature}/variants/{variant}":
			o.body = `{"payload": [` + spaced + `, ` + spaced + `]}`
		case "DELETE /v1/features/{feature}/variants/{variant}":
			o.path = "/v1/features/seeded/variants/C"
		case "GET /v1/state": // documents have their own form of payloads
			continue
		}
		found[o.call] = keepsPayloads(t, o.call, o.do(t, nil))
	}
	for call, want := range map[string]int{
		"GET /v1/features": 2, "GET /v1/features/{feature}": 2, "GET /v1/audit": 2, "PATCH /v1/features/{feature}": 2,
		"PATCH /v1/features/{feature}/variants/{variant}": 2, "DELETE /v1/features/{feature}/variants/{variant}": 1,
		"POST /v1/audit/{revision}/revert": 1,
	} {
		if found[call] != want {
			t.Errorf("%s has the payload %d times, want %d", call, found[call], want)
		}
	}

	// There and back, by the Go client.
	client, err := flaggery.NewAdmin(s.admin.url, Token)
	if err != nil {
		t.Fatal(err)
	}
	sent := must[flaggery.Result[api.Variant]](t)(client.PatchVariant(t.Context(), "seeded", "B", api.PatchVariant{Payload: json.RawMessage("\t[]")}))
	must[flaggery.Result[api.Reverted]](t)(client.Revert(t.Context(), sent.Revision))
	for _, v := range must[flaggery.Result[api.Feature]](t)(client.Feature(t.Context(), "seeded")).Value.Variants {
		if payload, _ := v.Payload.(json.RawMessage); v.Name != "A" && string(payload) != spaced {
			t.Errorf("the client reads %s of %s", payload, v.Name)
		}
	}
	must[flaggery.Result[api.Variant]](t)(client.PatchVariant(t.Context(), "seeded", "C", api.PatchVariant{}, flaggery.Wait(30*time.Second)))
	evaluates(t, s.edge)
}

// evaluates checks the payload in what OpenFeature gets.
func evaluates(t *testing.T, d *documented) {
	t.Helper()
	for _, path := range []string{"/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/seeded"} {
		o := &operation{documented: d, method: "POST", media: api.MediaJSON, path: path, body: `{"context": {"targetingKey": "seeded"}}`}
		if a := o.do(t, nil); keepsPayloads(t, path, a) != 1 {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

func TestPayloadsAreKeptInTheSnapshotFile(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	patch := &operation{documented: s.admin, method: "PATCH", media: api.MediaJSON, path: "/v1/features/seeded/variants/B", body: `{"payload":` + spaced + `}`}
	patch.do(t, nil)
	file := filepath.Join(t.TempDir(), "snapshot")
	saving := func(c *edge.Config) { c.SnapshotFile = file }
	first := NewFixture(string(s.dbURL), s.log)
	evaluates(t, &documented{url: must[string](t)(first.StartEdge("first", "reject", saving))})
	if err := first.Close(); err != nil { // closing writes the file
		t.Fatal(err)
	}
	away := func(c *edge.Config) { c.DBURL = "postgres://127.0.0.1:1/none" }
	second := NewFixture("", s.log)
	evaluates(t, &documented{url: must[string](t)(second.StartEdge("second", "reject", saving, away))})
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}
