package postgres

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"math"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
)

// Subject is a subject as stored.
type Subject struct {
	model.Subject
	born     int64           // the label of the change that created it
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

// SubjectFilter selects subjects: those whose ids begin with a prefix, and those of a
// bucket if it is not 0.
type SubjectFilter struct {
	Prefix string
	Bucket model.BucketID
}

// filtered is the condition of a SubjectFilter, whose arguments are $1 to $3.
const filtered = `s.id >= $1 AND ($2::text IS NULL OR s.id < $2) AND ($3::integer = 0 OR s.bucket_id = $3)`

func (f SubjectFilter) args() []any {
	return []any{f.Prefix, orNull(afterPrefix(f.Prefix)), f.Bucket}
}

// Subjects reads at most limit subjects in id order, those that come after an id.
func (tx *Tx) Subjects(ctx context.Context, f SubjectFilter, after string, limit int) iter.Seq2[*Subject, error] {
	return fetch(ctx, tx.querier, smallRows, "list subjects",
		selectSubjects+` WHERE `+filtered+` AND s.id > $4 ORDER BY s.id LIMIT $5`,
		append(f.args(), after, limit), func(row *sqlx.Rows) (*Subject, int, error) {
			var s Subject
			err := row.Scan(s.columns()...)
			return &s, bytesOf(&s.Subject), err
		})
}

// SubjectPlace is where a subject stands among all, the heaviest first and equal ones by id.
type SubjectPlace struct {
	Weight int64
	ID     string
}

// First comes before every subject.
var First = SubjectPlace{Weight: math.MaxInt64}

// HeaviestSubjects reads at most limit subjects, the heaviest first and equal ones by
// id: those that come after a place.
func (tx *Tx) HeaviestSubjects(ctx context.Context, f SubjectFilter, after SubjectPlace, limit int) iter.Seq2[*Subject, error] {
	return func(yield func(*Subject, error) bool) {
		rare, err := tx.rare(ctx, f)
		query, most := heaviestByBucket, heaviestAtOnce
		if rare {
			query, most = heaviestOfFew, limit
		}
		for more := true; more && limit > 0 && err == nil; {
			var found []*Subject
			found, err = tx.heaviestSubjects(ctx, query, append(f.args(), after.Weight, after.ID, min(limit, most)))
			for _, s := range found {
				after = SubjectPlace{s.Weight, s.ID}
				if !yield(s, nil) {
					return
				}
			}
			limit -= len(found)
			more = len(found) == most
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

func (tx *Tx) heaviestSubjects(ctx context.Context, query string, args []any) (found []*Subject, err error) {
	var s Subject
	err = tx.scan(ctx, "list the heaviest subjects", selectSubjects+` WHERE s.id = ANY(ARRAY(`+query+`)) ORDER BY s.weight DESC, s.id`,
		args, func() error {
			one := s
			found = append(found, &one)
			return nil
		}, s.columns()...)
	return found, err
}

// rare is whether few subjects begin with the prefix: then it is quicker to read them
// all than to look for them among the heaviest.
func (tx *Tx) rare(ctx context.Context, f SubjectFilter) (rare bool, err error) {
	if f.Prefix == "" || f.Bucket != 0 {
		return false, nil
	}
	err = tx.get(ctx, "count the subjects with a prefix", &rare,
		`SELECT count(*) <= $4 FROM (SELECT FROM subject s WHERE `+filtered+` LIMIT $4 + 1) s`, append(f.args(), fewToSort)...)
	return rare, err
}

const (
	fewToSort = 100_000
	// heaviestAtOnce is of how many buckets so many subjects are read to find as many: the
	// square of it is as much work as to look at the heaviest of each bucket.
	heaviestAtOnce = 128
)

// The queries of the ids of the $6 heaviest subjects after the place of $4 and $5.
var (
	heaviestOfFew = `SELECT s.id FROM subject s WHERE ` + filtered + ` AND (s.weight < $4 OR s.weight = $4 AND s.id > $5)
		ORDER BY s.weight DESC, s.id LIMIT $6`

	// They are in as many of the buckets: those whose heaviest are the heaviest.
	heaviestByBucket = `SELECT s.id FROM (
			SELECT s.bucket_id FROM bucket b CROSS JOIN LATERAL ` + heaviestAfter(`b.id`, `1`) + ` s
			WHERE $3 = 0 OR b.id = $3 ORDER BY s.weight DESC, s.id LIMIT $6
		) h CROSS JOIN LATERAL ` + heaviestAfter(`h.bucket_id`, `$6`) + ` s
		ORDER BY s.weight DESC, s.id LIMIT $6`
)

// heaviestAfter is the query of those of a bucket. Of two conditions, and not of one with
// an OR, PostgreSQL finds the place in its index.
func heaviestAfter(bucket, limit string) string {
	return `(SELECT * FROM (
		(` + heaviestOf(bucket, filtered+` AND s.weight = $4 AND s.id > $5`, limit) + `) UNION ALL
		(` + heaviestOf(bucket, filtered+` AND s.weight < $4`, limit) + `)) s
		ORDER BY s.weight DESC, s.id LIMIT ` + limit + `)`
}

// SubjectsIn reads at most limit subjects in id order: those that come after an id and
// are in one of some buckets or groups.
func (tx *Tx) SubjectsIn(ctx context.Context, buckets []model.BucketID, groups []model.GroupID, after string, limit int) ([]*Subject, error) {
	var subjects []*Subject
	var s Subject
	// Without a bucket nobody is searched for one.
	err := tx.scan(ctx, "list the subjects of buckets and groups", selectSubjects+` WHERE s.id IN (
		SELECT id FROM (
			(SELECT id FROM subject WHERE cardinality($1::integer[]) > 0 AND bucket_id = ANY($1) AND id > $3 ORDER BY id LIMIT $4)
			UNION
			SELECT m.subject_id FROM unnest($2::integer[]) g CROSS JOIN LATERAL (
				SELECT subject_id FROM member WHERE group_id = g AND subject_id > $3 ORDER BY subject_id LIMIT $4
			) m
		) found ORDER BY id LIMIT $4
	) ORDER BY s.id`, []any{bucketIDs(buckets), pq.Array(groups), after, limit}, func() error {
		found := s
		subjects = append(subjects, &found)
		return nil
	}, s.columns()...)
	return subjects, err
}

const selectSubjects = `
	SELECT s.id, s.weight, s.bucket_id, s.born, s.label,
	       ARRAY(SELECT g.name::text FROM member m JOIN subject_group g ON g.id = m.group_id
	             WHERE m.subject_id = s.id ORDER BY g.name),
	       ` + groupsOfSubject + `
	FROM subject s`

// columns are where selectSubjects puts a row.
func (s *Subject) columns() []any {
	return []any{&s.ID, &s.Weight, &s.BucketID, &s.born, &s.Version, (*pq.StringArray)(&s.Groups), (*groupIDs)(&s.GroupIDs)}
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
		return 0, taken(err, model.SubjectExists, "there is a subject %q already", id)
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
		s.ID, s.born, tx.Label, s.Weight, s.BucketID)
}
