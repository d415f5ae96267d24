package writer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestFeaturesAndVariants(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	f := must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "f", Description: "two\nlines", Tags: []string{"x", "a"}})).Value
	if f.Description != "two\nlines" || !slices.Equal(f.Tags, []string{"x", "a"}) || f.DefaultVariant != nil || f.Rollout != nil || f.Revision != 1 {
		t.Errorf("made %+v", f)
	}
	_, err := w.AddFeature(ctx, api.CreateFeature{Name: "f"})
	wantError(t, err, model.FeatureExists)
	f = must[api.Feature](t)(w.PatchFeature(ctx, "f", api.PatchFeature{Tags: &[]string{}})).Value
	if len(f.Tags) != 0 || f.Description != "two\nlines" {
		t.Errorf("patched %+v", f)
	}
	f = must[api.Feature](t)(w.PatchFeature(ctx, "f", api.PatchFeature{Contact: ptr("team"), Expires: ptr("2028-02-29"), Permanent: ptr(true)})).Value
	if f.Contact != "team" || *f.Expires != "2028-02-29" || !f.Permanent || f.Description != "two\nlines" {
		t.Errorf("patched %+v", f)
	}
	f = must[api.Feature](t)(w.PatchFeature(ctx, "f", api.PatchFeature{Contact: ptr(""), Expires: ptr(""), Permanent: ptr(false)})).Value
	if f.Contact != "" || f.Expires != nil || f.Permanent {
		t.Errorf("patched %+v", f)
	}

	// Payloads keep what JSON can say.
	for payload, want := range map[string]string{
		`null`: `null`, ` {"a": [1, 12345678901234567890.10]} `: `{"a": [1, 12345678901234567890.10]}`, `"<\u0000>"`: `"<\u0000>"`, `false`: `false`,
	} {
		name := fmt.Sprintf("v%d", len(payload))
		made := must[api.Variant](t)(w.AddVariant(ctx, "f", api.CreateVariant{Name: name, Payload: json.RawMessage(payload)})).Value
		if got, _ := api.Encode(made.Payload); string(got) != want {
			t.Errorf("payload %s became %s, want %s", payload, got, want)
		}
		stored := w.one(`SELECT coalesce(payload::text, 'null') FROM variant WHERE name = $1`, name)
		if stored != want {
			t.Errorf("payload %s is stored as %s, want %s", payload, stored, want)
		}
	}
	v := must[api.Variant](t)(w.AddVariant(ctx, "f", api.CreateVariant{Name: "A", Payload: map[string]any{"html": "<b>"}})).Value
	if got, _ := v.Payload.(json.RawMessage); string(got) != `{"html":"<b>"}` {
		t.Errorf("payload %s", got)
	}
	if v := must[api.Variant](t)(w.PatchVariant(ctx, "f", "A", api.PatchVariant{Payload: 1})).Value; fmt.Sprint(v.Payload) != fmt.Sprint(json.RawMessage("1")) {
		t.Errorf("patched %+v", v)
	}
	for _, payload := range []any{json.RawMessage("{"), json.RawMessage("\"\xff\""), func() {}, strings.Repeat("x", model.MaxPayloadSize)} {
		_, err := w.PatchVariant(ctx, "f", "A", api.PatchVariant{Payload: payload})
		wantError(t, err, model.ValidationFailed, "body.payload")
	}
	if v := must[api.Variant](t)(w.PatchVariant(ctx, "f", "A", api.PatchVariant{})).Value; v.Payload != nil {
		t.Errorf("payload %v was to be removed", v.Payload)
	}

	_, err = w.AddVariant(ctx, "f", api.CreateVariant{Name: "A"})
	wantError(t, err, model.VariantExists)
	_, err = w.AddVariant(ctx, "f", api.CreateVariant{Name: model.DisablingVariant})
	wantError(t, err, model.ValidationFailed, "body.name", "reserved")
	must[api.Variant](t)(w.AddDisablingVariant(ctx, "f", api.CreateDisablingVariant{MakeDefault: true}))
	_, err = w.AddDisablingVariant(ctx, "f", api.CreateDisablingVariant{})
	wantError(t, err, model.VariantExists)
	_, err = w.PatchVariant(ctx, "f", model.DisablingVariant, api.PatchVariant{Payload: 1})
	wantError(t, err, model.ValidationFailed, "body.payload")

	if r := must[api.VariantReference](t)(w.SetDefaultVariant(ctx, "f", "A")); r.Value.Variant != "A" {
		t.Errorf("default %+v", r)
	}
	if f := must[api.Feature](t)(w.Feature(ctx, "f")); *f.Value.DefaultVariant != "A" || f.Version != f.Revision {
		t.Errorf("feature %+v", f)
	}
	_, err = w.SetDefaultVariant(ctx, "f", "none")
	wantError(t, err, model.VariantNotFound)
	if r := must[api.VariantReference](t)(w.DeleteDefaultVariant(ctx, "f")); r.Value.Variant != "A" {
		t.Errorf("removed default %+v", r)
	}
	if r := must[api.VariantReference](t)(w.DeleteDefaultVariant(ctx, "f")); r.Value.Variant != "" {
		t.Errorf("removed default %+v", r)
	}
	_, err = w.DeleteFeature(ctx, "f")
	wantError(t, err, model.FeatureHasVariants, "A")
	for _, v := range must[api.Feature](t)(w.Feature(ctx, "f")).Value.Variants {
		must[api.Variant](t)(w.DeleteVariant(ctx, "f", v.Name))
	}
	must[api.Feature](t)(w.DeleteFeature(ctx, "f"))
	_, err = w.Feature(ctx, "f")
	wantError(t, err, model.FeatureNotFound)

	for name, err := range map[string]error{
		"body.name":        second(w.AddFeature(ctx, api.CreateFeature{Name: "not good"})),
		"body.description": second(w.AddFeature(ctx, api.CreateFeature{Name: "f", Description: "\x00"})),
		"body.tags":        second(w.AddFeature(ctx, api.CreateFeature{Name: "f", Tags: []string{"a", "a"}})),
		"body.contact":     second(w.AddFeature(ctx, api.CreateFeature{Name: "f", Contact: " a"})),
		"body.expires":     second(w.AddFeature(ctx, api.CreateFeature{Name: "f", Expires: "0000-01-01"})),
		"path.feature":     second(w.Feature(ctx, "\x00")),
		"path.variant":     second(w.DeleteVariant(ctx, "f", "a b")),
		"query.after":      second(w.Features(ctx, false, Page{After: "\x00"})),
	} {
		wantError(t, err, model.ValidationFailed, name)
	}
}

