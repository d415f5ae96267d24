package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
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

type callerKey struct{}

// caller is what was found out about who sent a request.
type caller struct {
	identity auth.Identity
	err      error // why the request is rejected
}

// Caller is who the request in ctx came from; the zero Identity where nobody
// had to say.
func Caller(ctx context.Context) auth.Identity {
	known, _ := ctx.Value(callerKey{}).(caller)
	return known.identity
}

// WithCaller is the context of a request with what [Server.Admit] said of it: the
// request's route takes that, and neither authenticates nor counts it again.
func WithCaller(ctx context.Context, identity auth.Identity, err error) context.Context {
	return context.WithValue(ctx, callerKey{}, caller{identity, err})
}

// authorize lets a request through to its route where the caller may use it.
func (s *Server) authorize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		permission, matched := s.permissions[route{r.Method, c.Path()}]
		if permission == auth.Open || !matched { // no route: the answer is 404 or 405, for everybody alike
			return next(c)
		}
		if reading := s.readings[route{r.Method, c.Path()}]; permission == auth.Write && reading.isSet(r, "dry_run") {
			permission = auth.Read // nothing is stored
		}
		known, admitted := r.Context().Value(callerKey{}).(caller)
		if !admitted {
			known.identity, known.err = s.Admit(r.Context(), r, permission)
			c.SetRequest(r.WithContext(WithCaller(r.Context(), known.identity, known.err)))
		}
		if permission == auth.Document && model.CodeOf(known.err) == model.Unauthenticated {
			c.Response().Header().Add(echo.HeaderWWWAuthenticate, `Basic realm="Flaggery: any name, and the token as password"`)
			if s.signInPath != "" && byPerson(r) {
				return c.Redirect(http.StatusSeeOther, s.signInPath+"?next="+url.QueryEscape(r.URL.RequestURI()))
			}
		}
		if known.err != nil {
			return known.err
		}
		return next(c)
	}
}

// Admit finds out who sent a request. Its error says why the caller may not use
// routes with a permission.
func (s *Server) Admit(ctx context.Context, r *http.Request, permission auth.Permission) (auth.Identity, error) {
	identity, err := s.Authenticate(ctx, s.echo.IPExtractor(r), s.token(r, permission))
	if err == nil && !identity.Role.Allows(permission) {
		err = model.Errorf(model.Forbidden, "the role %s may not do this: it takes the permission to %s", identity.Role, permission)
	}
	return identity, err
}

// Authenticate finds out whose token it is. It rejects a token that is used too
// often, and failures of an address that failed too often.
func (s *Server) Authenticate(ctx context.Context, address, token string) (auth.Identity, error) {
	if token == "" { // which is no attempt
		return auth.Identity{}, model.Errorf(model.Unauthenticated, "a token is needed: Authorization: Bearer <token>")
	}
	identity, err := s.authenticate(ctx, token)
	if model.CodeOf(err) == model.Unauthenticated {
		return auth.Identity{}, cmp.Or(s.rates.failed(address), err)
	}
	if err == nil {
		err = s.rates.within(token)
	}
	return identity, err
}

// byPerson tells the request of somebody who opened a page and has nothing to show.
func byPerson(r *http.Request) bool {
	return r.Header.Get(echo.HeaderAuthorization) == "" && preferred(r.Header.Get(echo.HeaderAccept), api.MediaProblem, echo.MIMETextHTML) == echo.MIMETextHTML
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
func (s *Server) token(r *http.Request, permission auth.Permission) string {
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
