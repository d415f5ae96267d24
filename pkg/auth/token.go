package auth

import (
	"crypto/hmac"
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
	secret := make([]byte, tokenRandom)
	_, _ = rand.Read(secret) // never fails: it ends the program instead
	return tokenOf(secret)
}

// DeriveToken makes of a token another one, which takes the key to know. Neither
// tells anything of the other, nor of the key.
func DeriveToken(token, key string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(key))
	return tokenOf(mac.Sum(nil))
}

func tokenOf(secret []byte) string {
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

// Token is what is known of a token beside its hash.
type Token struct {
	ID      int64
	Name    string // who or what shows it; two may have the same
	Role    Role
	Prefix  string // see TokenPrefix
	Created time.Time
	Expires *time.Time // exclusive; nil for never
	Used    *time.Time // the last time, to the minute; nil for never
	Session bool       // whether signing in made it
	Parent  *int64     // of a session: the token that was shown to sign in, if that is stored
	Subject string     // of a person's session: who that is at the identity provider
}

// Credential is what an edge knows of a token: enough to let its bearer in.
type Credential struct {
	Hash    TokenHash
	Role    Role
	Expires *time.Time `json:",omitempty"` // as Token's
}

// Why a token is rejected. None of them says more than the caller may know: an
// unknown token may have been revoked or may never have existed.
var (
	ErrDamagedToken = errors.New("the token is not known: it is damaged, or none that Flaggery made")
	ErrUnknownToken = errors.New("the token is not known, or was revoked")
)

// ExpiredError rejects a token whose time is over.
type ExpiredError struct{ At time.Time }

func (e *ExpiredError) Error() string {
	return "the token expired at " + e.At.UTC().Format(time.RFC3339)
}

// CheckExpiry is an *ExpiredError if a token with this expiry, nil for none, is
// no longer valid at now.
func CheckExpiry(expires *time.Time, now time.Time) error {
	if expires != nil && !now.Before(*expires) {
		return &ExpiredError{*expires}
	}
	return nil
}
