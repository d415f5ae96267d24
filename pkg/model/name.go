package model

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NamePattern is the regular expression of the names of features, variants,
// tests, test groups and groups.
const NamePattern = `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`

// DisablingVariant is the reserved name of the variant that switches a feature
// off. It does not fit NamePattern, so no ordinary variant can take it.
const DisablingVariant = "__DISABLE__"

// Limits of sizes, in bytes unless a comment names another unit.
const (
	MaxNameLength      = 128
	MaxSubjectIDLength = 256
	MaxPayloadSize     = 64 << 10
)

// CheckName says what is wrong with the name of a feature, variant, test, test
// group or group.
func CheckName(name string) error {
	if name == "" {
		return errors.New("must not be empty")
	}
	if len(name) > MaxNameLength {
		return fmt.Errorf("must have at most %d characters, has %d", MaxNameLength, len(name))
	}
	for i := range len(name) {
		c := name[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && (i == 0 || c != '.' && c != '_' && c != '-') {
			return errors.New("must start with a letter or a digit and hold only A-Z a-z 0-9 . _ -")
		}
	}
	return nil
}

// CheckVariantName says what is wrong with the name of an ordinary variant.
func CheckVariantName(name string) error {
	if name == DisablingVariant {
		return fmt.Errorf("%s is reserved: add it with POST …/disabling_variant", DisablingVariant)
	}
	return CheckName(name)
}

// CheckVariantReference says what is wrong with text that should name an
// existing variant, the disabling one included.
func CheckVariantReference(name string) error {
	if name == DisablingVariant {
		return nil
	}
	return CheckName(name)
}

// PersonName is what the audit calls a person: by a name, which may be of their own
// choice, and by their subject at the identity provider, which is not.
func PersonName(name, subject string) string { return name + personMark + subject + ")" }

const personMark = " (sub "

// CheckTokenName says what is wrong with the name of a token. The audit names
// actors by it, so a token must not look like another name, a person or Flaggery
// itself.
func CheckTokenName(name string) error {
	if err := CheckLabel(name); err != nil {
		return err
	}
	if strings.Contains(name, personMark) {
		return fmt.Errorf("must not hold %q, which marks people's names in the audit", personMark)
	}
	if lower := strings.ToLower(name); lower == "library" || strings.HasPrefix(lower, "flaggery") {
		return errors.New(`must not be "library" nor begin with "flaggery": in the audit these are Flaggery itself`)
	}
	return nil
}

// CheckLabel says what is wrong with a name for people, which may be any text that shows.
func CheckLabel(name string) error {
	if len(name) > MaxNameLength {
		return fmt.Errorf("must have at most %d bytes, has %d", MaxNameLength, len(name))
	}
	if err := CheckSubjectID(name); err != nil {
		return err
	}
	for _, r := range name {
		if !unicode.IsPrint(r) { // Unicode's format characters and other spaces too
			return fmt.Errorf("must not hold characters that do not show, holds %U", r)
		}
	}
	if strings.TrimSpace(name) != name {
		return errors.New("must not begin or end with a space")
	}
	return nil
}

// CheckSubjectID says what is wrong with a subject's id: any UTF-8 text of 1 to
// 256 bytes without control characters is one.
func CheckSubjectID(id string) error {
	if id == "" {
		return errors.New("must not be empty")
	}
	if len(id) > MaxSubjectIDLength {
		return fmt.Errorf("must have at most %d bytes, has %d", MaxSubjectIDLength, len(id))
	}
	if !utf8.ValidString(id) {
		return errors.New("must be valid UTF-8")
	}
	for _, r := range id {
		if unicode.IsControl(r) {
			return fmt.Errorf("must not hold control characters, holds %U", r)
		}
	}
	return nil
}

// Nearest is the known name that differs least from a misspelt one, if by at most so many
// letters; "" for none.
func Nearest(name string, known []string, most int) (nearest string) {
	for _, other := range known {
		if d := distance(name, other); d <= most {
			nearest, most = other, d-1
		}
	}
	return nearest
}

// distance is how many letters have to be added, removed or changed to make b of a
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
