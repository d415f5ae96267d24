package writer

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddFeature adds a feature with the given variants, default and rollout. Fails with
// feature_exists.
func (w *Writer) AddFeature(ctx context.Context, create api.CreateFeature, opts ...Option) (Result[api.Feature], error) {
	feature, err := newFeature(create)
	if err != nil {
		return Result[api.Feature]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Feature, error) {
		if err := c.match(absent); err != nil {
			return api.Feature{}, err
		}
		if err := c.addFeatures(ctx, feature); err != nil {
			return api.Feature{}, err
		}
		return featureForm(feature, c.buckets), nil
	})
}

// newFeature returns the requested feature. Its rollout has no buckets yet.
func newFeature(create api.CreateFeature) (*model.Feature, error) {
	var f model.Faults
	feature := &model.Feature{
		Name: create.Name, Description: create.Description, Tags: create.Tags,
		Contact: create.Contact, Expires: create.Expires, Permanent: create.Permanent,
	}
	f.Check("body.name", model.CheckName(create.Name))
	f.Check("body.description", model.CheckDescription(create.Description))
	f.Check("body.tags", model.CheckTags(create.Tags))
	f.Check("body.contact", model.CheckContact(create.Contact))
	f.Check("body.expires", model.CheckDate(create.Expires))
	for i, v := range create.Variants {
		location := fmt.Sprintf("body.variants[%d].", i)
		f.Check(location+"name", model.CheckVariantName(v.Name))
		payload, err := payloadOf(v.Payload)
		f.Check(location+"payload", err)
		if slices.ContainsFunc(feature.Variants, func(other model.Variant) bool { return other.Name == v.Name }) {
			f.Addf(location+"name", "is %q, which another variant has already", v.Name)
		}
		feature.Variants = append(feature.Variants, model.Variant{Name: v.Name, Payload: payload})
	}
	if create.DisablingVariant {
		feature.Variants = append(feature.Variants, model.Variant{Name: model.DisablingVariant})
	}
	slices.SortFunc(feature.Variants, func(a, b model.Variant) int { return cmp.Compare(a.Name, b.Name) })
	isVariant := func(location, name string) {
		if _, ok := feature.Variant(name); !ok {
			f.Addf(location, "must be one of the feature's variants, is %q", name)
		}
	}
	if create.DefaultVariant != nil {
		isVariant("body.default_variant", *create.DefaultVariant)
		feature.Default = *create.DefaultVariant
	}
	if r := create.Rollout; r != nil {
		isVariant("body.rollout.variant", r.Variant)
		f.Check("body.rollout.proportion", model.CheckProportion(r.Proportion))
		feature.Rollout = &model.Rollout{Variant: r.Variant, Proportion: r.Proportion}
	}
	return feature, f.Err()
}

// addFeatures adds features with their parts. The audit has the same rows as after
// separate calls, so that each can be reverted.
func (c *change) addFeatures(ctx context.Context, features ...*model.Feature) error {
	buckets, err := c.allBuckets(ctx)
	if err != nil {
		return err
	}
	for _, f := range features {
		f.Tags, f.Revision = append([]string{}, f.Tags...), c.tx.Revision
		if r := f.Rollout; r != nil {
			r.Salt = c.drawSalt()
			r.Buckets = bucketing.Assign(r.Salt, buckets, nil, 0, r.Proportion)
		}
	}
	if err := c.tx.InsertFeatures(ctx, features); err != nil {
		return err
	}
	for _, f := range features {
		if err := c.noteFeature(f, buckets); err != nil {
			return err
		}
	}
	return nil
}

// noteFeature adds an added feature to the audit, its parts in rows of their own.
func (c *change) noteFeature(f *model.Feature, buckets []model.Bucket) error {
	bare := *f
	bare.Variants, bare.Default, bare.Rollout = nil, "", nil
	if err := c.note(created, featureResource.of(f.Name), nil, featureForm(&bare, nil)); err != nil {
		return err
	}
	for _, v := range f.Variants {
		if err := c.note(created, variantResource.of(f.Name, v.Name), nil, variantForm(v)); err != nil {
			return err
		}
	}
	if f.Default != "" {
		if err := c.note(created, defaultVariantResource.of(f.Name), nil, api.VariantReference{Variant: f.Default}); err != nil {
			return err
		}
	}
	if f.Rollout == nil {
		return nil
	}
	return c.note(created, rolloutResource.of(f.Name), nil, rolloutForm(f, buckets))
}

