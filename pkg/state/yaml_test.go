package state

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

func TestYAML(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`: "{}\n",
		`[]`: "[]\n",
		`{"items":[{"name":"a b","tags":[],"groups":{}},{"name":"","tags":["x","-","1","1.5","~","No","a: b","#c"]}]}`: `items:
  - name: a b
    tags: []
    groups: {}
  - name: ""
    tags:
      - x
      - '-'
      - "1"
      - "1.5"
      - "~"
      - "No"
      - 'a: b'
      - '#c'
`,
		`[[1,2],[{"a":[true]}],1e3]`:                        "- - 1\n  - 2\n- - a:\n      - true\n- 1e3\n",
		`{"2":"lines\nof \u009b\u007f text","true":" x"}`:   "\"2\": \"lines\\nof \\x9B\\x7F text\"\n\"true\": \" x\"\n",
		`{"z":9007199254740993,"a":1.0,"z":-0,"none":null}`: "z: 9007199254740993\na: 1.0\nz: -0\nnone: null\n",
		`["\u0041\/","\ud83d\ude00","\ud83d","\ufeff","a\u2028b","\u0085"]`: `- A/
- "\U0001F600"
- ` + "\ufffd" + `
- "\uFEFF"
- "a\Lb"
- "\N"
`,
	} {
		if got, err := YAML([]byte(text)); err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", text, err, got, want)
		}
	}
	for _, text := range []string{``, `{`, `{"a":`, `[1`, `[1}`, `{"a" 1}`, `1 2`, `{} x`} {
		if got, err := YAML([]byte(text)); err == nil {
			t.Errorf("%q is %q", text, got)
		}
	}
}

// What YAML 1.1 reads as something other than a text has quotes, as a value and as a key.
func TestAmbiguousTextsAreQuoted(t *testing.T) {
	t.Parallel()
	for text := range strings.FieldsSeq(`y N yes NO On off True FALSE null Null ~ << =
		0 -1 +1 1_000 1.5 .5 1. 1e3 -1E+3 0x1F 0o17 017 0b11 12:30 190:20:30.15 .inf -.Inf .NaN 2027-01-31 2027-1-3T1:02:03.5Z`) {
		got, err := YAML([]byte(`{"` + text + `":"` + text + `"}`))
		if want := `"` + text + `": "` + text + `"` + "\n"; err != nil || string(got) != want {
			t.Errorf("%v\n%s\nwant\n%s", err, got, want)
		}
	}
	for text := range strings.FieldsSeq("yesterday n1 offer nullable a1 e3 v1.2 x2027-01-31 __DISABLE__") {
		if got, err := YAML([]byte(`"` + text + `"`)); err != nil || string(got) != text+"\n" {
			t.Errorf("%s is written as %s, %v", text, got, err)
		}
	}
}

// Whatever the JSON is, YAML's library reads the same values.
func TestJSONComesBackFromYAML(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := payload(t, 4)
		var want, got any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		written, err := YAML(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(written, &got); err != nil {
			t.Fatalf("%v in\n%s", err, written)
		}
		if diff := cmp.Diff(want, inFloats(got)); diff != "" {
			t.Fatalf("%s is written as\n%s\n%s", text, written, diff)
		}
	})
}

// inFloats is a value with its numbers as encoding/json reads them.
func inFloats(value any) any {
	switch v := value.(type) {
	case int:
		return float64(v)
	case uint64:
		return float64(v)
	case []any:
		for i := range v {
			v[i] = inFloats(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = inFloats(v[name])
		}
	}
	return value
}
