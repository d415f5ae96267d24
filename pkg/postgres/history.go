package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/model"
)

// Moment is a revision and the time at which it was made.
type Moment struct {
	Revision int64
	At       time.Time
}

// MomentOf reads the last revision that was made until a time. If the clock was set
// back, that is the highest such revision. Fails with history_unavailable.
func (tx *Tx) MomentOf(ctx context.Context, at time.Time) (m Moment, err error) {
	// After the last time that the clock was set back, later revisions have later times.
	err = tx.get(ctx, "find the revision of a moment", &m, `
		SELECT revision, at FROM revision
		WHERE at <= $1 AND revision >= coalesce((SELECT max(revision) FROM revision WHERE stepped_back AND at <= $1), 0)
		ORDER BY at DESC, revision DESC LIMIT 1`, at.Truncate(time.Microsecond)) // PostgreSQL would round up
	if errors.Is(err, sql.ErrNoRows) {
		return m, tx.historyUnavailable(ctx, at)
	}
	m.At = m.At.UTC()
	return m, err
}

func (tx *Tx) historyUnavailable(ctx context.Context, at time.Time) error {
	var earliest time.Time
	if err := tx.get(ctx, "find the earliest moment", &earliest, `SELECT min(at) FROM revision`); err != nil {
		return err
	}
	return model.Errorf(model.HistoryUnavailable, "the history does not go back to %s: the earliest moment is %s",
		at.UTC().Format(time.RFC3339Nano), earliest.UTC().Format(time.RFC3339Nano))
}

// LastMoment reads the last revision.
func (tx *Tx) LastMoment(ctx context.Context) (m Moment, err error) {
	err = tx.get(ctx, "find the last revision", &m, `SELECT revision, at FROM revision ORDER BY revision DESC LIMIT 1`)
	m.At = m.At.UTC()
	return m, err
}

// KnownConfiguration is a configuration at a revision of a history.
type KnownConfiguration struct {
	Epoch    string
	Revision int64
	*model.Configuration
}

// ConfigurationAt is Configuration at a revision, read by way of a known one: what is the
// same at both revisions is shared with that, not read. With thousands of rollouts, reading
// the buckets of all of them takes seconds. A configuration of the past has no salts,
// payloads, counts and versions, but in what is shared. The zero value knows nothing. The
// known revision must not be after that of the transaction.
func (tx *Tx) ConfigurationAt(ctx context.Context, revision int64, known KnownConfiguration) (*model.Configuration, error) {
	if known.Epoch != tx.Epoch {
		known = KnownConfiguration{Configuration: &model.Configuration{}}
	}
	what, text, args := "read a configuration of the past", selectPastConfiguration, []any{min(revision, known.Revision), revision}
	if revision == tx.Revision {
		what, text, args = "read what changed in the configuration", selectChangedConfiguration, args[:1]
	}
	p, err := readParts(ctx, tx.querier, what, text, args...)
	if err != nil {
		return nil, err
	}
	c, err := p.merged(known.Configuration)
	if err != nil && known.Revision > 0 { // somebody wrote to the tables by hand
		return tx.ConfigurationAt(ctx, revision, KnownConfiguration{})
	}
	return c, named(what, err)
}

// merged returns the configuration that was read in part: what has the names, as it was
// read, or else as it is known.
func (p *parts) merged(known *model.Configuration) (*model.Configuration, error) {
	c := &p.configuration
	var errs [3]error
	c.Features, errs[0] = merge(p.names.Features, c.Features, known.Features, func(f *model.Feature) string { return f.Name })
	c.Tests, errs[1] = merge(p.names.Tests, c.Tests, known.Tests, func(t *model.ABTest) string { return t.Name })
	c.Groups, errs[2] = merge(p.names.Groups, c.Groups, known.Groups, func(g *model.Group) string { return g.Name })
	return c, errors.Join(errs[:]...)
}

