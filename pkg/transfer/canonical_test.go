package transfer

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzCanonicalLines compares parseCanonical with the JSON decoder: if it accepts a
// line, both give the same result.
func FuzzCanonicalLines(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a"}`, `{"id":"a","weight":3,"groups":["g","h"]}`, `{"id": "a", "weight": 0, "groups": []}` + "\r\n", `{"id":"a","groups":["g"]}`,
		`{"id":"a","weight":9007199254740991}`, `{"id":"a","weight":99999999999999999}`, `{"id":"a","weight":01}`, `{"id":"a","weight":-1}`,
		`{"id":"a","weight":1.0}`, `{"id":"a","weight":1e3}`, `{"id":"a",}`, `{"id":"a","groups":["g",]}`, `{"id":"a","groups":[,]}`, `{"id":"a\"b"}`,
		"{\"id\":\"a\tb\"}", `{"id":"é"}`, `{"id":"a"}}`, `{"id":"a"} {}`, `{"id":"a","weight":1,"weight":2}`, `{"id":"a","weight":}`, `{"id":`, `{"id":"`,
		`{"id":"a","weight":1"groups":[]}`, `{"id":"a" "weight":1}`, `{"id":"a","weight": 12 , "groups" : [ "g" , "h" ] }`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		canonical, ok := parseCanonical(7, text)
		if !ok {
			return
		}
		decoded, err := decodeJSON(7, text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(decoded, canonical); diff != "" {
			t.Fatalf("%q (-decoded +canonical):\n%s", text, diff)
		}
	})
}

// parseCanonical takes the usual lines and leaves all others to the JSON decoder.
func TestCanonicalLines(t *testing.T) {
	for text, want := range map[string]bool{
		`{"id":"a","weight":3,"groups":["g","h"]}` + "\n":    true,
		`{"id": "a", "weight": 3, "groups": ["g"]}` + "\r\n": true,
		`{"id":"a"}`:            true,
		`{"weight":3,"id":"a"}`: false,
		`{"id":"é"}`:            false,
		`{"id":"a","what":1}`:   false,
	} {
		if _, ok := parseCanonical(1, []byte(text)); ok != want {
			t.Errorf("%s: %v", text, ok)
		}
	}
}
