// Package auth defines who may do what: roles, their permissions, and the tokens of
// callers with their scopes. It does no I/O and imports no other package of Flaggery.
package auth

import (
	"fmt"
	"slices"
	"time"
)

// Role determines what the bearer of a token may do.
type Role string

// The roles. Each includes the permissions of the one before it.
const (
	ClientRole Role = "client"
	ViewerRole Role = "viewer"
	EditorRole Role = "editor"
	AdminRole  Role = "admin"
)

// CheckRole fails if r is not a role.
func CheckRole(r Role) error {
	if _, known := permissions[r]; known {
		return nil
	}
	return fmt.Errorf("must be %s, %s, %s or %s", ViewerRole, EditorRole, AdminRole, ClientRole)
}

// Permission is what a route requires of its caller.
type Permission string

// The permissions.
const (
	Open       Permission = "open"       // granted to anyone
	Resolve    Permission = "resolve"    // query the flags of subjects
	Read       Permission = "read"       // read everything except secrets
	Document   Permission = "document"   // as Read, for pages that a browser opens
	Write      Permission = "write"      // change everything except tokens; dry runs require Read
	Import     Permission = "import"     // import subjects; a dry run costs as much, so it requires this too
	Administer Permission = "administer" // manage tokens, and replace the whole state
)

var permissions = map[Role][]Permission{
	ClientRole: {Resolve},
	ViewerRole: {Resolve, Read, Document},
	EditorRole: {Resolve, Read, Document, Write, Import},
	AdminRole:  {Resolve, Read, Document, Write, Import, Administer},
}

// Allows reports whether the role has a permission.
func (r Role) Allows(p Permission) bool { return p == Open || slices.Contains(permissions[r], p) }

// Identity is the identity of a caller. The zero value is an unauthenticated one.
type Identity struct {
	Name  string // for the audit
	Role  Role
	Scope Scope
	Token int64 // the stored token that the caller signed in with, or sent with the request; 0 for none

	Bearer   int64      // the stored token of the request itself, which may be a session's; 0 for none
	Expires  *time.Time // of Bearer; nil for never
	Provider Provider
}

// Provider is the source of a caller's name and role.
type Provider string

// The providers.
const (
	FromToken   Provider = "token"   // a stored token
	FromSetting Provider = "setting" // the token in the settings
	FromOIDC    Provider = "oidc"    // an OpenID Connect provider
)
