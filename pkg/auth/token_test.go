package auth_test

import (
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/auth"
)

func TestTokensDifferAndAreKnownAgain(t *testing.T) {
	a, b := auth.NewToken(), auth.NewToken()
	hash, ok := auth.HashToken(a)
	again, _ := auth.HashToken(a)
	other, _ := auth.HashToken(b)
	if !ok || hash != again || hash == other || a == b {
		t.Errorf("hashes of %q: %x, again %x (%v); of %q: %x", a, hash, again, ok, b, other)
	}
	if prefix := auth.TokenPrefix(a); !strings.HasPrefix(a, prefix) || len(prefix) != len("flaggery_")+6 {
		t.Errorf("prefix of %q: %q", a, prefix)
	}
}

func TestDerivedTokens(t *testing.T) {
	token, other := auth.NewToken(), auth.NewToken()
	derived := auth.DeriveToken(token, "key")
	if _, ok := auth.HashToken(derived); !ok || derived != auth.DeriveToken(token, "key") || derived == token ||
		derived == auth.DeriveToken(token, "another") || derived == auth.DeriveToken(other, "key") {
		t.Errorf("%q is derived from %q", derived, token)
	}
}

// A token with any single character lost, added or changed is recognised as damaged
// without a look-up.
func TestDamagedTokensAreRecognised(t *testing.T) {
	token := auth.NewToken()
	refuse := func(damaged string) {
		t.Helper()
		if _, ok := auth.HashToken(damaged); ok {
			t.Errorf("%q passes, the token is %q", damaged, token)
		}
	}
	for i := range token {
		refuse(token[:i])
		refuse(token[:i] + token[i+1:])
		refuse(token[:i] + "\n" + token[i:])
		for _, c := range "-_09AZaz \n" {
			if byte(c) != token[i] {
				refuse(token[:i] + string(c) + token[i+1:])
			}
		}
	}
	refuse("")
	refuse(token + "=")
	refuse(strings.ToUpper(token))
}