// merge is merged for one kind. All are in name order.
func merge[T any](names []string, read, known []T, name func(*T) string) ([]T, error) {
	merged := slices.Grow([]T(nil), len(names))
	for _, n := range names {
		for len(known) > 0 && name(&known[0]) < n {
			known = known[1:]
		}
		switch {
		case len(read) > 0 && name(&read[0]) == n:
			merged, read = append(merged, read[0]), read[1:]
		case len(known) > 0 && name(&known[0]) == n:
			merged = append(merged, known[0])
		default:
			return nil, fmt.Errorf("%q is not known, and has not changed since", n)
		}
	}
	return merged, nil
}

// ConfigurationOf is Configuration for some features, read by way of a known one as in
// ConfigurationAt: those that exist, the tests that name them, with only these features,
// and the groups that override one of them. It has no payloads, but in what is shared.
func (tx *Tx) ConfigurationOf(ctx context.Context, features []string, known KnownConfiguration) (*model.Configuration, error) {
	if known.Epoch != tx.Epoch {
		known = KnownConfiguration{Configuration: &model.Configuration{}}
	}
	const what = "read the configuration of features"
	p, err := readParts(ctx, tx.querier, what, selectConfigurationOf, pq.StringArray(features), known.Revision)
	if err != nil {
		return nil, err
	}
	c, err := p.merged(known.Configuration)
	if err != nil && known.Revision > 0 { // somebody wrote to the tables by hand
		return tx.ConfigurationOf(ctx, features, KnownConfiguration{})
	}
	if err != nil {
		return nil, named(what, err)
	}
	return about(features, c), nil
}

// about leaves other features out of the tests and groups of a configuration, whose maps
// may be shared.
func about(features []string, c *model.Configuration) *model.Configuration {
	only := func(variants map[string]string) map[string]string {
		some := map[string]string{}
		for _, name := range features {
			if variant, named := variants[name]; named {
				some[name] = variant
			}
		}
		return some
	}
	for i := range c.Tests {
		t := &c.Tests[i]
		t.Groups = slices.Clone(t.Groups)
		for j := range t.Groups {
			t.Groups[j].Variants = only(t.Groups[j].Variants)
		}
	}
	for i := range c.Groups {
		c.Groups[i].Overrides = only(c.Groups[i].Overrides)
	}
	return c
}

// ConfigurationOfAt is ConfigurationOf as it was at a revision.
func (tx *Tx) ConfigurationOfAt(ctx context.Context, features []string, revision int64) (*model.Configuration, error) {
	p, err := readParts(ctx, tx.querier, "read a past configuration of features", selectPastConfigurationOf, pq.StringArray(features), revision)
	if err != nil {
		return nil, err
	}
	return &p.configuration, nil
}

const (
	// selectConfiguration on what changed after the revision $1, with the names of all that
	// there is.
	selectChangedConfiguration = `
		WITH names AS (
			SELECT ARRAY(SELECT name FROM feature ORDER BY name) AS features,
			       ARRAY(SELECT name FROM abtest ORDER BY name) AS tests,
			       ARRAY(SELECT name FROM subject_group ORDER BY name) AS groups
		),
		feature AS (SELECT * FROM feature WHERE revision > $1),
		variant AS (SELECT * FROM variant WHERE feature IN (SELECT name FROM feature)),
		abtest AS (SELECT * FROM abtest WHERE revision > $1),
		subject_group AS (SELECT * FROM subject_group WHERE revision > $1)` + selectWithNames

	selectWithNames = `
		SELECT part, row FROM (` + statePart + configurationParts + `
		UNION ALL SELECT 6, 'names', '', '', 0, to_json(n) FROM names n` + inOrder
)

