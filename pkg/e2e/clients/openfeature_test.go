// Package clients tests Flaggery with third-party clients: a browser, and
// OpenFeature's SDKs.
package clients

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/open-feature/go-sdk-contrib/providers/ofrep"
	"github.com/open-feature/go-sdk/openfeature"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/e2e"
	"github.com/flaggery/flaggery/pkg/edge"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// seedFlags creates a feature for each step of the resolution and each kind of
// value, and subject 42, in a group that overrides one of them. It returns a token
// of role client.
func seedFlags(t *testing.T, w *e2e.Fixture) (token string) {
	t.Helper()
	admin, err := flaggery.NewAdmin(must(t)(w.StartAdmin()), e2e.Token)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	write := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(admin.IncreaseBuckets(ctx, 10))
	write(admin.AddSubject(ctx, api.CreateSubject{ID: "42"}))
	write(admin.AddSubject(ctx, api.CreateSubject{ID: "43"}))
	for feature, payload := range map[string]string{ // null: none
		"plain": "null", "switch": "true", "colour": `"blue"`, "limit": "7", "ratio": "0.5", "whole": "2.0", "menu": `{"items": ["a", "b"]}`,
		"disabled": "true", "rolled": "null", "tested": "null", "overridden": "null",
	} {
		write(admin.AddFeature(ctx, api.CreateFeature{Name: feature}))
		write(admin.AddVariant(ctx, feature, api.CreateVariant{Name: "on", Payload: json.RawMessage(payload)}))
		switch feature {
		case "rolled", "tested", "overridden":
		default:
			write(admin.SetDefaultVariant(ctx, feature, "on"))
		}
	}
	write(admin.AddFeature(ctx, api.CreateFeature{Name: "nothing"}))
	write(admin.AddDisablingVariant(ctx, "disabled", api.CreateDisablingVariant{MakeDefault: true}))
	write(admin.AddRollout(ctx, "rolled", "on"))
	write(admin.SetRolloutProportion(ctx, "rolled", 1))
	whole, none, arm := 1.0, 0.0, map[string]string{"tested": "on"}
	now := time.Now()
	write(admin.AddABTest(ctx, api.CreateABTest{Name: "trial", Start: now.Add(-time.Hour), End: now.Add(time.Hour), Groups: []api.CreateTestGroup{
		{Name: "all", Proportion: &whole, Variants: arm}, {Name: "none", Proportion: &none, Variants: arm},
	}}))
	write(admin.AddGroup(ctx, api.CreateGroup{Name: "friends"}))
	write(admin.AddSubjectToGroup(ctx, "friends", "42"))
	write(admin.AddGroupOverride(ctx, "friends", "overridden", "on"))
	created, err := admin.CreateToken(ctx, api.NewToken{Name: "sdk", Role: api.ClientRole})
	write(created, err)
	return created.Value.Token
}

