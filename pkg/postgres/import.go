package postgres

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
)

// insertBatch is how many subjects an import places and inserts at once: as many
// as are worth sorting by id, in which order they go into the index twice as fast.
const insertBatch = 250_000

// errContested is an import that met a subject which another write had just made.
var errContested = errors.New("another write made a subject that is being imported")

// Write is DB.Write for an import: body runs at the revision before, without
// holding others up, and calls Advance as soon as its heavy work is done.
func (i *Import) Write(ctx context.Context, body func(tx *Tx) error) error {
	err := i.db.retry(ctx, i.conn, nil, nearState, body)
	if errors.Is(err, errContested) {
		i.contested = true
		err = i.db.retry(ctx, i.conn, nil, nearState, body)
	}
	return err
}

// Lines is a table with lines of the import.
type Lines string

// The tables with lines.
const (
	All   Lines = "staged"
	Again Lines = "again" // those whose subjects others changed meanwhile
)

// CatchUp fills Again with the lines whose subjects other writes changed after a
// revision. It returns how many those are, and the revision up
// to which all changes are seen now.
func (i *Import) CatchUp(ctx context.Context, tx *Tx, since int64) (lines, upTo int64, err error) {
	var now struct {
		Revision int64
		Behind   bool
	}
	err = tx.get(ctx, "look for changes of others", &now,
		`SELECT revision, EXISTS (SELECT FROM change WHERE revision > $1) AS behind FROM state`, since)
	if err != nil || !now.Behind {
		return 0, since, err
	}
	// What others changed is little, and is looked up: change by change, as LATERAL and
	// LIMIT have it, and by index. By the statistics, which know nothing of the labels
	// since, PostgreSQL would go through all subjects and lines, while others wait.
	if err := tx.exec(ctx, "rule out scans of whole tables", `SET LOCAL enable_seqscan = off`); err != nil {
		return 0, 0, err
	}
	if err := tx.exec(ctx, "empty the tables of an import", `TRUNCATE again, absent, fresh, changed`); err != nil {
		return 0, 0, err
	}
	lines, err = tx.execRows(ctx, "find the lines whose subjects others changed", `
		INSERT INTO again (line, id, weight, groups)
		SELECT i.line, i.id, i.weight, i.groups
		FROM (
			SELECT DISTINCT t.id FROM change c CROSS JOIN LATERAL (
				SELECT s.id FROM subject s WHERE s.label = c.label
				UNION ALL SELECT t.subject_id FROM tombstone t WHERE t.label = c.label
			) t WHERE c.revision > $1
		) other CROSS JOIN LATERAL (SELECT * FROM staged WHERE id = other.id LIMIT 1) i`, since)
	return lines, now.Revision, err
}

// FindAbsent finds the subjects that no line of the import has, and returns how many they
// are: of all if lines are All, else of those that others changed after a revision.
// withGroups keeps for Moved which groups they are in.
func (i *Import) FindAbsent(ctx context.Context, tx *Tx, lines Lines, since int64, withGroups bool) (int64, error) {
	from := `subject s WHERE $2::bigint IS NOT NULL`
	if lines == Again {
		from = `change c JOIN subject s ON s.label = c.label WHERE c.revision > $2`
	}
	return tx.execRows(ctx, "find the subjects that an import deletes", `
		INSERT INTO absent (id, bucket_id, weight, groups)
		SELECT s.id, s.bucket_id, s.weight, CASE WHEN $1 THEN `+groupsOfSubject+` END
		FROM `+from+` AND NOT EXISTS (SELECT FROM staged i WHERE i.id = s.id)
		FOR UPDATE OF s`, withGroups, since)
}

