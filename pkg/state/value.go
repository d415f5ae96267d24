package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// value is a part of a text, as YAML 1.2's core schema reads it.
type value struct {
	kind    kind
	line    int32
	text    string   // of a string; of a scalar of another kind as it was written
	members []member // of an object or array
}

// member is a member of an object, or an item of an array.
type member struct {
	name     string
	nameKind kind // of which only text is valid
	line     int32
	value    value
}

type kind uint8

const (
	null kind = iota
	boolean
	number
	unclear // a number to YAML alone, such as 0x1F and .inf
	text
	array
	object
)

var kinds = [...]string{"null", "true or false", "a number", "a number", "a string", "an array", "an object"}

// appendJSON appends the value as JSON.
func (v value) appendJSON(b []byte) []byte {
	switch v.kind {
	case null:
		return append(b, "null"...)
	case boolean:
		return append(b, strings.ToLower(v.text)...)
	case number, unclear:
		return append(b, v.text...)
	case text:
		b, _ = jsontext.AppendQuote(b, v.text) // fails for invalid UTF-8 only, which Parse rejects
		return b
	}
	brackets := "[]"
	if v.kind == object {
		brackets = "{}"
	}
	b = append(b, brackets[0])
	for i, m := range v.members {
		if i > 0 {
			b = append(b, ',')
		}
		if v.kind == object {
			b = append(value{kind: text, text: m.name}.appendJSON(b), ':')
		}
		b = m.value.appendJSON(b)
	}
	return append(b, brackets[1])
}

// Canonical returns a payload in the form that documents have: without whitespace, the
// members of objects sorted, strings with as few escapes as possible, numbers as they are.
// Two payloads are the same for a document if these are equal.
func Canonical(payload json.RawMessage) (json.RawMessage, error) {
	canonical := jsontext.Value(slices.Clone(payload))
	err := canonical.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	return json.RawMessage(canonical), err
}

// SamePayload reports whether two payloads are the same for a document. nil is none.
func SamePayload(a, b json.RawMessage) (bool, error) {
	if a == nil || b == nil {
		return a == nil && b == nil, nil
	}
	canonicalA, errA := Canonical(a)
	canonicalB, errB := Canonical(b)
	return bytes.Equal(canonicalA, canonicalB), errors.Join(errA, errB)
}
