package admin

import (
	"context"

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

func (a *service) listBuckets(ctx context.Context, in *struct{ Listing }) (writer.Result[api.Page[api.Bucket]], error) {
	return a.writer.Buckets(ctx, in.page())
}
