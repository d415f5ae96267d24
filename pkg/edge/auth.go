package edge

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/web"
)

// authenticate knows the tokens of the snapshot: one that was revoked is refused as
// soon as the edge serves the revision that did it.
func (e *service) authenticate(_ context.Context, token string) (web.Identity, error) {
	hash, ok := model.HashToken(token)
	if !ok {
		return web.Identity{}, model.DamagedToken()
	}
	s := e.replica.Snapshot()
	if s == nil {
		return web.Identity{}, model.Errorf(model.NotReady, "nothing is loaded yet")
	}
	c, found := s.Credential(hash)
	if !found {
		return web.Identity{}, model.UnknownToken()
	}
	if c.Expires != nil && !e.replica.DatabaseTime(time.Now()).Before(*c.Expires) {
		return web.Identity{}, model.ExpiredToken(*c.Expires)
	}
	return web.Identity{Role: c.Role}, nil
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
	return err == nil && caller.May(web.Resolve) && e.web.Within(token) == nil
}
