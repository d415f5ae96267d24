package auth

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Scope limits what the bearer of a token may write: features, tests and groups whose
// names match one of its globs, and nothing without such a name. An empty scope is no
// limit.
//
// A glob has 1 to 128 of the characters of names, * and ?. It matches whole names, case
// included: * stands for any number of any characters, ? for one.
type Scope []string

// Limits of a scope.
const (
	maxGlobs      = 32
	maxGlobLength = 128 // as names
	globCharacter = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-*?"
)

// CheckScope fails if a token of the role cannot have the scope.
func CheckScope(s Scope, r Role) error {
	if len(s) > 0 && r != EditorRole {
		return fmt.Errorf("must be empty for role %s: only role %s can have a scope", r, EditorRole)
	}
	if len(s) > maxGlobs {
		return fmt.Errorf("must have at most %d globs, has %d", maxGlobs, len(s))
	}
	for _, glob := range s {
		if glob == "" || len(glob) > maxGlobLength || strings.Trim(glob, globCharacter) != "" {
			return fmt.Errorf("must hold globs of 1 to %d of the characters A-Z a-z 0-9 . _ - * ?, holds %q", maxGlobLength, glob)
		}
	}
	return nil
}

// Includes reports whether the scope permits to write a name.
func (s Scope) Includes(name string) bool {
	return len(s) == 0 || slices.ContainsFunc(s, func(glob string) bool {
		matches, _ := path.Match(glob, name) // fails only for globs that CheckScope rejects
		return matches
	})
}

func (s Scope) String() string { return strings.Join(s, ", ") }