// DeleteAbsent deletes the subjects that FindAbsent found. They are locked, so nobody
// makes them members meanwhile.
func (i *Import) DeleteAbsent(ctx context.Context, tx *Tx, each func(BucketChange), members func(group model.GroupID, n int64)) error {
	err := tx.countByGroup(ctx, "delete the memberships of subjects",
		`DELETE FROM member m USING absent a WHERE m.subject_id = a.id RETURNING m.group_id, -1 AS n`, nil, members)
	if err != nil {
		return err
	}
	err = tx.exec(ctx, "delete subjects", `
		WITH gone AS (DELETE FROM subject s USING absent a WHERE s.id = a.id RETURNING s.id, s.born)
		INSERT INTO tombstone (subject_id, born, label) SELECT id, born, $1 FROM gone`, tx.Label)
	if err != nil {
		return err
	}
	changes, err := bucketChanges(ctx, tx, "add up the deleted weights",
		`SELECT bucket_id AS id, -count(*) AS subjects, -sum(weight)::bigint AS weight FROM absent GROUP BY bucket_id`)
	for _, c := range changes {
		each(c)
	}
	return err
}

// Update changes the known subjects that lines differ from: another weight, a group to
// join or, if groups are replaced, to leave. withGroups keeps for Moved which groups they
// were in.
func (i *Import) Update(ctx context.Context, tx *Tx, lines Lines, replaceGroups, withGroups bool, each func(BucketChange)) (updated int64, err error) {
	err = tx.exec(ctx, "find the subjects that an import changes", `
		INSERT INTO changed (id, bucket_id, old, weight, groups)
		SELECT s.id, s.bucket_id, s.weight, coalesce(i.weight, s.weight),
		       CASE WHEN $2 THEN `+groupsOfSubject+` END
		FROM `+string(lines)+` i JOIN subject s ON s.id = i.id
		WHERE s.label <> $1 AND (
			i.weight <> s.weight OR EXISTS (
				SELECT FROM unnest(i.groups) AS g (id)
				WHERE NOT EXISTS (SELECT FROM member m WHERE m.subject_id = s.id AND m.group_id = g.id))
			OR $3 AND EXISTS (
				SELECT FROM member m JOIN subject_group g ON g.id = m.group_id
				WHERE m.subject_id = s.id AND m.group_id <> ALL(i.groups)))
		FOR NO KEY UPDATE OF s`, tx.Label, withGroups, replaceGroups)
	if err != nil {
		return 0, err
	}
	updated, err = tx.execRows(ctx, "update subjects",
		`UPDATE subject s SET weight = c.weight, label = $1 FROM changed c WHERE s.id = c.id`, tx.Label)
	if err != nil {
		return 0, err
	}
	changes, err := bucketChanges(ctx, tx, "add up the updated weights",
		`SELECT bucket_id AS id, 0 AS subjects, sum(weight - old)::bigint AS weight FROM changed GROUP BY bucket_id`)
	if err != nil {
		return 0, err
	}
	for _, c := range changes {
		each(c)
	}
	return updated, nil
}

// Place inserts the subjects of lines that are not there yet, the heaviest
// first, each into the bucket that place gives. each may be called more than once
// for a bucket.
func (i *Import) Place(ctx context.Context, tx *Tx, lines Lines, place func(weight int64) model.BucketID, each func(BucketChange)) (created int64, err error) {
	all, err := tx.execRows(ctx, "find the subjects that an import creates", `
		INSERT INTO fresh (n, id, weight)
		SELECT row_number() OVER (ORDER BY coalesce(i.weight, 1) DESC, i.line), i.id, coalesce(i.weight, 1)
		FROM `+string(lines)+` i WHERE NOT EXISTS (SELECT FROM subject s WHERE s.id = i.id)`)
	if err != nil || all == 0 {
		return 0, err
	}
	if err := i.checkTotal(ctx, tx); err != nil {
		return 0, err
	}
	// The rows lie in the order of n.
	err = tx.exec(ctx, "index new subjects by their order", `CREATE INDEX IF NOT EXISTS fresh_n ON fresh USING brin (n)`)
	if err != nil {
		return 0, err
	}
	insert := i.insertPlaced
	if i.contested {
		insert = i.insertUncontested
	}
	for from := int64(0); from < all; from += insertBatch {
		buckets, changes, err := placeBatch(ctx, tx, from, place)
		if err != nil {
			return 0, err
		}
		if changes, err = insert(ctx, tx, from, buckets, changes); err != nil {
			return 0, err
		}
		for _, c := range changes {
			created += c.Subjects
			each(c)
		}
	}
	return created, nil
}

