package postgres

import (
	"context"
	"time"
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

// AuditFilter narrows what Audit reads. What is zero takes everything.
type AuditFilter struct {
	Actor    string
	Resource string     // itself and what lies below it
	Since    time.Time  // included
	Until    time.Time  // excluded
	Before   AuditPlace // only what comes after this in the list, which is older
}

// AuditPlace identifies a row of the audit.
type AuditPlace struct {
	Revision int64
	Position int
}

// Audit reads at most limit rows, newest first.
func (tx *Tx) Audit(ctx context.Context, f AuditFilter, limit int) ([]AuditEntry, error) {
	// The ids of what lies below "a/b" are between "a/b/" and "a/b0", as 0 comes
	// behind the slash.
	return tx.audit(ctx, "list the audit", `
		WHERE ($1 = '' OR actor = $1)
		  AND ($2 = '' OR resource = $2 OR resource >= $2 || '/' AND resource < $2 || '0')
		  AND ($3::timestamptz IS NULL OR at >= $3)
		  AND ($4::timestamptz IS NULL OR at < $4)
		  AND ($5::bigint = 0 OR (revision, position) < ($5, $6::integer))
		ORDER BY revision DESC, position DESC LIMIT $7`,
		f.Actor, f.Resource, orNoTime(f.Since), orNoTime(f.Until), f.Before.Revision, f.Before.Position, limit)
}

// AuditOf reads all rows of one revision, in their order.
func (tx *Tx) AuditOf(ctx context.Context, revision int64) ([]AuditEntry, error) {
	return tx.audit(ctx, "read the audit of a revision", `WHERE revision = $1 ORDER BY position`, revision)
}

func orNoTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func (tx *Tx) audit(ctx context.Context, what, which string, args ...any) (entries []AuditEntry, err error) {
	err = tx.selectAll(ctx, what, &entries, `
		SELECT revision, position, at, actor, action, resource,
		       coalesce(before::text, '') AS before, coalesce(after::text, '') AS after, comment, request_id
		FROM audit `+which, args...)
	return entries, err
}
