package writer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddVariant adds a variant to a feature, and makes it the default where asked.
// A json.RawMessage as payload is kept as it is, so that large numbers keep all
// their digits. Fails with feature_not_found or variant_exists.
func (w *Writer) AddVariant(ctx context.Context, feature string, create api.CreateVariant, opts ...Option) (Result[api.Variant], error) {
	var f model.Faults
	f.Check("path.feature", model.CheckName(feature))
	f.Check("body.name", model.CheckVariantName(create.Name))
	payload, err := payloadOf(create.Payload)
	f.Check("body.payload", err)
	if err := f.Err(); err != nil {
		return Result[api.Variant]{}, err
	}
	return w.addVariant(ctx, feature, model.Variant{Name: create.Name, Payload: payload}, create.MakeDefault, opts)
}

// AddDisablingVariant adds the variant __DISABLE__ to a feature, and makes it
// the default where asked. Fails with feature_not_found or variant_exists.
func (w *Writer) AddDisablingVariant(ctx context.Context, feature string, create api.CreateDisablingVariant, opts ...Option) (Result[api.Variant], error) {
	if err := checkPath("feature", model.CheckName(feature)); err != nil {
		return Result[api.Variant]{}, err
	}
	return w.addVariant(ctx, feature, model.Variant{Name: model.DisablingVariant}, create.MakeDefault, opts)
}

func (w *Writer) addVariant(ctx context.Context, feature string, v model.Variant, makeDefault bool, opts []Option) (Result[api.Variant], error) {
	return changeFeature(ctx, w, feature, opts, func(c *change, f *model.Feature) (api.Variant, error) {
		if _, exists := f.Variant(v.Name); exists {
			return api.Variant{}, model.Errorf(model.VariantExists, "feature %q has a variant %q already", feature, v.Name)
		}
		if err := c.InsertVariant(ctx, feature, v); err != nil {
			return api.Variant{}, err
		}
		after := variantForm(v)
		if err := c.note(created, variantPath(feature, v.Name), nil, after); err != nil {
			return after, err
		}
		if !makeDefault {
			return after, nil
		}
		return after, c.setDefault(ctx, f, v.Name)
	})
}

// PatchVariant replaces a variant's payload; nil removes it. Fails with
// feature_not_found or variant_not_found.
func (w *Writer) PatchVariant(ctx context.Context, feature, variant string, patch api.PatchVariant, opts ...Option) (Result[api.Variant], error) {
	var f model.Faults
	checkVariantPath(&f, feature, variant)
	payload, err := payloadOf(patch.Payload)
	f.Check("body.payload", err)
	if err := f.Err(); err != nil {
		return Result[api.Variant]{}, err
	}
	return changeVariant(ctx, w, feature, variant, opts, func(c *change, f *model.Feature, v model.Variant) (api.Variant, error) {
		if variant == model.DisablingVariant && payload != nil {
			return api.Variant{}, model.Faults{{Location: "body.payload", Message: "the disabling variant has none"}}.Err()
		}
		before := variantForm(v)
		if bytes.Equal(v.Payload, payload) {
			return before, nil
		}
		v.Payload = payload
		if err := c.UpdateVariant(ctx, feature, v); err != nil {
			return before, err
		}
		after := variantForm(v)
		return after, c.note(updated, variantPath(feature, variant), before, after)
	})
}

// DeleteVariant removes a variant. Fails with feature_not_found,
// variant_not_found or, naming every place, variant_in_use.
func (w *Writer) DeleteVariant(ctx context.Context, feature, variant string, opts ...Option) (Result[api.Variant], error) {
	var f model.Faults
	checkVariantPath(&f, feature, variant)
	if err := f.Err(); err != nil {
		return Result[api.Variant]{}, err
	}
	return changeVariant(ctx, w, feature, variant, opts, func(c *change, f *model.Feature, v model.Variant) (api.Variant, error) {
		before := variantForm(v)
		uses, err := c.VariantUses(ctx, feature, variant)
		if err != nil {
			return before, err
		}
		if places := places(f, variant, uses); len(places) > 0 {
			return before, model.Errorf(model.VariantInUse, "variant %q of feature %q is in use: %s",
				variant, feature, strings.Join(places, "; "))
		}
		if err := c.DeleteVariant(ctx, feature, variant); err != nil {
			return before, err
		}
		return before, c.note(deleted, variantPath(feature, variant), before, nil)
	})
}

