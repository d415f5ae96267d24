package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// toYAML rewrites JSON as YAML, with all members in their order.
func toYAML(answer []byte) ([]byte, error) {
	y := yamlWriter{in: jsontext.NewDecoder(bytes.NewReader(answer), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
	err := y.value("", true)
	return bytes.TrimPrefix(y.out.Bytes(), []byte(" ")), err
}

type yamlWriter struct {
	in  *jsontext.Decoder
	out bytes.Buffer
}

// value writes the next value behind its key or its dash. Members and items have a line
// each, indented; sameLine puts the first of them behind the dash.
func (y *yamlWriter) value(indent string, sameLine bool) error {
	token, err := y.in.ReadToken()
	if err != nil {
		return err
	}
	kind := token.Kind()
	if kind != jsontext.KindBeginObject && kind != jsontext.KindBeginArray {
		y.out.WriteString(" " + scalar(token) + "\n")
		return nil
	}
	end, empty := jsontext.KindEndObject, " {}\n"
	if kind == jsontext.KindBeginArray {
		end, empty = jsontext.KindEndArray, " []\n"
	}
	switch {
	case y.in.PeekKind() == end:
		y.out.WriteString(empty)
	case !sameLine:
		y.out.WriteByte('\n')
	}
	for first := true; y.in.PeekKind() != end; first = false {
		if first && sameLine {
			y.out.WriteByte(' ')
		} else {
			y.out.WriteString(indent)
		}
		if kind == jsontext.KindBeginArray {
			y.out.WriteByte('-')
			err = y.value(indent+"  ", true)
		} else if token, err = y.in.ReadToken(); err == nil {
			y.out.WriteString(scalar(token) + ":")
			err = y.value(indent+"  ", false)
		}
		if err != nil {
			return err
		}
	}
	_, err = y.in.ReadToken()
	return err
}

// plainText matches texts that YAML reads as texts without quotes, except for reserved
// words.
var plainText = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*$`)

var reserved = []string{"true", "false", "yes", "no", "on", "off", "y", "n", "null"}

// scalar writes texts as in JSON, which is YAML too, unless they are plain.
func scalar(token jsontext.Token) string {
	text := token.String()
	if token.Kind() != jsontext.KindString || plainText.MatchString(text) && !slices.Contains(reserved, strings.ToLower(text)) {
		return text
	}
	quoted, _ := json.Marshal(text) // a string always has a form
	var b strings.Builder
	for _, r := range string(quoted) {
		if r >= 0x7f && r <= 0x9f { // control characters, which YAML does not allow
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
