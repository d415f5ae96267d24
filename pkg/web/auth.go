package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/model"
)

// Role is what a token's bearer may do.
type Role string

// The roles. Each may what the one before it may, but client stands apart: it
// only asks what subjects get.
const (
	Client Role = "client"
	Viewer Role = "viewer"
	Editor Role = "editor"
	Admin  Role = "admin"
)

// Permission is what a route asks of its caller. Every route declares one where
// it is registered; a server with a route without one does not start.
type Permission string

// The permissions.
const (
	Open       Permission = "open"       // anybody
	Resolve    Permission = "resolve"    // learn what a subject gets
	Read       Permission = "read"       // see everything but secrets
	Document   Permission = "document"   // Read, for pages that a browser opens
	Write      Permission = "write"      // change everything but who may do what
	Administer Permission = "administer" // tokens, and replacing the whole state
)

var permissions = map[Role][]Permission{
	Client: {Resolve},
	Viewer: {Resolve, Read, Document},
	Editor: {Resolve, Read, Document, Write},
	Admin:  {Resolve, Read, Document, Write, Administer},
}

// May tells whether the role reaches that far.
func (r Role) May(p Permission) bool {
	if p == Open {
		return true
	}
	for _, granted := range permissions[r] {
		if granted == p {
			return true
		}
	}
	return false
}

// Identity is who is calling.
type Identity struct {
	Name string // for the audit
	Role Role
}

// Authenticator tells whose token it is. It takes the same time for every wrong
// one.
type Authenticator func(token string) (Identity, bool)

// OneToken knows a single token.
func OneToken(token Secret, identity Identity) Authenticator {
	// Digests have one length, so that comparing them tells nothing of the token's.
	want := sha256.Sum256([]byte(token))
	return func(token string) (Identity, bool) {
		got := sha256.Sum256([]byte(token))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return Identity{}, false
		}
		return identity, true
	}
}

type identityKey struct{}

// Caller is who the request in ctx came from; the zero Identity where nobody
// had to say.
func Caller(ctx context.Context) Identity {
	identity, _ := ctx.Value(identityKey{}).(Identity)
	return identity
}

// authorize lets a request through to its route where the caller may use it.
func (s *Server) authorize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		permission, matched := s.permissions[route{c.Request().Method, c.Path()}]
		if permission == Open || !matched { // no route: the answer is 404 or 405, for everybody alike
			return next(c)
		}
		token, ok := token(c, permission)
		if !ok {
			return s.unauthenticated(c, permission, "a token is needed: Authorization: Bearer <token>")
		}
		identity, ok := s.authenticate(token)
		if !ok {
			return s.unauthenticated(c, permission, "the token is not known")
		}
		if !identity.Role.May(permission) {
			return model.Errorf(model.Forbidden, "the role %s may not do this: it takes the permission to %s", identity.Role, permission)
		}
		r := c.Request()
		c.SetRequest(r.WithContext(context.WithValue(r.Context(), identityKey{}, identity)))
		return next(c)
	}
}

// token reads the Authorization header. Pages also take the token as a password,
// as a browser has no other way to send it; nothing else does, since a browser
// would go on to send it with requests that other sites make it send.
func token(c echo.Context, permission Permission) (string, bool) {
	scheme, token, _ := strings.Cut(c.Request().Header.Get(echo.HeaderAuthorization), " ")
	if strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(token)
		return token, token != ""
	}
	if permission == Document {
		_, password, ok := c.Request().BasicAuth()
		return password, ok
	}
	return "", false
}

func (s *Server) unauthenticated(c echo.Context, permission Permission, detail string) error {
	if permission == Document {
		c.Response().Header().Add(echo.HeaderWWWAuthenticate, `Basic realm="Flaggery: any name, and the token as password"`)
	}
	return model.Errorf(model.Unauthenticated, "%s", detail)
}
