package state

import (
	"encoding/json"
	"fmt"

	gojson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// JSON writes the document as JSON: only the given fields, in the order of the types, and
// names and the members of payloads sorted. [Parse] reads the same document from it.
func (d *Document) JSON() ([]byte, error) {
	text, err := gojson.Marshal(d, gojson.Deterministic(true), gojson.WithMarshalers(canonicalPayloads), jsontext.WithIndent("  "))
	text = special.ReplaceAllFunc(text, func(c []byte) []byte { return fmt.Appendf(nil, `\u%04x`, []rune(string(c))[0]) })
	return append(text, '\n'), err
}

var canonicalPayloads = gojson.MarshalFunc(func(f Field[json.RawMessage]) ([]byte, error) {
	if f.Value == nil {
		return []byte("null"), nil
	}
	return Canonical(*f.Value)
})

// YAML writes the document as JSON does, in YAML.
func (d *Document) YAML() ([]byte, error) {
	text, err := d.JSON()
	if err != nil {
		return nil, err
	}
	return YAML(text)
}
