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

// ClassesOf counts the members of groups by class, as if there were no other groups.
func (tx *Tx) ClassesOf(ctx context.Context, groups []model.GroupID) (classes []ClassCount, err error) {
	if len(groups) == 0 {
		return nil, nil
	}
	members, err := tx.membersOf(ctx, groups)
	if err != nil {
		return nil, err
	}
	var c ClassCount
	err = tx.scan(ctx, "count the members of groups", `
		SELECT bucket_id, groups, count(*), sum(weight)::bigint FROM (`+members+`) m GROUP BY bucket_id, groups`,
		[]any{groupIDs(groups)}, func() error {
			classes = append(classes, c)
			return nil
		}, &c.Bucket, (*groupIDs)(&c.Groups), &c.Subjects, &c.Weight)
	if err != nil {
		return nil, err
	}
	// The rest of the transaction looks few rows up.
	return classes, tx.exec(ctx, "allow nested loops", `SET LOCAL enable_nestloop = DEFAULT`)
}

// membersOf is the query of the subjects in one of the groups $1. Few are looked up one
// by one; for many all subjects are read and joined by hash. Ten million are read in the
// time of one to two million lookups. Statistics may be older than an import: they do not
// decide.
func (tx *Tx) membersOf(ctx context.Context, groups []model.GroupID) (query string, err error) {
	var many bool
	err = tx.get(ctx, "count the members of groups", &many, `
		SELECT coalesce(sum(members), 0) * 5 > (SELECT coalesce(sum(subjects), 0) FROM bucket)
		FROM subject_group WHERE id = ANY($1)`, groupIDs(groups))
	if err == nil && many {
		err = tx.joinByHash(ctx)
	}
	const members = `(SELECT subject_id, array_agg(group_id ORDER BY group_id) AS groups FROM member WHERE group_id = ANY($1) GROUP BY subject_id) m`
	if many {
		return `SELECT s.id, s.weight, s.bucket_id, m.groups FROM subject s JOIN ` + members + ` ON m.subject_id = s.id`, err
	}
	return `SELECT s.id, s.weight, s.bucket_id, m.groups FROM ` + members + `
		CROSS JOIN LATERAL (SELECT id, weight, bucket_id FROM subject WHERE id = m.subject_id OFFSET 0) s`, err
}

// heaviestOf is the query of the heaviest subjects s of a bucket for which a condition
// holds.
func heaviestOf(bucket, condition, limit string) string {
	return `SELECT s.id, s.weight, s.bucket_id FROM subject s WHERE s.bucket_id = ` + bucket + ` AND ` + condition + `
		ORDER BY s.weight DESC, s.id LIMIT ` + limit
}

// inNoGroup is whether a subject s is in none of the groups $1. It is no join, so that
// whatever plan there is looks one subject up.
const inNoGroup = `ARRAY(SELECT group_id FROM member WHERE subject_id = s.id AND group_id = ANY($1)) = '{}'`

// BucketsByHeaviest reads the buckets in the order of their heaviest subject in none of
// the groups, without those that have none.
func (tx *Tx) BucketsByHeaviest(ctx context.Context, groups []model.GroupID) (buckets []model.BucketID, err error) {
	err = tx.selectAll(ctx, "order buckets by their heaviest subjects", &buckets, `
		SELECT b.id FROM bucket b CROSS JOIN LATERAL (`+heaviestOf(`b.id`, inNoGroup, `1`)+`) h ORDER BY h.weight DESC, h.id`,
		groupIDs(groups))
	return buckets, err
}

// HeaviestOf reads at most limit subjects of classes, the heaviest first and equal ones
// by id: each with its id, weight and class. The classes are of these groups, and order
// is that of [Tx.BucketsByHeaviest].
func (tx *Tx) HeaviestOf(ctx context.Context, groups []model.GroupID, classes []ClassCount, order []model.BucketID, limit int) (heaviest []Subject, err error) {
	alone := map[model.BucketID]bool{} // subjects in none of the groups
	var buckets bucketIDs
	var joined pq.StringArray // groups, one for each of buckets
	for _, c := range classes {
		if len(c.Groups) == 0 {
			alone[c.Bucket] = true
		} else {
			buckets, joined = append(buckets, c.Bucket), append(joined, textOf(c.Groups))
		}
	}
	read := func(what, text string, args ...any) error {
		var s Subject
		return tx.scan(ctx, what, text, args, func() error {
			heaviest = append(heaviest, s)
			return nil
		}, &s.ID, &s.Weight, &s.BucketID, (*groupIDs)(&s.GroupIDs))
	}
	if len(alone) > 0 {
		// They are in as many of the buckets: those whose heaviest are the heaviest.
		var first bucketIDs
		for _, bucket := range order {
			if alone[bucket] && len(first) < limit {
				first = append(first, bucket)
			}
		}
		err = read("find the heaviest subjects of buckets", `SELECT s.id, s.weight, s.bucket_id, '{}'::integer[]
			FROM unnest($2::integer[]) AS b (id) CROSS JOIN LATERAL (`+heaviestOf(`b.id`, inNoGroup, `$3`)+`) s`,
			groupIDs(groups), first, limit)
	}
	if err == nil && len(buckets) > 0 {
		var members string
		if members, err = tx.membersOf(ctx, groups); err != nil {
			return nil, err
		}
		err = read("find the heaviest members of groups", `SELECT id, weight, bucket_id, groups FROM (`+members+`) s
			WHERE (bucket_id, groups::text) IN (SELECT * FROM unnest($2::integer[], $3::text[]))
			ORDER BY weight DESC, id LIMIT $4`, groupIDs(groups), buckets, joined, limit)
	}
	slices.SortFunc(heaviest, func(a, b Subject) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.ID, b.ID))
	})
	return heaviest[:min(limit, len(heaviest))], err
}

// SubjectsChanged reports whether subjects may be others than they were at a position.
func (tx *Tx) SubjectsChanged(ctx context.Context, since model.Position) (bool, error) {
	c, err := queryChanges(ctx, tx.querier, since)
	return err != nil || !c.complete || len(c.labels) > 0, err
}