// places says where a variant is used and, where it is not plain, how to end
// that.
func places(f *model.Feature, variant string, uses []postgres.VariantUse) []string {
	var places []string
	if f.Default == variant {
		places = append(places, "it is the default")
	}
	if f.Rollout != nil && f.Rollout.Variant == variant {
		places = append(places, "the rollout hands it out")
	}
	for _, use := range uses {
		if use.Test != "" {
			places = append(places, fmt.Sprintf("test %q names it for its group %q (an ended test too, delete that first)", use.Test, use.TestGroup))
		} else {
			places = append(places, fmt.Sprintf("group %q overrides the feature with it", use.Group))
		}
	}
	return places
}

// SetDefaultVariant makes a variant what everyone gets whom nothing else applies
// to. Fails with feature_not_found or variant_not_found.
func (w *Writer) SetDefaultVariant(ctx context.Context, feature, variant string, opts ...Option) (Result[api.VariantReference], error) {
	var f model.Faults
	f.Check("path.feature", model.CheckName(feature))
	f.Check("body.variant", model.CheckVariantReference(variant))
	if err := f.Err(); err != nil {
		return Result[api.VariantReference]{}, err
	}
	return changeVariant(ctx, w, feature, variant, opts, func(c *change, f *model.Feature, _ model.Variant) (api.VariantReference, error) {
		return api.VariantReference{Variant: variant}, c.setDefault(ctx, f, variant)
	})
}

// DeleteDefaultVariant leaves a feature with no default. It tells which one
// there was, "" for none. Fails with feature_not_found.
func (w *Writer) DeleteDefaultVariant(ctx context.Context, feature string, opts ...Option) (Result[api.VariantReference], error) {
	if err := checkPath("feature", model.CheckName(feature)); err != nil {
		return Result[api.VariantReference]{}, err
	}
	return changeFeature(ctx, w, feature, opts, func(c *change, f *model.Feature) (api.VariantReference, error) {
		return api.VariantReference{Variant: f.Default}, c.setDefault(ctx, f, "")
	})
}

// setDefault changes the default of a feature; "" is none.
func (c *change) setDefault(ctx context.Context, f *model.Feature, variant string) error {
	reference := func(variant string) any {
		if variant == "" {
			return nil
		}
		return api.VariantReference{Variant: variant}
	}
	before := f.Default
	if before == variant {
		return nil
	}
	changed := *f
	changed.Default, changed.Revision = variant, c.Revision
	if err := c.UpdateFeature(ctx, &changed); err != nil {
		return err
	}
	action := updated
	switch "" {
	case before:
		action = created
	case variant:
		action = deleted
	}
	return c.note(action, featurePath(f.Name)+"/default_variant", reference(before), reference(variant))
}

// changeVariant is write for what concerns one variant of a feature.
func changeVariant[T any](ctx context.Context, w *Writer, feature, variant string, opts []Option, body func(*change, *model.Feature, model.Variant) (T, error)) (Result[T], error) {
	return changeFeature(ctx, w, feature, opts, func(c *change, f *model.Feature) (value T, err error) {
		v, err := variantOf(f, variant)
		if err != nil {
			return value, err
		}
		return body(c, f, v)
	})
}

func variantOf(f *model.Feature, name string) (model.Variant, error) {
	v, ok := f.Variant(name)
	if !ok {
		return v, model.Errorf(model.VariantNotFound, "feature %q has no variant %q", f.Name, name)
	}
	return v, nil
}

func checkVariantPath(f *model.Faults, feature, variant string) {
	f.Check("path.feature", model.CheckName(feature))
	f.Check("path.variant", model.CheckVariantReference(variant))
}

// payloadOf is the JSON of a payload, without spaces; nil for none.
func payloadOf(value any) (json.RawMessage, error) {
	raw, isRaw := value.(json.RawMessage)
	if !isRaw && value != nil {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false) // kept as it was sent
		if err := encoder.Encode(value); err != nil {
			return nil, fmt.Errorf("must be valid JSON: %w", err)
		}
		raw = b.Bytes()
	}
	if err := model.CheckPayload(raw); err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if len(raw) > 0 {
		if err := json.Compact(&compact, raw); err != nil {
			return nil, err
		}
	}
	if compact.Len() == 0 || compact.String() == "null" {
		return nil, nil
	}
	return compact.Bytes(), nil
}

func variantForm(v model.Variant) api.Variant {
	form := api.Variant{Name: v.Name, Disabling: v.Disabling()}
	if len(v.Payload) > 0 {
		form.Payload = slices.Clone(v.Payload)
	}
	return form
}

func variantPath(feature, variant string) string {
	return featurePath(feature) + "/variants/" + variant
}
