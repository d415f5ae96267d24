package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"iter"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
)

// Import is a connection with the lines of an import on it, in tables that no
// other connection sees and that survive when the write is tried again.
//
// The heavy work is done in sets and without the state row's lock, while others
// write. Whatever they commit meanwhile is caught up with at the end, found by
// the labels of their changes. Imports go one after the other.
type Import struct {
	db   *DB
	conn *sqlx.Conn
}

// ImportRow is one line that was checked on its own.
type ImportRow struct {
	Line   int64
	ID     string
	Weight int64 // NoWeight where the line gives none
	Groups []model.GroupID
}

// NoWeight keeps the weight that a subject has, and is 1 for a new one.
const NoWeight = -1

const (
	// importLock is the advisory lock that imports take turns with.
	importLock = 7_305_804_402_566_783_863

	// copyBatch bounds how long one COPY keeps its transaction open: while a
	// slow sender's is, PostgreSQL can clean up nowhere.
	copyBatch     = 100_000
	copyBatchTime = 5 * time.Second
	copyBuffer    = 48 << 10

	// insertBatch is how many subjects are placed and inserted at once.
	insertBatch = 20_000
)

// OpenImport takes a connection out of the pool until Close.
func (db *DB) OpenImport(ctx context.Context) (*Import, error) {
	conn, err := db.pool.Connx(ctx)
	if err != nil {
		return nil, translate(err)
	}
	i := &Import{db, conn}
	_, err = conn.ExecContext(ctx, `
		SET statement_timeout = 0;
		SET work_mem = '64MB';
		CREATE TEMP TABLE staged (line bigint, id text COLLATE "C", weight bigint, groups integer[]);
		CREATE TEMP TABLE again  (line bigint, id text COLLATE "C", weight bigint, groups integer[]);
		CREATE TEMP TABLE fresh   (n bigint, id text COLLATE "C", weight bigint);
		CREATE TEMP TABLE changed (id text COLLATE "C", bucket_id integer, old bigint, weight bigint, groups integer[])`)
	if err != nil {
		i.Close()
		return nil, translate(err)
	}
	return i, nil
}

// Close gives the connection back as it was.
func (i *Import) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// Not DISCARD ALL: the pool believes in the statements prepared here. The
	// rollback is for a COPY that was cut off.
	_, err := i.conn.ExecContext(ctx, `ROLLBACK; DISCARD TEMP; RESET ALL; SELECT pg_advisory_unlock_all()`)
	if err != nil {
		_ = i.conn.Raw(func(any) error { return driver.ErrBadConn }) // makes the pool throw it away
	}
	_ = i.conn.Close()
}

// Stage copies rows to the connection, until rows yields an error.
func (i *Import) Stage(ctx context.Context, rows iter.Seq2[ImportRow, error]) error {
	err := i.conn.Raw(func(driverConn any) error {
		c := &copier{ctx: ctx, conn: driverConn.(pgConn)}
		for row, err := range rows {
			if err == nil {
				err = c.add(row)
			}
			if err != nil {
				c.abort()
				return err
			}
		}
		return c.finish()
	})
	return translate(err)
}

// pgConn is what lib/pq's connections can do.
type pgConn interface {
	driver.ConnPrepareContext
	driver.ExecerContext
}

// copier sends rows in COPY's text form, many to a message.
type copier struct {
	ctx    context.Context
	conn   pgConn
	copy   driver.Stmt // nil between two batches
	rows   int
	since  time.Time
	buffer []byte
}

func (c *copier) add(row ImportRow) (err error) {
	if c.copy == nil {
		if err := c.exec(`BEGIN`); err != nil {
			return err
		}
		if c.copy, err = c.conn.PrepareContext(c.ctx, pq.CopyIn("staged", "line", "id", "weight", "groups")); err != nil {
			return err
		}
		c.rows, c.since = 0, time.Now()
	}
	c.buffer = appendRow(c.buffer, row)
	c.rows++
	if len(c.buffer) < copyBuffer {
		return nil
	}
	if c.rows >= copyBatch || time.Since(c.since) > copyBatchTime {
		return c.finish()
	}
	return c.flush()
}

