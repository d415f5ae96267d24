package postgres

import (
	"context"

	"github.com/jmoiron/sqlx"
)

// Totals are the numbers of all resources at one revision.
type Totals struct {
	Revision, Buckets, Subjects, Weight, Features int64

	Groups         int64
	LiveTests      int64 `db:"live_tests"`
	ScheduledTests int64 `db:"scheduled_tests"`
}

// selectTotals is cheap for any number of subjects, as buckets have sums.
const selectTotals = `
	SELECT (SELECT revision FROM state) AS revision, count(*) AS buckets, coalesce(sum(subjects), 0)::bigint AS subjects,
	       coalesce(sum(weight), 0)::bigint AS weight, (SELECT count(*) FROM feature) AS features,
	       (SELECT count(*) FROM subject_group) AS groups,
	       (SELECT count(*) FROM abtest WHERE starts <= coalesce($1, clock_timestamp()) AND ends > coalesce($1, clock_timestamp())) AS live_tests,
	       (SELECT count(*) FROM abtest WHERE starts > coalesce($1, clock_timestamp())) AS scheduled_tests
	FROM bucket`

// Totals reads the totals.
func (db *DB) Totals(ctx context.Context) (t Totals, err error) {
	err = db.orReserve(func(pool *sqlx.DB) error { return querier{on: pool}.get(ctx, "read the totals", &t, selectTotals, nil) })
	return t, translate(err)
}

// Totals reads the totals in the transaction.
func (tx *Tx) Totals(ctx context.Context) (t Totals, err error) {
	err = tx.get(ctx, "read the totals", &t, selectTotals, tx.Now)
	return t, err
}

// ConfigurationSize reads the number of bytes of all names, texts and payloads of the
// configuration.
func (tx *Tx) ConfigurationSize(ctx context.Context) (size int64, err error) {
	err = tx.get(ctx, "measure the configuration", &size, `
		SELECT coalesce(sum(size), 0)::bigint FROM (
			SELECT octet_length(name) + octet_length(description) + octet_length(contact) + octet_length(owner) + octet_length(array_to_string(tags, '')) AS size FROM feature
			UNION ALL SELECT octet_length(name) + coalesce(octet_length(payload::text), 0) FROM variant
			UNION ALL SELECT octet_length(name) + octet_length(description) + octet_length(owner) FROM abtest
			UNION ALL SELECT octet_length(name) FROM abtest_group
			UNION ALL SELECT octet_length(feature) + octet_length(variant) FROM abtest_variant
			UNION ALL SELECT octet_length(name) + octet_length(owner) FROM subject_group
			UNION ALL SELECT octet_length(feature) + octet_length(variant) FROM override
		) AS parts`)
	return size, err
}

// Share is the proportion of the weight that is requested for a rollout or for a group of
// a live test, and the weight and the number of its buckets.
type Share struct {
	Feature, Variant string // of a rollout
	Test             string `db:"abtest"` // with Group, of a test
	Group            string `db:"abtest_group"`
	Proportion       float64
	Weight, Buckets  int64
}

// Shares reads the shares of all rollouts and live tests.
func (db *DB) Shares(ctx context.Context) (shares []Share, err error) {
	const weightOf = `(SELECT coalesce(sum(weight), 0)::bigint FROM bucket WHERE id = ANY(buckets)) AS weight, cardinality(buckets) AS buckets`
	err = db.orReserve(func(pool *sqlx.DB) error {
		return querier{on: pool}.selectAll(ctx, "read the shares", &shares, `
			SELECT feature, variant, '' AS abtest, '' AS abtest_group, proportion, `+weightOf+` FROM rollout
			UNION ALL
			SELECT '', '', abtest, g.name, proportion, `+weightOf+` FROM abtest_group g JOIN abtest t ON t.name = g.abtest
			WHERE t.starts <= clock_timestamp() AND t.ends > clock_timestamp()`)
	})
	return shares, translate(err)
}

// Connections are the number of open connections to all databases of PostgreSQL, and the
// limit for roles without a right to reserved ones.
type Connections struct{ Used, Limit int64 }

// Connections reads the numbers, which every role may read.
func (db *DB) Connections(ctx context.Context) (c Connections, err error) {
	err = db.orReserve(func(pool *sqlx.DB) error {
		return querier{on: pool}.get(ctx, "count connections", &c, `
			SELECT count(*) AS used, current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
			       - coalesce(current_setting('reserved_connections', true), '0')::bigint AS limit -- since PostgreSQL 16
			FROM pg_stat_activity
			WHERE datid IS NOT NULL AND usesysid IS NOT NULL -- neither background processes nor replication`)
	})
	return c, translate(err)
}
