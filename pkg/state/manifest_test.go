package state

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestManifest(t *testing.T) {
	t.Parallel()
	d, err := Parse([]byte(`
version: 1
features:
  archived: {archived: true, variants: {A: {}}, default: A}
  nothing: {variants: {__DISABLE__: {}}, default: __DISABLE__}
  name: {description: Which one, variants: {A: {}, B: {}, C: null}, default: B}
  none: {variants: {A: {}}}
  disabled: {variants: {A: {payload: true}, __DISABLE__: {}}, default: __DISABLE__}
  off: {off: true, variants: {A: {payload: 3}}, default: A}
  boolean: {variants: {A: {payload: false}, B: {payload: true}}, default: B}
  integer: {variants: {A: {payload: 3}, B: {payload: -4}}, default: B}
  float: {variants: {A: {payload: 3}, B: {payload: 0.50}}, default: A}
  large: {variants: {A: {payload: 12345678901234567890}}, default: A}
  mixed: {variants: {A: {payload: true}, B: {}}, default: B}
  object: {variants: {A: {payload: {b: 1, a: [2]}}}, default: A}
  array: {variants: {A: {payload: [1]}}, default: A}
`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := d.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "$schema": "https://raw.githubusercontent.com/open-feature/cli/refs/heads/main/schema/v0/flag-manifest.json",
  "flags": {
    "array": {
      "flagType": "object",
      "defaultValue": [
        1
      ]
    },
    "boolean": {
      "flagType": "boolean",
      "defaultValue": true
    },
    "disabled": {
      "flagType": "boolean",
      "defaultValue": false
    },
    "float": {
      "flagType": "float",
      "defaultValue": 3
    },
    "integer": {
      "flagType": "integer",
      "defaultValue": -4
    },
    "large": {
      "flagType": "float",
      "defaultValue": 12345678901234567890
    },
    "mixed": {
      "flagType": "object",
      "defaultValue": "B"
    },
    "name": {
      "flagType": "string",
      "defaultValue": "B",
      "description": "Which one"
    },
    "none": {
      "flagType": "string",
      "defaultValue": ""
    },
    "object": {
      "flagType": "object",
      "defaultValue": {
        "a": [
          2
        ],
        "b": 1
      }
    },
    "off": {
      "flagType": "integer",
      "defaultValue": 0
    }
  }
}
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
}

// Every flag has a default value of its type, whatever the features are.
func TestManifestTypes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text, err := documents().Draw(t, "document").Manifest()
		if err != nil {
			t.Fatal(err)
		}
		var manifest struct {
			Flags map[string]struct {
				Type    string `json:"flagType"`
				Default any    `json:"defaultValue"`
			} `json:"flags"`
		}
		if err := json.Unmarshal(text, &manifest); err != nil {
			t.Fatal(err)
		}
		for name, flag := range manifest.Flags {
			fits := flag.Type == "object"
			switch value := flag.Default.(type) {
			case bool:
				fits = fits || flag.Type == "boolean"
			case string:
				fits = fits || flag.Type == "string"
			case float64:
				fits = fits || flag.Type == "float" || flag.Type == "integer" && value == float64(int64(value))
			}
			if !fits {
				t.Fatalf("%s is %+v", name, flag)
			}
		}
	})
}
