package model

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// A token is what a caller shows to say who it is: tokenMark, then 48 characters
// of URL-safe base64 that hold 32 random bytes and their CRC-32. The mark lets
// people and scanners of leaked secrets recognise it, and the checksum tells one
// that was cut or mistyped from one that is not known, without asking anybody.
const (
	tokenMark   = "flaggery_"
	tokenRandom = 32
	tokenText   = (tokenRandom + crc32.Size) * 4 / 3
	tokenPrefix = len(tokenMark) + 6
)

// TokenHash is all that is kept of a token: its SHA-256. With 256 random bits in
// a token, nothing slower is needed to keep it from being guessed.
type TokenHash [sha256.Size]byte

// MarshalText and UnmarshalText write a hash as hexadecimal digits.
func (h TokenHash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *TokenHash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("a hash has %d digits, not %d", hex.EncodedLen(len(h)), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// NewToken makes a token that nobody can guess.
func NewToken() string {
	secret := make([]byte, tokenRandom, tokenRandom+crc32.Size)
	_, _ = rand.Read(secret) // never fails: it ends the program instead
	secret = binary.BigEndian.AppendUint32(secret, crc32.ChecksumIEEE(secret))
	return tokenMark + base64.RawURLEncoding.EncodeToString(secret)
}

// TokenPrefix is the beginning of a token that may be shown, to tell tokens
// apart: 36 of its random bits.
func TokenPrefix(token string) string { return token[:min(tokenPrefix, len(token))] }

// HashToken gives what is kept of a token. It is false for a text that NewToken
// cannot have made.
func HashToken(token string) (TokenHash, bool) {
	text, marked := strings.CutPrefix(token, tokenMark)
	secret, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !marked || err != nil || len(text) != tokenText || len(secret) != tokenRandom+crc32.Size || // the decoder skips line ends
		crc32.ChecksumIEEE(secret[:tokenRandom]) != binary.BigEndian.Uint32(secret[tokenRandom:]) {
		return TokenHash{}, false
	}
	return sha256.Sum256([]byte(token)), true
}

// Role is what the bearer of a token may do.
type Role string

// The roles. Each may what the one before it may, but client stands apart: it
// only asks what subjects get.
const (
	ClientRole Role = "client"
	ViewerRole Role = "viewer"
	EditorRole Role = "editor"
	AdminRole  Role = "admin"
)

// CheckRole says what is wrong with text that should be a role.
func CheckRole(r Role) error {
	switch r {
	case ClientRole, ViewerRole, EditorRole, AdminRole:
		return nil
	}
	return fmt.Errorf("must be %s, %s, %s or %s", ViewerRole, EditorRole, AdminRole, ClientRole)
}

// Token is what is known of a token beside its hash.
type Token struct {
	ID      int64
	Name    string // who or what shows it; two may have the same
	Role    Role
	Prefix  string // see TokenPrefix
	Created time.Time
	Expires *time.Time // the first moment at which it is good no longer; nil for never
	Used    *time.Time // the last time, to the minute; nil for never
}

// Expired reports whether the token is good no longer at the moment at.
func (t *Token) Expired(at time.Time) bool { return t.Expires != nil && !at.Before(*t.Expires) }

// Credential is what an edge knows of a token: enough to let its bearer in.
type Credential struct {
	Hash    TokenHash
	Role    Role
	Expires *time.Time `json:",omitempty"` // as Token's
}

// DamagedToken says that nobody is let in with a text that is no token.
func DamagedToken() error {
	return Errorf(Unauthenticated, "the token is not known: it is damaged, or none that Flaggery made")
}

// UnknownToken is for a token that nothing is stored of. Whether it was revoked or
// never existed is not told.
func UnknownToken() error { return Errorf(Unauthenticated, "the token is not known, or was revoked") }

// ExpiredToken is for a token whose time is over.
func ExpiredToken(expires time.Time) error {
	return Errorf(Unauthenticated, "the token expired at %s", expires.UTC().Format(time.RFC3339))
}

// CheckTokenName says what is wrong with the name of a token. The audit names
// actors by it: what Flaggery calls itself there is not for tokens.
func CheckTokenName(name string) error {
	if len(name) > MaxNameLength {
		return fmt.Errorf("must have at most %d bytes, has %d", MaxNameLength, len(name))
	}
	if err := CheckSubjectID(name); err != nil { // the same alphabet
		return err
	}
	if strings.TrimSpace(name) != name {
		return errors.New("must not begin or end with a space")
	}
	if lower := strings.ToLower(name); lower == "library" || strings.HasPrefix(lower, "flaggery") {
		return errors.New(`must not be "library" nor begin with "flaggery": in the audit these are Flaggery itself`)
	}
	return nil
}
