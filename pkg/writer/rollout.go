package writer

import (
	"context"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddRollout begins to hand out a variant, to nobody yet: the proportion is 0.
// Fails with feature_not_found, variant_not_found or rollout_exists.
func (w *Writer) AddRollout(ctx context.Context, feature, variant string, opts ...Option) (Result[api.Rollout], error) {
	var f model.Faults
	f.Check("path.feature", model.CheckName(feature))
	f.Check("body.variant", model.CheckVariantReference(variant))
	if err := f.Err(); err != nil {
		return Result[api.Rollout]{}, err
	}
	return changeVariant(ctx, w, feature, variant, opts, func(c *change, f *model.Feature, _ model.Variant) (api.Rollout, error) {
		if f.Rollout != nil {
			return api.Rollout{}, model.Errorf(model.RolloutExists, "feature %q has a rollout of variant %q already", feature, f.Rollout.Variant)
		}
		f.Rollout = &model.Rollout{Variant: variant, Salt: w.newSalt()}
		if err := c.InsertRollout(ctx, feature, f.Rollout); err != nil {
			return api.Rollout{}, err
		}
		buckets, err := c.Buckets(ctx)
		if err != nil {
			return api.Rollout{}, err
		}
		after := rolloutForm(f, buckets)
		return after, c.note(created, rolloutPath(feature), nil, after)
	})
}

// SetRolloutProportion is PatchRollout of the proportion alone.
func (w *Writer) SetRolloutProportion(ctx context.Context, feature string, proportion float64, opts ...Option) (Result[api.Rollout], error) {
	return w.PatchRollout(ctx, feature, api.PatchRollout{Proportion: &proportion}, opts...)
}

// PatchRollout changes a rollout's share, its variant or both. A larger share
// only adds buckets, a smaller one only removes some. Fails with
// feature_not_found, rollout_not_found or variant_not_found.
func (w *Writer) PatchRollout(ctx context.Context, feature string, patch api.PatchRollout, opts ...Option) (Result[api.Rollout], error) {
	var f model.Faults
	f.Check("path.feature", model.CheckName(feature))
	if patch.Proportion != nil {
		f.Check("body.proportion", model.CheckProportion(*patch.Proportion))
	}
	if patch.Variant != nil {
		f.Check("body.variant", model.CheckVariantReference(*patch.Variant))
	}
	if err := f.Err(); err != nil {
		return Result[api.Rollout]{}, err
	}
	return changeRollout(ctx, w, feature, opts, func(c *change, f *model.Feature, buckets []model.Bucket) (api.Rollout, error) {
		before, r := rolloutForm(f, buckets), f.Rollout
		if patch.Variant != nil {
			if _, err := variantOf(f, *patch.Variant); err != nil {
				return before, err
			}
			r.Variant = *patch.Variant
		}
		if p := patch.Proportion; p != nil && *p != r.Proportion {
			r.Buckets = bucketing.Assign(r.Salt, buckets, r.Buckets, r.Proportion, *p)
			r.Proportion = *p
		}
		if r.Variant == before.Variant && r.Proportion == before.Proportion {
			return before, nil
		}
		if err := c.UpdateRollout(ctx, feature, r); err != nil {
			return before, err
		}
		after := rolloutForm(f, buckets)
		return after, c.note(updated, rolloutPath(feature), before, after)
	})
}

// DeleteRollout removes a feature's rollout. Fails with feature_not_found or
// rollout_not_found.
func (w *Writer) DeleteRollout(ctx context.Context, feature string, opts ...Option) (Result[api.Rollout], error) {
	if err := checkPath("feature", model.CheckName(feature)); err != nil {
		return Result[api.Rollout]{}, err
	}
	return changeRollout(ctx, w, feature, opts, func(c *change, f *model.Feature, buckets []model.Bucket) (api.Rollout, error) {
		before := rolloutForm(f, buckets)
		if err := c.DeleteRollout(ctx, feature); err != nil {
			return before, err
		}
		return before, c.note(deleted, rolloutPath(feature), before, nil)
	})
}

// changeRollout is write for what concerns the rollout of a feature.
func changeRollout[T any](ctx context.Context, w *Writer, feature string, opts []Option, body func(*change, *model.Feature, []model.Bucket) (T, error)) (Result[T], error) {
	return changeFeature(ctx, w, feature, opts, func(c *change, f *model.Feature) (value T, err error) {
		if f.Rollout == nil {
			return value, noRollout(feature)
		}
		buckets, err := c.Buckets(ctx)
		if err != nil {
			return value, err
		}
		return body(c, f, buckets)
	})
}

// Rollout reads the rollout of a feature. Fails with feature_not_found or
// rollout_not_found.
func (w *Writer) Rollout(ctx context.Context, feature string) (Result[api.Rollout], error) {
	if err := checkPath("feature", model.CheckName(feature)); err != nil {
		return Result[api.Rollout]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (api.Rollout, int64, error) {
		f, err := tx.Feature(ctx, feature)
		if err != nil {
			return api.Rollout{}, 0, err
		}
		if f.Rollout == nil {
			return api.Rollout{}, 0, noRollout(feature)
		}
		buckets, err := tx.Buckets(ctx)
		if err != nil {
			return api.Rollout{}, 0, err
		}
		return rolloutForm(f, buckets), f.Revision, nil
	})
}

func noRollout(feature string) error {
	return model.Errorf(model.RolloutNotFound, "feature %q has no rollout", feature)
}

func rolloutForm(f *model.Feature, buckets []model.Bucket) api.Rollout {
	weight, total := bucketing.Effective(buckets, f.Rollout.Buckets)
	return api.Rollout{
		Feature: f.Name, Variant: f.Rollout.Variant, Proportion: f.Rollout.Proportion,
		EffectiveProportion: bucketing.Proportion(weight, total), EffectiveWeight: weight, TotalWeight: total,
		Buckets: append([]model.BucketID{}, f.Rollout.Buckets...),
	}
}

func rolloutPath(feature string) string { return featurePath(feature) + "/rollout" }