// PatchFeature changes the given fields. Fails with feature_not_found, or with
// edges_too_old if it switches the feature off or on.
func (w *Writer) PatchFeature(ctx context.Context, name string, patch api.PatchFeature, opts ...Option) (Result[api.Feature], error) {
	var f model.Faults
	f.Check("path.feature", model.CheckName(name))
	if patch.Description != nil {
		f.Check("body.description", model.CheckDescription(*patch.Description))
	}
	if patch.Tags != nil {
		f.Check("body.tags", model.CheckTags(*patch.Tags))
	}
	if patch.Contact != nil {
		f.Check("body.contact", model.CheckContact(*patch.Contact))
	}
	if patch.Expires != nil {
		f.Check("body.expires", model.CheckDate(*patch.Expires))
	}
	if err := f.Err(); err != nil {
		return Result[api.Feature]{}, err
	}
	if patch.Off != nil {
		if err := w.refuseOldEdges(ctx); err != nil {
			return Result[api.Feature]{}, err
		}
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Feature, error) {
		f, err := c.matchFeature(ctx, name)
		if err != nil {
			return api.Feature{}, err
		}
		return c.patchFeature(ctx, f, patch)
	})
}

func (c *change) patchFeature(ctx context.Context, f *model.Feature, patch api.PatchFeature) (api.Feature, error) {
	was := *f
	if patch.Description != nil {
		f.Description = *patch.Description
	}
	if patch.Tags != nil {
		f.Tags = append([]string{}, *patch.Tags...)
	}
	if patch.Contact != nil {
		f.Contact = *patch.Contact
	}
	if patch.Expires != nil {
		f.Expires = *patch.Expires
	}
	if patch.Permanent != nil {
		f.Permanent = *patch.Permanent
	}
	if patch.Off != nil {
		f.Off = *patch.Off
	}
	return c.updateFeature(ctx, &was, f)
}

// updateFeature stores the fields of a feature itself, if they are not what they were.
func (c *change) updateFeature(ctx context.Context, was, f *model.Feature) (api.Feature, error) {
	buckets, err := c.allBuckets(ctx)
	if err != nil {
		return api.Feature{}, err
	}
	before := featureForm(was, buckets)
	if reflect.DeepEqual(featureForm(f, buckets), before) {
		return before, nil
	}
	f.Revision = c.tx.Revision
	if err := c.tx.UpdateFeature(ctx, f); err != nil {
		return api.Feature{}, err
	}
	after := featureForm(f, buckets)
	return after, c.note(updated, featureResource.of(f.Name), before, after)
}

// ArchiveFeature stops serving a feature and keeps all of it until RestoreFeature: its
// name stays taken, its rollout keeps its buckets, and its parts cannot be changed. Fails
// with feature_not_found, with abtest_live while a test that has not ended names the
// feature, or with edges_too_old.
func (w *Writer) ArchiveFeature(ctx context.Context, name string, opts ...Option) (Result[api.Feature], error) {
	return w.archiveFeature(ctx, name, true, opts)
}

// RestoreFeature serves an archived feature again, to the same subjects as before.
// Fails with feature_not_found or edges_too_old.
func (w *Writer) RestoreFeature(ctx context.Context, name string, opts ...Option) (Result[api.Feature], error) {
	return w.archiveFeature(ctx, name, false, opts)
}

func (w *Writer) archiveFeature(ctx context.Context, name string, archive bool, opts []Option) (Result[api.Feature], error) {
	if err := checkPath("feature", model.CheckName(name)); err != nil {
		return Result[api.Feature]{}, err
	}
	if err := w.refuseOldEdges(ctx); err != nil {
		return Result[api.Feature]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Feature, error) {
		f, err := c.matchFeature(ctx, name)
		if err != nil {
			return api.Feature{}, err
		}
		return c.archiveFeature(ctx, f, archive)
	})
}

