package writer

import (
	"context"
	"slices"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddFeature makes a feature without variants. Fails with feature_exists.
func (w *Writer) AddFeature(ctx context.Context, create api.CreateFeature, opts ...Option) (Result[api.Feature], error) {
	var f model.Faults
	f.Check("body.name", model.CheckName(create.Name))
	f.Check("body.description", model.CheckDescription(create.Description))
	f.Check("body.tags", model.CheckTags(create.Tags))
	if err := f.Err(); err != nil {
		return Result[api.Feature]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Feature, error) {
		if err := c.match(0); err != nil {
			return api.Feature{}, err
		}
		feature := &model.Feature{
			Name: create.Name, Description: create.Description, Tags: append([]string{}, create.Tags...), Revision: c.Revision,
		}
		if err := c.InsertFeature(ctx, feature); err != nil {
			return api.Feature{}, err
		}
		c.version = c.Revision
		after := featureForm(feature, nil)
		return after, c.note(created, featurePath(create.Name), nil, after)
	})
}

// PatchFeature changes what is given. Fails with feature_not_found.
func (w *Writer) PatchFeature(ctx context.Context, name string, patch api.PatchFeature, opts ...Option) (Result[api.Feature], error) {
	var f model.Faults
	f.Check("path.feature", model.CheckName(name))
	if patch.Description != nil {
		f.Check("body.description", model.CheckDescription(*patch.Description))
	}
	if patch.Tags != nil {
		f.Check("body.tags", model.CheckTags(*patch.Tags))
	}
	if err := f.Err(); err != nil {
		return Result[api.Feature]{}, err
	}
	return changeFeature(ctx, w, name, opts, func(c *change, feature *model.Feature) (api.Feature, error) {
		buckets, err := c.Buckets(ctx)
		if err != nil {
			return api.Feature{}, err
		}
		before := featureForm(feature, buckets)
		if patch.Description != nil {
			feature.Description = *patch.Description
		}
		if patch.Tags != nil {
			feature.Tags = append([]string{}, *patch.Tags...)
		}
		if feature.Description == before.Description && slices.Equal(feature.Tags, before.Tags) {
			return before, nil
		}
		feature.Revision = c.Revision
		if err := c.UpdateFeature(ctx, feature); err != nil {
			return api.Feature{}, err
		}
		after := featureForm(feature, buckets)
		return after, c.note(updated, featurePath(name), before, after)
	})
}

// DeleteFeature removes a feature. Fails with feature_not_found, or with
// feature_has_variants where it still has any.
func (w *Writer) DeleteFeature(ctx context.Context, name string, opts ...Option) (Result[api.Feature], error) {
	if err := checkPath("feature", model.CheckName(name)); err != nil {
		return Result[api.Feature]{}, err
	}
	return changeFeature(ctx, w, name, opts, func(c *change, feature *model.Feature) (api.Feature, error) {
		if n := len(feature.Variants); n > 0 {
			return api.Feature{}, model.Errorf(model.FeatureHasVariants,
				"feature %q has %d variants, %q among them: delete them first", name, n, feature.Variants[0].Name)
		}
		before := featureForm(feature, nil)
		if err := c.DeleteFeature(ctx, name); err != nil {
			return before, err
		}
		return before, c.note(deleted, featurePath(name), before, nil)
	})
}

// changeFeature is write for what concerns one feature.
func changeFeature[T any](ctx context.Context, w *Writer, name string, opts []Option, body func(c *change, f *model.Feature) (T, error)) (Result[T], error) {
	return write(ctx, w, configuration, opts, func(c *change) (value T, err error) {
		f, err := c.Feature(ctx, name)
		if err != nil {
			return value, err
		}
		if err := c.match(f.Revision); err != nil {
			return value, err
		}
		value, err = body(c, f)
		if len(c.audit) > 0 {
			c.version = c.Revision
		}
		return value, err
	})
}

// Feature reads one feature. Fails with feature_not_found.
func (w *Writer) Feature(ctx context.Context, name string) (Result[api.Feature], error) {
	if err := checkPath("feature", model.CheckName(name)); err != nil {
		return Result[api.Feature]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (api.Feature, int64, error) {
		feature, err := tx.Feature(ctx, name)
		if err != nil {
			return api.Feature{}, 0, err
		}
		buckets, err := tx.Buckets(ctx)
		if err != nil {
			return api.Feature{}, 0, err
		}
		return featureForm(feature, buckets), feature.Revision, nil
	})
}

// Features lists the features in name order.
func (w *Writer) Features(ctx context.Context, page Page) (Result[api.Page[api.Feature]], error) {
	return list(ctx, w, page, func(f api.Feature) string { return f.Name },
		func(tx *postgres.Tx, limit int) ([]model.Feature, error) { return tx.Features(ctx, page.After, limit) },
		eachWithBuckets(ctx, featureForm))
}

// eachWithBuckets forms items that say what their buckets amount to.
func eachWithBuckets[S, T any](ctx context.Context, form func(*S, []model.Bucket) T) func(*postgres.Tx, []S) ([]T, error) {
	return func(tx *postgres.Tx, items []S) ([]T, error) {
		buckets, err := tx.Buckets(ctx)
		if err != nil {
			return nil, err
		}
		formed := make([]T, len(items))
		for i := range items {
			formed[i] = form(&items[i], buckets)
		}
		return formed, nil
	}
}

func featureForm(f *model.Feature, buckets []model.Bucket) api.Feature {
	form := api.Feature{
		Name: f.Name, Description: f.Description, Tags: f.Tags, Variants: make([]api.Variant, len(f.Variants)), Revision: f.Revision,
	}
	for i, v := range f.Variants {
		form.Variants[i] = variantForm(v)
	}
	if f.Default != "" {
		form.DefaultVariant = &f.Default
	}
	if f.Rollout != nil {
		rollout := rolloutForm(f, buckets)
		form.Rollout = &rollout
	}
	return form
}

func featurePath(name string) string { return "features/" + name }
