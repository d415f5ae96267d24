package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/mattn/go-isatty"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/state"
)

// table is what people read of an answer.
type table struct {
	header []string // nil for lines of a name and a value
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print prints an answer as its reader asked: as the admin sent it, or as a table, or
// the names alone.
func (c *call) print(answer []byte, names []string, t table) error {
	switch c.format {
	case "json", "yaml":
		if len(answer) == 0 {
			return nil
		}
		return encode(c.Stdout, answer, c.format)
	case "silent": // the caller prints
		return nil
	case "name":
		for _, name := range names {
			if _, err := fmt.Fprintln(c.Stdout, clean(name)); err != nil {
				return err
			}
		}
		return nil
	}
	return t.write(c.Stdout)
}

// printRaw prints an answer that is no table.
func (c *call) printRaw(answer []byte) error {
	if c.format != "raw" {
		return encode(c.Stdout, answer, c.format)
	}
	_, err := fmt.Fprintf(c.Stdout, "%s\n", bytes.TrimRight(answer, "\n"))
	return err
}

// encode prints JSON with all its members, in their order.
func encode(w io.Writer, answer []byte, format string) error {
	var text bytes.Buffer
	var err error
	if format == "yaml" {
		var document []byte
		document, err = state.YAML(answer)
		text.Write(document)
	} else {
		err = json.Indent(&text, bytes.TrimSpace(answer), "", "  ")
		text.WriteByte('\n')
	}
	if err != nil {
		return errors.New("the answer is no JSON: print it as it is, with -o raw")
	}
	_, err = w.Write(text.Bytes())
	return err
}

// write aligns the table for a terminal. For programs it separates cells by tabs and
// leaves the header out.
func (t table) write(w io.Writer) error {
	var text bytes.Buffer
	people := isTerminal(w)
	out := io.Writer(&text)
	if people {
		out = tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		if t.header != nil {
			fmt.Fprintln(out, strings.Join(t.header, "\t"))
		}
	}
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
		}
		fmt.Fprintln(out, strings.Join(cells, "\t"))
	}
	if aligned, ok := out.(*tabwriter.Writer); ok {
		if err := aligned.Flush(); err != nil {
			return err
		}
	}
	result := text.Bytes()
	if people && t.header != nil && os.Getenv("NO_COLOR") == "" {
		header, rows, _ := bytes.Cut(result, []byte("\n"))
		result = fmt.Appendf(nil, "\x1b[1m%s\x1b[0m\n%s", header, rows)
	}
	_, err := w.Write(result)
	return err
}

// clean replaces control characters, which would break a line or control a terminal. Any
// editor may write a text.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// isTerminal reports whether a person is at the other end of a stream.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// list is how a list is printed.
type list[T any] struct {
	query  url.Values
	header []string
	row    func(T) []string // the line of an item, its name first
	limit  int              // prints only so many; 0 for all
}

// printList prints a list. path are the segments of its path below /v1.
func printList[T any](ctx context.Context, c *call, l list[T], path ...string) error {
	var items []json.RawMessage
	var names []string
	t := table{header: l.header}
	for raw, err := range c.admin.List(ctx, l.query, path...) {
		if err != nil {
			return err
		}
		var item T
		if err := api.DecodeAnswer(raw, &item); err != nil {
			return err
		}
		items = append(items, raw)
		t.add(l.row(item)...)
		names = append(names, t.rows[len(t.rows)-1][0])
		if len(items) == l.limit {
			break
		}
	}
	return c.print(listAnswer("items", items), names, t)
}

// listAnswer is an object with one list, of answers as they were sent.
func listAnswer(name string, items []json.RawMessage) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"%s":[`, name)
	for i, item := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(item)
	}
	b.WriteString("]}")
	return b.Bytes()
}

// The following write values for people; what is absent is a dash.

const none = "-"

func text[T ~string](value *T) string {
	if value == nil {
		return none
	}
	return orNone(string(*value))
}

func orNone(value string) string {
	if value == "" {
		return none
	}
	return value
}

func moment(at *time.Time) string {
	if at == nil || at.IsZero() {
		return none
	}
	return at.UTC().Format(time.RFC3339)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func percent(share float64) string {
	return strconv.FormatFloat(math.Round(share*1000)/10, 'f', -1, 64) + " %"
}

// count is a number of things: "1 edge", "2 edges".
func count[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
