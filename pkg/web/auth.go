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

// Declared is a route and the permission that it requires.
type Declared struct {
	Method, Path string // the path in echo's form: /v1/things/:id
	Permission   auth.Permission
}

// Routes lists the server's routes, by path and method.
func (s *Server) Routes() []Declared {
	var all []Declared
	for r, permission := range s.permissions {
		all = append(all, Declared{r.method, r.path, permission})
	}
	slices.SortFunc(all, func(a, b Declared) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method)) })
	return all
}

// Authenticator finds the owner of a token. Its error has the code
// [model.Unauthenticated] if the token is invalid; any other error means that it
// could not be checked.
type Authenticator func(ctx context.Context, token string) (auth.Identity, error)

type callerKey struct{}

// caller is the result of authenticating a request.
type caller struct {
	identity auth.Identity
	err      error // why the request is rejected
}

// Caller is the authenticated caller of the request in ctx, the zero Identity if
// the request needed none.
func Caller(ctx context.Context) auth.Identity {
	known, _ := ctx.Value(callerKey{}).(caller)
	return known.identity
}

// WithCaller is the context of a request with the result of [Server.Admit]. The
// request's route uses it, and neither authenticates nor counts the request again.
func WithCaller(ctx context.Context, identity auth.Identity, err error) context.Context {
	return context.WithValue(ctx, callerKey{}, caller{identity, err})
}

// authorize passes a request on to its route if the caller may use that.
func (s *Server) authorize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		permission, matched := s.permissions[route{r.Method, c.Path()}]
		if permission == auth.Open || !matched { // without a route, the answer is 404 or 405 for everybody
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

// Admit authenticates the caller of a request. It fails if the caller lacks the
// permission.
func (s *Server) Admit(ctx context.Context, r *http.Request, permission auth.Permission) (auth.Identity, error) {
	identity, err := s.Authenticate(ctx, s.echo.IPExtractor(r), s.token(r, permission))
	switch {
	case err != nil:
	case !identity.Role.Allows(permission):
		err = model.Errorf(model.Forbidden, "the role %s lacks the permission to %s", identity.Role, permission)
	case permission == auth.Import && len(identity.Scope) > 0: // before the body is read
		err = model.Errorf(model.Forbidden, "the scope of the token (%s) does not include imports", identity.Scope)
	}
	return identity, err
}

// Authenticate finds the owner of a token. It also fails if the token is used too
// often, or after too many failed authentications from the caller's address.
func (s *Server) Authenticate(ctx context.Context, address, token string) (auth.Identity, error) {
	if token == "" { // not counted as a failed authentication
		return auth.Identity{}, model.Errorf(model.Unauthenticated, "a token is needed: Authorization: Bearer <token>")
	}
	identity, err := s.authenticate(ctx, token)
	if model.CodeOf(err) == model.Unauthenticated {
		return auth.Identity{}, cmp.Or(s.rates.failed(address), err)
	}
	if err == nil {
		err = s.rates.allow(token)
	}
	return identity, err
}

// byPerson reports whether a request opens a page in a browser, without
// credentials.
func byPerson(r *http.Request) bool {
	return r.Header.Get(echo.HeaderAuthorization) == "" && preferred(r.Header.Get(echo.HeaderAccept), api.MediaProblem, echo.MIMETextHTML) == echo.MIMETextHTML
}

// sameOrigin rejects requests that other sites make a browser send.
var sameOrigin = http.NewCrossOriginProtection()

// CheckOrigin fails if another site made a browser send a request that changes
// something.
func CheckOrigin(r *http.Request) error {
	if sameOrigin.Check(r) != nil {
		return model.Errorf(model.Forbidden, "another site sent this request")
	}
	return nil
}

// token finds the token of a request, "" for none: in the Authorization header or,
// without one, in the session, unless another site may have sent the request. Pages
// also accept the token as a password: without sign-in a browser has no other way
// to send it. Other routes do not, because a browser would then also send the
// password with requests from other sites.
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
