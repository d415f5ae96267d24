package admin

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/writer"
)

// FeaturePath names a feature in a path.
type FeaturePath struct {
	Feature string `path:"feature" doc:"Name of the feature" example:"foobar"`
}

// VariantPath names a variant of a feature in a path.
type VariantPath struct {
	FeaturePath
	Variant string `path:"variant" doc:"Name of the variant" example:"A"`
}

type addFeatureInput struct {
	Writing
	Body api.CreateFeature
}

func (a *service) addFeature(ctx context.Context, in *addFeatureInput, o ...writer.Option) (writer.Result[api.Feature], error) {
	return a.writer.AddFeature(ctx, in.Body, o...)
}

func featureAt(_ *addFeatureInput, f api.Feature) string { return "/v1/features/" + f.Name }

type listFeaturesInput struct {
	Listing
	Archived bool   `query:"archived" doc:"true: only archived features. false: only others"`
	View     string `query:"view" enum:"summary,names" doc:"summary: who gets which variant, without payloads and buckets. tag, state, stage and sort require it. names: items are names"`
	Query    string `query:"query" doc:"Only features whose name, description or a tag contains this text, ignoring case; with view=names, whose name does. Requires a view"`
	Tag      string `query:"tag" doc:"Only features with this tag"`
	State    string `query:"state" enum:"default,rolling,testing,everyone,off,archived" doc:"Only features in this state; archived implies archived=true"`
	Stage    string `query:"stage" enum:"new,rolling,testing,settled,off,expired,archived" doc:"Only features in this stage; archived implies archived=true"`
	Sort     string `query:"sort" enum:"name,changed" doc:"Order: by name, or the last changed first (changed); by name if left out"`
}

// Resolve implements [huma.Resolver].
func (in *listFeaturesInput) Resolve(hc huma.Context) (faults []error) {
	if in.View == "" && in.Query != "" {
		faults = append(faults, &huma.ErrorDetail{Location: "query.query", Message: "requires view=summary or view=names"})
	}
	for _, name := range []string{"tag", "state", "stage", "sort"} {
		if in.View != "summary" && hc.Query(name) != "" {
			faults = append(faults, &huma.ErrorDetail{Location: "query." + name, Message: "requires view=summary"})
		}
	}
	return faults
}

func (a *service) listFeatures(ctx context.Context, in *listFeaturesInput) (writer.Result[any], error) {
	switch in.View {
	case "summary":
		return anyOf(a.writer.FeatureSummaries(ctx, writer.FeatureFilter{
			Archived: in.Archived, Query: in.Query, Tag: in.Tag,
			State: model.FeatureState(in.State), Stage: model.FeatureStage(in.Stage), ByChange: in.Sort == "changed",
		}, in.page()))
	case "names":
		return anyOf(a.writer.FeatureNames(ctx, in.Archived, in.Query, in.page()))
	default:
		return anyOf(a.writer.Features(ctx, in.Archived, in.page()))
	}
}

func (a *service) getFeature(ctx context.Context, in *FeaturePath) (writer.Result[api.Feature], error) {
	return a.writer.Feature(ctx, in.Feature)
}

type getSharesInput struct {
	FeaturePath
	At time.Time `query:"at" doc:"The moment to count for; now if left out. Past moments use the configuration of that time, future ones the current one. Subjects are always the current ones"`
}

func (a *service) getShares(ctx context.Context, in *getSharesInput) (writer.Result[api.Shares], error) {
	return a.writer.Shares(ctx, in.Feature, in.At)
}

type listFeatureSubjectsInput struct {
	FeaturePath
	Listing
	Variant string `query:"variant" required:"true" doc:"Only subjects that get this variant" example:"A"`
}

func (a *service) listFeatureSubjects(ctx context.Context, in *listFeatureSubjectsInput) (writer.Result[api.Page[api.FeatureSubject]], error) {
	return a.writer.FeatureSubjects(ctx, in.Feature, in.Variant, in.page())
}

type getOverlapInput struct {
	Features []string `query:"features" required:"true" doc:"Names of two features, separated by a comma" example:"foobar,checkout"`
}

