package main

import (
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	ratioOf := func(r float64, l limit) figure { return figure{value: 10 * r, reference: 10, ratio: r, limit: l} }
	for _, c := range []struct {
		name   string
		figure figure
		want   string
	}{
		{"no goal", figure{value: 1}, "–"},
		{"well below", figure{value: 2, limit: atMost(5)}, "yes"},
		{"just below", figure{value: 4.9, limit: atMost(5)}, "yes, within noise"},
		{"just above", figure{value: 5.1, limit: atMost(5)}, "**no**, within noise"},
		{"well above", figure{value: 6, limit: atMost(5)}, "**no**"},
		{"enough", figure{value: 6, limit: atLeast(5)}, "yes"},
		{"too little", figure{value: 4, limit: atLeast(5)}, "**no**"},
		{"a count is exact", figure{value: 16.1, limit: atMost(16).counted()}, "**no**"},
		{"none at all", figure{value: 0, limit: atMost(0).counted()}, "yes"},
		{"some where none may be", figure{value: 0.5, limit: atMost(0).counted()}, "**no**"},
		{"by ratio", ratioOf(0.9, atMostTimes(1.1)), "yes"},
		{"by ratio, missed", ratioOf(1.5, atMostTimes(1.1)), "**no**"},
		{"by ratio, enough", ratioOf(0.8, atLeastTimes(0.5)), "yes"},
		{"errors spoil it", figure{value: 1, limit: atMost(5), errors: 3}, "**no**: 3 errors"},
	} {
		if got := c.figure.verdict(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 5: "5", 150: "150", 0.0123: "0.012", 1.1: "1.10", 22.94: "22.9", 149.6: "150", 1234: "1,234", 47209.4: "47,209",
		999_999: "999,999", 1_000_000: "1.00 M", 12_345_678: "12.3 M",
	} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
	for n, want := range map[int]string{5: "5", 1000: "1000", 10_000: "10 k", 100_000: "100 k", 1_000_000: "1 M", 12_345: "12345"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRatioIsPaired(t *testing.T) {
	// The machine was half as fast in the second round, for both.
	if got := ratio([]float64{2, 4, 2}, []float64{1, 2, 1}); got != 2 {
		t.Errorf("ratio = %v, want 2", got)
	}
}

func TestGoalTable(t *testing.T) {
	r := report{rows: []row{
		{goal{what: "one"}, []figure{{value: 25, unit: "s", reference: 20, against: "bare", ratio: 1.25, limit: atMostTimes(1.1)}}, nil},
		{goal{what: "two"}, nil, errors.New("no | luck\nat all")},
		{goal{what: "three"}, []figure{{label: "µ", value: 3, unit: "ms", limit: atMost(9), remark: "fast"}}, nil},
	}}
	want := strings.TrimSpace(`
| what     |    goal | measured |   reference |  ratio | met                                |
|----------|--------:|---------:|------------:|-------:|------------------------------------|
| one      | ≤ 1.10 × |     25 s | 20 s (bare) | 1.25 × | **no**, within noise               |
| two      |         |          |             |        | **not measured**: no / luck at all |
| three: µ |  ≤ 9 ms |     3 ms |             |        | yes (fast)                         |`)
	// The widths are the table's own business; its cells are not.
	if got := squeeze(r.goalTable()); got != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", got, squeeze(want))
	}
	lines := strings.Split(strings.TrimSpace(r.goalTable()), "\n")
	for _, line := range lines {
		if len([]rune(line)) != len([]rune(lines[0])) {
			t.Errorf("the lines of the table differ in length:\n%s", r.goalTable())
			break
		}
	}
}

// squeeze takes away what fills the columns.
func squeeze(table string) string {
	for _, wide := range []string{" ", "-"} {
		for strings.Contains(table, wide+wide) {
			table = strings.ReplaceAll(table, wide+wide, wide)
		}
	}
	return strings.TrimSpace(table)
}

func TestFailedNamesGoals(t *testing.T) {
	r := report{rows: []row{{goal: goal{name: "get"}}, {goal: goal{name: "batch"}, err: errors.New("no")}}}
	if err := r.failed(); err == nil || !strings.Contains(err.Error(), "batch") || strings.Contains(err.Error(), "get") {
		t.Errorf("failed() = %v", err)
	}
	if err := (&report{rows: r.rows[:1]}).failed(); err != nil {
		t.Errorf("failed() = %v, want nil", err)
	}
}

func TestPageHasNoGaps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	r := report{rows: []row{{goal: goal{name: "get"}, err: errors.New("no")}}}
	if err := r.write(path); err == nil || !strings.Contains(err.Error(), "not measured: get") {
		t.Errorf("write() = %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the page is there, error %v", err)
	}
	if _, err := parseOptions([]string{"-only", "get", "-markdown", path}); err == nil {
		t.Error("a page of one goal is allowed")
	}
}

func TestMarkdownHoldsEverything(t *testing.T) {
	r := report{
		machine:  machine{date: time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC), cpu: "2 × CPU", postgres: "15.1", commit: "abc"},
		rows:     []row{{goal: goal{what: "the goal"}, figures: []figure{{value: 1}}}},
		requests: []samples{{"flags", "edge", []outcome{{Requests: 10, Seconds: 1, P50: time.Millisecond}}}},
		charts:   []chart{{file: "features", title: "Growth"}},
	}
	page := r.markdown()
	for _, part := range []string{"2027-01-02", "2 × CPU", "PostgreSQL 15.1", "commit abc", "the goal", "| flags |", "![Growth](images/bench-features.svg)"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q:\n%s", part, page)
		}
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	for _, bars := range []bool{false, true} {
		c := chart{title: "<a> & b", x: "x", y: "y", bars: bars, lines: []line{{name: "one"}, {name: "two <"}}}
		c.add("10 k", 0, 24.7)
		c.add("1 M", 25.1, 99)
		text := c.svg()
		decoder := xml.NewDecoder(strings.NewReader(text))
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
		}
		for _, part := range []string{"&lt;a&gt; &amp; b", "two &lt;", "10 k", "24.7"} {
			if !strings.Contains(text, part) {
				t.Errorf("the plot lacks %q", part)
			}
		}
	}
}

func TestPlotScale(t *testing.T) {
	for _, highest := range []float64{0.003, 0.9, 1, 4.2, 24.7, 99, 100, 5300} {
		step, top := chart{ticks: []string{"a", "b"}, lines: []line{{values: []float64{0, highest}}}}.scale()
		if lines := top / step; top < highest || lines < 2 || lines > 11 {
			t.Errorf("up to %v: %v grid lines of %v, up to %v", highest, lines, step, top)
		}
	}
}
