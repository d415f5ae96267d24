package postgres

import (
	"context"
	"math/big"

	"github.com/flaggery/flaggery/pkg/model"
)

// Buckets reads all buckets in id order.
func (tx *Tx) Buckets(ctx context.Context) ([]model.Bucket, error) {
	return tx.BucketsAfter(ctx, 0, model.MaxBuckets)
}

// BucketsAfter reads at most limit buckets that come after an id.
func (tx *Tx) BucketsAfter(ctx context.Context, after model.BucketID, limit int) ([]model.Bucket, error) {
	var buckets []model.Bucket
	err := tx.selectAll(ctx, "list buckets", &buckets,
		`SELECT id, weight, subjects FROM bucket WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
	return buckets, err
}

// ExtremeBuckets reads the heaviest bucket and the lightest one, of equal ones those with
// the lowest id: none without buckets, else two.
func (tx *Tx) ExtremeBuckets(ctx context.Context) (buckets []model.Bucket, err error) {
	err = tx.selectAll(ctx, "read the heaviest and the lightest bucket", &buckets, `
		(SELECT id, weight, subjects FROM bucket ORDER BY weight DESC, id LIMIT 1)
		UNION ALL
		(SELECT id, weight, subjects FROM bucket ORDER BY weight, id LIMIT 1)
		ORDER BY weight DESC`)
	return buckets, err
}

// InsertBuckets adds the buckets first … last.
func (tx *Tx) InsertBuckets(ctx context.Context, first, last model.BucketID) error {
	return tx.exec(ctx, "insert buckets", `INSERT INTO bucket (id) SELECT generate_series($1::int, $2::int)`, first, last)
}

// checkTotalWeight refuses the change that brought the weight of all subjects
// past its bound. The sum is text, as it may be larger than any integer.
func checkTotalWeight(total string) error {
	sum, ok := new(big.Int).SetString(total, 10)
	if ok && sum.IsInt64() { // MaxTotalWeight is the largest int64
		return nil
	}
	return model.Errorf(model.ValidationFailed,
		"the total weight of all subjects would be %s, and may be at most %d", total, int64(model.MaxTotalWeight))
}

// tooHeavy is checkTotalWeight if a single bucket would already pass the bound, at
// which PostgreSQL gives up.
func tooHeavy() error {
	return model.Errorf(model.ValidationFailed,
		"the total weight of all subjects would be more than %d", int64(model.MaxTotalWeight))
}
