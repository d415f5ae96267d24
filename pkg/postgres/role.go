package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/model"
)

// EdgeRoleSQL is the statements that make a role for edges, or bring one up to
// date: it can connect to this database and read what an edge serves, nothing
// else; tokens and the audit are not for it. Without a password the role's stays
// as it is, and a new role has none. For a database administrator to run.
func (db *DB) EdgeRoleSQL(ctx context.Context, role, password string) (string, error) {
	var f model.Faults
	if role == "" || len(role) > 63 || strings.ContainsRune(role, 0) {
		f.Addf("role", "must have between 1 and 63 bytes")
	}
	if strings.ContainsRune(password, 0) {
		f.Addf("password", "must not hold NUL")
	}
	if err := f.Err(); err != nil {
		return "", err
	}
	var database, schema string
	err := db.pool.QueryRowContext(ctx, `SELECT current_database(), current_schema()`).Scan(&database, &schema)
	if err != nil {
		return "", translate(err)
	}
	name, inSchema := pq.QuoteIdentifier(role), pq.QuoteIdentifier(schema)
	login := "LOGIN"
	if password != "" {
		login += " PASSWORD " + pq.QuoteLiteral(password)
	}
	return strings.Join([]string{
		// CREATE ROLE has no IF NOT EXISTS.
		"DO " + pq.QuoteLiteral("BEGIN CREATE ROLE "+name+"; EXCEPTION WHEN duplicate_object THEN NULL; END") + ";",
		fmt.Sprintf("ALTER ROLE %s %s NOSUPERUSER NOCREATEDB NOCREATEROLE;", name, login),
		fmt.Sprintf("ALTER ROLE %s SET default_transaction_read_only = on;", name),
		fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s;", pq.QuoteIdentifier(database), name),
		fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", inSchema, name),
		fmt.Sprintf("GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %s;", inSchema, name),
		// What the next migration adds is needed before anyone runs this again.
		fmt.Sprintf("ALTER DEFAULT PRIVILEGES IN SCHEMA %s GRANT SELECT ON TABLES TO %s;", inSchema, name),
		fmt.Sprintf("REVOKE ALL ON %s.token, %[1]s.audit FROM %s;", inSchema, name),
	}, "\n") + "\n", nil
}

// CreateEdgeRole runs EdgeRoleSQL, all of it or nothing.
func (db *DB) CreateEdgeRole(ctx context.Context, role, password string) error {
	statements, err := db.EdgeRoleSQL(ctx, role, password)
	if err != nil {
		return err
	}
	return db.transact(ctx, db.pool, nil, readState, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, statements)
		return translate(err)
	})
}
