package writer

import (
	"context"
	"iter"
	"strconv"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// IncreaseBuckets adds buckets with the next ids. Rollouts and tests take their share of
// them at once, ended tests too, so that in every test each bucket is in exactly one
// group.
func (w *Writer) IncreaseBuckets(ctx context.Context, amount int, opts ...Option) (Result[api.BucketIDs], error) {
	var f model.Faults
	if amount < 1 || amount > model.MaxBuckets {
		f.Addf("body.amount", "must be between 1 and %d, is %d", model.MaxBuckets, amount)
	}
	if err := f.Err(); err != nil {
		return Result[api.BucketIDs]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.BucketIDs, error) {
		if err := c.match(unversioned); err != nil {
			return api.BucketIDs{}, err
		}
		return c.addBuckets(ctx, amount)
	})
}

func (c *change) addBuckets(ctx context.Context, amount int) (added api.BucketIDs, err error) {
	config, err := c.tx.Configuration(ctx)
	if err != nil {
		return added, err
	}
	last := config.Buckets + amount
	if last > model.MaxBuckets {
		var f model.Faults
		f.Addf("body.amount", "there are %d buckets, and there may be at most %d", config.Buckets, model.MaxBuckets)
		return added, f.Err()
	}
	for id := config.Buckets + 1; id <= last; id++ {
		added.BucketIDs = append(added.BucketIDs, model.BucketID(id))
	}
	if err := c.tx.InsertBuckets(ctx, added.BucketIDs[0], model.BucketID(last)); err != nil {
		return added, err
	}
	if err := c.joinRollouts(ctx, config.Features, added.BucketIDs); err != nil {
		return added, err
	}
	if err := c.joinTests(ctx, config.Tests, added.BucketIDs); err != nil {
		return added, err
	}
	return added, c.note(created, bucketsResource.of(), map[string]int{"buckets": config.Buckets}, map[string]int{"buckets": last})
}

func (c *change) joinRollouts(ctx context.Context, features []model.Feature, added []model.BucketID) error {
	var a postgres.Assignments
	for _, f := range features {
		if r := f.Rollout; r != nil {
			if joined := bucketing.Join(r.Salt, r.Buckets, added, r.Proportion); len(joined) > len(r.Buckets) {
				a.Add(f.Name, joined)
			}
		}
	}
	return c.tx.UpdateRolloutBuckets(ctx, a)
}

func (c *change) joinTests(ctx context.Context, tests []model.ABTest, added []model.BucketID) error {
	for _, t := range tests {
		var (
			groups      [][]model.BucketID
			proportions []float64
			a           postgres.Assignments
		)
		for _, g := range t.Groups {
			groups, proportions = append(groups, g.Buckets), append(proportions, g.Proportion)
		}
		for i, joined := range bucketing.JoinSplit(t.Salt, groups, added, proportions) {
			a.Add(t.Groups[i].Name, joined)
		}
		if err := c.tx.UpdateABTestBuckets(ctx, t.Name, a); err != nil {
			return err
		}
	}
	return nil
}

// BucketColumns reads all buckets in id order.
func (w *Writer) BucketColumns(ctx context.Context) (Result[api.BucketColumns], error) {
	return read(ctx, w, func(tx *postgres.Tx) (api.BucketColumns, int64, error) {
		buckets, err := tx.Buckets(ctx)
		n := len(buckets)
		columns := api.BucketColumns{IDs: make([]model.BucketID, n), Weights: make([]int64, n), Subjects: make([]int64, n)}
		for i, b := range buckets {
			columns.IDs[i], columns.Weights[i], columns.Subjects[i] = b.ID, b.Weight, b.Subjects
		}
		return columns, 0, err
	})
}

// Buckets lists the buckets in id order.
func (w *Writer) Buckets(ctx context.Context, page Page) (Result[api.Page[api.Bucket]], error) {
	after := 0
	if page.After != "" {
		var err error
		if after, err = strconv.Atoi(page.After); err != nil || strconv.Itoa(after) != page.After || after < 1 || after > model.MaxBuckets {
			return Result[api.Page[api.Bucket]]{}, model.Faults{{Location: "query.after", Message: "must be the id of a bucket"}}.Err()
		}
	}
	return list(ctx, w, page, func(b model.Bucket) string { return strconv.Itoa(int(b.ID)) },
		func(tx *postgres.Tx, limit int) iter.Seq2[model.Bucket, error] {
			return all(tx.BucketsAfter(ctx, model.BucketID(after), limit))
		}, each(func(b model.Bucket) api.Bucket { return api.Bucket(b) }))
}
