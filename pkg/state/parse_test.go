package state

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/model"
)

const example = `version: 1
owner: checkout-repo
features:
  checkout:                       # a comment
    description: New checkout
    tags: [web]
    contact: team-checkout
    expires: 2027-01-31
    variants: {A: {payload: {steps: 3}}, B: {}, __DISABLE__: {}, old: null}
    default: __DISABLE__
    rollout: {variant: A}
  search.v2:
    default: null
    off: true
groups:
  friends: {priority: 10, overrides: {checkout: B, search.v2: null}}
abtests:
  checkout-2027:
    start: 2027-01-01T10:00:00+01:00
    end: "2027-02-01T09:00:00Z"
    groups:
    - name: control
      variants: {checkout: A}
    - name: treatment
      variants:
        checkout: B
`

func TestParse(t *testing.T) {
	t.Parallel()
	d, err := Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	text, err := d.YAML()
	if err != nil {
		t.Fatal(err)
	}
	const want = `version: 1
owner: checkout-repo
features:
  checkout:
    description: New checkout
    tags:
      - web
    contact: team-checkout
    expires: "2027-01-31"
    variants:
      A:
        payload:
          steps: 3
      B: {}
      __DISABLE__: {}
      old: null
    default: __DISABLE__
    rollout:
      variant: A
  search.v2:
    "off": true
    default: null
groups:
  friends:
    priority: 10
    overrides:
      checkout: B
      search.v2: null
abtests:
  checkout-2027:
    start: "2027-01-01T09:00:00Z"
    end: "2027-02-01T09:00:00Z"
    groups:
      - name: control
        variants:
          checkout: A
      - name: treatment
        variants:
          checkout: B
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	for path, line := range map[string]int{
		"":                                   1,
		"version":                            1,
		Path("features", "checkout", "tags"): 6,
		"features.checkout.tags[0].anything": 6,
		Path("features", "checkout", "rollout", "proportion"): 11,
		Path("features", "checkout", "nothing"):               4,
		Path("features", "search.v2", "off"):                  14,
		Path("features", "search", "v2"):                      3,
		Path("groups", "friends", "overrides", "search.v2"):   16,
		"abtests.checkout-2027.groups[1].variants.checkout":   26,
		Path("abtests", "checkout-2027", "end"):               20,
		Path("nothing", `a "quoted" ["name"].with`, "dots"):   1,
	} {
		if got := d.Line(path); got != line {
			t.Errorf("%s: want line %d, is %d", path, line, got)
		}
	}
}

// A path leads to the one that contains it, whatever the names are.
func TestPathsAreUnambiguous(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(texts(), 1, 4).Draw(t, "names")
		last := len(names) - 1
		if got, want := parent(Path(names...)), Path(names[:last]...); got != want {
			t.Fatalf("%s is in %s, not in %s", Path(names...), want, got)
		}
	})
	if Path("a", "b.c") == Path("a", "b", "c") {
		t.Error("the same path is of two things")
	}
}

// faultsOf are the faults of a text, one a line.
func faultsOf(t *testing.T, text string) string {
	t.Helper()
	_, err := Parse([]byte(text))
	var invalid *model.Error
	if !errors.As(err, &invalid) || invalid.Code != model.ValidationFailed {
		t.Fatalf("%q: want %s, is %v", text, model.ValidationFailed, err)
	}
	var b strings.Builder
	for _, f := range invalid.Fields {
		fmt.Fprintln(&b, f.Location, f.Message)
	}
	return b.String()
}

func TestEveryFaultIsListed(t *testing.T) {
	t.Parallel()
	const text = `version: 1
features:
  a.b:
    defaul: A
    unheard: of
    description: 12
    tags: [web, web, 1]
    contact: "a\tb"
    expires: tomorrow
    off: yes
    variants:
      A: {payload: .inf, payload: 0x1F}
      __DISABLE__: {payload: {b: 010, b: 1}}
      1: {}
      -x: null
    default: null
    rollout: {proportion: null}
    off: true
  gone: null
  empty:
  percents:
    variants: [red, blue]
    off: maybe
    rollout: {variant: red, proportion: 30%}
  whole: {rollout: {variant: red, proportion: 30}, default: 1, variants: null}
groups:
  g: {priority: 1e10, overrides: {checkout: 1, x: null}}
  h: {overrides: [checkout]}
abtests:
  t:
    start: 2027-01-01
    end: 2027-01-01T00:00:00Z
    groups: [{name: a, variants: {f: A}}]
  u:
    start: 2027-01-02T00:00:00Z
    end: 2027-01-01T00:00:00Z
    groups:
      - {name: a, proportion: 0.5, variants: {f: A}}
      - {name: a, proportion: 0.4, variants: {f.g: A}}
`
	const want = `body.features["a.b"].defaul line 4: is not known here, did you mean default?
body.features["a.b"].unheard line 5: is not known here, known are owner, description, tags, contact, expires, permanent, archived, off, variants, default, rollout
body.features["a.b"].description line 6: must be a string, is a number: write "12"
body.features["a.b"].tags[2] line 7: must be a string, is a number: write "1"
body.features["a.b"].contact line 8: must not hold control characters, holds U+0009
body.features["a.b"].expires line 9: must be a date such as 2027-01-31, is "tomorrow"
body.features["a.b"].off line 10: must be true or false, is a string: write true
body.features["a.b"].variants.A.payload line 12: must be a number as in JSON, such as 31 or 0.5, or a string in quotes, is .inf
body.features["a.b"].variants.A.payload line 12: is given twice, first in line 12
body.features["a.b"].variants.__DISABLE__.payload.b line 13: must be a number as in JSON, such as 31 or 0.5, or a string in quotes, is 010
body.features["a.b"].variants.__DISABLE__.payload.b line 13: is given twice, first in line 13
body.features["a.b"].variants.1 line 14: must have strings as keys, has 1: write "1"
body.features["a.b"].variants.-x line 15: must start with a letter or a digit and hold only A-Z a-z 0-9 . _ -
body.features["a.b"].rollout.proportion line 17: must be a number, is null: leave it out if people operate it
body.features["a.b"].rollout.variant line 17: must be given
body.features["a.b"].off line 18: is given twice, first in line 10
body.features["a.b"].variants.__DISABLE__.payload line 13: must be left out: __DISABLE__ has no payload
body.features.gone line 19: must be an object, is null: to remove a feature, drop it from the document and apply with prune=true
body.features.empty line 20: must be an object, is null: to remove a feature, drop it from the document and apply with prune=true
body.features.percents.variants line 22: must be an object, is an array: write names as keys, such as {red: {}, blue: {}}
body.features.percents.off line 23: must be true or false, is a string
body.features.percents.rollout.proportion line 24: must be a number, is a string: write 0.3
body.features.whole.rollout.proportion line 25: must be a number between 0 and 1, is 30: did you mean 0.3?
body.features.whole.default line 25: must be a string, is a number: write "1"
body.features.whole.variants line 25: must be an object, is null: leave it out, or write {}
body.groups.g.priority line 27: must be between -2147483648 and 2147483647, is 10000000000
body.groups.g.overrides.checkout line 27: must be a string, is a number: write "1"
body.groups.h.overrides line 28: must be an object, is an array: write names as keys, such as {checkout: red}
body.abtests.t.start line 31: must be a time such as 2027-01-31T15:04:05Z, is "2027-01-01"
body.abtests.u.end line 36: must be after start
body.abtests.u.groups[1].name line 39: "a" is the name of another group of this test
body.abtests.u.groups[1].variants line 39: every group must have the same features, "f.g" is not in the first one
body.abtests.u.groups[1].variants line 39: every group must have the same features, "f" is missing
body.abtests.u.groups line 37: the proportions must sum to 1, they sum to 0.9
`
	if diff := cmp.Diff(want, faultsOf(t, text)); diff != "" {
		t.Error(diff)
	}
}

// What cannot be read as YAML, or is a part of YAML that documents do not have, is one
// fault with its line and column.
func TestSyntaxFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                            "line 1: must not be empty: the least is version: 1",
		"# nothing\n---\n":            "line 1: must not be empty",
		"- a\n":                       "line 1: must be an object, is an array",
		"a":                           "line 1: must be an object, is a string",
		"a: b: c":                     "line 1: mapping values are not allowed",
		"version:\n  a: b\n c: d":     "line 3: did not find expected key: check the indentation",
		"version: 1\n\towner: a":      "line 2: a tab: indent with spaces",
		"version: \"1":                "line 1: found unexpected end of stream",
		"version: [1":                 "line 1: did not find expected ',' or ']'",
		"{\"version\": 1}}":           "line 1: did not find expected",
		"version: \"\\q\"":            "line 1: found unknown escape",
		"version: \"\\ud83d\"":        "line 1: found invalid Unicode character escape",
		"{\"version\": \"\\ud83d\"}":  "line 1: found invalid Unicode character escape",
		"version: &a 1":               "line 1: must not have anchors and aliases: write the value out (column 10)",
		"version: *a":                 "line 1: unknown anchor",
		"version: &a 1\nowner: *a":    "line 1: must not have anchors",
		"version: !!int 1":            `line 1: must not have tags, has "!!int"`,
		"version: 1\n<<: {a: b}":      "line 2: must not have merge keys",
		"%YAML 1.3\n---\nversion: 1":  "line 1: must have no directives: leave this line out",
		"version: 1\n---\nversion: 1": "line 2: must be one YAML document",
		"version: 1\n...\nversion: 1": "line 3: did not find expected",
		"version: @a":                 "line 1: found character that cannot start any token",
		"version: - 1":                "line 1: block sequence entries are not allowed",
		"version: 1\nowner: \x00":     `line 2: must be UTF-8 text without control characters, has "\x00"`,
		"version: 1\nowner: \xff":     `line 2: must be UTF-8 text without control characters, has "\xff"`,
		"version: 1\nowner: a\u2028b": `line 2: must be UTF-8 text without control characters, has "\u2028"`,
		"version: 1\rowner: a":        `line 1: must be UTF-8 text without control characters, has "\r"`,
		"version: 2\nfuture: x":       "line 1: version 2 is newer than this program reads, which is 1",
		"version: 0":                  "line 1: must be 1, is 0",
		"version: one":                "line 1: must be an integer, is a string",
		"owner: a":                    "line 1: must be given: write version: 1",
		"version: 1\n1: a":            `line 2: must have strings as keys, has 1: write "1"`,
		"version: 1\n? [a]\n: b":      "line 2: must have strings as keys, has an array",
		"version: 1\nversion: 1":      "line 2: is given twice, first in line 1",

		"version: 1\nfeatures:\n  a:\n    tags: []\n   off: true\n    default: A\n":          "line 5: did not find expected key: check the indentation",
		"version: 1\nfeatures:\n  a:\n    tags:\n    - b\n   - c\n":                          "line 6: did not find expected key: check the indentation",
		"version: 1\nfeatures:\n  a: {off: true\n  b: {}\n":                                  "line 3: did not find expected ',' or '}'",
		"{\n\t\"version\": 1,\n\t\"owner\": \"a\"\n\t\"groups\": {}\n}":                      "line 3: did not find expected ',' or '}'",
		numbered("version: 1\nfeatures:\n  a: {}\n", "# %d\n", maxSearched+200) + "   b: {}": "line 2: in what begins here or in the next line: did not find expected key",

		strings.Repeat("[", 100) + strings.Repeat("]", 100): "line 1: must nest at most 72 deep",
	} {
		if got := faultsOf(t, text); !strings.Contains(got, want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%q\nwant %s\nis   %s", text, want, got)
		}
	}
}

// Values are read as YAML 1.2's core schema says, or not at all.
func TestValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`yes`: `"yes"`, `on`: `"on"`, `~`: `null`, `Null`: `null`, ``: `null`, `True`: `true`, `FALSE`: `false`, `tRue`: `"tRue"`,
		`0`: `0`, `-0`: `-0`, `1.0`: `1.0`, `1e3`: `1e3`, `1E+3`: `1E+3`, `12345678901234567890`: `12345678901234567890`,
		`1_000`: `"1_000"`, `12:30:45`: `"12:30:45"`, `2027-01-31`: `"2027-01-31"`, `0b1`: `"0b1"`, `1.2.3`: `"1.2.3"`,
		`a b`: `"a b"`, "a\n        b\n\n        c": `"a b\nc"`, `a#b`: `"a#b"`, `a # b`: `"a"`, `a:b`: `"a:b"`, `http://x`: `"http://x"`, `-a`: `"-a"`, `?a`: `"?a"`, `:a`: `":a"`,
		`'it''s'`: `"it's"`, "'a\n\n   b  \n c'": `"a\nb c"`, `"a\x41\u00e9\U0001F600\e\_\N"`: `"aAé😀\u001b\u00a0\u0085"`,
		"\"a  \n\n  b \\\n  c\\\n  \\ d\"": `"a\nb c d"`, "\"a\t\"": `"a\t"`,
		"|\n        a\n         b\n\n        c\n": `"a\n b\n\nc\n"`, "|-\n        a\n\n": `"a"`, "|+\n        a\n\n": `"a\n\n"`, "|2-\n          a\n": `"  a"`, "|\n": `""`, "|+\n\n": `"\n"`,
		">\n        a\n        b\n\n        c\n         d\n        e\n": `"a b\nc\n d\ne\n"`, ">-\n\n        a\n\n\n        b": `"\na\n\nb"`,
		"[a, 'b', \"c\", {d: e}, [], {},]": `["a","b","c",{"d":"e"},[],{}]`, "[a,\n  b c\n  d, # e\n\n]": `["a","b c d"]`, `{"a":1,b: ,'c':2}`: `{"a":1,"b":null,"c":2}`,
		"\n        - a\n        - b: 1\n          c: 2\n        -\n          - - d\n": `["a",{"b":1,"c":2},[["d"]]]`, "\n        a : b\n        'c d': e\n": `{"a":"b","c d":"e"}`,
	} {
		d, err := Parse([]byte("version: 1\nfeatures:\n  g:\n    variants:\n     B:\n      payload: " + text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := "null"
		if p := d.Features["g"].Variants["B"].Payload; p.Value != nil {
			got = string(*p.Value)
		}
		canonical, err := Canonical([]byte(want))
		if err != nil || got != string(canonical) {
			t.Errorf("%q: want %s, is %s", text, canonical, got)
		}
	}
	for _, text := range []string{"+1", "01", ".5", "1.", "0x1F", "0o17", ".inf", "-.Inf", ".nan", "1e400", "0777"} {
		if got := faultsOf(t, "version: 1\nfeatures: {f: {variants: {A: {payload: "+text+"}}}}"); !strings.HasPrefix(got, "body.features.f.variants.A.payload line 2: must ") {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// JSON escapes characters beyond U+FFFF in two halves.
func TestSurrogates(t *testing.T) {
	t.Parallel()
	d, err := Parse([]byte(`{"version": 1, "owner": "\\\ud83d\uDE00\/"}`))
	if err != nil || d.Owner != `\😀/` {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	got := faultsOf(t, numbered("version: 1\n", "key%d: 1\n", 20_000))
	if n := strings.Count(got, "\n"); n != maxFaults+1 || !strings.HasSuffix(got, "body line 1: has more faults than these\n") {
		t.Errorf("%d faults, at last %q", n, got[len(got)-100:])
	}
}

// Whatever the text is, Parse fails with validation_failed, or its document comes back.
func FuzzParse(f *testing.F) {
	f.Add(example)
	for _, s := range nasty {
		f.Add("version: 1\nfeatures:\n  a:\n    description: " + s + "\n    variants: {A: {payload: [" + s + ", \"" + s + "\"]}}\n")
	}
	if text, err := os.ReadFile("../../docs/state.schema.json"); err == nil {
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse([]byte(text))
		if err != nil {
			if model.CodeOf(err) != model.ValidationFailed {
				t.Fatal(err)
			}
			return
		}
		written, err := d.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(written)
		if err != nil {
			t.Fatalf("%v in\n%s", err, written)
		}
		if diff := cmp.Diff(d, again, equal); diff != "" {
			t.Fatalf("read from\n%s\n%s", written, diff)
		}
	})
}

// JSON that YAML would not read: a long key, and characters that it does not print.
func TestParseJSON(t *testing.T) {
	key := strings.Repeat("k", 3000)
	doc, err := Parse([]byte("{\"version\": 1,\n\"features\": {\"a\": {\"description\": \"\x7f\u0085\", \"variants\": {\"A\": {\"payload\": {\"" + key + "\": [1.50, \"\\ud83d\\ude00\\/\"]}}}}}}"))
	if err != nil {
		t.Fatal(err)
	}
	f := doc.Features["a"]
	if got := string(f.Variants["A"].Payload.Or(nil)); got != `{"`+key+`":[1.50,"😀/"]}` || f.Description.Or("") != "\x7f\u0085" {
		t.Errorf("read %+v", f)
	}
	exported, err := doc.JSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(exported)
	if err != nil {
		t.Fatalf("an export in JSON is not read: %v", err)
	}
	if diff := cmp.Diff(doc.Features, again.Features); diff != "" {
		t.Errorf("read again (-first +second):\n%s", diff)
	}
	_, err = Parse([]byte("{\"version\": 1,\n\n\"features\": {\"a\": {\"off\": 1, \"off\": true}}}"))
	if err == nil || !strings.Contains(err.Error(), "line 3") || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a member that is there twice: %v", err)
	}
}
