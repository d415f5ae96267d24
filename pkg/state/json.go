package state

import (
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flaggery/flaggery/pkg/model"
)

// jsonReader reads a text in JSON. YAML takes JSON as well, but not all of it: keys have
// at most 1,024 characters there, and some characters must be escaped.
type jsonReader struct {
	text    string
	decoder *jsontext.Decoder
	line    int32
	read    int // bytes of the text, up to the line
}

// isJSON reports whether a text is JSON, but for members of the same name.
func isJSON(s string) bool { return jsontext.Value(s).IsValid(jsontext.AllowDuplicateNames(true)) }

func parseJSON(s string) (value, error) {
	if err := checkDivisions(s); err != nil {
		return value{}, err
	}
	r := &jsonReader{text: s, decoder: jsontext.NewDecoder(strings.NewReader(s), jsontext.AllowDuplicateNames(true)), line: 1}
	return r.value(0)
}

// token reads the next token, and moves on to its line.
func (r *jsonReader) token() (jsontext.Token, error) {
	token, err := r.decoder.ReadToken()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	end := int(r.decoder.InputOffset())
	r.line += int32(strings.Count(r.text[r.read:end], "\n"))
	r.read = end
	return token, err
}

func (r *jsonReader) value(depth int) (v value, err error) {
	token, err := r.token()
	v.line = r.line
	switch {
	case err != nil:
		return v, model.JSONError(err)
	case depth > maxDepth:
		return v, errDepth(v.line)
	}
	switch token.Kind() {
	case jsontext.KindNull:
		v.kind = null
	case jsontext.KindTrue, jsontext.KindFalse:
		v.kind, v.text = boolean, token.String()
	case jsontext.KindNumber:
		v.kind, v.text = number, token.String()
	case jsontext.KindString:
		v.kind, v.text = text, token.String()
	case jsontext.KindBeginArray:
		v.kind = array
		err = r.members(&v, jsontext.KindEndArray, depth)
	default:
		v.kind = object
		err = r.members(&v, jsontext.KindEndObject, depth)
	}
	return v, err
}

func (r *jsonReader) members(v *value, end jsontext.Kind, depth int) error {
	for r.decoder.PeekKind() != end {
		var m member
		if v.kind == object {
			name, err := r.token()
			if err != nil {
				return model.JSONError(err)
			}
			m.name, m.nameKind, m.line = name.String(), text, r.line
		}
		var err error
		if m.value, err = r.value(depth + 1); err != nil {
			return err
		}
		v.members = append(v.members, m)
	}
	_, err := r.token()
	return err
}
