package writer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddVariant adds a variant to a feature, and makes it the default if requested. A payload
// that is a json.RawMessage is stored byte for byte, so that large numbers keep all their
// digits. Fails with feature_not_found, feature_archived or variant_exists.
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

// AddDisablingVariant adds the variant __DISABLE__ to a feature, and makes it the default
// if requested. Fails with feature_not_found, feature_archived or variant_exists.
func (w *Writer) AddDisablingVariant(ctx context.Context, feature string, create api.CreateDisablingVariant, opts ...Option) (Result[api.Variant], error) {
	if err := checkPath("feature", model.CheckName(feature)); err != nil {
		return Result[api.Variant]{}, err
	}
	return w.addVariant(ctx, feature, model.Variant{Name: model.DisablingVariant}, create.MakeDefault, opts)
}

func (w *Writer) addVariant(ctx context.Context, feature string, v model.Variant, makeDefault bool, opts []Option) (Result[api.Variant], error) {
	return write(ctx, w, configuration, opts, func(c *change) (api.Variant, error) {
		f, err := c.matchFeature(ctx, feature)
		if err != nil {
			return api.Variant{}, err
		}
		if err := c.addVariants(ctx, f, v); err != nil {
			return api.Variant{}, err
		}
		if makeDefault {
			err = c.setDefault(ctx, f, v.Name)
		}
		return variantForm(v), err
	})
}

// addVariants adds variants to a feature, which then has them.
func (c *change) addVariants(ctx context.Context, f *model.Feature, variants ...model.Variant) error {
	if err := refuseArchived(f); err != nil {
		return err
	}
	for _, v := range variants {
		if _, exists := f.Variant(v.Name); exists {
			return model.Errorf(model.VariantExists, "feature %q has a variant %q already", f.Name, v.Name)
		}
	}
	if err := c.tx.InsertVariants(ctx, f.Name, variants); err != nil {
		return err
	}
	f.Variants = slices.SortedFunc(slices.Values(slices.Concat(f.Variants, variants)), func(a, b model.Variant) int { return cmp.Compare(a.Name, b.Name) })
	for _, v := range variants {
		if err := c.note(created, variantResource.of(f.Name, v.Name), nil, variantForm(v)); err != nil {
			return err
		}
	}
	return nil
}

// PatchVariant replaces a variant's payload; nil removes it. Fails with
// feature_not_found, feature_archived or variant_not_found.
func (w *Writer) PatchVariant(ctx context.Context, feature, variant string, patch api.PatchVariant, opts ...Option) (Result[api.Variant], error) {
	var f model.Faults
	checkVariantPath(&f, feature, variant)
	payload, err := payloadOf(patch.Payload)
	f.Check("body.payload", err)
	if err := f.Err(); err != nil {
		return Result[api.Variant]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Variant, error) {
		f, err := c.matchFeature(ctx, feature)
		if err != nil {
			return api.Variant{}, err
		}
		return c.patchVariant(ctx, f, variant, payload)
	})
}

func (c *change) patchVariant(ctx context.Context, f *model.Feature, name string, payload json.RawMessage) (api.Variant, error) {
	if err := refuseArchived(f); err != nil {
		return api.Variant{}, err
	}
	v, err := variantOf(f, name)
	if err != nil {
		return api.Variant{}, err
	}
	if v.Disabling() && payload != nil {
		return api.Variant{}, model.Faults{{Location: "body.payload", Message: "the disabling variant has none"}}.Err()
	}
	before := variantForm(v)
	if bytes.Equal(v.Payload, payload) {
		return before, nil
	}
	v.Payload = payload
	if err := c.tx.UpdateVariant(ctx, f.Name, v); err != nil {
		return api.Variant{}, err
	}
	after := variantForm(v)
	return after, c.note(updated, variantResource.of(f.Name, name), before, after)
}

// DeleteVariant removes a variant. Fails with feature_not_found, feature_archived,
// variant_not_found or variant_in_use, which names every reference.
func (w *Writer) DeleteVariant(ctx context.Context, feature, variant string, opts ...Option) (Result[api.Variant], error) {
	var f model.Faults
	checkVariantPath(&f, feature, variant)
	if err := f.Err(); err != nil {
		return Result[api.Variant]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Variant, error) {
		f, err := c.matchFeature(ctx, feature)
		if err != nil {
			return api.Variant{}, err
		}
		return c.deleteVariant(ctx, f, variant)
	})
}

func (c *change) deleteVariant(ctx context.Context, f *model.Feature, name string) (api.Variant, error) {
	if err := refuseArchived(f); err != nil {
		return api.Variant{}, err
	}
	v, err := variantOf(f, name)
	if err != nil {
		return api.Variant{}, err
	}
	uses, err := c.tx.VariantUses(ctx, f.Name)
	if err != nil {
		return api.Variant{}, err
	}
	if err := refuseUsed(f, name, uses); err != nil {
		return api.Variant{}, err
	}
	if err := c.tx.DeleteVariant(ctx, f.Name, name); err != nil {
		return api.Variant{}, err
	}
	before := variantForm(v)
	return before, c.note(deleted, variantResource.of(f.Name, name), before, nil)
}

