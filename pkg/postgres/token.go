package postgres

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

const tokenColumns = `id, name, role, scope AS globs, prefix, created_at AS created, expires_at AS expires, used_at AS used, session, parent, subject`

// storedToken is a row with tokenColumns.
type storedToken struct {
	auth.Token
	Globs pq.StringArray
}

func (t storedToken) token() auth.Token {
	t.Scope = auth.Scope(t.Globs)
	return t.Token
}

// Token reads one token, or fails with token_not_found.
func (tx *Tx) Token(ctx context.Context, id int64) (*auth.Token, error) {
	tokens, err := tx.tokens(ctx, "read a token", `WHERE id = $1`, id)
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
	return tx.tokens(ctx, "list tokens", `WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
}

func (tx *Tx) tokens(ctx context.Context, what, which string, args ...any) ([]auth.Token, error) {
	var stored []storedToken
	err := tx.selectAll(ctx, what, &stored, `SELECT `+tokenColumns+` FROM token `+which, args...)
	tokens := make([]auth.Token, len(stored))
	for i, t := range stored {
		tokens[i] = t.token()
	}
	return tokens, err
}

// InsertToken stores a token and gives it its id.
func (tx *Tx) InsertToken(ctx context.Context, t *auth.Token, hash auth.TokenHash) error {
	return tx.get(ctx, "insert a token", &t.ID, `
		INSERT INTO token (name, role, scope, prefix, hash, created_at, expires_at, session, parent, subject)
		VALUES ($1, $2, coalesce($3, '{}'::text[]), $4, $5, $6, $7, $8, $9, $10) RETURNING id`,
		t.Name, t.Role, pq.StringArray(t.Scope), t.Prefix, hash[:], t.Created, t.Expires, t.Session, t.Parent, t.Subject)
}

// DeleteToken removes a token and its sessions. After the commit they are rejected.
func (tx *Tx) DeleteToken(ctx context.Context, id int64) error {
	return tx.exec(ctx, "delete a token", `DELETE FROM token WHERE id = $1`, id)
}

// FindToken reads the token of a hash, nil if there is none, and the database's time.
// Each call queries the database, so that a token that one admin revoked is rejected by
// all admins at once.
func (db *DB) FindToken(ctx context.Context, hash auth.TokenHash) (*auth.Token, time.Time, error) {
	var found struct {
		storedToken
		Now time.Time
	}
	err := db.orReserve(func(pool *sqlx.DB) error {
		return querier{on: pool}.get(ctx, "find a token", &found,
			`SELECT `+tokenColumns+`, clock_timestamp() AS now FROM token WHERE hash = $1`, hash[:])
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, ended(ctx, err)
	}
	if db.now != nil {
		found.Now = db.now()
	}
	token := found.token()
	return &token, found.Now, nil
}

// usedEvery limits how often the use of a token is stored, so that it costs next to
// nothing.
const usedEvery = time.Minute

// MarkTokenUsed stores that a token that FindToken read was used now. It makes no
// revision. It does not wait if another request, or the token's revocation, has locked
// the row.
func (db *DB) MarkTokenUsed(ctx context.Context, t *auth.Token, now time.Time) error {
	if t.Used != nil && now.Sub(*t.Used) < usedEvery {
		return nil
	}
	err := db.orReserve(func(pool *sqlx.DB) error {
		return querier{on: pool}.exec(ctx, "mark a token used", `
			UPDATE token SET used_at = $2
			WHERE id = (SELECT id FROM token WHERE id = $1 AND (used_at IS NULL OR used_at <= $3) FOR UPDATE SKIP LOCKED)`,
			t.ID, now, now.Add(-usedEvery))
	})
	return ended(ctx, err)
}

// HasAdminToken reports whether a token of role admin is stored and valid. Sessions do
// not count, as they end soon.
func (db *DB) HasAdminToken(ctx context.Context) (has bool, err error) {
	err = db.single().get(ctx, "look for an admin's token", &has, `
		SELECT EXISTS (SELECT FROM token WHERE role = $1 AND NOT session AND (expires_at IS NULL OR expires_at > clock_timestamp()))`,
		auth.AdminRole)
	return has, ended(ctx, err)
}
