package postgres

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/model"
)

// AuditEntry is a stored AuditRow.
type AuditEntry struct {
	Revision int64
	Position int
	At       time.Time
	AuditRow
}

// Place is the entry's place in the audit.
func (e *AuditEntry) Place() AuditPlace { return AuditPlace{e.Revision, e.Position} }

// AuditFilter selects the rows that Audit reads. A zero field selects all.
type AuditFilter struct {
	Actor    string
	Resource string     // a path: this resource and those below it
	Except   string     // a path: not this resource, nor those below it
	Request  string     // the id of an HTTP request
	Since    time.Time  // included
	Until    time.Time  // excluded
	Before   AuditPlace // only older rows than this one
}

// AuditPlace identifies a row of the audit.
type AuditPlace struct {
	Revision int64
	Position int
}

// Audit reads at most limit rows, all if it is 0, newest first.
func (tx *Tx) Audit(ctx context.Context, f AuditFilter, limit int) iter.Seq2[AuditEntry, error] {
	// The paths below "a/b" are between "a/b/" and "a/b0", as 0 is the next character
	// after the slash.
	return fetch(ctx, tx.querier, largeRows, "list the audit", selectAudit+`
		WHERE ($1 = '' OR actor = $1)
		  AND ($2 = '' OR resource = $2 OR resource >= $2 || '/' AND resource < $2 || '0')
		  AND NOT ($8 <> '' AND (resource = $8 OR resource >= $8 || '/' AND resource < $8 || '0'))
		  AND ($3::timestamptz IS NULL OR at >= $3)
		  AND ($4::timestamptz IS NULL OR at < $4)
		  AND ($9 = '' OR request_id = $9)
		  AND ($5::bigint = 0 OR (revision, position) < ($5, $6::integer))
		ORDER BY revision DESC, position DESC LIMIT nullif($7::bigint, 0)`,
		[]any{f.Actor, f.Resource, orNoTime(f.Since), orNoTime(f.Until), f.Before.Revision, f.Before.Position, limit, f.Except, f.Request},
		func(row *sqlx.Rows) (e AuditEntry, bytes int, err error) {
			err = row.StructScan(&e)
			return e, len(e.Before) + len(e.After), err
		})
}

// AuditOf reads all rows of one revision, in their order.
func (tx *Tx) AuditOf(ctx context.Context, revision int64) (entries []AuditEntry, err error) {
	err = tx.selectAll(ctx, "read the audit of a revision", &entries, selectAudit+` WHERE revision = $1 ORDER BY position`, revision)
	return entries, err
}

// Changed reads who made the change that left a resource at a version: a revision or,
// for subjects, a label. It is nil if that is unknown.
func (tx *Tx) Changed(ctx context.Context, version int64, isLabel bool) (*model.Changed, error) {
	var changed model.Changed
	err := tx.get(ctx, "find a change in the audit", &changed, `
		SELECT revision, at, actor FROM audit
		WHERE revision = CASE WHEN $2 THEN (SELECT revision FROM revision WHERE label = $1) ELSE $1 END AND position = 0`, version, isLabel)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	changed.At = changed.At.UTC()
	return &changed, err
}

// Forgotten reports whether one of these names stands for a subject that was forgotten.
func (tx *Tx) Forgotten(ctx context.Context, names []string) (found bool, err error) {
	// Pseudonyms are written the same way in paths.
	err = tx.get(ctx, "look for subjects that were forgotten", &found,
		`SELECT EXISTS (SELECT FROM unnest($1::text[]) AS n (name) JOIN audit a ON a.resource = 'subjects/' || n.name WHERE a.action = 'forget')`,
		pq.Array(names))
	return found, err
}

// AuditAfter reads the last rows, at most limit, of the revisions after one, newest first.
// It leaves out before and after, comments, requests and tokens.
func (tx *Tx) AuditAfter(ctx context.Context, revision int64, limit int) (entries []AuditEntry, err error) {
	err = tx.selectAll(ctx, "read the last changes", &entries, `
		SELECT revision, position, at, actor, action, resource FROM audit
		WHERE revision > $1 ORDER BY revision DESC, position DESC LIMIT $2`, revision, limit)
	return entries, err
}

func orNoTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

const selectAudit = `
	SELECT revision, position, at, actor, action, resource,
	       coalesce(before::text, '') AS before, coalesce(after::text, '') AS after, comment, request_id, coalesce(token, 0) AS token
	FROM audit`

// ForgetInAudit replaces the name of a subject in the audit: in resources in its form in
// paths, and in before and after in both of its forms in JSON. It returns the number of
// rows that had the name. Only the owner of the schema may do this. Rows of many
// subjects are searched one by one.
func (tx *Tx) ForgetInAudit(ctx context.Context, path, newPath string, forms [2]string, newForm string) (rows int64, err error) {
	const what = "change the audit, which only the owner of the schema can"
	// An automatic vacuum of the table yields the lock, but only after a second.
	if err := tx.exec(ctx, what, `SET LOCAL lock_timeout = '5s'`); err != nil {
		return 0, err
	}
	if err := tx.exec(ctx, what, `ALTER TABLE audit DISABLE TRIGGER append_only`); err != nil {
		return 0, err
	}
	rows, err = tx.execRows(ctx, what, `
		UPDATE audit SET resource = left(resource, -length($1)) || $2,
		                 before = replace(replace(before::text, $3, $5), $4, $5)::json,
		                 after = replace(replace(after::text, $3, $5), $4, $5)::json
		WHERE resource IN ('subjects/' || $1, 'groups/' || split_part(resource, '/', 2) || '/subjects/' || $1)`,
		path, newPath, forms[0], forms[1], newForm)
	if err != nil {
		return 0, err
	}
	many, err := tx.execRows(ctx, what, `
		UPDATE audit SET before = replace(before::text, $1, $2)::json, after = replace(after::text, $1, $2)::json
		WHERE (resource = 'subjects' OR resource LIKE 'groups/%/subjects') AND strpos(concat(before, after), $1) > 0`,
		forms[0], newForm)
	if err != nil {
		return 0, err
	}
	return rows + many, tx.exec(ctx, what, `ALTER TABLE audit ENABLE TRIGGER append_only`)
}