func (c *change) archiveFeature(ctx context.Context, f *model.Feature, archive bool) (api.Feature, error) {
	buckets, err := c.allBuckets(ctx)
	if err != nil {
		return api.Feature{}, err
	}
	before := featureForm(f, buckets)
	if f.Archived == archive {
		return before, nil
	}
	action := restored
	if archive {
		action = archived
		if err := c.refuseUnderTest(ctx, f.Name); err != nil {
			return api.Feature{}, err
		}
	}
	f.Archived, f.Revision = archive, c.tx.Revision
	if err := c.tx.UpdateFeature(ctx, f); err != nil {
		return api.Feature{}, err
	}
	after := featureForm(f, buckets)
	return after, c.note(action, featureResource.of(f.Name), before, after)
}

// refuseUnderTest fails with abtest_live while a test that has not ended names the
// feature.
func (c *change) refuseUnderTest(ctx context.Context, feature string) error {
	tests, err := c.tx.AllABTests(ctx)
	if err != nil {
		return err
	}
	for i := range tests {
		t := &tests[i]
		if !slices.Contains(t.Features(), feature) {
			continue
		}
		switch t.State(c.tx.Now) {
		case model.Live:
			return model.Errorf(model.ABTestLive, "test %q of feature %q is live until %s: stop it first", t.Name, feature, t.End.Format(time.RFC3339))
		case model.Scheduled:
			return model.Errorf(model.ABTestLive, "test %q of feature %q is scheduled for %s: delete it first", t.Name, feature, t.Start.Format(time.RFC3339))
		}
	}
	return nil
}

// refuseArchived fails with feature_archived if the feature is archived. The parts of an
// archived feature cannot be changed until it is restored.
func refuseArchived(f *model.Feature) error {
	if f.Archived {
		return model.Errorf(model.FeatureArchived, "feature %q is archived: restore it first", f.Name)
	}
	return nil
}

// DeleteFeature removes a feature. Fails with feature_not_found, or with
// feature_has_variants.
func (w *Writer) DeleteFeature(ctx context.Context, name string, opts ...Option) (Result[api.Feature], error) {
	if err := checkPath("feature", model.CheckName(name)); err != nil {
		return Result[api.Feature]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Feature, error) {
		f, err := c.matchFeature(ctx, name)
		if err != nil {
			return api.Feature{}, err
		}
		return c.deleteFeature(ctx, f)
	})
}

func (c *change) deleteFeature(ctx context.Context, f *model.Feature) (api.Feature, error) {
	if len(f.Variants) > 0 {
		return api.Feature{}, model.Errorf(model.FeatureHasVariants,
			"feature %q has variants, %q among them: delete them first", f.Name, f.Variants[0].Name)
	}
	if err := c.tx.DeleteFeature(ctx, f.Name); err != nil {
		return api.Feature{}, err
	}
	before := featureForm(f, nil)
	return before, c.note(deleted, featureResource.of(f.Name), before, nil)
}

// DeleteWholeFeature removes a feature with its variants, its default, its rollout and
// its overrides. Ended tests keep a record of the variants that they named. Fails with
// feature_not_found, or with abtest_live while a test that has not ended names the
// feature.
func (w *Writer) DeleteWholeFeature(ctx context.Context, name string, opts ...Option) (Result[api.Feature], error) {
	if err := checkPath("feature", model.CheckName(name)); err != nil {
		return Result[api.Feature]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Feature, error) {
		f, err := c.matchFeature(ctx, name)
		if err != nil {
			return api.Feature{}, err
		}
		return c.deleteWholeFeature(ctx, f)
	})
}