func (c *copier) flush() error {
	if len(c.buffer) == 0 {
		return nil
	}
	text := string(c.buffer[:len(c.buffer)-1]) // the driver adds the last line's end
	c.buffer = c.buffer[:0]
	_, err := c.copy.(interface {
		CopyData(ctx context.Context, lines string) (driver.Result, error)
	}).CopyData(c.ctx, text)
	return err
}

func (c *copier) finish() error {
	if c.copy == nil {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.copy.Close(); err != nil {
		return err
	}
	c.copy = nil
	return c.exec(`COMMIT`)
}

// abort ends the COPY, so that the connection can take a rollback.
func (c *copier) abort() {
	if c.copy != nil {
		_ = c.copy.Close()
	}
}

func (c *copier) exec(statement string) error {
	_, err := c.conn.ExecContext(c.ctx, statement, nil)
	return err
}

// appendRow writes a line of COPY. Ids hold no control characters, so the
// backslash is all that has to be escaped.
func appendRow(to []byte, row ImportRow) []byte {
	to = strconv.AppendInt(to, row.Line, 10)
	to = append(to, '\t')
	for j := range len(row.ID) {
		if row.ID[j] == '\\' {
			to = append(to, '\\')
		}
		to = append(to, row.ID[j])
	}
	if row.Weight == NoWeight {
		to = append(to, "\t\\N"...)
	} else {
		to = strconv.AppendInt(append(to, '\t'), row.Weight, 10)
	}
	if len(row.Groups) == 0 {
		return append(to, "\t\\N\n"...)
	}
	separator := "\t{"
	for _, id := range row.Groups {
		to = strconv.AppendInt(append(to, separator...), int64(id), 10)
		separator = ","
	}
	return append(to, "}\n"...)
}

// Duplicate is a line with an id that an earlier one has.
type Duplicate struct {
	Line, First int64
	ID          string
}

// Index makes the staged rows ready for Write. Where ids are there twice, it
// returns at most limit of the later ones instead.
func (i *Import) Index(ctx context.Context, limit int) ([]Duplicate, error) {
	_, err := i.conn.ExecContext(ctx, `CREATE UNIQUE INDEX ON staged (id)`)
	if pq.As(err, pqerror.UniqueViolation) == nil {
		if err == nil {
			_, err = i.conn.ExecContext(ctx, `ANALYZE staged`)
		}
		return nil, translate(err)
	}
	var duplicates []Duplicate
	err = i.conn.SelectContext(ctx, &duplicates, `
		SELECT line, first, id FROM (SELECT line, id, min(line) OVER (PARTITION BY id) AS first FROM staged) numbered
		WHERE line > first ORDER BY line LIMIT $1`, limit)
	return duplicates, translate(err)
}

// Write is WriteLate for an import.
func (i *Import) Write(ctx context.Context, body func(tx *Tx) error) error {
	// Held by the connection, so that the revision is read with the lock: what an
	// import before this one wrote need not be caught up with.
	if _, err := i.conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, importLock); err != nil {
		return translate(err)
	}
	return i.db.retry(ctx, i.conn, nearState, body)
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
	var behind bool
	err = tx.QueryRowContext(ctx, `SELECT revision, EXISTS (SELECT FROM change WHERE revision > $1) FROM state`, since).Scan(&upTo, &behind)
	if err != nil || !behind {
		return 0, upTo, err
	}
	if _, err := tx.ExecContext(ctx, `TRUNCATE again, fresh, changed`); err != nil {
		return 0, 0, err
	}
	result, err := tx.ExecContext(ctx, `
		INSERT INTO again (line, id, weight, groups)
		SELECT i.line, i.id, i.weight, i.groups
		FROM staged i JOIN (
			SELECT s.id FROM change c JOIN subject s ON s.label = c.label WHERE c.revision > $1
			UNION
			SELECT t.subject_id FROM change c JOIN tombstone t ON t.label = c.label WHERE c.revision > $1
		) touched ON touched.id = i.id`, since)
	if err != nil {
		return 0, 0, err
	}
	lines, err = result.RowsAffected()
	return lines, upTo, err
}

