package writer

import (
	"context"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// About counts what there is. Environment, Environments, Colour, Version and EdgeURL
// are the service's to add.
func (w *Writer) About(ctx context.Context) (Result[api.About], error) {
	return read(ctx, w, func(tx *postgres.Tx) (about api.About, _ int64, err error) {
		t, err := tx.Totals(ctx)
		if err != nil {
			return about, 0, err
		}
		about = api.About{
			Subjects: t.Subjects, TotalWeight: t.Weight, Buckets: t.Buckets, Features: t.Features, Groups: t.Groups,
			Tests: api.TestCounts{Live: t.LiveTests, Scheduled: t.ScheduledTests},
		}
		buckets, err := tx.ExtremeBuckets(ctx)
		if err != nil {
			return about, 0, err
		}
		if len(buckets) == 2 {
			heaviest, lightest := api.Bucket(buckets[0]), api.Bucket(buckets[1])
			about.HeaviestBucket, about.LightestBucket = &heaviest, &lightest
		}
		counted, err := w.counts.of(ctx, tx, nil, true)
		if err != nil || len(counted.order) == 0 {
			return about, 0, err
		}
		for s, err := range tx.HeaviestSubjects(ctx, postgres.SubjectFilter{Bucket: counted.order[0]}, postgres.First, 1) {
			if err != nil {
				return about, 0, err
			}
			about.HeaviestSubject = &api.WeightedSubject{ID: s.ID, Weight: s.Weight}
		}
		return about, 0, nil
	})
}
