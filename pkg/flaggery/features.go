package flaggery

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
)

// AddFeature creates a feature with the given variants, default and rollout, in one
// revision. Fails with feature_exists.
func (a *Admin) AddFeature(ctx context.Context, create api.CreateFeature, opts ...WriteOption) (Result[api.Feature], error) {
	return write[api.Feature](ctx, &a.client, http.MethodPost, at("features"), create, opts)
}

// Features yields all features by name, except archived ones.
func (a *Admin) Features(ctx context.Context) iter.Seq2[api.Feature, error] {
	return list[api.Feature](ctx, &a.client, at("features"), nil, largeItems)
}

// ArchivedFeatures yields the archived features by name.
func (a *Admin) ArchivedFeatures(ctx context.Context) iter.Seq2[api.Feature, error] {
	return list[api.Feature](ctx, &a.client, at("features"), url.Values{"archived": {"true"}}, largeItems)
}

// FeatureNames yields the names of features in order, except archived ones. Each has the
// part, in whatever case; "" yields all.
func (a *Admin) FeatureNames(ctx context.Context, part string) iter.Seq2[string, error] {
	query := url.Values{"view": {"names"}}
	if part != "" {
		query.Set("query", part)
	}
	return list[string](ctx, &a.client, at("features"), query, smallItems)
}

// FeatureFilter selects features. The zero value selects all that are not archived.
type FeatureFilter struct {
	Archived bool   // only archived features, instead of the others
	Query    string // part of the name, the description or a tag, ignoring case
	Tag      string
	State    api.FeatureState // api.StateArchived implies Archived
	Stage    api.FeatureStage // api.StageArchived implies Archived
	ByChange bool             // the last changed ones first, instead of by name
}

// FeatureSummaries yields features with who gets which variant, without payloads and
// buckets.
func (a *Admin) FeatureSummaries(ctx context.Context, filter FeatureFilter) iter.Seq2[api.FeatureSummary, error] {
	query := url.Values{"view": {"summary"}}
	if filter.Archived {
		query.Set("archived", "true")
	}
	if filter.Query != "" {
		query.Set("query", filter.Query)
	}
	if filter.Tag != "" {
		query.Set("tag", filter.Tag)
	}
	if filter.State != "" {
		query.Set("state", string(filter.State))
	}
	if filter.Stage != "" {
		query.Set("stage", string(filter.Stage))
	}
	if filter.ByChange {
		query.Set("sort", "changed")
	}
	return list[api.FeatureSummary](ctx, &a.client, at("features"), query, largeItems)
}

// Shares counts the subjects that each step of a feature decides for at a moment; the
// zero time is now. Past moments use the configuration of that time, future ones the
// current one. Subjects are always the current ones. Fails with feature_not_found or
// history_unavailable.
func (a *Admin) Shares(ctx context.Context, feature string, moment time.Time) (Result[api.Shares], error) {
	return read[api.Shares](ctx, &a.client, at("features", feature, "shares"), momentQuery(moment))
}

// FeatureSubjects yields, by id, the subjects that get a variant of a feature now.
// Fails with feature_not_found or variant_not_found.
func (a *Admin) FeatureSubjects(ctx context.Context, feature, variant string) iter.Seq2[api.FeatureSubject, error] {
	return list[api.FeatureSubject](ctx, &a.client, at("features", feature, "subjects"), url.Values{"variant": {variant}}, smallItems)
}

// Overlap counts the subjects that get each pair of variants of two features now. The
// variant of the first feature is in A. Fails with feature_not_found.
func (a *Admin) Overlap(ctx context.Context, feature, other string) (Result[api.Overlap], error) {
	return read[api.Overlap](ctx, &a.client, at("overlap"), url.Values{"features": {feature + "," + other}})
}

// Feature reads one feature with its variants and its rollout. Fails with
// feature_not_found.
func (a *Admin) Feature(ctx context.Context, name string) (Result[api.Feature], error) {
	return read[api.Feature](ctx, &a.client, at("features", name), nil)
}

// PatchFeature changes the given fields. Fails with feature_not_found, or with
// edges_too_old if it switches off or on.
func (a *Admin) PatchFeature(ctx context.Context, name string, patch api.PatchFeature, opts ...WriteOption) (Result[api.Feature], error) {
	return write[api.Feature](ctx, &a.client, http.MethodPatch, at("features", name), patch, opts)
}

// DeleteFeature removes a feature that has no variants left. Fails with
// feature_not_found or feature_has_variants.
func (a *Admin) DeleteFeature(ctx context.Context, name string, opts ...WriteOption) (Receipt, error) {
	return remove(ctx, &a.client, at("features", name), opts)
}

// DeleteWholeFeature removes a feature with its variants, its default, its rollout and
// its overrides. Tests that have ended keep a record of what they named. Fails with
// feature_not_found, or with abtest_live while a test that has not ended names the
// feature.
func (a *Admin) DeleteWholeFeature(ctx context.Context, name string, opts ...WriteOption) (Receipt, error) {
	cascade := func(o *writeOptions) { o.cascade = true }
	return remove(ctx, &a.client, at("features", name), append([]WriteOption{cascade}, opts...))
}

