package state

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	gojson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/flaggery/flaggery/pkg/model"
)

// Manifest writes the features as a flag manifest, from which OpenFeature's command line
// generates accessors. Features that are archived, or have no value to give, are left
// out. A feature that gives nothing by default has the zero value of its type.
func (d *Document) Manifest() ([]byte, error) {
	type flag struct {
		Type        string          `json:"flagType"`
		Default     json.RawMessage `json:"defaultValue"`
		Description string          `json:"description,omitempty"`
	}
	manifest := struct {
		Schema string          `json:"$schema"`
		Flags  map[string]flag `json:"flags"`
	}{"https://raw.githubusercontent.com/open-feature/cli/refs/heads/main/schema/v0/flag-manifest.json", map[string]flag{}}
	for _, name := range slices.Sorted(maps.Keys(d.Features)) {
		f := d.Features[name]
		values := f.values()
		if f.Archived.Or(false) || len(values) == 0 {
			continue
		}
		flagType := typeOf(values)
		value, ok := values[f.Default.Or("")]
		if !ok || f.Off.Or(false) {
			value = zeros[flagType]
		}
		manifest.Flags[name] = flag{flagType, value, f.Description.Or("")}
	}
	text, err := gojson.Marshal(manifest, gojson.Deterministic(true), jsontext.WithIndent("  "))
	return append(text, '\n'), err
}

// values are what OpenFeature gets of each variant: its payload, or else its name, and
// nothing of __DISABLE__.
func (f *Feature) values() map[string]json.RawMessage {
	values := map[string]json.RawMessage{}
	for name, v := range f.Variants {
		switch {
		case v == nil || name == model.DisablingVariant:
		case v.Payload.Value != nil:
			values[name] = *v.Payload.Value
		default:
			values[name], _ = json.Marshal(name) // never fails for a string
		}
	}
	return values
}

// zeros are the zero values of OpenFeature's types.
var zeros = map[string]json.RawMessage{
	"boolean": json.RawMessage("false"), "string": json.RawMessage(`""`), "integer": json.RawMessage("0"),
	"float": json.RawMessage("0"), "object": json.RawMessage("{}"),
}

// typeOf is OpenFeature's type of all values, of which object is the one that any JSON
// has.
func typeOf(values map[string]json.RawMessage) (common string) {
	for _, v := range values {
		one := "object"
		switch jsontext.Value(v).Kind() {
		case jsontext.KindTrue, jsontext.KindFalse:
			one = "boolean"
		case jsontext.KindString:
			one = "string"
		case jsontext.KindNumber:
			one = "float"
			if _, err := strconv.ParseInt(string(v), 10, 64); err == nil {
				one = "integer"
			}
		}
		numbers := one == "integer" && common == "float" || one == "float" && common == "integer"
		switch {
		case common == "":
			common = one
		case numbers:
			common = "float"
		case common != one:
			return "object"
		}
	}
	return common
}
