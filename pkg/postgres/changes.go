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

// changes is how far the database is, and what the revisions since a position touched.
type changes struct {
	state
	now, received time.Time // on the database's clock, and on the reader's when that came in
	complete      bool      // the changes since the position are all known
	config        bool      // all of the configuration is to be read, with tokens
	tokens        bool      // tokens are
	labels        pq.Int64Array
	at            time.Time // of the last change
}

// selectChanges also reads the change of the position itself, if it was not pruned:
// its time says whether the reader has seen this history or another one that was
// lost, in a failover say, and whose revisions had the same numbers.
const selectChanges = `
	SELECT s.epoch, s.revision, clock_timestamp(), c.revision, c.label, c.config, c.tokens, c.at
	FROM state s LEFT JOIN change c ON c.revision BETWEEN $1 AND s.revision ORDER BY c.revision`

// queryChanges is what a poll costs, so it reads by hand: with the rows put together by
// PostgreSQL into one for a struct, a poll that found nothing took 0.07 ms, not 0.05.
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
		if c.received.IsZero() { // each row has a time of its own
			c.now, c.received = now.UTC().Truncate(time.Microsecond), time.Now()
		}
		switch {
		case !revision.Valid:
		case revision.Int64 == since.Revision:
			forked = !since.At.IsZero() && !since.At.Equal(at.Time)
		default:
			if revision.Int64 == last+1 { // else one is missing, and last stays behind
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

// update is the part of an update that the changes are by themselves.
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

// How subjects are read. Groups come by one join if subjects are many. If they are few,
// each one's are looked up, as a join would go through the memberships of all.
const (
	// A subject that was created by one of the changes was never seen by the reader, so
	// its deletion does not concern it.
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

	// The bounds of the labels say nothing new, but let PostgreSQL plan the statement
	// once: of an array that it does not know it expects far too many rows.
	whereChanged = ` WHERE label = ANY($1) AND label BETWEEN $2 AND $3`

	joinGroups = ` LEFT JOIN (` + groupsOfSubjects + `) m ON m.subject_id = s.id`

	// Members of deleted groups are still there, as history.
	groupsOfSubjects = `
		SELECT subject_id, array_agg(group_id ORDER BY group_id) AS groups
		FROM member WHERE group_id IN (SELECT id FROM subject_group) GROUP BY subject_id`
	groupsOfSubject = `ARRAY(
		SELECT m.group_id FROM member m JOIN subject_group g ON g.id = m.group_id WHERE m.subject_id = s.id ORDER BY m.group_id)`

	// countFew counts up to a bound.
	countFew = `SELECT count(*) FROM (SELECT FROM subject` + whereChanged + ` LIMIT $4) AS counted`

	// few is at most how many.
	few = 10_000

	// selectSmall has the rows of a small update.
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

// joinByHash keeps PostgreSQL from joining groups to subjects row by row until the end
// of the transaction. Right after an import its statistics still say that there are few
// of either, and going through all memberships for each subject takes minutes.
func (q querier) joinByHash(ctx context.Context) error {
	return q.exec(ctx, "rule out nested loops", `SET LOCAL enable_nestloop = off`)
}

// scanSubjects reads by hand: the rows are millions. textout and the like give
// PostgreSQL's own text form, as a type that lib/pq passes on as it came instead of
// making a string of it.
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
