package postgres

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/model"
)

// state is the revision that a statement saw, and its history.
type state struct {
	Epoch    string
	Revision int64
}

// changes are the latest revision and a summary of the changes since a position.
type changes struct {
	state
	now, received time.Time // the database's time, and the reader's when it arrived
	complete      bool      // all changes since the position are known
	config        bool      // the configuration has to be read, with tokens
	tokens        bool      // tokens have to be read
	labels        pq.Int64Array
	at            time.Time // of the last change
}

// selectChanges also reads the change of the position itself, unless it was pruned. Its
// time shows whether the reader follows this history, or another one with the same
// revision numbers that was lost, for example in a failover.
const selectChanges = `
	SELECT s.epoch, s.revision, clock_timestamp(), c.revision, c.label, c.config, c.tokens, c.at
	FROM state s LEFT JOIN change c ON c.revision BETWEEN $1 AND s.revision ORDER BY c.revision`

// queryChanges runs for each poll, so it scans the rows itself: aggregating them in
// PostgreSQL made a poll without changes take 0.07 ms instead of 0.05.
func queryChanges(ctx context.Context, q querier, since model.Position) (*changes, error) {
	c := &changes{at: since.At}
	last, forked := since.Revision, false
	var (
		now             time.Time
		revision, label sql.NullInt64
		config, tokens  sql.NullBool
		at              sql.NullTime
	)
	err := q.scan(ctx, "query changes", selectChanges, []any{since.Revision}, func() error {
		if c.received.IsZero() { // the time of the first row, as each row has another one
			c.now, c.received = now.UTC().Truncate(time.Microsecond), time.Now()
		}
		switch {
		case !revision.Valid:
		case revision.Int64 == since.Revision:
			forked = !since.At.IsZero() && !since.At.Equal(at.Time)
		default:
			if revision.Int64 == last+1 { // otherwise one is missing, and last stays behind
				last = revision.Int64
			}
			c.at = at.Time.UTC()
			c.config = c.config || config.Bool && !tokens.Bool
			c.tokens = c.tokens || tokens.Bool
			if label.Valid {
				c.labels = append(c.labels, label.Int64)
			}
		}
		return nil
	}, &c.Epoch, &c.Revision, &now, &revision, &label, &config, &tokens, &at)
	c.complete = c.Epoch == since.Epoch && c.Revision == last && !forked
	c.config = c.config || !c.complete
	return c, err
}

// update begins an update with the data of the changes.
func (c *changes) update() *model.Update {
	return &model.Update{
		Position: model.Position{Epoch: c.Epoch, Revision: c.Revision, At: c.at},
		Now:      c.now,
		Received: c.received,
		Full:     !c.complete,
	}
}

// subjects are the arguments of whereChanged.
func (c *changes) subjects() []any {
	return []any{c.labels, slices.Min(c.labels), slices.Max(c.labels)}
}

