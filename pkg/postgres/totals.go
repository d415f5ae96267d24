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
