package transfer

import (
	"bytes"
	"unicode/utf8"

	"github.com/flaggery/flaggery/pkg/api"
)

// parseCanonical reads a line as exports and most programs write it, at a tenth of
// the cost of [api.DecodeExact]: id, weight and groups in this order and without
// escapes. ok is false for any other line, valid or not.
func parseCanonical(number int64, text []byte) (line api.ImportLine, ok bool) {
	line.Number = number
	s := canonicalScanner(text)
	if !s.take("{") || !s.take(`"id"`) || !s.take(":") {
		return line, false
	}
	if line.ID, ok = s.text(); !ok {
		return line, false
	}
	more := s.take(",")
	if more && s.take(`"weight"`) {
		if !s.take(":") {
			return line, false
		}
		weight, ok := s.number()
		if !ok {
			return line, false
		}
		line.Weight = &weight
		more = s.take(",")
	}
	if more {
		if !s.take(`"groups"`) || !s.take(":") || !s.take("[") {
			return line, false
		}
		line.Groups = []string{}
		for !s.take("]") {
			if len(line.Groups) > 0 && !s.take(",") {
				return line, false
			}
			group, ok := s.text()
			if !ok {
				return line, false
			}
			line.Groups = append(line.Groups, group)
		}
	}
	return line, s.take("}") && len(bytes.TrimRight(s, "\r\n")) == 0
}

// canonicalScanner is the rest of a line.
type canonicalScanner []byte

func (s *canonicalScanner) take(token string) bool {
	text := bytes.TrimLeft(*s, " ")
	if len(text) < len(token) || string(text[:len(token)]) != token {
		return false
	}
	*s = text[len(token):]
	return true
}

func (s *canonicalScanner) text() (string, bool) {
	if !s.take(`"`) {
		return "", false
	}
	end := bytes.IndexByte(*s, '"')
	if end < 0 {
		return "", false
	}
	text := (*s)[:end]
	*s = (*s)[end+1:]
	for _, c := range text {
		if c < ' ' || c == '\\' || c >= utf8.RuneSelf {
			return "", false
		}
	}
	return string(text), true
}

// number takes digits without sign, fraction or exponent, few enough not to
// overflow.
func (s *canonicalScanner) number() (n int64, ok bool) {
	text := bytes.TrimLeft(*s, " ")
	digits := 0
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' {
		n = 10*n + int64(text[digits]-'0')
		digits++
	}
	*s = text[digits:]
	return n, 0 < digits && digits <= 16 && (text[0] != '0' || digits == 1)
}
