package edge

import (
	"context"
	"time"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// authenticate accepts the tokens of the snapshot. A revoked token is rejected as soon
// as the edge serves the revision of the revocation.
func (e *service) authenticate(ctx context.Context, token string) (auth.Identity, error) {
	reject := func(reason error) (auth.Identity, error) {
		return auth.Identity{}, model.Errorf(model.Unauthenticated, "%s", reason)
	}
	hash, ok := auth.HashToken(token)
	if !ok {
		return reject(auth.ErrDamagedToken)
	}
	v := viewOf(ctx)
	if v == nil {
		return auth.Identity{}, errNothingLoaded
	}
	c, found := v.snapshot.Credential(hash)
	if !found {
		return reject(auth.ErrUnknownToken)
	}
	if err := auth.CheckExpiry(c.Expires, e.replica.DatabaseTime(time.Now())); err != nil {
		return reject(err)
	}
	return auth.Identity{Role: c.Role}, nil
}
