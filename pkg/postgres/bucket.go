package postgres

import (
	"context"
	"math/big"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

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

// ExtremeBuckets reads the heaviest and the lightest bucket, among equals the one with
// the lowest id. It returns none if there are no buckets, else two.
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

// BucketChange is added to the sums of a bucket.
type BucketChange struct {
	ID               model.BucketID
	Subjects, Weight int64
}

// changeBuckets adds to the sums of buckets, and checks the total weight.
func (tx *Tx) changeBuckets(ctx context.Context, changes []BucketChange) error {
	var (
		ids              bucketIDs
		subjects, weight pq.Int64Array
	)
	for _, c := range changes {
		ids, subjects, weight = append(ids, c.ID), append(subjects, c.Subjects), append(weight, c.Weight)
	}
	err := tx.exec(ctx, "update the sums of buckets", `
		UPDATE bucket b SET subjects = b.subjects + c.subjects, weight = b.weight + c.weight
		FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) AS c (id, subjects, weight) WHERE b.id = c.id`,
		ids, subjects, weight)
	if pq.As(err, pqerror.NumericValueOutOfRange) != nil {
		return tooHeavy()
	}
	if err != nil {
		return err
	}
	var total string
	if err := tx.get(ctx, "add up all weights", &total, `SELECT coalesce(sum(weight), 0) FROM bucket`); err != nil {
		return err
	}
	return checkTotalWeight(total)
}

// checkTotalWeight rejects a change after which the weight of all subjects exceeds its
// limit. The sum is text, as it may exceed any integer type.
func checkTotalWeight(total string) error {
	sum, ok := new(big.Int).SetString(total, 10)
	if ok && sum.IsInt64() { // MaxTotalWeight is the largest int64
		return nil
	}
	return model.Errorf(model.ValidationFailed,
		"the total weight of all subjects would be %s, but must be at most %d", total, int64(model.MaxTotalWeight))
}

// tooHeavy is the error of checkTotalWeight if a single bucket exceeds the limit, so
// that PostgreSQL fails before.
func tooHeavy() error {
	return model.Errorf(model.ValidationFailed,
		"the total weight of all subjects would be more than %d", int64(model.MaxTotalWeight))
}