func second[T any](_ T, err error) error { return err }

func TestVariantInUse(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.VariantReference](t)(w.SetDefaultVariant(ctx, "foobar", "B"))
	must[api.Rollout](t)(w.AddRollout(ctx, "foobar", "B"))
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	must[api.ABTest](t)(w.AddABTest(ctx, w.test("one", 0, time.Hour)))
	must[api.ABTest](t)(w.StopABTest(ctx, "one"))

	inUse := func(hints ...string) {
		t.Helper()
		_, err := w.DeleteVariant(ctx, "foobar", "B")
		wantError(t, err, model.VariantInUse, hints...)
	}
	inUse(`default`, `rollout`, `"friends"`, `"one"`, `"experiment"`)
	must[api.VariantReference](t)(w.DeleteDefaultVariant(ctx, "foobar"))
	inUse(`rollout`)
	must[api.Rollout](t)(w.DeleteRollout(ctx, "foobar"))
	inUse(`"friends"`)
	must[api.VariantReference](t)(w.DeleteGroupOverride(ctx, "friends", "foobar"))
	inUse(`"one"`)
	must[api.ABTest](t)(w.DeleteABTest(ctx, "one"))
	must[api.Variant](t)(w.DeleteVariant(ctx, "foobar", "B"))
	_, err := w.DeleteVariant(ctx, "foobar", "B")
	wantError(t, err, model.VariantNotFound)
}

