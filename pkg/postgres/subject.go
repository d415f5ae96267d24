package postgres

import (
	"context"
	"database/sql"
	"errors"
	"iter"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
)

// Subject is a subject as stored.
type Subject struct {
	model.Subject
	Born     int64           // the label of the change that created it
	GroupIDs []model.GroupID // ascending
}

// Class is what resolution needs of the subject.
func (s *Subject) Class() model.Class { return model.Class{Bucket: s.BucketID, Groups: s.GroupIDs} }

// Subject reads one subject, or fails with subject_not_found.
func (tx *Tx) Subject(ctx context.Context, id string) (*Subject, error) {
	var s Subject
	found := false
	err := tx.scan(ctx, "read a subject", selectSubjects+` WHERE s.id = $1`, []any{id}, func() error {
		found = true
		return nil
	}, s.columns()...)
	if err == nil && !found {
		err = model.Errorf(model.SubjectNotFound, "there is no subject %q", id)
	}
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// Subjects reads at most limit subjects in id order: those that come after an
// id and begin with a prefix.
func (tx *Tx) Subjects(ctx context.Context, prefix, after string, limit int) iter.Seq2[*Subject, error] {
	return fetch(ctx, tx.querier, smallRows, "list subjects",
		selectSubjects+` WHERE s.id > $1 AND s.id >= $2 AND ($3::text IS NULL OR s.id < $3) ORDER BY s.id LIMIT $4`,
		[]any{after, prefix, orNull(afterPrefix(prefix)), limit}, func(row *sqlx.Rows) (*Subject, int, error) {
			var s Subject
			err := row.Scan(s.columns()...)
			return &s, bytesOf(&s.Subject), err
		})
}

const selectSubjects = `
	SELECT s.id, s.weight, s.bucket_id, s.born, s.label,
	       ARRAY(SELECT g.name::text FROM member m JOIN subject_group g ON g.id = m.group_id
	             WHERE m.subject_id = s.id ORDER BY g.name),
	       ` + groupsOfSubject + `
	FROM subject s`

// columns are where selectSubjects puts a row.
func (s *Subject) columns() []any {
	return []any{&s.ID, &s.Weight, &s.BucketID, &s.Born, &s.Version, (*pq.StringArray)(&s.Groups), (*groupIDs)(&s.GroupIDs)}
}

func bytesOf(s *model.Subject) int {
	bytes := len(s.ID)
	for _, group := range s.Groups {
		bytes += len(group)
	}
	return bytes
}

// afterPrefix is the least text that sorts behind everything with a prefix, or
// "" if there is none. UTF-8 sorts like the code points that it encodes.
func afterPrefix(prefix string) string {
	runes := []rune(prefix)
	for len(runes) > 0 {
		last := &runes[len(runes)-1]
		switch *last {
		case 0x10FFFF: // the last of all
			runes = runes[:len(runes)-1]
			continue
		case 0xD7FF: // surrogates are no characters
			*last = 0xE000
		default:
			*last++
		}
		return string(runes)
	}
	return ""
}

// HeaviestSubjects reads the id and weight of at most limit subjects, the heaviest first,
// of equal ones by id.
func (tx *Tx) HeaviestSubjects(ctx context.Context, limit int) (subjects []model.Subject, err error) {
	err = tx.selectAll(ctx, "list the heaviest subjects", &subjects, `SELECT id, weight FROM subject ORDER BY weight DESC, id LIMIT $1`, limit)
	return subjects, err
}

// EachSubject reads all subjects in id order, with id, weight and groups.
func (tx *Tx) EachSubject(ctx context.Context) iter.Seq2[model.Subject, error] {
	// The first row may take long. All are read, so the quickest plan is that for all.
	err := tx.exec(ctx, "lift the time limit", `SET LOCAL statement_timeout = 0; SET LOCAL cursor_tuple_fraction = 1`)
	if err != nil {
		return func(yield func(model.Subject, error) bool) { yield(model.Subject{}, err) }
	}
	return fetch(ctx, tx.querier, smallRows, "read all subjects", `
		SELECT s.id, s.weight, m.groups
		FROM subject s LEFT JOIN (
			SELECT m.subject_id, array_agg(g.name::text ORDER BY g.name) AS groups
			FROM member m JOIN subject_group g ON g.id = m.group_id GROUP BY m.subject_id
		) m ON m.subject_id = s.id
		ORDER BY s.id`, nil, func(row *sqlx.Rows) (s model.Subject, bytes int, err error) {
		err = row.Scan(&s.ID, &s.Weight, (*pq.StringArray)(&s.Groups))
		return s, bytesOf(&s), err
	})
}

// InsertSubject places a new subject into the lightest bucket, of equal ones
// that with the lowest id.
func (tx *Tx) InsertSubject(ctx context.Context, id string, weight int64) (model.BucketID, error) {
	var placed struct {
		Bucket model.BucketID `db:"bucket_id"`
		Total  string
	}
	err := tx.get(ctx, "insert a subject", &placed, `
		WITH lightest AS (SELECT id FROM bucket ORDER BY weight, id LIMIT 1),
		placed AS (
			INSERT INTO subject (id, weight, bucket_id, born, label)
			SELECT $1, $2, lightest.id, $3, $3 FROM lightest RETURNING bucket_id
		), bucket_now AS (
			UPDATE bucket b SET weight = b.weight + $2, subjects = b.subjects + 1 FROM placed WHERE b.id = placed.bucket_id
		)
		SELECT bucket_id, (SELECT sum(weight) FROM bucket) + $2 AS total FROM placed`, id, weight, tx.Label)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, noBuckets()
	case pq.As(err, pqerror.UniqueViolation) != nil:
		return 0, model.Errorf(model.SubjectExists, "there is a subject %q already", id)
	case pq.As(err, pqerror.NumericValueOutOfRange) != nil:
		return 0, tooHeavy()
	case err != nil:
		return 0, err
	}
	return placed.Bucket, checkTotalWeight(placed.Total)
}

func noBuckets() error {
	return model.Errorf(model.NoBuckets, "there are no buckets yet to place a subject in: add some first")
}

// UpdateSubjectWeight changes the weight of a subject and of its bucket.
func (tx *Tx) UpdateSubjectWeight(ctx context.Context, s *Subject, weight int64) error {
	var total string
	err := tx.get(ctx, "update the weight of a subject", &total, `
		WITH s AS (UPDATE subject SET weight = $2, label = $4 WHERE id = $1),
		b AS (UPDATE bucket SET weight = weight + $3 WHERE id = $5)
		SELECT sum(weight) + $3 FROM bucket`, s.ID, weight, weight-s.Weight, tx.Label, s.BucketID)
	if pq.As(err, pqerror.NumericValueOutOfRange) != nil {
		return tooHeavy()
	}
	if err != nil {
		return err
	}
	return checkTotalWeight(total)
}

// DeleteSubject removes a subject, its memberships and its weight, and leaves a
// tombstone.
func (tx *Tx) DeleteSubject(ctx context.Context, s *Subject) error {
	return tx.exec(ctx, "delete a subject", `
		WITH gone AS (DELETE FROM subject WHERE id = $1),
		stone AS (INSERT INTO tombstone (subject_id, born, label) VALUES ($1, $2, $3)),
		left_groups AS (UPDATE subject_group SET members = members - 1
		                WHERE id IN (SELECT group_id FROM member WHERE subject_id = $1))
		UPDATE bucket SET weight = weight - $4, subjects = subjects - 1 WHERE id = $5`,
		s.ID, s.Born, tx.Label, s.Weight, s.BucketID)
}