// BucketChange is what an import adds to a bucket.
type BucketChange struct {
	ID               model.BucketID
	Subjects, Weight int64
}

// Update changes the known subjects that lines differ from: another weight, or a
// group to join. withGroups keeps for Moved which groups they were in.
func (i *Import) Update(ctx context.Context, tx *Tx, lines Lines, withGroups bool, each func(BucketChange)) (updated int64, err error) {
	_, err = tx.ExecContext(ctx, `
		INSERT INTO changed (id, bucket_id, old, weight, groups)
		SELECT s.id, s.bucket_id, s.weight, coalesce(i.weight, s.weight),
		       CASE WHEN $2 THEN ARRAY(SELECT m.group_id FROM member m WHERE m.subject_id = s.id ORDER BY m.group_id) END
		FROM `+string(lines)+` i JOIN subject s ON s.id = i.id
		WHERE s.label <> $1 AND (
			i.weight <> s.weight OR EXISTS (
				SELECT FROM unnest(i.groups) AS g (id)
				WHERE NOT EXISTS (SELECT FROM member m WHERE m.subject_id = s.id AND m.group_id = g.id)))
		FOR NO KEY UPDATE OF s`, tx.Label, withGroups)
	if err != nil {
		return 0, err
	}
	result, err := tx.ExecContext(ctx, `UPDATE subject s SET weight = c.weight, label = $1 FROM changed c WHERE s.id = c.id`, tx.Label)
	if err != nil {
		return 0, err
	}
	err = eachBucketChange(ctx, tx, each,
		`SELECT bucket_id, 0, sum(weight - old)::bigint FROM changed GROUP BY bucket_id`)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Place inserts the subjects of lines that are not there yet, the heaviest
// first, each into the bucket that place gives. One that another write creates
// at the same time is left to it. each may be called more than once for a bucket.
func (i *Import) Place(ctx context.Context, tx *Tx, lines Lines, place func(weight int64) model.BucketID, each func(BucketChange)) (created int64, err error) {
	result, err := tx.ExecContext(ctx, `
		INSERT INTO fresh (n, id, weight)
		SELECT row_number() OVER (ORDER BY coalesce(i.weight, 1) DESC, i.id), i.id, coalesce(i.weight, 1)
		FROM `+string(lines)+` i WHERE NOT EXISTS (SELECT FROM subject s WHERE s.id = i.id)
		ORDER BY 1`)
	if err != nil {
		return 0, err
	}
	all, err := result.RowsAffected()
	if err != nil || all == 0 {
		return 0, err
	}
	if err := i.checkTotal(ctx, tx); err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `CREATE INDEX IF NOT EXISTS fresh_n ON fresh (n)`); err != nil {
		return 0, err
	}
	count := func(c BucketChange) {
		created += c.Subjects
		each(c)
	}
	for from := int64(0); from < all; from += insertBatch {
		buckets, err := placeBatch(ctx, tx, from, place)
		if err != nil {
			return 0, err
		}
		err = eachBucketChange(ctx, tx, count, `
			WITH placed AS (
				INSERT INTO subject (id, weight, bucket_id, born, label)
				SELECT f.id, f.weight, ($2::integer[])[(f.n - $1)::integer], $3, $3
				FROM fresh f WHERE f.n > $1 AND f.n <= $1 + $4
				ON CONFLICT (id) DO NOTHING
				RETURNING bucket_id, weight
			)
			SELECT bucket_id, count(*), sum(weight)::bigint FROM placed GROUP BY bucket_id`,
			from, bucketIDs(buckets), tx.Label, insertBatch)
		if err != nil {
			return 0, err
		}
	}
	return created, nil
}

// checkTotal refuses an import that would make all subjects together too heavy,
// before any sum of weights can overflow.
func (i *Import) checkTotal(ctx context.Context, tx *Tx) error {
	var total string
	err := tx.QueryRowContext(ctx, `
		SELECT coalesce((SELECT sum(weight) FROM bucket), 0) + coalesce((SELECT sum(weight) FROM fresh), 0)
		     + coalesce((SELECT sum(weight - old) FROM changed), 0)`).Scan(&total)
	if err != nil {
		return err
	}
	return checkTotalWeight(total)
}

