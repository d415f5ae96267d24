package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// readByEdges is all that an edge reads; the audit is none of its business, and of
// tokens no more than it takes to know one.
const readByEdges = "state, change, tombstone, bucket, subject, member, subject_group, override, " +
	"feature, variant, rollout, abtest, abtest_group, abtest_variant, schema_migrations"

const tokenColumnsOfEdges = "hash, role, expires_at"

// EdgeRole returns the statements that make a role which edges can connect with,
// and which can read what they need and nothing else. A role that exists gets the
// password and what it lacks: run it again after an upgrade.
func (db *DB) EdgeRole(ctx context.Context, name, password string) (statements []string, err error) {
	return edgeRole(ctx, db.pool, name, password)
}

func edgeRole(ctx context.Context, on sqlx.QueryerContext, name, password string) (statements []string, err error) {
	var database, schema string
	var exists bool
	const selectNames = `SELECT current_database(), current_schema(), EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`
	if err := on.QueryRowxContext(ctx, selectNames, name).Scan(&database, &schema, &exists); err != nil {
		return nil, translate(err)
	}
	verb := "CREATE"
	if exists {
		verb = "ALTER"
	}
	role := pq.QuoteIdentifier(name)
	schema = pq.QuoteIdentifier(schema)
	tables := strings.Split(readByEdges, ", ")
	for i, table := range tables {
		tables[i] = schema + "." + table
	}
	return []string{
		fmt.Sprintf("%s ROLE %s LOGIN PASSWORD %s", verb, role, pq.QuoteLiteral(password)),
		fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", pq.QuoteIdentifier(database), role),
		fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", schema, role),
		fmt.Sprintf("GRANT SELECT ON %s TO %s", strings.Join(tables, ", "), role),
		fmt.Sprintf("GRANT SELECT (%s) ON %s.token TO %s", tokenColumnsOfEdges, schema, role),
	}, nil
}

// CreateEdgeRole runs what EdgeRole returns, all or nothing. Several at once wait
// for each other, as PostgreSQL refuses to make or to change one role twice at a
// time.
func (db *DB) CreateEdgeRole(ctx context.Context, name, password string) error {
	tx, err := db.pool.BeginTxx(ctx, nil)
	if err != nil {
		return translate(err)
	}
	defer func() { _ = tx.Rollback() }() // after the commit it does nothing
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('flaggery edge role', 0))`); err != nil {
		return translate(err)
	}
	statements, err := edgeRole(ctx, tx, name, password)
	if err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create the role %s: %w", name, translate(err))
		}
	}
	return tx.Commit()
}