// Statements that read subjects. For many subjects, groups are joined. For few, they are
// looked up for each subject, as a join would read the memberships of all.
const (
	// Without subjects that one of the changes created: the reader has never seen them.
	selectDeletedSubjects = `
		SELECT subject_id AS id, 0 AS bucket, false AS new, true AS gone, NULL::integer[] AS groups
		FROM tombstone ` + whereChanged + ` AND born <> ALL($1)`

	selectChangedSubjects = `
		SELECT s.id, s.bucket_id AS bucket, s.born = ANY($1) AS new, false AS gone,
		       ` + groupsOfSubject + ` AS groups
		FROM subject s ` + whereChanged

	selectManyChangedSubjects = `
		SELECT s.id, s.bucket_id AS bucket, s.born = ANY($1) AS new, false AS gone, m.groups
		FROM subject s ` + joinGroups + whereChanged

	selectAllSubjects = `
		SELECT s.id, s.bucket_id AS bucket, false AS new, false AS gone, m.groups
		FROM subject s ` + joinGroups

	// The bounds of the labels are redundant, but let PostgreSQL keep one plan: for an
	// unknown array it expects far too many rows.
	whereChanged = ` WHERE label = ANY($1) AND label BETWEEN $2 AND $3`

	joinGroups = ` LEFT JOIN (` + groupsOfSubjects + `) m ON m.subject_id = s.id`

	// Memberships of deleted groups stay in the table, as history.
	groupsOfSubjects = `
		SELECT subject_id, array_agg(group_id ORDER BY group_id) AS groups
		FROM member WHERE group_id IN (SELECT id FROM subject_group) GROUP BY subject_id`
	groupsOfSubject = `ARRAY(
		SELECT m.group_id FROM member m JOIN subject_group g ON g.id = m.group_id WHERE m.subject_id = s.id ORDER BY m.group_id)`

	// countFew counts changed subjects up to a limit.
	countFew = `SELECT count(*) FROM (SELECT FROM subject` + whereChanged + ` LIMIT $4) AS counted`

	// few is the largest number of subjects whose groups are looked up.
	few = 10_000

	// selectSmall returns the rows of a small update.
	selectSmall = `
		SELECT part, row FROM (
			SELECT 1 AS place, 'state' AS part, to_json(s) AS row FROM (SELECT epoch, revision FROM state) s
			UNION ALL SELECT 2, 'subject', to_json(s) FROM (` + selectDeletedSubjects + ` LIMIT $4) s
			UNION ALL SELECT 3, 'subject', to_json(s) FROM (` + selectChangedSubjects + ` LIMIT $4) s
		) AS parts ORDER BY place`
)

func streamSubjects(ctx context.Context, q querier, c *changes, each func(*model.SubjectUpdate) error) error {
	if !c.complete {
		if err := q.joinByHash(ctx); err != nil {
			return err
		}
		return scanSubjects(ctx, q, "load all subjects", selectAllSubjects, nil, each)
	}
	if err := scanSubjects(ctx, q, "read deleted subjects", selectDeletedSubjects, c.subjects(), each); err != nil {
		return err
	}
	var changed int
	if err := q.get(ctx, "count changed subjects", &changed, countFew, append(c.subjects(), few+1)...); err != nil {
		return err
	}
	text := selectChangedSubjects
	if changed > few {
		text = selectManyChangedSubjects
		if err := q.joinByHash(ctx); err != nil {
			return err
		}
	}
	return scanSubjects(ctx, q, "read changed subjects", text, c.subjects(), each)
}

// joinByHash disables nested loops until the end of the transaction. Right after an
// import, the statistics of PostgreSQL still show few subjects and memberships; scanning
// all memberships for each subject would take minutes.
func (q querier) joinByHash(ctx context.Context) error {
	return q.exec(ctx, "rule out nested loops", `SET LOCAL enable_nestloop = off`)
}

// scanSubjects parses the rows itself, as there are millions. textout and its siblings
// return PostgreSQL's text form as a type that lib/pq passes on as bytes, without making
// a string.
func scanSubjects(ctx context.Context, q querier, what, text string, args []any, each func(*model.SubjectUpdate) error) error {
	var (
		id, bucket, isNew, gone, groups sql.RawBytes
		s                               model.SubjectUpdate
	)
	text = `SELECT textout(id), int4out(bucket), boolout(new), boolout(gone), groups FROM (` + text + `) AS s`
	return q.scan(ctx, what, text, args, func() (err error) {
		s.ID, s.Bucket, s.New, s.Gone = id, 0, isNew[0] == 't', gone[0] == 't'
		for _, c := range bucket {
			s.Bucket = s.Bucket*10 + model.BucketID(c-'0')
		}
		if s.Groups, err = appendInts(s.Groups[:0], groups); err != nil {
			return named(what, err)
		}
		return each(&s)
	}, &id, &bucket, &isNew, &gone, &groups)
}
