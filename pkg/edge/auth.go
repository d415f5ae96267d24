package edge

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// authenticate knows the tokens of the snapshot: one that was revoked is rejected as
// soon as the edge serves the revision that did it.
func (e *service) authenticate(_ context.Context, token string) (auth.Identity, error) {
	reject := func(reason error) (auth.Identity, error) {
		return auth.Identity{}, model.Errorf(model.Unauthenticated, "%s", reason)
	}
	hash, ok := auth.HashToken(token)
	if !ok {
		return reject(auth.ErrDamagedToken)
	}
	s := e.replica.Snapshot()
	if s == nil {
		return auth.Identity{}, model.Errorf(model.NotReady, "nothing is loaded yet")
	}
	c, found := s.Credential(hash)
	if !found {
		return reject(auth.ErrUnknownToken)
	}
	if err := auth.CheckExpiry(c.Expires, e.replica.DatabaseTime(time.Now())); err != nil {
		return reject(err)
	}
	return auth.Identity{Role: c.Role}, nil
}

// mayResolve tells whether the hot path may answer. Whoever it does not know is
// told why by the routes behind it.
func (e *service) mayResolve(r *http.Request) bool {
	field := r.Header["Authorization"]
	if len(field) != 1 {
		return false
	}
	token, ok := strings.CutPrefix(field[0], "Bearer ")
	if !ok {
		return false
	}
	caller, err := e.authenticator(r.Context(), token)
	return err == nil && caller.Role.Allows(auth.Resolve) && e.web.AllowToken(token) == nil
}
