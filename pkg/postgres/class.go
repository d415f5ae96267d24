package postgres

import (
	"context"

	"github.com/flaggery/flaggery/pkg/model"
)

// ClassCount says how many subjects are of one class, and what they weigh.
type ClassCount struct {
	model.Class
	Subjects, Weight int64
}

// Classes counts the subjects of every class that has any. Those in no group are
// counted by subtraction, so that only members are read one by one.
func (tx *Tx) Classes(ctx context.Context, each func(ClassCount) error) error {
	if err := tx.joinByHash(ctx); err != nil {
		return err
	}
	var c ClassCount
	return tx.scan(ctx, "count the subjects of classes", `
		WITH grouped AS (
			SELECT s.bucket_id, m.groups, count(*) AS subjects, sum(s.weight) AS weight
			FROM subject s JOIN (`+groupsOfSubjects+`) m ON m.subject_id = s.id
			GROUP BY s.bucket_id, m.groups
		)
		SELECT bucket_id, groups, subjects, weight::bigint FROM grouped
		UNION ALL
		SELECT b.id, '{}', b.subjects - coalesce(g.subjects, 0)::bigint, (b.weight - coalesce(g.weight, 0))::bigint
		FROM bucket b LEFT JOIN (
			SELECT bucket_id, sum(subjects) AS subjects, sum(weight) AS weight FROM grouped GROUP BY bucket_id
		) g ON g.bucket_id = b.id`, nil, func() error {
		if c.Subjects == 0 {
			return nil
		}
		return each(c)
	}, &c.Bucket, (*groupIDs)(&c.Groups), &c.Subjects, &c.Weight)
}