// selectConfiguration and selectConfigurationOf on the content that their tables had at
// a revision, the first one without what has not changed since and not after $1 either.
var (
	selectPastConfiguration = heldTables("$2", `
		AND NOT (kind IN ('feature', 'variant', 'rollout') AND key[1] IN (SELECT name FROM feature WHERE revision <= $1))
		AND NOT (kind IN ('abtest', 'abtest_group', 'abtest_variant') AND key[1] IN (SELECT name FROM abtest WHERE revision <= $1))
		AND NOT (kind IN ('subject_group', 'override') AND key[1] IN (SELECT id::text FROM subject_group WHERE revision <= $1))`) + `,
	named AS (
		SELECT kind, CASE kind WHEN 'subject_group' THEN content ->> 'name' ELSE key[1] END COLLATE "C" AS name
		FROM version WHERE int8range(since, until) @> $2::bigint AND kind IN ('feature', 'abtest', 'subject_group')
	),
	names AS (
		SELECT ARRAY(SELECT name FROM named WHERE kind = 'feature' ORDER BY name) AS features,
		       ARRAY(SELECT name FROM named WHERE kind = 'abtest' ORDER BY name) AS tests,
		       ARRAY(SELECT name FROM named WHERE kind = 'subject_group' ORDER BY name) AS groups
	)` + selectWithNames
	selectPastConfigurationOf = heldTables("$2", ` AND (kind NOT IN ('feature', 'variant', 'rollout') OR key[1] = ANY($1))`) +
		` SELECT * FROM (` + configurationOf("0") + `) AS parts` // the rows keep their order
)

// selectConfigurationOf is selectChangedConfiguration about the features $1, on what changed
// after the revision $2.
var selectConfigurationOf = configurationOf("$2")

func configurationOf(since string) string {
	return `
	WITH abtest_variant AS (SELECT * FROM abtest_variant WHERE feature = ANY($1)),
	override AS (SELECT * FROM override WHERE feature = ANY($1)),
	names AS (
		SELECT ARRAY(SELECT name FROM feature WHERE name = ANY($1) ORDER BY name) AS features,
		       ARRAY(SELECT name FROM abtest WHERE name IN (SELECT abtest FROM abtest_variant) ORDER BY name) AS tests,
		       ARRAY(SELECT name FROM subject_group WHERE id IN (SELECT group_id FROM override) ORDER BY name) AS groups
	),
	feature AS (SELECT * FROM feature WHERE name = ANY($1) AND revision > ` + since + `),
	variant AS (SELECT feature, name, NULL AS payload FROM variant WHERE feature IN (SELECT name FROM feature)),
	abtest AS (SELECT * FROM abtest WHERE name IN (SELECT abtest FROM abtest_variant) AND revision > ` + since + `),
	subject_group AS (SELECT * FROM subject_group WHERE id IN (SELECT group_id FROM override) AND revision > ` + since + `)` + selectWithNames
}

func heldTables(revision, which string) string {
	return `
	WITH held AS MATERIALIZED (SELECT kind, key, content FROM version WHERE int8range(since, until) @> ` + revision + `::bigint` + which + `),
	state AS (SELECT epoch, ` + revision + `::bigint AS revision FROM state),
	bucket AS (SELECT buckets AS id FROM revision WHERE revision = ` + revision + `),
	variant AS (SELECT key[1] AS feature, key[2] AS name, NULL AS payload FROM held WHERE kind = 'variant'),
	` + heldRows("feature") + `,
	` + heldRows("rollout") + `,
	` + heldRows("abtest") + `,
	` + heldRows("abtest_group") + `,
	` + heldRows("abtest_variant") + `,
	` + heldRows("subject_group") + `,
	` + heldRows("override")
}

func heldRows(table string) string {
	return fmt.Sprintf("%[1]s AS (SELECT r.* FROM held, json_populate_record(NULL::%[1]s, content) r WHERE kind = '%[1]s')", table)
}

// DeletedRollout reads the salt of the rollout that a revision deleted, and how many
// buckets there were then. Fails with history_unavailable.
func (tx *Tx) DeletedRollout(ctx context.Context, feature string, revision int64) (s model.Salt, buckets int, err error) {
	var row struct {
		Salt    []byte
		Buckets int
	}
	err = tx.get(ctx, "read a deleted rollout", &row, `
		SELECT (v.content ->> 'salt')::bytea AS salt, r.buckets
		FROM version v JOIN revision r ON r.revision = v.until
		WHERE v.kind = 'rollout' AND v.key = ARRAY[$1] AND v.until = $2`, feature, revision)
	if errors.Is(err, sql.ErrNoRows) {
		return s, 0, model.Errorf(model.HistoryUnavailable, "the history of the rollout that revision %d deleted is not kept any more", revision)
	}
	copy(s[:], row.Salt)
	return s, row.Buckets, err
}

