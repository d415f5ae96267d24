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

// A token authenticates a caller. It is tokenMark, followed by 48 characters of URL-safe
// base64 that encode 32 random bytes and their CRC-32. The mark lets people and secret
// scanners recognise a token. The checksum distinguishes a damaged token from an unknown
// one without a look-up.
const (
	tokenMark   = "flaggery_"
	tokenRandom = 32
	tokenText   = (tokenRandom + crc32.Size) * 4 / 3
	tokenPrefix = len(tokenMark) + 6
)

// TokenHash is the SHA-256 of a token; the token itself is not stored. A token has 256
// random bits, so a slow hash is not needed.
type TokenHash [sha256.Size]byte

// MarshalText writes a hash as hexadecimal digits.
func (h TokenHash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *TokenHash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("a hash has %d digits, not %d", hex.EncodedLen(len(h)), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// NewToken makes a random token.
func NewToken() string {
	secret := make([]byte, tokenRandom)
	_, _ = rand.Read(secret) // never fails: it ends the program instead
	return tokenOf(secret)
}

// DeriveToken derives another token from a token and a key. Neither token reveals
// anything about the other or about the key.
func DeriveToken(token, key string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(key))
	return tokenOf(mac.Sum(nil))
}

func tokenOf(secret []byte) string {
	secret = binary.BigEndian.AppendUint32(secret, crc32.ChecksumIEEE(secret))
	return tokenMark + base64.RawURLEncoding.EncodeToString(secret)
}

// TokenPrefix returns the beginning of a token, which may be shown to distinguish
// tokens. It has 36 of the random bits.
func TokenPrefix(token string) string { return token[:min(tokenPrefix, len(token))] }

// HashToken hashes a token. It returns false for a text that is not a token by its form
// and checksum.
func HashToken(token string) (TokenHash, bool) {
	text, marked := strings.CutPrefix(token, tokenMark)
	secret, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !marked || err != nil || len(text) != tokenText || len(secret) != tokenRandom+crc32.Size || // the decoder skips line breaks
		crc32.ChecksumIEEE(secret[:tokenRandom]) != binary.BigEndian.Uint32(secret[tokenRandom:]) {
		return TokenHash{}, false
	}
	return sha256.Sum256([]byte(token)), true
}

// Token is the stored data of a token, without its hash.
type Token struct {
	ID      int64
	Name    string // of the person or program that uses it; not unique
	Role    Role
	Scope   Scope
	Prefix  string // see TokenPrefix
	Created time.Time
	Expires *time.Time // exclusive; nil for never
	Used    *time.Time // the last use, to the minute; nil for never
	Session bool       // whether it belongs to a session
	Parent  *int64     // of a session: the stored token that was used to sign in; nil for none
	Subject string     // of a session: the person's id at the identity provider; "" for none
}

// Credential is the part of a token that edges need to authenticate its bearer.
type Credential struct {
	Hash    TokenHash
	Role    Role
	Expires *time.Time `json:",omitempty"` // as Token's
}

// Reasons to reject a token. The caller must not learn whether an unknown token was
// revoked or never existed.
var (
	ErrDamagedToken = errors.New("the token is not valid: it is damaged, or not a token of Flaggery")
	ErrUnknownToken = errors.New("the token is unknown or was revoked")
)

// CheckExpiry fails if a token with this expiry, nil for none, is not valid any more at
// now.
func CheckExpiry(expires *time.Time, now time.Time) error {
	if expires != nil && !now.Before(*expires) {
		return fmt.Errorf("the token expired at %s", expires.UTC().Format(time.RFC3339))
	}
	return nil
}