// refuseUsed fails with variant_in_use if anything references the variant, and names every
// reference.
func refuseUsed(f *model.Feature, variant string, uses []postgres.VariantUse) error {
	var reasons []string
	var places []model.VariantPlace
	add := func(p model.VariantPlace, format string, args ...any) {
		places, reasons = append(places, p), append(reasons, fmt.Sprintf(format, args...))
	}
	if f.Default == variant {
		add(model.VariantPlace{Place: "default", Path: defaultVariantResource.of(f.Name).String()}, "it is the default")
	}
	if f.Rollout != nil && f.Rollout.Variant == variant {
		add(model.VariantPlace{Place: "rollout", Path: rolloutResource.of(f.Name).String()}, "the rollout serves it")
	}
	for _, use := range uses {
		switch {
		case use.Variant != variant:
		case use.Test != "":
			add(model.VariantPlace{Place: "test", Path: testResource.of(use.Test).String(), TestGroup: use.TestGroup},
				"test %q names it for its group %q (an ended test too, delete that first)", use.Test, use.TestGroup)
		default:
			add(model.VariantPlace{Place: "group", Path: overrideResource.of(use.Group, f.Name).String()},
				"group %q overrides the feature with it", use.Group)
		}
	}
	if len(places) == 0 {
		return nil
	}
	err := model.Errorf(model.VariantInUse, "variant %q of feature %q is in use: %s", variant, f.Name, strings.Join(reasons, "; "))
	err.UsedBy = places
	return err
}

// SetDefaultVariant sets the variant for subjects that get none by an override, a test or
// the rollout. Fails with feature_not_found, feature_archived or variant_not_found.
func (w *Writer) SetDefaultVariant(ctx context.Context, feature, variant string, opts ...Option) (Result[api.VariantReference], error) {
	var f model.Faults
	f.Check("path.feature", model.CheckName(feature))
	f.Check("body.variant", model.CheckVariantReference(variant))
	if err := f.Err(); err != nil {
		return Result[api.VariantReference]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.VariantReference, error) {
		f, err := c.matchFeature(ctx, feature)
		if err != nil {
			return api.VariantReference{}, err
		}
		if _, err := variantOf(f, variant); err != nil {
			return api.VariantReference{}, err
		}
		return api.VariantReference{Variant: variant}, c.setDefault(ctx, f, variant)
	})
}

// DeleteDefaultVariant removes the default of a feature. Its result is the removed one,
// "" for none. Fails with feature_not_found or feature_archived.
func (w *Writer) DeleteDefaultVariant(ctx context.Context, feature string, opts ...Option) (Result[api.VariantReference], error) {
	if err := checkPath("feature", model.CheckName(feature)); err != nil {
		return Result[api.VariantReference]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.VariantReference, error) {
		f, err := c.matchFeature(ctx, feature)
		if err != nil {
			return api.VariantReference{}, err
		}
		before := api.VariantReference{Variant: f.Default}
		return before, c.setDefault(ctx, f, "")
	})
}

// setDefault changes the default of a feature to one of its variants, or "" for
// none.
func (c *change) setDefault(ctx context.Context, f *model.Feature, variant string) error {
	if err := refuseArchived(f); err != nil {
		return err
	}
	before := f.Default
	if before == variant {
		return nil
	}
	f.Default, f.Revision = variant, c.tx.Revision
	if err := c.tx.UpdateFeature(ctx, f); err != nil {
		return err
	}
	r := defaultVariantResource.of(f.Name)
	switch "" {
	case before:
		return c.note(created, r, nil, api.VariantReference{Variant: variant})
	case variant:
		return c.note(deleted, r, api.VariantReference{Variant: before}, nil)
	default:
		return c.note(updated, r, api.VariantReference{Variant: before}, api.VariantReference{Variant: variant})
	}
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

// payloadOf returns the JSON of a payload, byte for byte if it is a json.RawMessage; nil
// for none.
func payloadOf(value any) (json.RawMessage, error) {
	raw, isRaw := value.(json.RawMessage)
	if !isRaw && value != nil {
		var err error
		if raw, err = model.EncodeJSON(value); err != nil {
			return nil, fmt.Errorf("must be valid JSON: %w", err)
		}
	}
	raw = bytes.Trim(raw, " \t\r\n") // whitespace around the value is not part of it
	if err := model.CheckPayload(raw); err != nil {
		return nil, err
	}
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	return raw, nil
}

func variantForm(v model.Variant) api.Variant {
	form := api.Variant{Name: v.Name, Disabling: v.Disabling()}
	if len(v.Payload) > 0 {
		form.Payload = slices.Clone(v.Payload)
	}
	return form
}
