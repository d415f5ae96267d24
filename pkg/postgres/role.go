package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/lib/pq"
)

// Rights are what a program has to be granted to connect with a role that does not
// own the schema.
type Rights struct {
	temporary bool     // tables
	grants    []string // privileges and tables: "SELECT ON a, b"
}

// EdgeRights are enough for an edge: it reads. The audit is none of its business,
// and of tokens no more than it takes to know one.
var EdgeRights = Rights{grants: []string{
	"SELECT ON state, change, tombstone, bucket, subject, member, subject_group, override, " +
		"feature, variant, rollout, abtest, abtest_group, abtest_variant, schema_migrations",
	"SELECT (hash, role, expires_at) ON token",
}}

// AdminRights are enough for an admin that does not migrate: what was noted in the
// audit it can only read, and the schema stays as it is.
var AdminRights = Rights{temporary: true, grants: []string{
	"SELECT, UPDATE ON state",
	"SELECT, INSERT, UPDATE ON bucket",
	"SELECT, INSERT, DELETE ON change, tombstone, member, variant, abtest_group, abtest_variant",
	"SELECT, INSERT, UPDATE, DELETE ON subject, subject_group, override, feature, rollout, abtest, token",
	"UPDATE ON variant, abtest_group",
	"SELECT, INSERT ON audit, abtest_baseline",
	"SELECT, DELETE ON revision, version, past_subject, past_member", // triggers write them
	"SELECT ON schema_migrations",
	"USAGE ON SEQUENCE change_label",
}}

// DashboardRights are enough to mark changes in dashboards: who changed what and when,
// and not the values.
var DashboardRights = Rights{grants: []string{
	"SELECT (revision, position, at, actor, action, resource, comment) ON audit",
}}

// Role returns the statements that make a role with these rights and no others, and
// without a password. A role that exists gets what it lacks: run it again after an
// upgrade.
func (db *DB) Role(ctx context.Context, rights Rights, name string) (statements []string, err error) {
	statements, err = roleStatements(ctx, db.single(), rights, name)
	return statements, translate(err)
}

func roleStatements(ctx context.Context, q querier, rights Rights, name string) (statements []string, err error) {
	var in struct {
		Database, Schema string
		Exists           bool
	}
	err = q.get(ctx, "look for the role", &in, `
		SELECT current_database() AS database, current_schema() AS schema,
		       EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS exists`, name)
	if err != nil {
		return nil, err
	}
	verb := "CREATE"
	if in.Exists {
		verb = "ALTER"
	}
	onDatabase := "CONNECT"
	if rights.temporary {
		onDatabase += ", TEMPORARY"
	}
	role, database, schema := pq.QuoteIdentifier(name), pq.QuoteIdentifier(in.Database), pq.QuoteIdentifier(in.Schema)
	statements = []string{
		fmt.Sprintf("%s ROLE %s LOGIN", verb, role),
		// Everybody may make temporary tables, unless told otherwise.
		fmt.Sprintf("REVOKE TEMPORARY ON DATABASE %s FROM PUBLIC", database),
		fmt.Sprintf("GRANT %s ON DATABASE %s TO %s", onDatabase, database, role),
		fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", schema, role),
	}
	for _, grant := range rights.grants {
		privileges, tables, _ := strings.Cut(grant, " ON ")
		kind := ""
		if rest, isSequence := strings.CutPrefix(tables, "SEQUENCE "); isSequence {
			kind, tables = "SEQUENCE ", rest
		}
		tables = schema + "." + strings.ReplaceAll(tables, ", ", ", "+schema+".")
		statements = append(statements, fmt.Sprintf("GRANT %s ON %s%s TO %s", privileges, kind, tables, role))
	}
	return statements, nil
}

// CreateRole runs what Role returns and sets the password, all or nothing. Several at
// once wait for each other, as PostgreSQL refuses to make or to change one role twice
// at a time.
func (db *DB) CreateRole(ctx context.Context, rights Rights, name, password string) error {
	what := "create the role " + name
	verifier, err := scramVerifier(password)
	if err != nil {
		return err
	}
	return translate(transact(ctx, db.pool, nil, func(q querier) error {
		// Not an advisory lock, which anybody who connects may hold.
		if err := q.exec(ctx, what, `LOCK TABLE state IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
			return err
		}
		statements, err := roleStatements(ctx, q, rights, name)
		if err != nil {
			return err
		}
		password := fmt.Sprintf("ALTER ROLE %s PASSWORD %s", pq.QuoteIdentifier(name), pq.QuoteLiteral(verifier))
		for _, statement := range append(statements, password) {
			if err := q.exec(ctx, what, statement); err != nil {
				return err
			}
		}
		return nil
	}))
}
