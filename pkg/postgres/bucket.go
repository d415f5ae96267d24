package postgres

import (
	"context"
	"database/sql"
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
	err := scanAll(ctx, tx, `SELECT id, weight, subjects FROM bucket WHERE id > $1 ORDER BY id LIMIT $2`,
		func(rows *sql.Rows) error {
			var b model.Bucket
			err := rows.Scan(&b.ID, &b.Weight, &b.Subjects)
			buckets = append(buckets, b)
			return err
		}, after, limit)
	return buckets, err
}

// InsertBuckets adds the buckets first … last.
func (tx *Tx) InsertBuckets(ctx context.Context, first, last model.BucketID) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO bucket (id) SELECT generate_series($1::int, $2::int)`, first, last)
	return err
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

// tooHeavy is checkTotalWeight where already a single bucket would pass the
// bound, at which PostgreSQL gives up.
func tooHeavy() error {
	return model.Errorf(model.ValidationFailed,
		"the total weight of all subjects would be more than %d", int64(model.MaxTotalWeight))
}
