package cli

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"slices"
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

func TestFieldsOfATest(t *testing.T) {
	before := `{"groups": [{"name": "a", "proportion": 0.5, "variants": {"f": "A"}, "buckets": [1, 2], "subjects": 7}], "start": "x"}`
	after := strings.Replace(strings.Replace(before, "[1, 2]", "[3, 4]", 1), `"x"`, `"y"`, 1)
	for got, want := range map[string][]string{
		strings.Join(fields(api.ResourceChange{Before: json.RawMessage(before), After: json.RawMessage(after)}), "; "): {`start: "x" → "y"`},
		strings.Join(fields(api.ResourceChange{After: json.RawMessage(after)}), "; "): {
			`groups: [{"name":"a","proportion":0.5,"variants":{"f":"A"}}]`, `start: "y"`,
		},
	} {
		if got != strings.Join(want, "; ") {
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
	for _, text := range []string{"10", "99.5", " 2"} {
		if _, err := parsePercent(text); err == nil || !strings.HasSuffix(err.Error(), ": did you mean "+strings.TrimSpace(text)+"%?") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "%", "25", "101", "-1%", "101%", "NaN", "+Inf", "a", "1_0%", "1_0", "0x1p-2"} {
		if got, err := parsePercent(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

// conditional are the verbs with --if-revision, and the calls that take it as If-Match.
var conditional = map[string]string{
	"feature edit":          "patch /v1/features/{feature}",
	"feature off":           "patch /v1/features/{feature}",
	"feature on":            "patch /v1/features/{feature}",
	"feature archive":       "post /v1/features/{feature}/archive",
	"feature restore":       "post /v1/features/{feature}/restore",
	"feature delete":        "delete /v1/features/{feature}",
	"rollout set":           "patch /v1/features/{feature}/rollout",
	"rollout delete":        "delete /v1/features/{feature}/rollout",
	"test extend":           "patch /v1/abtests/{test}",
	"test stop":             "post /v1/abtests/{test}/stop",
	"test delete":           "delete /v1/abtests/{test}",
	"group delete":          "delete /v1/groups/{group}",
	"group override set":    "put /v1/groups/{group}/overrides/{feature}",
	"group override delete": "delete /v1/groups/{group}/overrides/{feature}",
	"subject delete":        "delete /v1/subjects/{id}",
}

// A flag that a verb takes and does not honour would let a script believe that nobody
// changed anything in between.
func TestIfRevisionIsHonoured(t *testing.T) {
	text, err := os.ReadFile("../../docs/openapi/admin.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name string `json:"name"`
			} `json:"parameters"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for verb, operation := range conditional {
		method, path, _ := strings.Cut(operation, " ")
		var names []string
		for _, p := range document.Paths[path][method].Parameters {
			names = append(names, p.Name)
		}
		if !slices.Contains(names, "If-Match") {
			t.Errorf("%s: %s takes no If-Match", verb, operation)
		}
	}
	var declare []string
	for _, c := range Commands() {
		if c.FlagSet().Lookup("if-revision") != nil {
			declare = append(declare, c.Name)
		}
	}
	slices.Sort(declare)
	if want := slices.Sorted(maps.Keys(conditional)); !slices.Equal(declare, want) {
		t.Errorf("--if-revision is of %q, want %q", declare, want)
	}
	var remote Remote
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	if remote.Flags(fs); fs.Lookup("if-revision") != nil {
		t.Error("tokens and imports have no revision")
	}
}

func TestRevisionOfAnETag(t *testing.T) {
	for etag, want := range map[string]string{`"17"`: "17", `"17-gzip"`: "17", `W/"17"`: "17", "": none, `"a17"`: none} {
		if got := revisionOf(etag); got != want {
			t.Errorf("%s: %s, want %s", etag, got, want)
		}
	}
}

// Answers keep all they have, and texts of others cannot command a terminal.
func TestOutput(t *testing.T) {
	const answer = `{"z":1,"a":9007199254740993,"b":"<yes>","c":"\u001b[2J","later":{"share":0.1,"none":null,"flag":"true"}}`
	for format, want := range map[string]string{
		"json": "{\n  \"z\": 1,\n  \"a\": 9007199254740993,\n  \"b\": \"<yes>\",\n  \"c\": \"\\u001b[2J\",\n  \"later\": {\n    \"share\": 0.1,\n    \"none\": null,\n    \"flag\": \"true\"\n  }\n}\n",
		"yaml": "z: 1\na: 9007199254740993\nb: <yes>\nc: \"\\e[2J\"\nlater:\n  share: 0.1\n  none: null\n  flag: \"true\"\n",
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
