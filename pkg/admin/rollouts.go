package admin

import (
	"context"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/writer"
)

type addRolloutInput struct {
	FeaturePath
	Writing
	Body api.VariantReference
}

func (a *service) addRollout(ctx context.Context, in *addRolloutInput, o ...writer.Option) (writer.Result[api.Rollout], error) {
	return a.writer.AddRollout(ctx, in.Feature, in.Body.Variant, o...)
}

func rolloutAt(in *addRolloutInput, _ api.Rollout) string {
	return "/v1/features/" + in.Feature + "/rollout"
}

func (a *service) getRollout(ctx context.Context, in *FeaturePath) (writer.Result[api.Rollout], error) {
	return a.writer.Rollout(ctx, in.Feature)
}

type patchRolloutInput struct {
	FeaturePath
	Changing
	Body api.PatchRollout
}

func (a *service) patchRollout(ctx context.Context, in *patchRolloutInput, o ...writer.Option) (writer.Result[api.Rollout], error) {
	return a.writer.PatchRollout(ctx, in.Feature, in.Body, o...)
}

func (a *service) deleteRollout(ctx context.Context, in *changeFeatureInput, o ...writer.Option) (writer.Result[api.Rollout], error) {
	return a.writer.DeleteRollout(ctx, in.Feature, o...)
}