// insertBatchOf inserts the rows of fresh from $1 on into the buckets $2.
const insertBatchOf = `
	INSERT INTO subject (id, weight, bucket_id, born, label)
	SELECT f.id, f.weight, ($2::integer[])[(f.n - $1)::integer], $3, $3
	FROM fresh f WHERE f.n > $1 AND f.n <= $1 + $4 ORDER BY f.id`

// insertPlaced inserts a batch, none of which another write may have made meanwhile:
// to find out which, and what is left, takes twice as long.
func (i *Import) insertPlaced(ctx context.Context, tx *Tx, from int64, buckets bucketIDs, changes []BucketChange) ([]BucketChange, error) {
	err := tx.exec(ctx, "insert subjects", insertBatchOf, from, buckets, tx.Label, insertBatch)
	if pq.As(err, pqerror.UniqueViolation) != nil {
		return nil, errContested
	}
	return changes, err
}

// insertUncontested inserts those of a batch that do not exist, and returns what they
// add to buckets.
func (i *Import) insertUncontested(ctx context.Context, tx *Tx, from int64, buckets bucketIDs, _ []BucketChange) ([]BucketChange, error) {
	return bucketChanges(ctx, tx, "insert subjects that nobody else made", `
		WITH placed AS (`+insertBatchOf+` ON CONFLICT (id) DO NOTHING RETURNING bucket_id, weight)
		SELECT bucket_id AS id, count(*) AS subjects, sum(weight)::bigint AS weight FROM placed GROUP BY bucket_id`,
		from, buckets, tx.Label, insertBatch)
}

// checkTotal refuses an import that would make all subjects together too heavy,
// before any sum of weights can overflow.
func (i *Import) checkTotal(ctx context.Context, tx *Tx) error {
	var total string
	err := tx.get(ctx, "add up all weights", &total, `
		SELECT coalesce((SELECT sum(weight) FROM bucket), 0) + coalesce((SELECT sum(weight) FROM fresh), 0)
		     + coalesce((SELECT sum(weight - old) FROM changed), 0) - coalesce((SELECT sum(weight) FROM absent), 0)`)
	if err != nil {
		return err
	}
	return checkTotalWeight(total)
}

// placeBatch returns the buckets of the rows of fresh behind from, and what each bucket
// gains.
func placeBatch(ctx context.Context, tx *Tx, from int64, place func(weight int64) model.BucketID) (bucketIDs, []BucketChange, error) {
	buckets, gains := make(bucketIDs, 0, insertBatch), map[model.BucketID]BucketChange{}
	var weight, n int64
	// Equal weights are one row.
	err := tx.scan(ctx, "read the weights of new subjects",
		`SELECT weight, count(*) FROM fresh WHERE n > $1 AND n <= $1 + $2 GROUP BY weight ORDER BY weight DESC`,
		[]any{from, insertBatch}, func() error {
			for range n {
				bucket := place(weight)
				if bucket == 0 {
					return noBuckets()
				}
				buckets = append(buckets, bucket)
				gain := gains[bucket]
				gains[bucket] = BucketChange{bucket, gain.Subjects + 1, gain.Weight + weight}
			}
			return nil
		}, &weight, &n)
	return buckets, slices.Collect(maps.Values(gains)), err
}

func bucketChanges(ctx context.Context, tx *Tx, what, text string, args ...any) (changes []BucketChange, err error) {
	err = tx.selectAll(ctx, what, &changes, text, args...)
	if pq.As(err, pqerror.NumericValueOutOfRange) != nil {
		return nil, tooHeavy()
	}
	return changes, err
}

// Join makes the subjects that this import wrote members of the groups that
// their lines name.
func (i *Import) Join(ctx context.Context, tx *Tx, lines Lines, members func(group model.GroupID, n int64)) error {
	err := tx.countByGroup(ctx, "insert members", `
		INSERT INTO member (group_id, subject_id)
		SELECT g.id, s.id
		FROM `+string(lines)+` i JOIN subject s ON s.id = i.id CROSS JOIN unnest(i.groups) AS g (id)
		WHERE s.label = $1
		ON CONFLICT DO NOTHING
		RETURNING group_id, 1 AS n`, []any{tx.Label}, members)
	if pq.As(err, pqerror.ForeignKeyViolation) != nil {
		return groupGone()
	}
	return err
}