// ArchiveFeature stops serving a feature and keeps all of it until RestoreFeature.
// Fails with feature_not_found, with abtest_live while a test that has not ended names
// the feature, or with edges_too_old.
func (a *Admin) ArchiveFeature(ctx context.Context, name string, opts ...WriteOption) (Result[api.Feature], error) {
	return write[api.Feature](ctx, &a.client, http.MethodPost, at("features", name, "archive"), nil, opts)
}

// RestoreFeature serves an archived feature again, to the same subjects as before.
// Fails with feature_not_found or edges_too_old.
func (a *Admin) RestoreFeature(ctx context.Context, name string, opts ...WriteOption) (Result[api.Feature], error) {
	return write[api.Feature](ctx, &a.client, http.MethodPost, at("features", name, "restore"), nil, opts)
}

// AddVariant adds a variant to a feature. Fails with feature_not_found,
// feature_archived or variant_exists.
func (a *Admin) AddVariant(ctx context.Context, feature string, create api.CreateVariant, opts ...WriteOption) (Result[api.Variant], error) {
	return write[api.Variant](ctx, &a.client, http.MethodPost, at("features", feature, "variants"), create, opts)
}

// PatchVariant replaces a variant's payload. Fails with feature_not_found,
// feature_archived or variant_not_found.
func (a *Admin) PatchVariant(ctx context.Context, feature, variant string, patch api.PatchVariant, opts ...WriteOption) (Result[api.Variant], error) {
	return write[api.Variant](ctx, &a.client, http.MethodPatch, at("features", feature, "variants", variant), patch, opts)
}

// DeleteVariant removes a variant that nothing uses. Fails with
// feature_not_found, feature_archived, variant_not_found, or variant_in_use, whose
// detail says where.
func (a *Admin) DeleteVariant(ctx context.Context, feature, variant string, opts ...WriteOption) (Receipt, error) {
	return remove(ctx, &a.client, at("features", feature, "variants", variant), opts)
}

// AddDisablingVariant adds the variant [api.DisablingVariant] to a feature. Fails
// with feature_not_found, feature_archived or variant_exists.
func (a *Admin) AddDisablingVariant(ctx context.Context, feature string, create api.CreateDisablingVariant, opts ...WriteOption) (Result[api.Variant], error) {
	return write[api.Variant](ctx, &a.client, http.MethodPost, at("features", feature, "disabling_variant"), create, opts)
}

// SetDefaultVariant sets the variant of subjects that nothing else applies to.
// Fails with feature_not_found, feature_archived or variant_not_found.
func (a *Admin) SetDefaultVariant(ctx context.Context, feature, variant string, opts ...WriteOption) (Result[api.VariantReference], error) {
	return write[api.VariantReference](ctx, &a.client, http.MethodPut, at("features", feature, "default_variant"), api.VariantReference{Variant: variant}, opts)
}

// DeleteDefaultVariant removes the default of a feature; it is no error if there is
// none. Fails with feature_not_found or feature_archived.
func (a *Admin) DeleteDefaultVariant(ctx context.Context, feature string, opts ...WriteOption) (Receipt, error) {
	return remove(ctx, &a.client, at("features", feature, "default_variant"), opts)
}

// AddRollout creates a rollout of a variant with proportion 0. Fails with feature_not_found,
// feature_archived, variant_not_found or rollout_exists.
func (a *Admin) AddRollout(ctx context.Context, feature, variant string, opts ...WriteOption) (Result[api.Rollout], error) {
	return write[api.Rollout](ctx, &a.client, http.MethodPost, at("features", feature, "rollout"), api.VariantReference{Variant: variant}, opts)
}

// Rollout reads the rollout of a feature. Fails with feature_not_found or
// rollout_not_found.
func (a *Admin) Rollout(ctx context.Context, feature string) (Result[api.Rollout], error) {
	return read[api.Rollout](ctx, &a.client, at("features", feature, "rollout"), nil)
}

// PatchRollout changes a rollout's proportion, its variant or both. Fails with
// feature_not_found, feature_archived, rollout_not_found or variant_not_found.
func (a *Admin) PatchRollout(ctx context.Context, feature string, patch api.PatchRollout, opts ...WriteOption) (Result[api.Rollout], error) {
	return write[api.Rollout](ctx, &a.client, http.MethodPatch, at("features", feature, "rollout"), patch, opts)
}

// SetRolloutProportion sets the share of the total weight of a rollout, 0 to 1. A
// larger one only adds subjects, a smaller one only removes subjects. Fails with feature_not_found,
// feature_archived or rollout_not_found.
func (a *Admin) SetRolloutProportion(ctx context.Context, feature string, proportion float64, opts ...WriteOption) (Result[api.Rollout], error) {
	return a.PatchRollout(ctx, feature, api.PatchRollout{Proportion: &proportion}, opts...)
}

// DeleteRollout ends the rollout of a feature. Fails with feature_not_found,
// feature_archived or rollout_not_found.
func (a *Admin) DeleteRollout(ctx context.Context, feature string, opts ...WriteOption) (Receipt, error) {
	return remove(ctx, &a.client, at("features", feature, "rollout"), opts)
}
