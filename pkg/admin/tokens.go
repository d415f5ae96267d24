package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strconv"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

// firstToken is the actor in the audit if the token of the settings was used. No
// other token can have this name.
const firstToken = "FLAGGERY_ADMIN_TOKEN"

// authenticator accepts the token of the settings, if there is one, and stored
// tokens. The first needs no database.
func (a *service) authenticator(first command.Secret) web.Authenticator {
	// Digests have one length: comparing them does not reveal the length of the token.
	want := sha256.Sum256([]byte(first))
	return func(ctx context.Context, token string) (auth.Identity, error) {
		if a.waiting.Load() {
			return auth.Identity{}, errWaiting
		}
		got := sha256.Sum256([]byte(token))
		if first != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return auth.Identity{Name: firstToken, Role: auth.AdminRole, Provider: auth.FromSetting}, nil
		}
		stored, err := a.writer.Authenticate(ctx, token)
		return identityOf(stored), err
	}
}

// identityOf is the caller with a stored token. In a session it is the person who
// signed in.
func identityOf(t api.Token) auth.Identity {
	identity := auth.Identity{
		Name: t.Name, Role: t.Role, Scope: t.Scope, Token: cmp.Or(t.Parent, t.ID), Bearer: t.ID, Expires: t.ExpiresAt, Provider: auth.FromToken,
	}
	switch {
	case t.Subject != "":
		identity.Name, identity.Provider = model.PersonName(t.Name, t.Subject), auth.FromOIDC
	case t.Session && t.Parent == 0:
		identity.Provider = auth.FromSetting
	}
	return identity
}

// checkReachable fails if there is no token of role admin: nobody could call the
// admin, nor create tokens.
func (a *service) checkReachable(ctx context.Context, first command.Secret) error {
	if first != "" {
		return nil
	}
	stored, err := a.writer.HasAdminToken(ctx)
	if err == nil && !stored {
		err = errors.New("there is no token of role admin: create one with 'flaggery-admin token create --name NAME --role admin'," +
			" or set a first one as FLAGGERY_ADMIN_TOKEN (--admin-token)")
	}
	return err
}

type createTokenInput struct {
	Writing
	Body api.NewToken
}

func (a *service) createToken(ctx context.Context, in *createTokenInput, o ...writer.Option) (writer.Result[api.Token], error) {
	return a.writer.CreateToken(ctx, in.Body, o...)
}

func tokenAt(_ *createTokenInput, t api.Token) string {
	return "/v1/tokens/" + strconv.FormatInt(t.ID, 10)
}

func (a *service) listTokens(ctx context.Context, in *struct{ Listing }) (writer.Result[api.Page[api.Token]], error) {
	return a.writer.Tokens(ctx, in.page())
}

type revokeTokenInput struct {
	ID int64 `path:"id" minimum:"1" doc:"Id of the token" example:"7"`
	Changing
}

func (a *service) revokeToken(ctx context.Context, in *revokeTokenInput, o ...writer.Option) (writer.Result[api.Token], error) {
	return a.writer.RevokeToken(ctx, in.ID, o...)
}