func placeBatch(ctx context.Context, tx *Tx, from int64, place func(weight int64) model.BucketID) ([]model.BucketID, error) {
	buckets := make([]model.BucketID, 0, insertBatch)
	// Equal weights are one row.
	err := scanAll(ctx, tx, `SELECT weight, count(*) FROM fresh WHERE n > $1 AND n <= $1 + $2 GROUP BY weight ORDER BY weight DESC`,
		func(rows *sql.Rows) error {
			var weight, n int64
			err := rows.Scan(&weight, &n)
			for range n {
				bucket := place(weight)
				if bucket == 0 {
					return noBuckets()
				}
				buckets = append(buckets, bucket)
			}
			return err
		}, from, insertBatch)
	return buckets, err
}

func eachBucketChange(ctx context.Context, tx *Tx, each func(BucketChange), statement string, args ...any) error {
	err := scanAll(ctx, tx, statement, func(rows *sql.Rows) error {
		var c BucketChange
		err := rows.Scan(&c.ID, &c.Subjects, &c.Weight)
		each(c)
		return err
	}, args...)
	if pq.As(err, pqerror.NumericValueOutOfRange) != nil {
		return tooHeavy()
	}
	return err
}

// Join makes the subjects that this import wrote members of the groups that
// their lines name.
func (i *Import) Join(ctx context.Context, tx *Tx, lines Lines, each func(group model.GroupID, members int64)) error {
	err := scanAll(ctx, tx, `
		WITH joined AS (
			INSERT INTO member (group_id, subject_id)
			SELECT g.id, s.id
			FROM `+string(lines)+` i JOIN subject s ON s.id = i.id CROSS JOIN unnest(i.groups) AS g (id)
			WHERE s.label = $1
			ON CONFLICT DO NOTHING
			RETURNING group_id
		)
		SELECT group_id, count(*) FROM joined GROUP BY group_id`, func(rows *sql.Rows) error {
		var (
			group   model.GroupID
			members int64
		)
		err := rows.Scan(&group, &members)
		each(group, members)
		return err
	}, tx.Label)
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
	_, err := tx.ExecContext(ctx, `
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
	result, err := tx.ExecContext(ctx, `
		UPDATE subject_group g SET members = g.members + c.members
		FROM unnest($1::integer[], $2::bigint[]) AS c (id, members) WHERE g.id = c.id`, groups, joined)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil {
		return err
	} else if n < int64(len(members)) {
		return groupGone()
	}
	var total string
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(sum(weight), 0) FROM bucket`).Scan(&total); err != nil {
		return err
	}
	return checkTotalWeight(total)
}

// Moved counts the subjects whose class this import changes, for a dry run.
// before is nil for those that it creates.
func (i *Import) Moved(ctx context.Context, tx *Tx, each func(before, after *model.Class, subjects, weight int64)) error {
	const groups = `ARRAY(SELECT m.group_id FROM member m WHERE m.subject_id = s.id ORDER BY m.group_id)`
	return scanAll(ctx, tx, `
		SELECT true, bucket_id, '{}', groups, count(*), least(sum(weight), $2)::bigint
		FROM (SELECT s.bucket_id, s.weight, `+groups+` AS groups FROM subject s WHERE s.label = $1 AND s.born = $1) created
		GROUP BY bucket_id, groups
		UNION ALL
		SELECT false, bucket_id, before, groups, count(*), least(sum(weight), $2)::bigint
		FROM (SELECT s.bucket_id, s.weight, s.groups AS before, `+groups+` AS groups FROM changed s) changed
		GROUP BY bucket_id, before, groups`, func(rows *sql.Rows) error {
		var (
			isNew            bool
			before, after    model.Class
			subjects, weight int64
		)
		err := rows.Scan(&isNew, &after.Bucket, (*groupIDs)(&before.Groups), (*groupIDs)(&after.Groups), &subjects, &weight)
		if err != nil {
			return err
		}
		if isNew {
			each(nil, &after, subjects, weight)
			return nil
		}
		before.Bucket = after.Bucket
		each(&before, &after, subjects, weight)
		return nil
	}, tx.Label, int64(model.MaxTotalWeight))
}
