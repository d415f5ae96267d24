package admin

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/writer"
)

type addBucketsInput struct {
	Writing
	Body api.CreateBuckets
}

func (a *service) addBuckets(ctx context.Context, in *addBucketsInput, o ...writer.Option) (writer.Result[api.BucketIDs], error) {
	return a.writer.IncreaseBuckets(ctx, in.Body.Amount, o...)
}

func bucketsAt(*addBucketsInput, api.BucketIDs) string { return "/v1/buckets" }

type listBucketsInput struct {
	Listing
	View string `query:"view" enum:"columns" doc:"columns: all buckets, with an array for each property, instead of a page"`
}

// Resolve implements [huma.Resolver].
func (in *listBucketsInput) Resolve(hc huma.Context) []error {
	if in.View == "" {
		return nil
	}
	return refusePaging(hc, "view="+in.View)
}

func (a *service) listBuckets(ctx context.Context, in *listBucketsInput) (writer.Result[any], error) {
	if in.View == "columns" {
		return anyOf(a.writer.BucketColumns(ctx))
	}
	return anyOf(a.writer.Buckets(ctx, in.page()))
}
