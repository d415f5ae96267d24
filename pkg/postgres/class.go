package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/model"
)

// ClassCount says how many subjects are of one class, and what they weigh.
type ClassCount struct {
	model.Class
	Subjects, Weight int64
}

// Classes counts the subjects of every class that has any, as if there were no groups
// but those given. Subjects in none of them are counted by subtraction, so that only
// members are read one by one.
func (tx *Tx) Classes(ctx context.Context, groups []model.GroupID, each func(ClassCount) error) error {
	members, err := tx.membersOf(ctx, groups)
	if err != nil {
		return err
	}
	var c ClassCount
	return tx.scan(ctx, "count the subjects of classes", `
		WITH grouped AS (
			SELECT bucket_id, groups, count(*) AS subjects, sum(weight) AS weight FROM (`+members+`) m GROUP BY bucket_id, groups
		)
		SELECT bucket_id, groups, subjects, weight::bigint FROM grouped
		UNION ALL
		SELECT b.id, '{}', b.subjects - coalesce(g.subjects, 0)::bigint, (b.weight - coalesce(g.weight, 0))::bigint
		FROM bucket b LEFT JOIN (
			SELECT bucket_id, sum(subjects) AS subjects, sum(weight) AS weight FROM grouped GROUP BY bucket_id
		) g ON g.bucket_id = b.id`, []any{groupIDs(groups)}, func() error {
		if c.Subjects == 0 {
			return nil
		}
		return each(c)
	}, &c.Bucket, (*groupIDs)(&c.Groups), &c.Subjects, &c.Weight)
}

// membersOf is the query of the subjects in one of the groups $1. Few are looked up one
// by one, for many all subjects are read: a million in the time of fifty thousand
// lookups.
func (tx *Tx) membersOf(ctx context.Context, groups []model.GroupID) (query string, err error) {
	var many bool
	err = tx.get(ctx, "count the members of groups", &many, `
		SELECT coalesce(sum(members), 0) * 20 > (SELECT coalesce(sum(subjects), 0) FROM bucket) FROM subject_group WHERE id = ANY($1)`, groupIDs(groups))
	// Statistics may be older than an import: they are not asked which way is the quicker one.
	const members = `SELECT subject_id, array_agg(group_id ORDER BY group_id) AS groups FROM member WHERE group_id = ANY($1) GROUP BY subject_id`
	if !many || err != nil {
		return `SELECT s.id, s.weight, s.bucket_id, m.groups FROM (` + members + `) m
			CROSS JOIN LATERAL (SELECT id, weight, bucket_id FROM subject WHERE id = m.subject_id OFFSET 0) s`, err
	}
	return `SELECT s.id, s.weight, s.bucket_id, m.groups FROM subject s JOIN (` + members + `) m ON m.subject_id = s.id`, tx.joinByHash(ctx)
}

// HeaviestOf reads at most limit subjects of classes, the heaviest first and equal ones
// by id: each with its id, weight and class. Groups are those of Classes.
func (tx *Tx) HeaviestOf(ctx context.Context, groups []model.GroupID, classes []model.Class, limit int) ([]*Subject, error) {
	var alone bucketIDs // buckets of which subjects in none of the groups are asked for
	var buckets bucketIDs
	var joined pq.StringArray // groups of their members
	for _, c := range classes {
		if len(c.Groups) == 0 {
			alone = append(alone, c.Bucket)
		} else {
			buckets, joined = append(buckets, c.Bucket), append(joined, textOf(c.Groups))
		}
	}
	var heaviest []*Subject
	read := func(what, text string, args ...any) error {
		var s Subject
		return tx.scan(ctx, what, text, args, func() error {
			heaviest = append(heaviest, &Subject{Subject: s.Subject, GroupIDs: s.GroupIDs})
			return nil
		}, &s.ID, &s.Weight, &s.BucketID, (*groupIDs)(&s.GroupIDs))
	}
	if len(alone) > 0 {
		err := read("find the heaviest subjects of buckets", `SELECT id, weight, bucket_id, '{}'::integer[] FROM (`+
			heaviestOf(`unnest($1::integer[]) AS b (id)`, `ARRAY(SELECT group_id FROM member WHERE subject_id = s.id AND group_id = ANY($3)) = '{}'`)+`) s`,
			alone, limit, groupIDs(groups))
		if err != nil {
			return nil, err
		}
	}
	if len(buckets) > 0 {
		members, err := tx.membersOf(ctx, groups)
		if err != nil {
			return nil, err
		}
		err = read("find the heaviest members of groups", `
			SELECT id, weight, bucket_id, groups FROM (`+members+`) s
			WHERE (bucket_id, groups::text) IN (SELECT * FROM unnest($2::integer[], $3::text[]))
			ORDER BY weight DESC, id LIMIT $4`, groupIDs(groups), buckets, joined, limit)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(heaviest, func(a, b *Subject) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.ID, b.ID))
	})
	return heaviest[:min(limit, len(heaviest))], nil
}

// heaviestOf is the query of the heaviest $2 subjects s of some buckets b for which a
// condition holds. They are in the $2 buckets whose heaviest are the heaviest.
func heaviestOf(buckets, condition string) string {
	of := func(bucket, limit string) string {
		return `(SELECT s.id, s.weight, s.bucket_id FROM subject s WHERE s.bucket_id = ` + bucket + ` AND ` + condition + `
			ORDER BY s.weight DESC, s.id LIMIT ` + limit + `)`
	}
	return `SELECT s.id, s.weight, s.bucket_id
		FROM (SELECT s.bucket_id FROM ` + buckets + ` CROSS JOIN LATERAL ` + of(`b.id`, `1`) + ` s ORDER BY s.weight DESC, s.id LIMIT $2) h
		CROSS JOIN LATERAL ` + of(`h.bucket_id`, `$2`) + ` s
		ORDER BY s.weight DESC, s.id LIMIT $2`
}
