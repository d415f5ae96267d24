package flaggery

import (
	"context"
	"iter"
	"net/http"
	"strconv"

	"github.com/flaggery/flaggery/pkg/api"
)

// CreateToken creates a token. Its secret is only in this result. Requires role admin,
// as do Tokens and RevokeToken.
func (a *Admin) CreateToken(ctx context.Context, create api.NewToken, opts ...WriteOption) (Result[api.Token], error) {
	return write[api.Token](ctx, &a.client, http.MethodPost, at("tokens"), create, opts)
}

// Tokens yields all tokens in id order, without their secrets.
func (a *Admin) Tokens(ctx context.Context) iter.Seq2[api.Token, error] {
	return list[api.Token](ctx, &a.client, at("tokens"), nil, smallItems)
}

// RevokeToken revokes a token. Admins reject it at once, edges as soon as they serve
// the revision. Fails with token_not_found.
func (a *Admin) RevokeToken(ctx context.Context, id int64, opts ...WriteOption) (Receipt, error) {
	return remove(ctx, &a.client, at("tokens", strconv.FormatInt(id, 10)), opts)
}
