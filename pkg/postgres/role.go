package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// Rights are the privileges that a program needs if its role does not own the schema.
type Rights struct {
	temporary bool     // tables
	grants    []string // privileges and tables: "SELECT ON a, b"
}

// EdgeRights are the rights of an edge. It only reads, not the audit, and of tokens only
// the columns that are needed to check one.
var EdgeRights = Rights{grants: []string{
	"SELECT ON state, change, tombstone, bucket, subject, member, subject_group, override, " +
		"feature, variant, rollout, abtest, abtest_group, abtest_variant, schema_migrations",
	"SELECT (hash, role, expires_at) ON token",
}}

// AdminRights are the rights of an admin that does not migrate: it cannot change existing
// audit rows or the schema.
var AdminRights = Rights{temporary: true, grants: []string{
	"SELECT, UPDATE ON state",
	"SELECT, INSERT, UPDATE ON bucket",
	"SELECT, INSERT, DELETE ON change, tombstone, member, variant, abtest_group, abtest_variant",
	"SELECT, INSERT, UPDATE, DELETE ON subject, subject_group, override, feature, rollout, abtest, token, edge_seen",
	"UPDATE ON variant, abtest_group",
	"SELECT, INSERT ON audit, abtest_baseline",
	"SELECT, DELETE ON revision, version, past_subject, past_member", // triggers write them
	"SELECT ON schema_migrations",
	"USAGE ON SEQUENCE change_label",
}}

// DashboardRights are the rights to mark changes in dashboards: who changed what and
// when, without values.
var DashboardRights = Rights{grants: []string{
	"SELECT (revision, position, at, actor, action, resource, comment) ON audit",
}}

// Role returns the statements that create a role with exactly these rights, without a
// password. For an existing role they grant missing rights, so run them again after an
// upgrade.
func (db *DB) Role(ctx context.Context, rights Rights, name string) ([]string, error) {
	r, err := readRole(ctx, db.single(), name)
	if err != nil {
		return nil, translate(err)
	}
	statements := []string{r.make(""), r.revokeTemporary()}
	for _, g := range r.grants(rights) {
		statements = append(statements, g.statement)
	}
	return statements, nil
}

// role is a role to create in a database.
type role struct {
	Name, Database, Schema string
	Exists, MayLogin       bool   // before
	Maker                  string // the role of this pool
	MayMake                bool   // whether Maker may create roles
}

func readRole(ctx context.Context, q querier, name string) (r role, err error) {
	err = q.get(ctx, "look for the role", &r, `
		SELECT $1::text AS name, current_database() AS database, current_schema() AS schema,
		       EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS exists,
		       EXISTS (SELECT FROM pg_roles WHERE rolname = $1 AND rolcanlogin) AS maylogin,
		       current_user::text AS maker, (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) AS maymake`, name)
	return r, err
}

// make returns the statement that creates the role, or sets the password of an existing
// one; with "" it sets none.
func (r role) make(password string) string {
	statement := "CREATE"
	if r.Exists {
		statement = "ALTER"
	}
	statement += " ROLE " + pq.QuoteIdentifier(r.Name) + " LOGIN"
	if password != "" {
		statement += " PASSWORD " + pq.QuoteLiteral(password)
	}
	return statement
}

// revokeTemporary returns the statement that forbids temporary tables, which PostgreSQL
// allows to every role by default.
func (r role) revokeTemporary() string {
	return fmt.Sprintf("REVOKE TEMPORARY ON DATABASE %s FROM PUBLIC", pq.QuoteIdentifier(r.Database))
}

// grant is a statement, and the condition that the role $1 has all its privileges.
type grant struct{ statement, held string }

