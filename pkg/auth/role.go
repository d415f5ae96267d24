// Package auth knows who may do what: roles and their permissions, and the tokens
// that callers show. It is pure and imports nothing of Flaggery's.
package auth

import (
	"fmt"
	"slices"
	"time"
)

// Role is what the bearer of a token may do.
type Role string

// The roles. Each may do what the one before it may, but client stands apart: it
// only asks what subjects get.
const (
	ClientRole Role = "client"
	ViewerRole Role = "viewer"
	EditorRole Role = "editor"
	AdminRole  Role = "admin"
)

// CheckRole says what is wrong with text that should be a role.
func CheckRole(r Role) error {
	if _, known := permissions[r]; known {
		return nil
	}
	return fmt.Errorf("must be %s, %s, %s or %s", ViewerRole, EditorRole, AdminRole, ClientRole)
}

// Permission is what a route asks of its caller.
type Permission string

// The permissions.
const (
	Open       Permission = "open"       // anybody
	Resolve    Permission = "resolve"    // learn what a subject gets
	Read       Permission = "read"       // see everything but secrets
	Document   Permission = "document"   // Read, for pages that a browser opens
	Write      Permission = "write"      // change everything but who may do what; dry runs take Read
	Import     Permission = "import"     // change subjects by a file, which costs as much in a dry run
	Administer Permission = "administer" // tokens, and replacing the whole state
)

var permissions = map[Role][]Permission{
	ClientRole: {Resolve},
	ViewerRole: {Resolve, Read, Document},
	EditorRole: {Resolve, Read, Document, Write, Import},
	AdminRole:  {Resolve, Read, Document, Write, Import, Administer},
}

// Allows reports whether the role has a permission.
func (r Role) Allows(p Permission) bool { return p == Open || slices.Contains(permissions[r], p) }

// Identity is who is calling. Its zero value is anybody.
type Identity struct {
	Name  string // for the audit
	Role  Role
	Token int64 // the stored token that was shown, to sign in or with the request; 0 for none

	Bearer   int64      // the stored token of the request itself: a session's of who signed in; 0 for none
	Expires  *time.Time // of Bearer; nil for never
	Provider Provider
}

// Provider is where a caller's name and role come from.
type Provider string

// The providers.
const (
	FromToken   Provider = "token"   // that is stored
	FromSetting Provider = "setting" // the first token
	FromOIDC    Provider = "oidc"    // an OpenID Connect provider
)
