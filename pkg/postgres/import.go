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
	Again Lines = "again" // those whose subjects others touched meanwhile
)

// CatchUp fills Again with the lines whose subjects were touched by other
// changes after a revision. It returns how many those are, and the revision up
// to which all changes are seen now.
func (i *Import) CatchUp(ctx context.Context, tx *Tx, since int64) (lines, upTo int64, err error) {
	var now struct {
		Revision int64
		Behind   bool
	}
	err = tx.get(ctx, "look for changes of others", &now,
		`SELECT revision, EXISTS (SELECT FROM change WHERE revision > $1) AS behind FROM state`, since)
	if err != nil || !now.Behind {
		return 0, now.Revision, err
	}
	if err := tx.exec(ctx, "empty the tables of an import", `TRUNCATE again, fresh, changed`); err != nil {
		return 0, 0, err
	}
	lines, err = tx.execRows(ctx, "find the lines whose subjects others changed", `
		INSERT INTO again (line, id, weight, groups)
		SELECT i.line, i.id, i.weight, i.groups
		FROM staged i JOIN (
			SELECT s.id FROM change c JOIN subject s ON s.label = c.label WHERE c.revision > $1
			UNION
			SELECT t.subject_id FROM change c JOIN tombstone t ON t.label = c.label WHERE c.revision > $1
		) touched ON touched.id = i.id`, since)
	return lines, now.Revision, err
}

// BucketChange is what an import adds to a bucket.
type BucketChange struct {
	ID               model.BucketID
	Subjects, Weight int64
}

// Update changes the known subjects that lines differ from: another weight, or a
// group to join. withGroups keeps for Moved which groups they were in.
func (i *Import) Update(ctx context.Context, tx *Tx, lines Lines, withGroups bool, each func(BucketChange)) (updated int64, err error) {
	err = tx.exec(ctx, "find the subjects that an import changes", `
		INSERT INTO changed (id, bucket_id, old, weight, groups)
		SELECT s.id, s.bucket_id, s.weight, coalesce(i.weight, s.weight),
		       CASE WHEN $2 THEN `+groupsOfSubject+` END
		FROM `+string(lines)+` i JOIN subject s ON s.id = i.id
		WHERE s.label <> $1 AND (
			i.weight <> s.weight OR EXISTS (
				SELECT FROM unnest(i.groups) AS g (id)
				WHERE NOT EXISTS (SELECT FROM member m WHERE m.subject_id = s.id AND m.group_id = g.id)))
		FOR NO KEY UPDATE OF s`, tx.Label, withGroups)
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
		     + coalesce((SELECT sum(weight - old) FROM changed), 0)`)
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
func (i *Import) Join(ctx context.Context, tx *Tx, lines Lines, each func(group model.GroupID, members int64)) error {
	var (
		group   model.GroupID
		members int64
	)
	err := tx.scan(ctx, "insert members", `
		WITH joined AS (
			INSERT INTO member (group_id, subject_id)
			SELECT g.id, s.id
			FROM `+string(lines)+` i JOIN subject s ON s.id = i.id CROSS JOIN unnest(i.groups) AS g (id)
			WHERE s.label = $1
			ON CONFLICT DO NOTHING
			RETURNING group_id
		)
		SELECT group_id, count(*) FROM joined GROUP BY group_id`, []any{tx.Label}, func() error {
		each(group, members)
		return nil
	}, &group, &members)
	if pq.As(err, pqerror.ForeignKeyViolation) != nil {
		return groupGone()
	}
	return err
}

func groupGone() error {
	return model.Errorf(model.GroupNotFound, "a group that the import names was deleted while it ran")
}

// Settle adds up what Update, Place and Join changed. members has every group
// that a line names, those too that nobody joined: one that was deleted
// meanwhile fails the import.
func (i *Import) Settle(ctx context.Context, tx *Tx, buckets []BucketChange, members map[model.GroupID]int64) error {
	var (
		ids              bucketIDs
		subjects, weight pq.Int64Array
	)
	for _, c := range buckets {
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
	var groups, joined pq.Int64Array
	for id, n := range members {
		groups, joined = append(groups, int64(id)), append(joined, n)
	}
	n, err := tx.execRows(ctx, "update the members of groups", `
		UPDATE subject_group g SET members = g.members + c.members
		FROM unnest($1::integer[], $2::bigint[]) AS c (id, members) WHERE g.id = c.id`, groups, joined)
	if err != nil {
		return err
	}
	if n < int64(len(members)) {
		return groupGone()
	}
	var total string
	if err := tx.get(ctx, "add up all weights", &total, `SELECT coalesce(sum(weight), 0) FROM bucket`); err != nil {
		return err
	}
	return checkTotalWeight(total)
}

// Moved counts the subjects whose class this import changes, for a dry run.
// before is nil for those that it creates.
func (i *Import) Moved(ctx context.Context, tx *Tx, each func(before, after *model.Class, subjects, weight int64)) error {
	var moved []struct {
		New              bool
		Bucket           model.BucketID
		Before, After    groupIDs
		Subjects, Weight int64
	}
	err := tx.selectAll(ctx, "count the subjects that an import moves", &moved, `
		SELECT true AS new, bucket_id AS bucket, '{}' AS before, groups AS after, count(*) AS subjects, least(sum(weight), $2)::bigint AS weight
		FROM (SELECT s.bucket_id, s.weight, `+groupsOfSubject+` AS groups FROM subject s WHERE s.label = $1 AND s.born = $1) created
		GROUP BY bucket_id, groups
		UNION ALL
		SELECT false, bucket_id, before, groups, count(*), least(sum(weight), $2)::bigint
		FROM (SELECT s.bucket_id, s.weight, s.groups AS before, `+groupsOfSubject+` AS groups FROM changed s) changed
		GROUP BY bucket_id, before, groups`, tx.Label, int64(model.MaxTotalWeight))
	if err != nil {
		return err
	}
	for _, m := range moved {
		after := &model.Class{Bucket: m.Bucket, Groups: m.After}
		if m.New {
			each(nil, after, m.Subjects, m.Weight)
		} else {
			each(&model.Class{Bucket: m.Bucket, Groups: m.Before}, after, m.Subjects, m.Weight)
		}
	}
	return nil
}
