package model

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
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
