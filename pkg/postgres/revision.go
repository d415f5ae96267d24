package postgres

import (
	"context"
	"time"

	"github.com/lib/pq"
)

// AuditRow records who changed what. Before and After are JSON, "" for null.
type AuditRow struct {
	Actor, Action, Resource string
	Before, After           string
	Comment                 string
	RequestID               string `db:"request_id"`
	Token                   int64  // the stored token of the caller, 0 for none
}

// Kind is the kind of data that a write changes. Edges read this kind again.
type Kind int

// The kinds of writes.
const (
	OfConfiguration Kind = iota // of everything that is not of another kind
	OfTokens
	OfSubjects // and their memberships
)

// Record ends a write: it stores the change row and the audit rows of the transaction's
// revision, and notifies edges at the commit. It is one statement, and the last one, as
// commits with a notification take a lock that is global in the server.
func (tx *Tx) Record(ctx context.Context, kind Kind, audit []AuditRow) error {
	args := []any{tx.Revision, nil, kind != OfSubjects, kind == OfTokens, tx.Now}
	if kind == OfSubjects {
		args[1] = tx.Label
	}
	columns := make([]pq.StringArray, 7)
	tokens := make(pq.Int64Array, len(audit))
	for i, row := range audit {
		for c, value := range []string{row.Actor, row.Action, row.Resource, row.Before, row.After, row.Comment, row.RequestID} {
			columns[c] = append(columns[c], value)
		}
		tokens[i] = row.Token
	}
	for _, column := range columns {
		args = append(args, column)
	}
	return tx.exec(ctx, "record a change", `
		WITH change AS (
			INSERT INTO change (revision, label, config, tokens, at)
			VALUES ($1::bigint, $2::bigint, $3::boolean, $4::boolean, $5::timestamptz)
		), audit AS (
			INSERT INTO audit (revision, position, at, actor, action, resource, before, after, comment, request_id, token)
			SELECT $1, position - 1, $5, actor, action, resource, nullif(before, '')::json, nullif(after, '')::json, comment, request_id, nullif(token, 0)
			FROM unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[])
			     WITH ORDINALITY AS row (actor, action, resource, before, after, comment, request_id, token, position)
		)
		SELECT pg_notify('`+channel+`', $1::bigint::text)`, append(args, tokens)...)
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// keepExpired is how long an expired token is kept, so that its bearer gets that reason.
// It is then deleted without a revision, as nobody can use it.
const keepExpired = 30 * 24 * time.Hour

// Prune deletes changes made longer ago than olderThan, with their tombstones. The last
// change stays, so that a reader at that revision is recognised as up to date. Tokens
// that expired before keepExpired are deleted too.
func (db *DB) Prune(ctx context.Context, olderThan time.Duration) error {
	err := db.transact(ctx, db.pool, nil, readState, func(tx *Tx) error {
		err := tx.exec(ctx, "delete old changes", `
			WITH old AS (
				DELETE FROM change
				WHERE revision < coalesce((SELECT min(revision) FROM change WHERE at >= $1), $2)
				RETURNING label
			)
			DELETE FROM tombstone t USING old WHERE t.label = old.label`, tx.Now.Add(-olderThan), tx.Revision)
		if err != nil {
			return err
		}
		return tx.exec(ctx, "delete expired tokens", `DELETE FROM token WHERE expires_at < $1`, tx.Now.Add(-keepExpired))
	})
	return translate(err)
}
