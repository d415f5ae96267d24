package main

import (
	"context"
	"errors"
	"time"
)

// measurePast explains moments of a year ago to which a million changes were added
// since, in turns with the present.
func (l *lab) measurePast(ctx context.Context) (_ []figure, err error) {
	d := dataset{subjects: 10_001, features: standardFeatures} // used here only, as it grows
	w, err := l.writer(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close(), l.drop(d)) }()
	l.progress.step("adding " + count(l.size.past) + " changes")
	var bytes float64
	var began time.Time
	if began, bytes, err = w.addPast(ctx, l.size.past); err != nil {
		return nil, err
	}
	l.progress.step("explaining the past")
	var past, present []time.Duration
	for i := range 500 {
		for _, measured := range []struct {
			at   time.Time
			took *[]time.Duration
		}{{began.Add(time.Duration(i) * time.Minute), &past}, {time.Time{}, &present}} {
			start := time.Now()
			if _, err := w.Explain(ctx, w.anyone(), measured.at); err != nil {
				return nil, err
			}
			*measured.took = append(*measured.took, time.Since(start))
		}
	}
	return []figure{
		{label: "a year and " + count(l.size.past) + " changes ago", value: milliseconds(quantile(past, 0.5)), unit: "ms",
			reference: milliseconds(quantile(present, 0.5)), against: "now",
			ratio: float64(quantile(past, 0.5)) / float64(quantile(present, 0.5)), limit: atMost(50)},
		{label: "size of history, a change", value: bytes, unit: "bytes"},
	}, nil
}

// addPast makes n changes of the year before now, without the work of a write for each:
// half of them a rollout that moves on, half a subject that leaves a group. It returns
// when the first one was, and the bytes that history takes for each.
func (c *changer) addPast(ctx context.Context, n int) (began time.Time, bytes float64, err error) {
	const size = `SELECT sum(pg_total_relation_size(t::regclass)) FROM unnest('{revision, version, past_subject, past_member}'::text[]) t`
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return began, 0, err
	}
	defer func() { _ = tx.Rollback() }() // fails after the commit, which is what is wanted
	var before, after float64
	if err := tx.QueryRowContext(ctx, size).Scan(&before); err != nil {
		return began, 0, err
	}
	began = time.Now().AddDate(-1, 0, 0).UTC()
	for _, statement := range []struct {
		text      string
		arguments []any
	}{
		{`SET LOCAL session_replication_role = replica`, nil},
		{`CREATE TEMP TABLE first ON COMMIT DROP AS SELECT revision AS n FROM state`, nil},
		// The changes that filled the database are older.
		{`UPDATE revision SET at = $1::timestamptz - (SELECT n - revision FROM first) * interval '1 s', stepped_back = false`, []any{began}},
		{`INSERT INTO revision (revision, at, label, buckets)
		  SELECT f.n + i, $1::timestamptz + i * (interval '365 days' / $2), NULL, $3 FROM first f, generate_series(1, $2) i`,
			[]any{began, n, buckets}},
		{`CREATE TEMP TABLE moving ON COMMIT DROP AS
		  SELECT key, content, row_number() OVER (ORDER BY key) - 1 AS place, count(*) OVER () AS many
		  FROM version WHERE kind = 'rollout' AND until IS NULL`, nil},
		{`UPDATE version SET until = f.n + 1 FROM first f WHERE kind = 'rollout' AND until IS NULL`, nil},
		{`INSERT INTO version (kind, key, since, until, content)
		  SELECT 'rollout', m.key, f.n + i, nullif(least(f.n + i + 2 * m.many, f.n + $1 + 1), f.n + $1 + 1), m.content
		  FROM first f, moving m, generate_series(1 + 2 * m.place, $1, 2 * m.many) i`, []any{n}},
		{`INSERT INTO past_member (subject_id, group_id, since, until)
		  SELECT $1 || lpad((i % $2)::text, $3, '0'), g.id, f.n + i - 1, f.n + i
		  FROM first f, subject_group g, generate_series(2, $4, 2) i WHERE g.name = $5`, []any{idPrefix, c.subjects, idDigits, n, guests}},
		{`UPDATE state SET revision = revision + $1`, []any{n}},
		{`INSERT INTO change (revision, config, at) SELECT revision, true, at FROM revision ORDER BY revision DESC LIMIT 1`, nil},
	} {
		if _, err := tx.ExecContext(ctx, statement.text, statement.arguments...); err != nil {
			return began, 0, err
		}
	}
	if err := tx.QueryRowContext(ctx, size).Scan(&after); err != nil {
		return began, 0, err
	}
	if err := tx.Commit(); err != nil {
		return began, 0, err
	}
	_, err = c.db.ExecContext(ctx, `VACUUM ANALYZE revision, version, past_subject, past_member`)
	return began, (after - before) / float64(n), err
}
