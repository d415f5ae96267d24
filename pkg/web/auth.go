package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// Declared is a route with what it asks of its caller.
type Declared struct {
	Method, Path string // the path in echo's form: /v1/things/:id
	Permission   auth.Permission
}

// Routes lists what the server answers, by path and method.
func (s *Server) Routes() []Declared {
	var all []Declared
	for r, permission := range s.permissions {
		all = append(all, Declared{r.method, r.path, permission})
	}
	slices.SortFunc(all, func(a, b Declared) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method)) })
	return all
}

// Authenticator finds out whose token it is. Its error has the code
// [model.Unauthenticated] if the token is invalid, and is any other if that cannot
// be found out.
type Authenticator func(ctx context.Context, token string) (auth.Identity, error)

type identityKey struct{}

// Caller is who the request in ctx came from; the zero Identity where nobody
// had to say.
func Caller(ctx context.Context) auth.Identity {
	identity, _ := ctx.Value(identityKey{}).(auth.Identity)
	return identity
}

// authorize lets a request through to its route where the caller may use it.
func (s *Server) authorize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		permission, matched := s.permissions[route{c.Request().Method, c.Path()}]
		if permission == auth.Open || !matched { // no route: the answer is 404 or 405, for everybody alike
			return next(c)
		}
		identity, err := s.identify(c, permission)
		if model.CodeOf(err) == model.Unauthenticated && permission == auth.Document && s.signInPath != "" && byPerson(c.Request()) {
			return c.Redirect(http.StatusSeeOther, s.signInPath+"?next="+url.QueryEscape(c.Request().URL.RequestURI()))
		}
		if err != nil {
			return err
		}
		r := c.Request()
		c.SetRequest(r.WithContext(context.WithValue(r.Context(), identityKey{}, identity)))
		if !identity.Role.Allows(permission) {
			return model.Errorf(model.Forbidden, "the role %s may not do this: it takes the permission to %s", identity.Role, permission)
		}
		return next(c)
	}
}

// identify finds out who is calling a route that not everybody may.
func (s *Server) identify(c echo.Context, permission auth.Permission) (identity auth.Identity, err error) {
	identity, err = s.Authenticate(c, s.token(c, permission))
	if model.CodeOf(err) == model.Unauthenticated && permission == auth.Document {
		c.Response().Header().Add(echo.HeaderWWWAuthenticate, `Basic realm="Flaggery: any name, and the token as password"`)
	}
	return identity, err
}

// Authenticate finds out whose token it is, unless its bearer asks too often.
func (s *Server) Authenticate(c echo.Context, token string) (auth.Identity, error) {
	if token == "" { // which is no attempt
		return auth.Identity{}, model.Errorf(model.Unauthenticated, "a token is needed: Authorization: Bearer <token>")
	}
	address := c.RealIP()
	if err := s.rates.mayTry(address, token); err != nil {
		return auth.Identity{}, err
	}
	identity, err := s.authenticate(c.Request().Context(), token)
	if err == nil {
		err = s.rates.within(token)
	} else if model.CodeOf(err) == model.Unauthenticated {
		s.rates.failed(address, token)
	}
	return identity, err
}

// AllowToken is an error where a good token is used too often, for who knows callers
// without a route.
func (s *Server) AllowToken(token string) error { return s.rates.within(token) }

// byPerson tells the request of somebody who opened a page and has nothing to show.
func byPerson(r *http.Request) bool {
	return r.Header.Get(echo.HeaderAuthorization) == "" && strings.Contains(r.Header.Get(echo.HeaderAccept), echo.MIMETextHTML)
}

// sameOrigin refuses what other sites make a browser send.
var sameOrigin = http.NewCrossOriginProtection()

// CheckOrigin is an error where another site made a browser send a request that
// changes something.
func CheckOrigin(r *http.Request) error {
	if sameOrigin.Check(r) != nil {
		return model.Errorf(model.Forbidden, "another site sent this request")
	}
	return nil
}

// token finds the token of a request, "" for none: in the Authorization header or,
// without one, of who is signed in, unless another site may have sent the request.
// Pages also take the token as a password, as a browser has no other way to send
// it where nobody can sign in; nothing else does, since a browser would go on to
// send it with requests that other sites make it send.
func (s *Server) token(c echo.Context, permission auth.Permission) string {
	r := c.Request()
	field := r.Header.Get(echo.HeaderAuthorization)
	if field == "" {
		if s.session == nil || CheckOrigin(r) != nil {
			return ""
		}
		return s.session(r)
	}
	scheme, token, _ := strings.Cut(field, " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	if permission == auth.Document {
		_, password, _ := r.BasicAuth()
		return password
	}
	return ""
}
