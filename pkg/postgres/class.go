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
	heaviest         Subject // the id and weight of one, if the class has no groups
}

// Classes counts the subjects of every class that has any, as if there were no groups
// but those given. Subjects in none of them are counted by subtraction, so that only
// members are read one by one.
func (tx *Tx) Classes(ctx context.Context, groups []model.GroupID) (classes []ClassCount, err error) {
	members, err := tx.membersOf(ctx, groups)
	if err != nil {
		return nil, err
	}
	var c ClassCount
	err = tx.scan(ctx, "count the subjects of classes", `
		WITH grouped AS (
			SELECT bucket_id, groups, count(*) AS subjects, sum(weight) AS weight FROM (`+members+`) m GROUP BY bucket_id, groups
		)
		SELECT bucket_id, groups, subjects, weight::bigint, '', 0 FROM grouped
		UNION ALL
		SELECT b.id, '{}', b.subjects - coalesce(g.subjects, 0)::bigint, (b.weight - coalesce(g.weight, 0))::bigint, h.id, h.weight
		FROM bucket b LEFT JOIN (
			SELECT bucket_id, sum(subjects) AS subjects, sum(weight) AS weight FROM grouped GROUP BY bucket_id
		) g ON g.bucket_id = b.id
		CROSS JOIN LATERAL (`+heaviestOf(`b.id`, inNoGroup, `1`)+`) h`, []any{groupIDs(groups)}, func() error {
		classes = append(classes, c)
		return nil
	}, &c.Bucket, (*groupIDs)(&c.Groups), &c.Subjects, &c.Weight, &c.heaviest.ID, &c.heaviest.Weight)
	return classes, err
}

// membersOf is the query of the subjects in one of the groups $1. Few are looked up one
// by one; for many all subjects are read, a million in the time of fifty thousand
// lookups. Statistics may be older than an import: they do not decide.
func (tx *Tx) membersOf(ctx context.Context, groups []model.GroupID) (query string, err error) {
	var many bool
	err = tx.get(ctx, "count the members of groups", &many, `
		SELECT coalesce(sum(members), 0) * 20 > (SELECT coalesce(sum(subjects), 0) FROM bucket)
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

// HeaviestOf reads at most limit subjects of classes, the heaviest first and equal ones
// by id: each with its id, weight and class. The classes are some of what Classes found
// for these groups.
func (tx *Tx) HeaviestOf(ctx context.Context, groups []model.GroupID, classes []ClassCount, limit int) (heaviest []Subject, err error) {
	var alone []ClassCount
	var buckets bucketIDs
	var joined pq.StringArray // groups, one for each of buckets
	for _, c := range classes {
		if len(c.Groups) == 0 {
			alone = append(alone, c)
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
		slices.SortFunc(alone, func(a, b ClassCount) int { return compareByWeight(&a.heaviest, &b.heaviest) })
		var first bucketIDs
		for _, c := range alone[:min(limit, len(alone))] {
			first = append(first, c.Bucket)
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
	slices.SortFunc(heaviest, func(a, b Subject) int { return compareByWeight(&a, &b) })
	return heaviest[:min(limit, len(heaviest))], err
}

// compareByWeight orders the heaviest first, and equal ones by id.
func compareByWeight(a, b *Subject) int {
	return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.ID, b.ID))
}

// SubjectsRevision is a revision since which no subject and no membership changed. Two
// states of one history that give the same have the same subjects.
func (tx *Tx) SubjectsRevision(ctx context.Context) (revision int64, err error) {
	// Change rows are pruned: if none is left, the last revision is one.
	err = tx.get(ctx, "read when subjects last changed", &revision, `
		SELECT coalesce((SELECT revision FROM change WHERE label IS NOT NULL ORDER BY revision DESC LIMIT 1),
		                (SELECT revision FROM state))`)
	return revision, err
}

// ClassesOf counts the members of groups by class, as if there were no other groups.
func (tx *Tx) ClassesOf(ctx context.Context, groups []model.GroupID) (counts []ClassCount, err error) {
	if len(groups) == 0 {
		return nil, nil
	}
	var c ClassCount
	// Each member is looked up: what PostgreSQL would choose instead depends on
	// statistics, which are wrong after an import.
	err = tx.scan(ctx, "count the members of groups", `
		SELECT s.bucket_id, m.groups, count(*), sum(s.weight)::bigint
		FROM (
			SELECT subject_id, array_agg(group_id ORDER BY group_id) AS groups FROM member WHERE group_id = ANY($1) GROUP BY subject_id
		) m CROSS JOIN LATERAL (SELECT bucket_id, weight FROM subject WHERE id = m.subject_id LIMIT 1) s
		GROUP BY s.bucket_id, m.groups`, []any{pq.Array(groups)}, func() error {
		counts = append(counts, c)
		return nil
	}, &c.Bucket, (*groupIDs)(&c.Groups), &c.Subjects, &c.Weight)
	return counts, err
}

// SubjectsChanged reports whether subjects may be others than they were at a position.
func (tx *Tx) SubjectsChanged(ctx context.Context, since model.Position) (bool, error) {
	c, err := queryChanges(ctx, tx.querier, since)
	return err != nil || !c.complete || len(c.labels) > 0, err
}
