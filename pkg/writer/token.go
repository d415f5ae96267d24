package writer

import (
	"context"
	"iter"
	"strconv"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// CreateToken creates a token. Only the result has its secret, as only a hash is stored.
// A dry run returns no secret. An expiry must be in the future, and is stored to the
// microsecond.
func (w *Writer) CreateToken(ctx context.Context, create api.NewToken, opts ...Option) (Result[api.Token], error) {
	var f model.Faults
	f.Check("body.name", model.CheckTokenName(create.Name))
	f.Check("body.role", auth.CheckRole(create.Role))
	f.Check("body.scope", auth.CheckScope(create.Scope, create.Role))
	token := auth.Token{Name: create.Name, Role: create.Role, Scope: create.Scope}
	if create.ExpiresAt != nil {
		expires := create.ExpiresAt.UTC().Truncate(time.Microsecond)
		checkTime(&f, "body.expires_at", expires)
		token.Expires = &expires
	}
	if err := f.Err(); err != nil {
		return Result[api.Token]{}, err
	}
	secret := auth.NewToken()
	hash, _ := auth.HashToken(secret)
	token.Prefix = auth.TokenPrefix(secret)
	result, err := write(ctx, w, tokens, opts, func(c *change) (api.Token, error) {
		if err := c.match(unversioned); err != nil {
			return api.Token{}, err
		}
		return c.addToken(ctx, token, hash)
	})
	if err == nil && !result.DryRun {
		result.Value.Token = secret // after the write, as the audit must not have it
	}
	return result, err
}

// NewSession is a request for a session: a token for one browser.
type NewSession struct {
	Name    string
	Role    auth.Role
	Secret  string    // as [auth.NewToken] makes it
	Expires time.Time // at the latest
	Token   int64     // the stored token used to sign in, with which the session ends; 0 for none
	Subject string    // the person's id at the identity provider; "" for none
}

// BeginSession stores the token of somebody who signed in. Fails with
// token_not_found.
func (w *Writer) BeginSession(ctx context.Context, create NewSession, opts ...Option) (Result[api.Token], error) {
	hash, _ := auth.HashToken(create.Secret)
	return write(ctx, w, tokens, opts, func(c *change) (api.Token, error) {
		if err := c.match(unversioned); err != nil {
			return api.Token{}, err
		}
		expires := create.Expires.UTC().Truncate(time.Microsecond)
		session := auth.Token{
			Name: create.Name, Role: create.Role, Prefix: auth.TokenPrefix(create.Secret), Expires: &expires, Session: true, Subject: create.Subject,
		}
		if create.Token != 0 {
			shown, err := c.tx.Token(ctx, create.Token)
			if err != nil {
				return api.Token{}, err
			}
			session.Parent, session.Scope = &shown.ID, shown.Scope
			if shown.Expires != nil && shown.Expires.Before(expires) {
				session.Expires = shown.Expires
			}
		}
		return c.addToken(ctx, session, hash)
	})
}

func (c *change) addToken(ctx context.Context, token auth.Token, hash auth.TokenHash) (api.Token, error) {
	if auth.CheckExpiry(token.Expires, c.tx.Now) != nil {
		var f model.Faults
		f.Addf("body.expires_at", "must be in the future, it is %s now", c.tx.Now.Format(time.RFC3339))
		return api.Token{}, f.Err()
	}
	token.Created = c.tx.Now
	if err := c.tx.InsertToken(ctx, &token, hash); err != nil {
		return api.Token{}, err
	}
	after := tokenForm(token)
	return after, c.note(created, tokenResource.of(tokenID(after)), nil, after)
}

// RevokeToken removes a token and its sessions. Admins reject them at once, edges as soon
// as they serve the revision. Fails with token_not_found.
func (w *Writer) RevokeToken(ctx context.Context, id int64, opts ...Option) (Result[api.Token], error) {
	return write(ctx, w, tokens, opts, func(c *change) (api.Token, error) {
		token, err := c.tx.Token(ctx, id)
		if err != nil {
			return api.Token{}, err
		}
		if err := c.match(unversioned); err != nil {
			return api.Token{}, err
		}
		return c.deleteToken(ctx, token)
	})
}

func (c *change) deleteToken(ctx context.Context, token *auth.Token) (api.Token, error) {
	if err := c.tx.DeleteToken(ctx, token.ID); err != nil {
		return api.Token{}, err
	}
	before := tokenForm(*token)
	return before, c.note(deleted, tokenResource.of(tokenID(before)), before, nil)
}

// Tokens lists the tokens in id order, without their secrets.
func (w *Writer) Tokens(ctx context.Context, page Page) (Result[api.Page[api.Token]], error) {
	var after int64
	if page.After != "" {
		var err error
		if after, err = strconv.ParseInt(page.After, 10, 64); err != nil || strconv.FormatInt(after, 10) != page.After || after < 1 {
			return Result[api.Page[api.Token]]{}, model.Faults{{Location: "query.after", Message: "must be the id of a token"}}.Err()
		}
	}
	return list(ctx, w, page, func(t auth.Token) string { return strconv.FormatInt(t.ID, 10) },
		func(tx *postgres.Tx, limit int) iter.Seq2[auth.Token, error] {
			return all(tx.Tokens(ctx, after, limit))
		},
		each(tokenForm))
}

// Authenticate finds the token of a secret and stores that it was used. It queries the
// database each time, as a revoked token must be rejected. Fails with unauthenticated,
// which does not show whether a token was revoked or never existed.
func (w *Writer) Authenticate(ctx context.Context, secret string) (api.Token, error) {
	reject := func(reason error) (api.Token, error) {
		return api.Token{}, model.Errorf(model.Unauthenticated, "%s", reason)
	}
	hash, ok := auth.HashToken(secret)
	if !ok {
		return reject(auth.ErrDamagedToken)
	}
	token, now, err := w.db.FindToken(ctx, hash)
	if err != nil {
		return api.Token{}, err
	}
	if token == nil {
		return reject(auth.ErrUnknownToken)
	}
	if err := auth.CheckExpiry(token.Expires, now); err != nil {
		return reject(err)
	}
	// If the use cannot be stored, reading may still be possible.
	if err := w.db.MarkTokenUsed(ctx, token, now); err != nil && ctx.Err() == nil {
		w.log.WarnContext(ctx, "use of a token not stored", "token", token.ID, "error", err)
	}
	return tokenForm(*token), nil
}

// CheckToken fails with unauthenticated if the token of an id was revoked or has expired.
// It is for requests that take long after their authentication.
func (w *Writer) CheckToken(ctx context.Context, id int64) error {
	return w.db.Read(ctx, func(tx *postgres.Tx) error { return checkToken(ctx, tx, id) })
}

// checkToken accepts 0, which means no stored token.
func checkToken(ctx context.Context, tx *postgres.Tx, id int64) error {
	if id == 0 {
		return nil
	}
	token, err := tx.Token(ctx, id)
	switch {
	case err == nil:
		err = auth.CheckExpiry(token.Expires, tx.Now)
	case model.CodeOf(err) == model.TokenNotFound:
		err = auth.ErrUnknownToken
	default:
		return err
	}
	if err != nil {
		return model.Errorf(model.Unauthenticated, "%s", err)
	}
	return nil
}

// HasAdminToken reports whether a token of role admin is stored.
func (w *Writer) HasAdminToken(ctx context.Context) (bool, error) { return w.db.HasAdminToken(ctx) }

func tokenForm(t auth.Token) api.Token {
	form := api.Token{
		ID: t.ID, Name: t.Name, Role: t.Role, Scope: t.Scope, Prefix: t.Prefix, CreatedAt: t.Created.UTC(), ExpiresAt: t.Expires, UsedAt: t.Used,
		Session: t.Session, Subject: t.Subject,
	}
	if t.Parent != nil {
		form.Parent = *t.Parent
	}
	for _, at := range []**time.Time{&form.ExpiresAt, &form.UsedAt} {
		if *at != nil {
			utc := (*at).UTC()
			*at = &utc
		}
	}
	return form
}

func tokenID(t api.Token) string { return strconv.FormatInt(t.ID, 10) }