// SubjectAt reads a subject as it was at a revision, without its weight and version.
// Fails with subject_not_found.
func (tx *Tx) SubjectAt(ctx context.Context, id string, m Moment) (*Subject, error) {
	s, found := &Subject{Subject: model.Subject{ID: id}}, false
	// A row with a label from before the history has existed since its beginning.
	err := tx.scan(ctx, "read a subject of the past", `
		WITH joined AS (
			SELECT m.group_id FROM member m LEFT JOIN revision r ON r.label = m.since
			WHERE m.subject_id = $1 AND coalesce(r.revision, 0) <= $2
			UNION
			SELECT p.group_id FROM past_member p LEFT JOIN revision r ON r.label = p.label
			WHERE p.subject_id = $1 AND p.since <= $2 AND coalesce(r.revision, p.until) > $2
		),
		held AS (
			SELECT j.group_id, v.content ->> 'name' AS name
			FROM joined j JOIN version v ON v.kind = 'subject_group' AND v.key = ARRAY[j.group_id::text]
			WHERE v.since <= $2 AND (v.until IS NULL OR v.until > $2)
		)
		SELECT s.bucket_id, ARRAY(SELECT name FROM held ORDER BY name COLLATE "C"), ARRAY(SELECT group_id FROM held ORDER BY group_id)
		FROM (
			SELECT s.bucket_id FROM subject s LEFT JOIN revision r ON r.label = s.born
			WHERE s.id = $1 AND coalesce(r.revision, 0) <= $2
			UNION ALL
			SELECT p.bucket_id FROM past_subject p LEFT JOIN revision r ON r.label = p.label
			WHERE p.subject_id = $1 AND p.since <= $2 AND coalesce(r.revision, p.until) > $2
		) s`, []any{id, m.Revision}, func() error {
		found = true
		return nil
	}, &s.BucketID, (*pq.StringArray)(&s.Groups), (*groupIDs)(&s.GroupIDs))
	if err == nil && !found {
		err = model.Errorf(model.SubjectNotFound, "subject %q did not exist at revision %d, made at %s",
			id, m.Revision, m.At.Format(time.RFC3339Nano))
	}
	return s, err
}

// PruneHistory deletes history that ended longer ago than olderThan.
func (db *DB) PruneHistory(ctx context.Context, olderThan time.Duration) error {
	err := db.transact(ctx, db.pool, nil, readState, func(tx *Tx) error {
		first, err := tx.MomentOf(ctx, tx.Now.Add(-olderThan))
		if model.CodeOf(err) == model.HistoryUnavailable {
			return nil // all of it is newer
		}
		if err != nil {
			return err
		}
		if err := tx.withoutTimeLimit(ctx); err != nil {
			return err
		}
		// Memberships of groups that were deleted before.
		const groups = `(SELECT key[1]::integer FROM version WHERE kind = 'subject_group' GROUP BY key HAVING bool_and(coalesce(until <= $1, false)))`
		const over = `until <= $1 AND coalesce((SELECT revision FROM revision r WHERE r.label = p.label), until) <= $1`
		for _, statement := range []string{
			`DELETE FROM member WHERE group_id IN ` + groups, // a trigger adds them to past_member
			`DELETE FROM past_member p WHERE ` + over + ` OR group_id IN ` + groups,
			`DELETE FROM past_subject p WHERE ` + over,
			`DELETE FROM version WHERE until <= $1`,
			`DELETE FROM revision WHERE revision < $1`,
		} {
			if err := tx.exec(ctx, "delete old history", statement, first.Revision); err != nil {
				return err
			}
		}
		return nil
	})
	return translate(err)
}

// ForgetPast replaces the id of a deleted subject in history. It returns the number of
// rows that had it.
func (tx *Tx) ForgetPast(ctx context.Context, id, pseudonym string) (rows int64, err error) {
	for _, table := range []string{"past_subject", "past_member"} {
		n, err := tx.execRows(ctx, "forget a subject in history", `UPDATE `+table+` SET subject_id = $2 WHERE subject_id = $1`, id, pseudonym)
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, nil
}
