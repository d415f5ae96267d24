package postgres

import (
	"context"
	"database/sql"
	"time"
)

// AuditEntry is a stored AuditRow.
type AuditEntry struct {
	Revision int64
	Position int
	At       time.Time
	AuditRow
}

// AuditFilter narrows what Audit reads. What is zero takes everything.
type AuditFilter struct {
	Actor    string
	Resource string // itself and what lies below it
	Since    time.Time
	Before   AuditPlace // only what comes after this in the list, which is older
}

// AuditPlace tells the rows of the audit apart.
type AuditPlace struct {
	Revision int64
	Position int
}

// Audit reads at most limit rows, newest first.
func (tx *Tx) Audit(ctx context.Context, f AuditFilter, limit int) ([]AuditEntry, error) {
	var entries []AuditEntry
	var since any
	if !f.Since.IsZero() {
		since = f.Since
	}
	// The ids of what lies below "a/b" are between "a/b/" and "a/b0", as 0 comes
	// behind the slash.
	err := scanAll(ctx, tx, `
		SELECT revision, position, at, actor, action, resource, coalesce(before::text, ''), coalesce(after::text, ''),
		       comment, request_id
		FROM audit
		WHERE ($1 = '' OR actor = $1)
		  AND ($2 = '' OR resource = $2 OR resource >= $2 || '/' AND resource < $2 || '0')
		  AND ($3::timestamptz IS NULL OR at >= $3)
		  AND ($4::bigint = 0 OR (revision, position) < ($4, $5::integer))
		ORDER BY revision DESC, position DESC LIMIT $6`, func(rows *sql.Rows) error {
		var e AuditEntry
		err := rows.Scan(&e.Revision, &e.Position, &e.At, &e.Actor, &e.Action, &e.Resource, &e.Before, &e.After,
			&e.Comment, &e.RequestID)
		entries = append(entries, e)
		return err
	}, f.Actor, f.Resource, since, f.Before.Revision, f.Before.Position, limit)
	return entries, err
}