// The evaluations of OpenFeature's SDK for Go: each step of the resolution, each
// kind of value, and each error.
func TestGoSDK(t *testing.T) {
	w := newFixture(t)
	token := seedFlags(t, w)
	ctx := t.Context()
	edgeURL := must(t)(w.StartEdge("edge", "reject", func(c *edge.Config) { c.Auth = edge.AuthToken }))

	client := openFeature(t, ofrep.NewProvider(edgeURL, ofrep.WithBearerToken(token)))
	subject := openfeature.NewEvaluationContext("42", map[string]any{"plan": "gold"})
	for _, row := range []struct {
		flag     string
		fallback any
		want     any
		variant  string
		reason   openfeature.Reason
		code     openfeature.ErrorCode
		subject  openfeature.EvaluationContext
	}{
		{"plain", "fallback", "on", "on", openfeature.StaticReason, "", subject},
		{"switch", false, true, "on", openfeature.StaticReason, "", subject},
		{"colour", "red", "blue", "on", openfeature.StaticReason, "", subject},
		{"limit", int64(1), int64(7), "on", openfeature.StaticReason, "", subject},
		{"ratio", 0.1, 0.5, "on", openfeature.StaticReason, "", subject},
		{"whole", 0.1, 2.0, "on", openfeature.StaticReason, "", subject},
		{"menu", any(map[string]any{}), map[string]any{"items": []any{"a", "b"}}, "on", openfeature.StaticReason, "", subject},
		{"disabled", true, true, "__DISABLE__", openfeature.DisabledReason, "", subject},
		{"disabled", false, false, "__DISABLE__", openfeature.DisabledReason, "", subject},
		{"rolled", "fallback", "on", "on", openfeature.SplitReason, "", subject},
		{"tested", "fallback", "on", "on", openfeature.SplitReason, "", subject},
		{"overridden", "fallback", "on", "on", openfeature.TargetingMatchReason, "", subject},
		{"nothing", "fallback", "fallback", "", openfeature.ErrorReason, openfeature.FlagNotFoundCode, subject},
		{"unheard-of", "fallback", "fallback", "", openfeature.ErrorReason, openfeature.FlagNotFoundCode, subject},
		{"limit", "fallback", "fallback", "", openfeature.ErrorReason, openfeature.TypeMismatchCode, subject},
		{"plain", "fallback", "fallback", "", openfeature.ErrorReason, openfeature.TargetingKeyMissingCode, openfeature.NewTargetlessEvaluationContext(nil)},
		{"plain", "fallback", "fallback", "", openfeature.ErrorReason, openfeature.InvalidContextCode, openfeature.NewEvaluationContext("nobody", nil)},
	} {
		got := evaluate(ctx, client, row.flag, row.fallback, row.subject)
		if !reflect.DeepEqual(got.value, row.want) || got.Variant != row.variant || got.Reason != row.reason || got.ErrorCode != row.code {
			t.Errorf("%s with %v: got %+v, want %+v", row.flag, row.fallback, got, row)
		}
		if row.code == "" && got.FlagMetadata["bucket"] == nil {
			t.Errorf("%s: metadata %v", row.flag, got.FlagMetadata)
		}
	}

	stranger := openFeature(t, ofrep.NewProvider(edgeURL, ofrep.WithBearerToken("wrong")))
	if got := evaluate(ctx, stranger, "plain", "fallback", subject); got.value != "fallback" || got.ErrorCode != openfeature.GeneralCode {
		t.Errorf("without a token: %+v", got)
	}
}

func openFeature(t *testing.T, provider openfeature.FeatureProvider) *openfeature.Client {
	t.Helper()
	if err := openfeature.SetNamedProviderAndWait(t.Name(), provider); err != nil {
		t.Fatal(err)
	}
	return openfeature.NewClient(t.Name())
}

type evaluation struct {
	openfeature.EvaluationDetails
	value any
}

// evaluate asks for the type that the fallback has.
func evaluate(ctx context.Context, c *openfeature.Client, flag string, fallback any, subject openfeature.EvaluationContext) evaluation {
	switch fallback := fallback.(type) {
	case bool:
		d, _ := c.BooleanValueDetails(ctx, flag, fallback, subject) // the details have the error
		return evaluation{d.EvaluationDetails, d.Value}
	case string:
		d, _ := c.StringValueDetails(ctx, flag, fallback, subject)
		return evaluation{d.EvaluationDetails, d.Value}
	case int64:
		d, _ := c.IntValueDetails(ctx, flag, fallback, subject)
		return evaluation{d.EvaluationDetails, d.Value}
	case float64:
		d, _ := c.FloatValueDetails(ctx, flag, fallback, subject)
		return evaluation{d.EvaluationDetails, d.Value}
	default:
		d, _ := c.ObjectValueDetails(ctx, flag, fallback, subject)
		return evaluation{d.EvaluationDetails, d.Value}
	}
}
