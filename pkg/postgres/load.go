package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// describeAll fills an update with everything. Its subjects are streamed: memory
// does not grow with their number.
func (db *DB) describeAll(ctx context.Context, tx *Tx, u *model.Update) error {
	u.Full, u.At = true, time.Time{}
	err := tx.QueryRowContext(ctx, `SELECT at FROM change WHERE revision = $1`, tx.Revision).Scan(&u.At)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // there is none at revision 0, or where it was pruned
		return fmt.Errorf("read the last change: %w", err)
	}
	u.At = u.At.UTC()
	if u.Configuration, _, err = db.configuration(ctx, tx); err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx, `SELECT coalesce(sum(subjects), 0)::bigint FROM bucket`).Scan(&u.Count)
	if err != nil {
		return fmt.Errorf("count subjects: %w", err)
	}
	u.Subjects = func(each func(*model.SubjectUpdate) error) error { return db.allSubjects(ctx, tx, each) }
	return nil
}

// configuration is what an update says of everything but the subjects, and where it
// was read.
func (db *DB) configuration(ctx context.Context, on queryer) (*model.Configuration, state, error) {
	if !db.tokens {
		return loadConfiguration(ctx, on, selectConfiguration)
	}
	c, at, err := loadConfiguration(ctx, on, selectConfigurationWithTokens)
	if pq.As(err, pqerror.InsufficientPrivilege) != nil {
		err = fmt.Errorf("the role may not read tokens, as FLAGGERY_EDGE_AUTH=token needs: run 'flaggery-admin migrate up --create-edge-role' for it: %w", err)
	}
	if err == nil && c.Tokens == nil {
		c.Tokens = []auth.Credential{} // they were read, there are none
	}
	return c, at, err
}

// How subjects are read. textout and the like give PostgreSQL's own text form, as a
// type that lib/pq passes on as it came instead of making a string of it.
//
// Groups come by one join where subjects are many. Where they are few, each one's
// are looked up, as a join would go through the memberships of all.
const (
	selectAllSubjects = `
		SELECT textout(s.id), int4out(s.bucket_id), boolout(false), m.groups
		FROM subject s ` + joinGroups

	selectManySubjects = `
		SELECT textout(s.id), int4out(s.bucket_id), boolout(s.born = ANY($1)), m.groups
		FROM subject s ` + joinGroups + ` WHERE s.label = ANY($1)`

	selectFewSubjects = `
		SELECT textout(s.id), int4out(s.bucket_id), boolout(s.born = ANY($1)),
		       (SELECT array_agg(m.group_id ORDER BY m.group_id) FROM member m WHERE m.subject_id = s.id)
		FROM subject s WHERE s.label = ANY($1)`

	joinGroups = `
		LEFT JOIN (
			SELECT subject_id, array_agg(group_id ORDER BY group_id) AS groups FROM member GROUP BY subject_id
		) m ON m.subject_id = s.id`

	// few is at most how many.
	few = 10_000
)

func (db *DB) allSubjects(ctx context.Context, tx *Tx, each func(*model.SubjectUpdate) error) error {
	if _, err := tx.ExecContext(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
		return fmt.Errorf("lift the time limit: %w", err)
	}
	db.dialer.patience.Store(int64(loadTimeout)) // memberships are sorted before the first subject comes
	return scanSubjects(ctx, tx, selectAllSubjects, each)
}

func scanSubjects(ctx context.Context, tx *Tx, statement string, each func(*model.SubjectUpdate) error, args ...any) error {
	var (
		id, bucket, isNew, groups sql.RawBytes
		s                         model.SubjectUpdate
	)
	return scanAll(ctx, tx, statement, func(rows *sql.Rows) error {
		if err := rows.Scan(&id, &bucket, &isNew, &groups); err != nil {
			return err
		}
		s.ID, s.Bucket, s.New = id, 0, isNew[0] == 't'
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
	}, args...)
}
