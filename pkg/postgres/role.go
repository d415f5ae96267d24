package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
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
	"SELECT, INSERT, UPDATE, DELETE ON subject, subject_group, override, feature, rollout, abtest, token, edge_seen",
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

// role is one to be made, and where.
type role struct {
	Name, Database, Schema string
	Exists, MayLogin       bool   // already
	Maker                  string // the role that makes it
	MayMake                bool   // that one, roles
}

func readRole(ctx context.Context, q querier, name string) (r role, err error) {
	err = q.get(ctx, "look for the role", &r, `
		SELECT $1::text AS name, current_database() AS database, current_schema() AS schema,
		       EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS exists,
		       EXISTS (SELECT FROM pg_roles WHERE rolname = $1 AND rolcanlogin) AS maylogin,
		       current_user::text AS maker, (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) AS maymake`, name)
	return r, err
}

// make is the statement that makes the role, or renews its password; "" sets none.
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

// revokeTemporary takes from everybody what PostgreSQL lets everybody do: make
// temporary tables.
func (r role) revokeTemporary() string {
	return fmt.Sprintf("REVOKE TEMPORARY ON DATABASE %s FROM PUBLIC", pq.QuoteIdentifier(r.Database))
}

// grant is a statement, and the condition that holds once the role $1 has all that it
// gives.
type grant struct{ statement, held string }

// grants give the role the rights.
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

// conditions hold once the role $1 has privileges on an object: "SELECT, UPDATE", or
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

// CreateRole makes a role with these rights and no others, all or nothing, or renews
// the password and the rights of one that exists. If this pool's role may not do that,
// a role that somebody else made is enough: it gets what it lacks and keeps its
// password. What this pool's role may not give is in the error, as statements. Several
// at once wait for each other, as PostgreSQL refuses to change one role twice at a time.
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
		// Only the owner of the database can; functions are safe from temporary tables
		// without it.
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
			db.log.WarnContext(ctx, "a role exists and keeps its password, as this one may not change it", "role", name, "this_one", r.Maker)
		}
		return nil
	}))
}

// permitted runs a statement in a transaction, which goes on if the role of this pool
// may not do that.
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
