package cli

import (
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

func TestLinesOfAChange(t *testing.T) {
	effect := func(subjects, weight int64) api.Effect {
		return api.Effect{Affected: api.Affected{Subjects: subjects, Weight: weight}}
	}
	for got, want := range map[string]string{
		live(nil):                "",
		live(&api.Propagation{}): "no edge is connected",
		live(&api.Propagation{Edges: 6, Applied: 6, Seconds: 0.0104}):                           "live on 6 of 6 edges after 11 ms",
		live(&api.Propagation{Edges: 1, Applied: 0, Seconds: 5, Behind: []string{"edge-eu-3"}}): "live on 0 of 1 edge after 5.0 s; behind: edge-eu-3",
		affected(flaggery.Receipt{}):                                                       "no subject is affected",
		affected(flaggery.Receipt{Effect: effect(1, 3)}):                                   "affects 1 subject of weight 3",
		affected(flaggery.Receipt{Effect: effect(2, 3), Drawn: true}):                      "affects about 2 subjects of weight 3, as it draws at random",
		affected(flaggery.Receipt{Removes: []string{"features/a/rollout", "groups/b"}}):    "no subject is affected; removes features/a/rollout, groups/b",
		share(api.Rollout{Buckets: make([]api.BucketID, 14), EffectiveProportion: 0.0984}): "14 buckets, 9.8 % of weight",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestParsePercent(t *testing.T) {
	for text, want := range map[string]float64{"25%": 0.25, "25 %": 0.25, "0.25": 0.25, "0": 0, "1": 1, "100%": 1, "0.5%": 0.005} {
		if got, err := parsePercent(text); err != nil || got != want {
			t.Errorf("%s is read as %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "25", "-1%", "101%", "NaN", "+Inf", "a"} {
		if got, err := parsePercent(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

// Answers keep all they have, and texts of others cannot command a terminal.
func TestOutput(t *testing.T) {
	const answer = `{"z":1,"a":9007199254740993,"b":"<yes>","c":"\u001b[2J","later":{"share":0.1,"none":null,"flag":"true"}}`
	for format, want := range map[string]string{
		"json": "{\n  \"z\": 1,\n  \"a\": 9007199254740993,\n  \"b\": \"<yes>\",\n  \"c\": \"\\u001b[2J\",\n  \"later\": {\n    \"share\": 0.1,\n    \"none\": null,\n    \"flag\": \"true\"\n  }\n}\n",
		"yaml": "z: 1\na: 9007199254740993\nb: \"\\u003cyes\\u003e\"\nc: \"\\u001b[2J\"\nlater:\n  share: 0.1\n  none: null\n  flag: \"true\"\n",
	} {
		var out strings.Builder
		if err := encode(&out, []byte(answer), format); err != nil || out.String() != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", format, err, out.String(), want)
		}
	}
	var out strings.Builder
	table := table{header: []string{"NAME"}, rows: [][]string{{"a\x1b[2J\tb", "c\nd"}}}
	if err := table.write(&out); err != nil || out.String() != "a [2J b\tc d\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestYAML(t *testing.T) {
	for answer, want := range map[string]string{
		`{}`: "{}\n",
		`[]`: "[]\n",
		`{"items":[{"name":"a b","tags":[],"groups":{}},{"name":"","tags":["x","-","1","1.5","~","No","a: b","#c"]}]}`: `items:
  - name: a b
    tags: []
    groups: {}
  - name: ""
    tags:
      - x
      - "-"
      - "1"
      - "1.5"
      - "~"
      - "No"
      - "a: b"
      - "#c"
`,
		`[[1,2],[{"a":[true]}],1e3]`:                      "- - 1\n  - 2\n- - a:\n      - true\n- 1e3\n",
		`{"2":"lines\nof \u009b\u007f text","true":" x"}`: "\"2\": \"lines\\nof \\u009b\\u007f text\"\n\"true\": \" x\"\n",
	} {
		if got, err := toYAML([]byte(answer)); err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", answer, err, got, want)
		}
	}
	for _, answer := range []string{``, `{`, `{"a":`, `[1`} {
		if got, err := toYAML([]byte(answer)); err == nil {
			t.Errorf("%q is %q", answer, got)
		}
	}
}
