package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/flaggery/flaggery/pkg/model"
)

// describeAll fills an update with everything. Its subjects are streamed: memory
// does not grow with their number.
func describeAll(ctx context.Context, tx *Tx, u *model.Update) error {
	u.Full = true
	err := tx.QueryRowContext(ctx, `SELECT at FROM change WHERE revision = $1`, tx.Revision).Scan(&u.At)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // there is none at revision 0, or where it was pruned
		return fmt.Errorf("read the last change: %w", err)
	}
	u.At = u.At.UTC()
	if u.Configuration, err = LoadConfiguration(ctx, tx); err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx, `SELECT coalesce(sum(subjects), 0)::bigint FROM bucket`).Scan(&u.Count)
	if err != nil {
		return fmt.Errorf("count subjects: %w", err)
	}
	u.Subjects = func(each func(*model.SubjectUpdate) error) error { return allSubjects(ctx, tx, each) }
	return nil
}

// textout and int4out give PostgreSQL's own text form, as a type that lib/pq
// passes on as it came instead of making a string or an int64 of it.
const selectAllSubjects = `
	SELECT textout(s.id), int4out(s.bucket_id), m.groups
	FROM subject s LEFT JOIN (
		SELECT subject_id, array_agg(group_id ORDER BY group_id) AS groups FROM member GROUP BY subject_id
	) m ON m.subject_id = s.id`

func allSubjects(ctx context.Context, tx *Tx, each func(*model.SubjectUpdate) error) error {
	if _, err := tx.ExecContext(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
		return fmt.Errorf("lift the time limit: %w", err)
	}
	var (
		id, bucket, groups sql.RawBytes
		s                  model.SubjectUpdate
	)
	return scanAll(ctx, tx, selectAllSubjects, func(rows *sql.Rows) error {
		if err := rows.Scan(&id, &bucket, &groups); err != nil {
			return err
		}
		s.ID, s.Bucket = id, 0
		for _, c := range bucket {
			s.Bucket = s.Bucket*10 + model.BucketID(c-'0')
		}
		s.Groups = s.Groups[:0]
		if groups != nil {
			var err error
			if s.Groups, err = appendInts(s.Groups, groups); err != nil {
				return err
			}
		}
		return each(&s)
	})
}
