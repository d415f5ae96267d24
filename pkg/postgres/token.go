package postgres

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

const tokenColumns = `id, name, role, prefix, created_at, expires_at, used_at`

// scannedInto is where tokenColumns go.
func scannedInto(t *auth.Token) []any {
	return []any{&t.ID, &t.Name, &t.Role, &t.Prefix, &t.Created, &t.Expires, &t.Used}
}

// Token reads one token, or fails with token_not_found.
func (tx *Tx) Token(ctx context.Context, id int64) (*auth.Token, error) {
	tokens, err := tx.tokens(ctx, `WHERE id = $1`, id)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, model.Errorf(model.TokenNotFound, "there is no token %d", id)
	}
	return &tokens[0], nil
}

// Tokens reads at most limit tokens in id order, those after an id.
func (tx *Tx) Tokens(ctx context.Context, after int64, limit int) ([]auth.Token, error) {
	return tx.tokens(ctx, `WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
}

func (tx *Tx) tokens(ctx context.Context, which string, args ...any) ([]auth.Token, error) {
	var tokens []auth.Token
	err := scanAll(ctx, tx, `SELECT `+tokenColumns+` FROM token `+which, func(rows *sql.Rows) error {
		var t auth.Token
		err := rows.Scan(scannedInto(&t)...)
		tokens = append(tokens, t)
		return err
	}, args...)
	return tokens, err
}

// InsertToken stores a token and gives it its id.
func (tx *Tx) InsertToken(ctx context.Context, t *auth.Token, hash auth.TokenHash) error {
	return tx.QueryRowContext(ctx, `
		INSERT INTO token (name, role, prefix, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
		t.Name, t.Role, t.Prefix, hash[:], t.Created, t.Expires).Scan(&t.ID)
}

// DeleteToken removes a token: from the commit on, nobody is let in with it.
func (tx *Tx) DeleteToken(ctx context.Context, id int64) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM token WHERE id = $1`, id)
	return err
}

// FindToken reads the token of a hash, nil where there is none, and the time on
// the database's clock. Each call asks the database, so that a token revoked by
// one admin is refused by all from then on.
func (db *DB) FindToken(ctx context.Context, hash auth.TokenHash) (*auth.Token, time.Time, error) {
	var (
		t   auth.Token
		now time.Time
	)
	err := db.pool.QueryRowContext(ctx, `SELECT `+tokenColumns+`, clock_timestamp() FROM token WHERE hash = $1`, hash[:]).
		Scan(append(scannedInto(&t), &now)...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, now, nil
	}
	if err != nil {
		return nil, now, ended(ctx, err)
	}
	if db.now != nil {
		now = db.now()
	}
	return &t, now, nil
}

// usedEvery is how often the use of a token is noted at most, so that it costs
// next to nothing.
const usedEvery = time.Minute

// MarkTokenUsed notes that a token, as FindToken read it, was used now. That is no
// change: it makes no revision. It does not wait where another request, or the
// token's revocation, is at it already.
func (db *DB) MarkTokenUsed(ctx context.Context, t *auth.Token, now time.Time) error {
	if t.Used != nil && now.Sub(*t.Used) < usedEvery {
		return nil
	}
	_, err := db.pool.ExecContext(ctx, `
		UPDATE token SET used_at = $2
		WHERE id = (SELECT id FROM token WHERE id = $1 AND (used_at IS NULL OR used_at <= $3) FOR UPDATE SKIP LOCKED)`,
		t.ID, now, now.Add(-usedEvery))
	return ended(ctx, err)
}

// HasAdminToken reports whether a token is stored that lets its bearer make
// others.
func (db *DB) HasAdminToken(ctx context.Context) (has bool, err error) {
	err = db.pool.QueryRowContext(ctx, `
		SELECT EXISTS (SELECT FROM token WHERE role = $1 AND (expires_at IS NULL OR expires_at > clock_timestamp()))`,
		auth.AdminRole).Scan(&has)
	return has, ended(ctx, err)
}