func (a *service) getOverlap(ctx context.Context, in *getOverlapInput) (writer.Result[api.Overlap], error) {
	return a.writer.Overlap(ctx, in.Features)
}

type patchFeatureInput struct {
	FeaturePath
	Changing
	Body api.PatchFeature
}

func (a *service) patchFeature(ctx context.Context, in *patchFeatureInput, o ...writer.Option) (writer.Result[api.Feature], error) {
	return a.writer.PatchFeature(ctx, in.Feature, in.Body, o...)
}

// changeFeatureInput is for writes without a body.
type changeFeatureInput struct {
	FeaturePath
	Changing
}

type deleteFeatureInput struct {
	FeaturePath
	Changing
	Cascade bool `query:"cascade" doc:"Also delete its variants, default, rollout and overrides. Ended tests keep a record of their variants"`
}

func (a *service) deleteFeature(ctx context.Context, in *deleteFeatureInput, o ...writer.Option) (writer.Result[api.Feature], error) {
	if in.Cascade {
		return a.writer.DeleteWholeFeature(ctx, in.Feature, o...)
	}
	return a.writer.DeleteFeature(ctx, in.Feature, o...)
}

func (a *service) archiveFeature(ctx context.Context, in *changeFeatureInput, o ...writer.Option) (writer.Result[api.Feature], error) {
	return a.writer.ArchiveFeature(ctx, in.Feature, o...)
}

func (a *service) restoreFeature(ctx context.Context, in *changeFeatureInput, o ...writer.Option) (writer.Result[api.Feature], error) {
	return a.writer.RestoreFeature(ctx, in.Feature, o...)
}

type addVariantInput struct {
	FeaturePath
	Writing
	Body api.CreateVariant
}

func (a *service) addVariant(ctx context.Context, in *addVariantInput, o ...writer.Option) (writer.Result[api.Variant], error) {
	return a.writer.AddVariant(ctx, in.Feature, in.Body, o...)
}

func variantAt(in *addVariantInput, v api.Variant) string { return variantPath(in.Feature, v.Name) }

func variantPath(feature, variant string) string {
	return "/v1/features/" + feature + "/variants/" + variant
}

type patchVariantInput struct {
	VariantPath
	Changing
	Body api.PatchVariant
}

func (a *service) patchVariant(ctx context.Context, in *patchVariantInput, o ...writer.Option) (writer.Result[api.Variant], error) {
	return a.writer.PatchVariant(ctx, in.Feature, in.Variant, in.Body, o...)
}

type deleteVariantInput struct {
	VariantPath
	Changing
}

func (a *service) deleteVariant(ctx context.Context, in *deleteVariantInput, o ...writer.Option) (writer.Result[api.Variant], error) {
	return a.writer.DeleteVariant(ctx, in.Feature, in.Variant, o...)
}

type addDisablingVariantInput struct {
	FeaturePath
	Writing
	Body *api.CreateDisablingVariant
}

func (a *service) addDisablingVariant(ctx context.Context, in *addDisablingVariantInput, o ...writer.Option) (writer.Result[api.Variant], error) {
	var create api.CreateDisablingVariant
	if in.Body != nil {
		create = *in.Body
	}
	return a.writer.AddDisablingVariant(ctx, in.Feature, create, o...)
}

func disablingVariantAt(in *addDisablingVariantInput, v api.Variant) string {
	return variantPath(in.Feature, v.Name)
}

type setVariantInput struct {
	FeaturePath
	Changing
	Body api.VariantReference
}

func (a *service) setDefault(ctx context.Context, in *setVariantInput, o ...writer.Option) (writer.Result[api.VariantReference], error) {
	return a.writer.SetDefaultVariant(ctx, in.Feature, in.Body.Variant, o...)
}

func (a *service) deleteDefault(ctx context.Context, in *changeFeatureInput, o ...writer.Option) (writer.Result[api.VariantReference], error) {
	return a.writer.DeleteDefaultVariant(ctx, in.Feature, o...)
}
