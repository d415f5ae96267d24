package writer

import (
	"context"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddRollout adds a rollout of a variant with the proportion 0, so nobody gets it yet.
// Fails with feature_not_found, feature_archived, variant_not_found or rollout_exists.
func (w *Writer) AddRollout(ctx context.Context, feature, variant string, opts ...Option) (Result[api.Rollout], error) {
	var f model.Faults
	f.Check("path.feature", model.CheckName(feature))
	f.Check("body.variant", model.CheckVariantReference(variant))
	if err := f.Err(); err != nil {
		return Result[api.Rollout]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Rollout, error) {
		f, err := c.matchFeature(ctx, feature)
		if err != nil {
			return api.Rollout{}, err
		}
		return c.addRollout(ctx, f, variant, 0)
	})
}

func (c *change) addRollout(ctx context.Context, f *model.Feature, variant string, proportion float64) (api.Rollout, error) {
	buckets, err := c.allBuckets(ctx)
	if err != nil {
		return api.Rollout{}, err
	}
	salt := c.drawSalt()
	assigned := bucketing.Assign(salt, buckets, nil, 0, proportion)
	return c.insertRollout(ctx, f, &model.Rollout{Variant: variant, Proportion: proportion, Salt: salt, Buckets: assigned}, buckets)
}

func (c *change) insertRollout(ctx context.Context, f *model.Feature, r *model.Rollout, buckets []model.Bucket) (api.Rollout, error) {
	if err := refuseArchived(f); err != nil {
		return api.Rollout{}, err
	}
	if _, err := variantOf(f, r.Variant); err != nil {
		return api.Rollout{}, err
	}
	if f.Rollout != nil {
		return api.Rollout{}, model.Errorf(model.RolloutExists, "feature %q has a rollout of variant %q already", f.Name, f.Rollout.Variant)
	}
	f.Rollout = r
	if err := c.tx.InsertRollout(ctx, f.Name, f.Rollout); err != nil {
		return api.Rollout{}, err
	}
	after := rolloutForm(f, buckets)
	return after, c.note(created, rolloutResource.of(f.Name), nil, after)
}

// SetRolloutProportion is PatchRollout of the proportion alone.
func (w *Writer) SetRolloutProportion(ctx context.Context, feature string, proportion float64, opts ...Option) (Result[api.Rollout], error) {
	return w.PatchRollout(ctx, feature, api.PatchRollout{Proportion: &proportion}, opts...)
}

// PatchRollout changes a rollout's share, its variant or both. A larger share
// only adds buckets, a smaller one only removes some. Fails with
// feature_not_found, feature_archived, rollout_not_found or variant_not_found.
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
	return write(ctx, w, configuration, opts, func(c *change) (api.Rollout, error) {
		f, err := c.matchFeature(ctx, feature)
		if err != nil {
			return api.Rollout{}, err
		}
		return c.patchRollout(ctx, f, patch)
	})
}

func (c *change) patchRollout(ctx context.Context, f *model.Feature, patch api.PatchRollout) (api.Rollout, error) {
	if err := refuseArchived(f); err != nil {
		return api.Rollout{}, err
	}
	before, buckets, err := c.rollout(ctx, f)
	if err != nil {
		return api.Rollout{}, err
	}
	r := f.Rollout
	if patch.Variant != nil {
		if _, err := variantOf(f, *patch.Variant); err != nil {
			return api.Rollout{}, err
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
	if err := c.tx.UpdateRollout(ctx, f.Name, r); err != nil {
		return api.Rollout{}, err
	}
	after := rolloutForm(f, buckets)
	return after, c.note(updated, rolloutResource.of(f.Name), before, after)
}

// DeleteRollout removes a feature's rollout. Fails with feature_not_found,
// feature_archived or rollout_not_found.
func (w *Writer) DeleteRollout(ctx context.Context, feature string, opts ...Option) (Result[api.Rollout], error) {
	if err := checkPath("feature", model.CheckName(feature)); err != nil {
		return Result[api.Rollout]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Rollout, error) {
		f, err := c.matchFeature(ctx, feature)
		if err != nil {
			return api.Rollout{}, err
		}
		return c.deleteRollout(ctx, f)
	})
}

func (c *change) deleteRollout(ctx context.Context, f *model.Feature) (api.Rollout, error) {
	if err := refuseArchived(f); err != nil {
		return api.Rollout{}, err
	}
	before, _, err := c.rollout(ctx, f)
	if err != nil {
		return api.Rollout{}, err
	}
	if err := c.tx.DeleteRollout(ctx, f.Name); err != nil {
		return api.Rollout{}, err
	}
	f.Rollout = nil
	return before, c.note(deleted, rolloutResource.of(f.Name), before, nil)
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
		if err := requireRollout(f); err != nil {
			return api.Rollout{}, 0, err
		}
		buckets, err := tx.Buckets(ctx)
		if err != nil {
			return api.Rollout{}, 0, err
		}
		return rolloutForm(f, buckets), f.Revision, nil
	})
}

// rollout returns a feature's rollout in the form of the contract, and all buckets. Fails
// with rollout_not_found.
func (c *change) rollout(ctx context.Context, f *model.Feature) (api.Rollout, []model.Bucket, error) {
	if err := requireRollout(f); err != nil {
		return api.Rollout{}, nil, err
	}
	buckets, err := c.allBuckets(ctx)
	if err != nil {
		return api.Rollout{}, nil, err
	}
	return rolloutForm(f, buckets), buckets, nil
}

// requireRollout fails with rollout_not_found if the feature has no rollout.
func requireRollout(f *model.Feature) error {
	if f.Rollout == nil {
		return model.Errorf(model.RolloutNotFound, "feature %q has no rollout", f.Name)
	}
	return nil
}

func rolloutForm(f *model.Feature, buckets []model.Bucket) api.Rollout {
	weight, total, proportion := bucketing.Effective(buckets, f.Rollout.Buckets)
	return api.Rollout{
		Feature: f.Name, Variant: f.Rollout.Variant, Proportion: f.Rollout.Proportion,
		EffectiveProportion: proportion, EffectiveWeight: weight, TotalWeight: total,
		Buckets: append([]model.BucketID{}, f.Rollout.Buckets...),
	}
}
