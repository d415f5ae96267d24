package auth_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/auth"
)

func TestScopes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		scope   auth.Scope
		in, out string // names
	}{
		{nil, "checkout a", ""},
		{auth.Scope{"checkout"}, "checkout", "checkout2 Checkout checkou a.checkout"},
		{auth.Scope{"checkout.*"}, "checkout.a checkout.a.b checkout.", "checkout checkoutxa my.checkout.a Checkout.a"},
		{auth.Scope{"*"}, "a a.b a-b_c.D9", ""},
		{auth.Scope{"*.web"}, "a.web a.b.web", "web a.webs"},
		{auth.Scope{"a*b*c"}, "abc aXbYc abbcc a.b.c", "ab abcd xabc"},
		{auth.Scope{"v?"}, "v1 v. vv", "v v12 av1"},
		{auth.Scope{"?*"}, "a ab", ""},
		{auth.Scope{"web.*", "ops-?"}, "web.a ops-1", "web ops-12 ops- api.a"},
		{auth.Scope{"a.b"}, "a.b", "axb"}, // a dot is itself
	} {
		for _, name := range strings.Fields(row.in + " " + row.out) {
			if in := slices.Contains(strings.Fields(row.in), name); row.scope.Includes(name) != in {
				t.Errorf("%s includes %q: %t", row.scope, name, !in)
			}
		}
	}
}

func TestCheckScope(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 128)
	for _, row := range []struct {
		scope auth.Scope
		role  auth.Role
		fault string // "" for none
	}{
		{nil, auth.ViewerRole, ""},
		{auth.Scope{}, auth.AdminRole, ""},
		{auth.Scope{"a", "A-z_0.*?", long}, auth.EditorRole, ""},
		{slices.Repeat(auth.Scope{"*"}, 32), auth.EditorRole, ""},
		{slices.Repeat(auth.Scope{"*"}, 33), auth.EditorRole, "must have at most 32 globs, has 33"},
		{auth.Scope{"*"}, auth.ViewerRole, "must be empty for role viewer: only role editor can have a scope"},
		{auth.Scope{"*"}, auth.AdminRole, "must be empty for role admin"},
		{auth.Scope{"*"}, auth.ClientRole, "must be empty for role client"},
		{auth.Scope{"a", ""}, auth.EditorRole, `holds ""`},
		{auth.Scope{long + "x"}, auth.EditorRole, "must hold globs of 1 to 128 of the characters A-Z a-z 0-9 . _ - * ?, holds \"xxx"},
		{auth.Scope{"a b"}, auth.EditorRole, `holds "a b"`},
		{auth.Scope{"a,b"}, auth.EditorRole, `holds "a,b"`},
		{auth.Scope{"a/b"}, auth.EditorRole, `holds "a/b"`},
		{auth.Scope{"[ab]"}, auth.EditorRole, `holds "[ab]"`},
		{auth.Scope{`a\*`}, auth.EditorRole, `holds "a\\*"`},
		{auth.Scope{"é"}, auth.EditorRole, `holds "é"`},
	} {
		err := auth.CheckScope(row.scope, row.role)
		if (err == nil) != (row.fault == "") || err != nil && !strings.Contains(err.Error(), row.fault) {
			t.Errorf("%.40s of role %s: %v, want %q", row.scope, row.role, err, row.fault)
		}
	}
}
