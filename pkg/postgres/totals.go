package postgres

import "context"

// Totals is what there is at one revision.
type Totals struct {
	Revision, Buckets, Subjects, Weight, Features int64
}

// Totals is cheap however many subjects there are: buckets know their own.
func (db *DB) Totals(ctx context.Context) (t Totals, err error) {
	const selectTotals = `SELECT (SELECT revision FROM state), count(*), coalesce(sum(subjects), 0)::bigint,
		coalesce(sum(weight), 0)::bigint, (SELECT count(*) FROM feature) FROM bucket`
	err = db.pool.QueryRowContext(ctx, selectTotals).Scan(&t.Revision, &t.Buckets, &t.Subjects, &t.Weight, &t.Features)
	return t, translate(err)
}

// Share is what a rollout, or a group of a live test, was to have of the weight,
// and what its buckets weigh.
type Share struct {
	Feature, Variant string // of a rollout
	Test, Group      string // of a test
	Proportion       float64
	Weight           int64
}

// Shares reads those of all rollouts and live tests.
func (db *DB) Shares(ctx context.Context) ([]Share, error) {
	const weightOf = `(SELECT coalesce(sum(weight), 0)::bigint FROM bucket WHERE id = ANY(buckets))`
	rows, err := db.pool.QueryContext(ctx, `
		SELECT feature, variant, '', '', proportion, `+weightOf+` FROM rollout UNION ALL
		SELECT '', '', abtest, g.name, proportion, `+weightOf+` FROM abtest_group g JOIN abtest t ON t.name = g.abtest
		WHERE t.starts <= clock_timestamp() AND t.ends > clock_timestamp()`)
	if err != nil {
		return nil, translate(err)
	}
	defer rows.Close()
	var shares []Share
	for rows.Next() {
		var s Share
		if err := rows.Scan(&s.Feature, &s.Variant, &s.Test, &s.Group, &s.Proportion, &s.Weight); err != nil {
			return nil, err
		}
		shares = append(shares, s)
	}
	return shares, translate(rows.Err())
}
