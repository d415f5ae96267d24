package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// row is the result of one goal.
type row struct {
	goal    goal
	figures []figure
	err     error
}

// report is the outcome of a run.
type report struct {
	machine  machine
	size     size
	quick    bool
	rows     []row
	requests []samples
	charts   []chart
	peers    []peerRow
}

// table lays cells out in columns, as Markdown that is as readable unrendered.
// The first row is the heading; columns whose heading ends in a colon, which is
// taken away, are flush right.
func table(cells [][]string) string {
	right := make([]bool, len(cells[0]))
	widths := make([]int, len(cells[0]))
	for i, heading := range cells[0] {
		cells[0][i], right[i] = strings.CutSuffix(heading, ":")
	}
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	for n, line := range cells {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if right[i] {
				cell = pad + cell
			} else {
				cell += pad
			}
			b.WriteString("| " + cell + " ")
		}
		b.WriteString("|\n")
		if n == 0 {
			for i, width := range widths {
				if right[i] {
					b.WriteString("|-" + strings.Repeat("-", width) + ":")
				} else {
					b.WriteString("|-" + strings.Repeat("-", width) + "-")
				}
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

func (r *report) goalTable() string {
	cells := [][]string{{"what", "goal:", "measured:", "reference:", "ratio:", "met"}}
	for _, row := range r.rows {
		if row.err != nil {
			cells = append(cells, []string{row.goal.what, "", "", "", "", "**not measured**: " + oneLine(row.err.Error())})
		}
		for _, f := range row.figures {
			cells = append(cells, f.cells(row.goal.what))
		}
	}
	return table(cells)
}

func (f figure) cells(what string) []string {
	if f.label != "" {
		what += ": " + f.label
	}
	reference, times := "", ""
	if f.reference != 0 {
		reference = quantity(f.reference, f.unit) + " (" + f.against + ")"
		times = fmt.Sprintf("%.2f ×", f.ratio)
	}
	verdict := f.verdict()
	if f.remark != "" {
		verdict += " (" + oneLine(f.remark) + ")"
	}
	return []string{what, f.limit.format(f.unit), quantity(f.value, f.unit), reference, times, verdict}
}

// oneLine keeps a message within a cell.
func oneLine(message string) string {
	message = strings.NewReplacer("\n", " ", "|", "/").Replace(message)
	if runes := []rune(message); len(runes) > 200 {
		message = string(runes[:200]) + "…"
	}
	return message
}

func (r *report) requestTable() string {
	cells := [][]string{{"what", "server", "requests/s:", perMillion + ":", "p50:", "p99:", "bytes:", "errors:"}}
	for _, s := range r.requests {
		errors, _ := s.errors()
		cells = append(cells, []string{s.what, s.server, number(s.median(rate)), number(s.median(cpu)),
			quantity(s.median(p50), "ms"), quantity(s.median(p99), "ms"), fmt.Sprintf("%.0f", s.median(bodySize)), fmt.Sprint(errors)})
	}
	return table(cells)
}

// markdown is the report as a page; its pictures are expected in the folder
// images beside it.
func (r *report) markdown() string {
	var b strings.Builder
	section := func(format string, arguments ...any) { fmt.Fprintf(&b, format+"\n\n", arguments...) }
	command := "make bench"
	switch {
	case r.quick:
		command = "make bench-quick"
	case r.peers != nil:
		command = "make bench-peers"
	}
	section("# Benchmarks")
	section("Written by `%s`, which anyone can run again.", command)
	section("%s", r.machine)
	if len(r.rows) > 0 {
		section(method, r.size.rounds)
		section("## Goals")
		section("%s", strings.TrimSpace(r.goalTable()))
	}
	if r.peers != nil {
		section("## Peers")
		section(peerMethod, r.size.rounds)
		section("%s", strings.TrimSpace(peerTable(r.peers)))
	}
	for _, c := range r.charts {
		section("![%s](images/%s)", c.title, c.imageFile())
	}
	if len(r.requests) > 0 {
		section("## Requests")
		section("%s", requestMethod)
		section("%s", strings.TrimSpace(r.requestTable()))
	}
	return strings.TrimSpace(b.String()) + "\n"
}

const (
	method = "A figure that the clock has a hand in is a ratio to a reference that runs in the same minute: the two take turns,\n" +
		"A B A B …, and the ratio is the median over %d rounds. Differences under 15 %% are noise, and a figure that near\n" +
		"to its goal is marked so. CPU is what the server process used by `/proc/PID/stat`; the load comes from a second process\n" +
		"over loopback, each request for a random subject. The bare handler is net/http sending the same bytes, and nothing else."

	requestMethod = "64 connections (the batch: 4), kept alive, each sending the next request when the last one was answered, so the\n" +
		"latencies are those of a machine at its limit that the load shares; with changes, 5,000 requests a second. Medians of the\n" +
		"rounds."

	peerMethod = "20 flags for one user on 64 connections. CPU is compared with a bare net/http handler that sends the peer's own answer,\n" +
		"in turns; medians of %d rounds. Their work is larger: they parse a POST and evaluate 20 rules."
)

func (c chart) imageFile() string { return "bench-" + c.file + ".svg" }

// write writes the page to path and its pictures beside it. It fails if a goal
// could not be measured, so that an incomplete page does not replace a complete
// one.
func (r *report) write(path string) error {
	if err := r.failed(); err != nil {
		return fmt.Errorf("%s stays as it was: %w", path, err)
	}
	images := filepath.Join(filepath.Dir(path), "images")
	if err := os.MkdirAll(images, 0o755); err != nil {
		return err
	}
	for _, c := range r.charts {
		if err := os.WriteFile(filepath.Join(images, c.imageFile()), []byte(c.svg()), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(r.markdown()), 0o644)
}

// text is the report for a terminal.
func (r *report) text() string {
	var parts []string
	parts = append(parts, r.machine.String())
	if len(r.rows) > 0 {
		parts = append(parts, r.goalTable())
	}
	if r.peers != nil {
		parts = append(parts, peerTable(r.peers))
	}
	if len(r.requests) > 0 {
		parts = append(parts, r.requestTable())
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i]) + "\n"
	}
	return strings.Join(parts, "\n")
}

// failed names the goals that could not be measured. A missed goal is no failure of
// the harness.
func (r *report) failed() error {
	var names []string
	for _, row := range r.rows {
		if row.err != nil {
			names = append(names, row.goal.name)
		}
	}
	if names == nil {
		return nil
	}
	return fmt.Errorf("not measured: %s", strings.Join(names, ", "))
}