// deleteWholeFeature deletes a feature by the same steps as separate calls, so that the
// audit has the same rows and each can be reverted.
func (c *change) deleteWholeFeature(ctx context.Context, f *model.Feature) (api.Feature, error) {
	if err := c.refuseUnderTest(ctx, f.Name); err != nil {
		return api.Feature{}, err
	}
	buckets, err := c.allBuckets(ctx)
	if err != nil {
		return api.Feature{}, err
	}
	before := featureForm(f, buckets)
	if _, err := c.archiveFeature(ctx, f, false); err != nil { // the parts of an archived feature cannot be deleted
		return api.Feature{}, err
	}
	if err := c.deleteReferences(ctx, f); err != nil {
		return api.Feature{}, err
	}
	if err := c.setDefault(ctx, f, ""); err != nil {
		return api.Feature{}, err
	}
	for _, v := range f.Variants {
		if _, err := c.deleteVariant(ctx, f, v.Name); err != nil {
			return api.Feature{}, err
		}
	}
	f.Variants = nil
	_, err = c.deleteFeature(ctx, f)
	return before, err
}

// deleteReferences deletes the rollout of a feature and the overrides with its variants,
// and moves the references of tests to their records.
func (c *change) deleteReferences(ctx context.Context, f *model.Feature) error {
	uses, err := c.tx.VariantUses(ctx, f.Name)
	if err != nil {
		return err
	}
	test := ""
	for _, use := range uses { // the groups of a test follow each other
		switch {
		case use.Group != "":
			var g *postgres.Group
			if g, err = c.tx.Group(ctx, use.Group); err == nil {
				_, err = c.deleteOverride(ctx, g, f.Name)
			}
		case use.Test != test:
			test = use.Test
			err = c.moveFeature(ctx, test, f.Name, recorded)
		}
		if err != nil {
			return err
		}
	}
	if f.Rollout != nil {
		_, err = c.deleteRollout(ctx, f)
	}
	return err
}

// matchFeature loads the feature that a write is about, and matches its version.
func (c *change) matchFeature(ctx context.Context, name string) (*model.Feature, error) {
	f, err := c.tx.Feature(ctx, name)
	if err != nil {
		return nil, err
	}
	return f, c.match(f.Revision)
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

// Features lists, in name order, either the archived features or the others.
func (w *Writer) Features(ctx context.Context, archived bool, page Page) (Result[api.Page[api.Feature]], error) {
	return list(ctx, w, page, func(f *model.Feature) string { return f.Name },
		func(tx *postgres.Tx, limit int) iter.Seq2[*model.Feature, error] {
			return tx.Features(ctx, archived, page.After, limit)
		},
		eachWithBuckets(ctx, func(_ *postgres.Tx, f *model.Feature, buckets []model.Bucket) api.Feature {
			return featureForm(f, buckets)
		}))
}

// FeatureNames lists the names with a part, case insensitive, of either the archived
// features or the others, in order.
func (w *Writer) FeatureNames(ctx context.Context, archived bool, part string, page Page) (Result[api.Page[string]], error) {
	self := func(name string) string { return name }
	return list(ctx, w, page, self, func(tx *postgres.Tx, limit int) iter.Seq2[string, error] {
		return all(tx.FeatureNames(ctx, archived, clean(part), page.After, limit))
	}, each(self))
}

// eachWithBuckets forms items with the weights of their buckets.
func eachWithBuckets[S, T any](ctx context.Context, form func(*postgres.Tx, S, []model.Bucket) T) func(*postgres.Tx) (func(S) T, error) {
	return func(tx *postgres.Tx) (func(S) T, error) {
		buckets, err := tx.Buckets(ctx)
		return func(item S) T { return form(tx, item, buckets) }, err
	}
}

func featureForm(f *model.Feature, buckets []model.Bucket) api.Feature {
	form := api.Feature{
		Name: f.Name, Description: f.Description, Tags: f.Tags, Variants: make([]api.Variant, len(f.Variants)),
		Contact: f.Contact, Expires: orNil(f.Expires), Permanent: f.Permanent, Owner: orNil(f.Owner),
		Off: f.Off, Archived: f.Archived, Revision: f.Revision,
	}
	for i, v := range f.Variants {
		form.Variants[i] = variantForm(v)
	}
	if name := f.Default; name != "" {
		form.DefaultVariant = &name // a copy, as f may change
	}
	if f.Rollout != nil {
		rollout := rolloutForm(f, buckets)
		form.Rollout = &rollout
	}
	return form
}