// Leave takes the subjects that this import wrote out of the groups that their lines do
// not name, if the lines have groups.
func (i *Import) Leave(ctx context.Context, tx *Tx, lines Lines, members func(group model.GroupID, n int64)) error {
	return tx.countByGroup(ctx, "delete members", `
		DELETE FROM member m USING `+string(lines)+` i, subject s, subject_group g
		WHERE s.id = i.id AND s.label = $1 AND m.subject_id = s.id AND m.group_id <> ALL(i.groups)
		  AND g.id = m.group_id -- members of deleted groups are history
		RETURNING m.group_id, -1 AS n`, []any{tx.Label}, members)
}

// countByGroup adds up by group what a statement returns: group_id and n.
func (tx *Tx) countByGroup(ctx context.Context, what, text string, args []any, each func(group model.GroupID, n int64)) error {
	var (
		group model.GroupID
		n     int64
	)
	return tx.scan(ctx, what, `WITH changed AS (`+text+`) SELECT group_id, sum(n)::bigint FROM changed GROUP BY group_id`, args, func() error {
		each(group, n)
		return nil
	}, &group, &n)
}

func groupGone() error {
	return model.Errorf(model.GroupNotFound, "a group that the import names was deleted while it ran")
}

// Settle adds up what the import changed. named are the groups that a line names, those
// too that nobody joined: one that was deleted meanwhile fails the import.
func (i *Import) Settle(ctx context.Context, tx *Tx, buckets []BucketChange, members map[model.GroupID]int64, named []model.GroupID) error {
	if err := tx.changeBuckets(ctx, buckets); err != nil {
		return err
	}
	if err := tx.changeGroups(ctx, members); err != nil {
		return err
	}
	gone := false
	err := tx.get(ctx, "look for the groups that an import names", &gone,
		`SELECT EXISTS (SELECT FROM unnest($1::integer[]) AS n (id) WHERE id NOT IN (SELECT id FROM subject_group))`, pq.Array(named))
	if err == nil && gone {
		err = groupGone()
	}
	return err
}

// Moved counts the subjects whose class this import changes, for a dry run.
// before is nil for those that it creates, after for those that it deletes.
func (i *Import) Moved(ctx context.Context, tx *Tx, each func(before, after *model.Class, subjects, weight int64)) error {
	var moved []struct {
		New, Gone        bool
		Bucket           model.BucketID
		Before, After    groupIDs
		Subjects, Weight int64
	}
	err := tx.selectAll(ctx, "count the subjects that an import moves", &moved, `
		SELECT true AS new, false AS gone, bucket_id AS bucket, '{}'::integer[] AS before, groups AS after, count(*) AS subjects, least(sum(weight), $2)::bigint AS weight
		FROM (SELECT s.bucket_id, s.weight, `+groupsOfSubject+` AS groups FROM subject s WHERE s.label = $1 AND s.born = $1) created
		GROUP BY bucket_id, groups
		UNION ALL
		SELECT false, false, bucket_id, before, groups, count(*), least(sum(weight), $2)::bigint
		FROM (SELECT s.bucket_id, s.weight, s.groups AS before, `+groupsOfSubject+` AS groups FROM changed s) changed
		GROUP BY bucket_id, before, groups
		UNION ALL
		SELECT false, true, bucket_id, groups, '{}', count(*), least(sum(weight), $2)::bigint FROM absent GROUP BY bucket_id, groups`,
		tx.Label, int64(model.MaxTotalWeight))
	if err != nil {
		return err
	}
	for _, m := range moved {
		before, after := &model.Class{Bucket: m.Bucket, Groups: m.Before}, &model.Class{Bucket: m.Bucket, Groups: m.After}
		if m.New {
			before = nil
		}
		if m.Gone {
			after = nil
		}
		each(before, after, m.Subjects, m.Weight)
	}
	return nil
}
