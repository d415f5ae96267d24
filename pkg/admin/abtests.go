package admin

import (
	"context"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/writer"
)

// TestPath names an A/B test in a path.
type TestPath struct {
	Test string `path:"test" doc:"Name of the A/B test" example:"checkout-2027"`
}

type addABTestInput struct {
	Writing
	Body api.CreateABTest
}

func (a *service) addABTest(ctx context.Context, in *addABTestInput, o ...writer.Option) (writer.Result[api.ABTest], error) {
	return a.writer.AddABTest(ctx, in.Body, o...)
}

func abTestAt(_ *addABTestInput, t api.ABTest) string { return "/v1/abtests/" + t.Name }

type listABTestsInput struct {
	Listing
	State   string    `query:"state" enum:"scheduled,live,ended" doc:"Only tests in this state"`
	Feature string    `query:"feature" doc:"Only tests with this feature" example:"foobar"`
	From    time.Time `query:"from" doc:"Only tests that end after this moment"`
	Until   time.Time `query:"until" doc:"Only tests that start before this moment"`
}

func (a *service) listABTests(ctx context.Context, in *listABTestsInput) (writer.Result[api.Page[api.ABTest]], error) {
	filter := writer.ABTestFilter{State: model.TestState(in.State), Feature: in.Feature, From: in.From, Until: in.Until}
	return a.writer.ABTests(ctx, filter, in.page())
}

func (a *service) getABTest(ctx context.Context, in *TestPath) (writer.Result[api.ABTest], error) {
	return a.writer.ABTest(ctx, in.Test)
}

type patchABTestInput struct {
	TestPath
	Changing
	Body api.PatchABTest
}

func (a *service) patchABTest(ctx context.Context, in *patchABTestInput, o ...writer.Option) (writer.Result[api.ABTest], error) {
	return a.writer.PatchABTest(ctx, in.Test, in.Body, o...)
}

type changeABTestInput struct {
	TestPath
	Changing
}

func (a *service) stopABTest(ctx context.Context, in *changeABTestInput, o ...writer.Option) (writer.Result[api.ABTest], error) {
	return a.writer.StopABTest(ctx, in.Test, o...)
}

func (a *service) deleteABTest(ctx context.Context, in *changeABTestInput, o ...writer.Option) (writer.Result[api.ABTest], error) {
	return a.writer.DeleteABTest(ctx, in.Test, o...)
}