func TestRollout(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	_, err := w.AddRollout(ctx, "foobar", "C")
	wantError(t, err, model.VariantNotFound)
	_, err = w.Rollout(ctx, "foobar")
	wantError(t, err, model.RolloutNotFound)
	_, err = w.SetRolloutProportion(ctx, "foobar", 0.5)
	wantError(t, err, model.RolloutNotFound)
	r := must[api.Rollout](t)(w.AddRollout(ctx, "foobar", "A")).Value
	if r.Proportion != 0 || len(r.Buckets) != 0 || r.TotalWeight != 550 {
		t.Errorf("begins as %+v", r)
	}
	_, err = w.AddRollout(ctx, "foobar", "B")
	wantError(t, err, model.RolloutExists)

	var last []model.BucketID
	heaviest := int64(0)
	for _, b := range must[api.Page[api.Bucket]](t)(w.Buckets(ctx, Page{})).Value.Items {
		heaviest = max(heaviest, b.Weight)
	}
	for _, p := range []float64{0.1, 0.25, 0.5, 0.9, 1, 0.6, 0.3, 0} {
		r := must[api.Rollout](t)(w.SetRolloutProportion(ctx, "foobar", p)).Value
		if miss := float64(r.EffectiveWeight) - p*550; 2*max(miss, -miss) > float64(heaviest)+1 {
			t.Errorf("at %g: weight %d of 550 misses by %g", p, r.EffectiveWeight, miss)
		}
		small, large := last, r.Buckets
		if len(small) > len(large) {
			small, large = large, small
		}
		if slices.ContainsFunc(small, func(b model.BucketID) bool { return !slices.Contains(large, b) }) {
			t.Errorf("from %v to %v somebody flickered", last, r.Buckets)
		}
		last = r.Buckets
	}
	r = must[api.Rollout](t)(w.PatchRollout(ctx, "foobar", api.PatchRollout{Variant: ptr("B"), Proportion: ptr(1.0)})).Value
	if r.Variant != "B" || r.EffectiveProportion != 1 {
		t.Errorf("patched %+v", r)
	}
	if got := must[map[string]string](t)(w.SubjectVariants(ctx, "42")).Value; got["foobar"] != "B" {
		t.Errorf("42 gets %v", got)
	}
	_, err = w.PatchRollout(ctx, "foobar", api.PatchRollout{Variant: ptr("C")})
	wantError(t, err, model.VariantNotFound)
	for _, p := range []float64{-0.1, 1.1, nan} {
		_, err = w.SetRolloutProportion(ctx, "foobar", p)
		wantError(t, err, model.ValidationFailed, "body.proportion")
	}
	must[api.Rollout](t)(w.DeleteRollout(ctx, "foobar"))
	_, err = w.DeleteRollout(ctx, "foobar")
	wantError(t, err, model.RolloutNotFound)
}

// A payload of the largest size is taken in each form, and all of it stays as
// it was given.
func TestPayloadIsKept(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "f"}))
	largest := strings.Repeat("x", model.MaxPayloadSize-2)
	for name, payload := range map[string]any{"raw": json.RawMessage(`"` + largest + `"`), "value": largest} {
		must[api.Variant](t)(w.AddVariant(ctx, "f", api.CreateVariant{Name: name, Payload: payload}))
	}
	_, err := w.AddVariant(ctx, "f", api.CreateVariant{Name: "larger", Payload: largest + "x"})
	wantError(t, err, model.ValidationFailed, "body.payload", "65537")
	const kept = `{"b": 1.0,` + "\n\t" + `"a": [12345678901234567890, "<\u00e9>"]}`
	must[api.Variant](t)(w.AddVariant(ctx, "f", api.CreateVariant{Name: "kept", Payload: json.RawMessage(kept)}))
	for _, v := range must[api.Feature](t)(w.Feature(ctx, "f")).Value.Variants {
		if text, _ := v.Payload.(json.RawMessage); v.Name == "kept" && string(text) != kept {
			t.Errorf("kept as %s", text)
		}
	}
	_, err = w.AddVariant(ctx, "f", api.CreateVariant{Name: "twice", Payload: json.RawMessage(`{"a":1,"a":2}`)})
	wantError(t, err, model.ValidationFailed, "body.payload")
}