// grants returns the statements that grant the rights to the role.
func (r role) grants(rights Rights) []grant {
	name, schema := pq.QuoteIdentifier(r.Name), pq.QuoteIdentifier(r.Schema)
	onDatabase, held := "CONNECT", `has_database_privilege($1, current_database(), 'CONNECT')`
	if rights.temporary {
		onDatabase, held = onDatabase+", TEMPORARY", held+` AND has_database_privilege($1, current_database(), 'TEMPORARY')`
	}
	grants := []grant{
		{fmt.Sprintf("GRANT %s ON DATABASE %s TO %s", onDatabase, pq.QuoteIdentifier(r.Database), name), held},
		{fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", schema, name), `has_schema_privilege($1, current_schema(), 'USAGE')`},
	}
	for _, text := range rights.grants {
		privileges, objects, _ := strings.Cut(text, " ON ")
		kind := "TABLE"
		if rest, isSequence := strings.CutPrefix(objects, "SEQUENCE "); isSequence {
			kind, objects = "SEQUENCE", rest
		}
		var qualified, held []string
		for object := range strings.SplitSeq(objects, ", ") {
			object = schema + "." + object
			qualified = append(qualified, object)
			held = append(held, conditions(kind, object, privileges)...)
		}
		grants = append(grants, grant{
			fmt.Sprintf("GRANT %s ON %s %s TO %s", privileges, kind, strings.Join(qualified, ", "), name),
			strings.Join(held, " AND "),
		})
	}
	return grants
}

// conditions are true if the role $1 has privileges on an object: "SELECT, UPDATE", or
// "SELECT (column, column)".
func conditions(kind, object, privileges string) (held []string) {
	object = pq.QuoteLiteral(object)
	if privilege, columns, ofColumns := strings.Cut(strings.TrimSuffix(privileges, ")"), " ("); ofColumns {
		for column := range strings.SplitSeq(columns, ", ") {
			held = append(held, fmt.Sprintf("has_column_privilege($1, %s, '%s', '%s')", object, column, privilege))
		}
		return held
	}
	for privilege := range strings.SplitSeq(privileges, ", ") {
		held = append(held, fmt.Sprintf("has_%s_privilege($1, %s, '%s')", strings.ToLower(kind), object, privilege))
	}
	return held
}

// CreateRole creates a role with exactly these rights, or sets the password and the
// rights of an existing one, all or nothing. If this pool's role may not create roles,
// an existing role keeps its password and gets missing rights. The error has the
// statements for the rights that this pool's role may not grant. Concurrent calls wait
// for each other, as PostgreSQL fails if one role is changed twice at a time.
func (db *DB) CreateRole(ctx context.Context, rights Rights, name, password string) error {
	what := "create the role " + name
	verifier, err := scramVerifier(password)
	if err != nil {
		return err
	}
	return translate(transact(ctx, db.pool, nil, func(q querier) error {
		// Not an advisory lock, which any role could take.
		if err := q.exec(ctx, what, `LOCK TABLE state IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
			return err
		}
		r, err := readRole(ctx, q, name)
		if err != nil {
			return err
		}
		made := false
		if r.MayMake {
			if made, err = q.permitted(ctx, what, r.make(verifier)); err != nil {
				return err
			}
		}
		var missing []string
		if !made && !r.MayLogin {
			missing = append(missing, r.make("choose one"))
		}
		// Only the owner of the database can. If it fails, the schema's functions are
		// still safe from temporary tables.
		if _, err := q.permitted(ctx, what, r.revokeTemporary()); err != nil {
			return err
		}
		for _, g := range r.grants(rights) {
			held := false
			if made || r.Exists {
				if _, err := q.permitted(ctx, what, g.statement); err != nil {
					return err
				}
				if err := q.get(ctx, what, &held, `SELECT `+g.held, name); err != nil {
					return err
				}
			}
			if !held {
				missing = append(missing, g.statement)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("the role %s may not %s with all its rights; as a role that may, such as a superuser, run: %s;", r.Maker, what, strings.Join(missing, "; "))
		}
		if !made {
			db.log.WarnContext(ctx, "the role exists and keeps its password, which the connected role may not change", "role", name, "connected_role", r.Maker)
		}
		return nil
	}))
}

// SetsPassword says whether this pool's role may create the role, or alter it: only then
// does CreateRole set its password.
func (db *DB) SetsPassword(ctx context.Context, name string) (sets bool, err error) {
	const what = "look for the role"
	err = transact(ctx, db.pool, nil, func(q querier) error {
		r, err := readRole(ctx, q, name)
		if err != nil || !r.MayMake {
			return err
		}
		// PostgreSQL 16 lets a role that may create roles alter only some of the others.
		if sets, err = q.permitted(ctx, what, r.make("")); err != nil {
			return err
		}
		return q.exec(ctx, what, `ROLLBACK TO SAVEPOINT attempt`)
	})
	return sets, translate(err)
}

// permitted runs a statement in a transaction. If the role of this pool lacks the
// privilege, it returns false, and the transaction goes on.
func (q querier) permitted(ctx context.Context, what, statement string) (bool, error) {
	if err := q.exec(ctx, what, `SAVEPOINT attempt`); err != nil {
		return false, err
	}
	err := q.exec(ctx, what, statement)
	if pq.As(err, pqerror.InsufficientPrivilege) != nil {
		return false, q.exec(ctx, what, `ROLLBACK TO SAVEPOINT attempt`)
	}
	return err == nil, err
}
