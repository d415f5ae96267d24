package writer

import (
	"encoding/json"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestConfigurationSizeIsBounded(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 2))
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "large"}))
	must[api.Variant](t)(w.AddVariant(ctx, "large", api.CreateVariant{Name: "A"}))
	must[api.Rollout](t)(w.AddRollout(ctx, "large", "A"))
	// What is stored already, from before there was a bound, is more than that.
	if _, err := w.sql.ExecContext(ctx, `
		INSERT INTO variant (feature, name, payload)
		SELECT 'large', 'v' || i, to_json(repeat('x', 65000)) FROM generate_series(1, $1) AS i`, model.MaxConfigurationSize/65000+2); err != nil {
		t.Fatal(err)
	}

	_, err := w.AddFeature(ctx, api.CreateFeature{Name: "one-more"})
	wantError(t, err, model.ValidationFailed, "33554432")
	_, err = w.AddFeature(ctx, api.CreateFeature{Name: "one-more"}, DryRun())
	wantError(t, err, model.ValidationFailed, "33554432")
	_, err = w.PatchVariant(ctx, "large", "A", api.PatchVariant{Payload: json.RawMessage(`"larger"`)})
	wantError(t, err, model.ValidationFailed, "33554432")

	// What does not grow is no affair of the bound: assignments, tokens, a smaller payload.
	must[api.Rollout](t)(w.SetRolloutProportion(ctx, "large", 1))
	must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: "ci", Role: auth.ViewerRole}))
	for _, name := range []string{"v1", "v2", "v3"} {
		must[api.Variant](t)(w.PatchVariant(ctx, "large", name, api.PatchVariant{Payload: json.RawMessage(`1`)}))
	}
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "one-more"}))
}
