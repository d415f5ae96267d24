package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// read makes text of each line: "3:id=weight[groups]", or "3!message" for an
// invalid one.
func read(t *testing.T, f Format, text io.Reader) (lines []string, failure error) {
	t.Helper()
	all, err := Read(text, f)
	if err != nil {
		t.Fatal(err)
	}
	return describe(all)
}

func describe(all iter.Seq2[api.ImportLine, error]) (lines []string, failure error) {
	for line, err := range all {
		switch {
		case model.CodeOf(err) == model.ValidationFailed:
			lines = append(lines, fmt.Sprintf("%d!%s", line.Number, err))
		case err != nil:
			return lines, err
		case line.Weight != nil:
			lines = append(lines, fmt.Sprintf("%d:%s=%d%v", line.Number, line.ID, *line.Weight, line.Groups))
		default:
			lines = append(lines, fmt.Sprintf("%d:%s%v", line.Number, line.ID, line.Groups))
		}
	}
	return lines, nil
}

func TestRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10<<20)
	for _, row := range []struct {
		name, mediaType, text string
		want                  []string // each line begins so
	}{
		{"nothing", api.MediaNDJSON, "", []string{"1!is missing: the import has no line"}},
		{"a byte order mark alone", api.MediaNDJSON, "\xef\xbb\xbf", []string{"1!is missing"}},
		{"blank", api.MediaNDJSON, "\n \n\r\n", []string{"4!is missing"}},
		{"a byte order mark", api.MediaNDJSON, "\xef\xbb\xbf{\"id\":\"a\"}\n", []string{"1:a[]"}},
		{"integers", api.MediaNDJSON, "{\"id\":\"a\",\"weight\":1.0}\n{\"id\":\"b\",\"weight\":-0}\n{\"id\":\"c\",\"weight\":1e3}", []string{"1:a=1[]", "2:b=0[]", "3:c=1000[]"}},
		{"UTF-16, little endian", api.MediaNDJSON, "\xff\xfe{\x00", []string{"1!is UTF-16: save it as UTF-8"}},
		{"UTF-16, big endian", api.MediaCSV, "\xfe\xff\x00i", []string{"1!is UTF-16: save it as UTF-8"}},
		{"UTF-16 without a mark", api.MediaCSV, "i\x00d\x00\n\x00", []string{"1!is UTF-16: save it as UTF-8"}},
		{"lines", api.MediaNDJSON, "{\"id\":\"a\"}\n\n{\"id\":\"b\",\"weight\":3,\"groups\":[\"x\",\"y\"]}\r\n{\"id\":\"\u2028\"}", []string{"1:a[]", "3:b=3[x y]", "4:\u2028[]"}},
		{"faults", api.MediaNDJSON, "{\n{\"id\":1}\n{\"di\":\"a\"}\n{\"id\":\"a\"}{}\n{\"id\":\"\xff\"}\n{\"id\":\"a\",\"weight\":1.5}\n[]\nnull\n{\"id\":\"ok\"}\n" +
			"{\"id\":\"a\",\"id\":\"b\"}\n{\"id\":\"\\ud800\"}\n{\"ID\":\"a\"}", []string{
			"1!must be valid JSON: unexpected EOF", "2!id must be a string, is a number", "3!di is not known here", "4!must be a single JSON value", "5!must be valid JSON: invalid UTF-8",
			"6!weight must be an integer, is 1.5", "7!must be an object, is an array", "8!must be an object, is null", "9:ok[]", "10!has two members \"id\"", "11!must be valid JSON: invalid surrogate", "12!ID is not known here"}},
		{"a long line", api.MediaNDJSON, "{\"id\":\"a\"}\n{\"id\":\"" + long + "\"}\n{\"id\":\"b\"}\n", []string{"1:a[]", "2!is longer than 1 MiB", "3:b[]"}},
		{"a long last line", api.MediaNDJSON, long, []string{"1!is longer than 1 MiB"}},

		{"nothing", api.MediaCSV, "", []string{"1!is missing: the import has no line"}},
		{"blank", api.MediaCSV, "\xef\xbb\xbf\n\r\n", []string{"3!is missing"}},
		{"header alone", api.MediaCSV, "id,weight,groups\n", []string{"2!is missing"}},
		{"header above empty fields", api.MediaCSV, "\nid,weight\n,\n,\n", []string{"5!is missing"}},
		{"empty fields", api.MediaCSV, "id,weight\n,\na,1\n,\n", []string{"3:a=1[]"}},
		{"semicolons", api.MediaCSV, "id;weight;groups\na;3;\"x;y\"\nb;;x\n", []string{"2:a=3[x y]", "3:b[x]"}},
		{"quoted semicolons", api.MediaCSV, "\"groups\";\"id\"\n\"x\";\"a,b\"\n", []string{"2:a,b[x]"}},
		{"tabs", api.MediaCSV, "weight\tid\tgroups\n3\ta\tx;y\n", []string{"2:a=3[x y]"}},
		{"lines", api.MediaCSV, "\xef\xbb\xbfid,weight,groups\r\na,3,x;y\r\n\r\n\"b,\n\"\"c\",,\r\nd,0,x", []string{"2:a=3[x y]", "4:b,\n\"c[]", "6:d=0[x]"}},
		{"another order", api.MediaCSV, "weight,id\n3,a\n", []string{"2:a=3[]"}},
		{"other columns", api.MediaCSV, "ID,id,e-mail\na,b,c\n", []string{"1!has columns other than id, weight and groups, which columns=ignore would skip: \"ID\", \"e-mail\""}},
		{"ids alone", api.MediaCSV, "id\na\nb", []string{"2:a[]", "3:b[]"}},
		{"no header", api.MediaCSV, "a,3,x\nb,3,x\n", []string{"1!must be a header with a column id, such as id,weight,groups, is \"a,3,x\""}},
		{"no id", api.MediaCSV, "weight\n3\n", []string{"1!must be a header"}},
		{"a column twice", api.MediaCSV, "id,id\na,b\n", []string{"1!has two columns id"}},
		{"a long header", api.MediaCSV, long, []string{"1!is longer than 1 MiB"}},
		{"faults", api.MediaCSV, "id,weight\na,x\nb,1.5\nc\nd,1,2\n\"e\"f,1\ng,1\n", []string{"2!weight must be an integer between 0 and 9007199254740991, is \"x\"", "3!weight must be an integer between 0 and 9007199254740991, is \"1.5\"", "4!wrong number of fields", "5!wrong number of fields", "6!", "7:g=1[]"}},
		{"whole numbers", api.MediaNDJSON, "{\"id\":\"a\",\"weight\":1.0}\n{\"id\":\"b\",\"weight\":+1}\n{\"id\":\"c\",\"weight\":01}\n{\"id\":\"d\",\"weight\":1e2}\n", []string{"1:a=1[]", "2!must be valid JSON", "3!must be valid JSON", "4:d=100[]"}},
		{"whole numbers", api.MediaCSV, "id,weight\na,1.0\nb,+1\nc,01\nd,1e2\ne, 1\n", []string{"2:a=1[]", "3!weight must be an integer", "4!weight must be an integer", "5:d=100[]", "6!weight must be an integer"}},
		{"nulls", api.MediaNDJSON, "{\"id\":null}\n{\"id\":\"a\",\"weight\":null}\n{\"id\":\"a\",\"groups\":null}\n{\"id\":\"a\",\"groups\":[null]}\n", []string{
			"1!id must be a string, is null", "2!weight must be an integer, is null", "3!groups must be an array, is null", "4!groups[0] must be a string, is null"}},
		{"an open quote", api.MediaCSV, "id\na\n\"b\nc\n", []string{"2:a[]", "3!"}},
		{"a long line", api.MediaCSV, "id\na\n" + long + "\nb", []string{"2:a[]", "3!is longer than 1 MiB"}},
		{"an open quote before much", api.MediaCSV, "id\na\n\"" + strings.Repeat("x\n", 5<<20), []string{"2:a[]", "3!is longer than 1 MiB"}},
	} {
		got, err := read(t, Format{MediaType: row.mediaType}, strings.NewReader(row.text))
		if err != nil || len(got) != len(row.want) {
			t.Errorf("%s, %s: %.300q, %v", row.name, row.mediaType, got, err)
			continue
		}
		for i, want := range row.want {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%s, %s: %.300q, not %q", row.name, row.mediaType, got[i], want)
			}
		}
	}
}

func TestOtherColumnsAreIgnored(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"name;id;name;weight\nA;a;;3\n;;;\n": "[2:a=3[]]",
		"name,id,\nA,a,\nB,,\n":              "[2:a[] 3:[]]",
		"id,name,id\na,A,a\n":                "[1!has two columns id]",
	} {
		if got, err := read(t, Format{MediaType: api.MediaCSV, IgnoreColumns: true}, strings.NewReader(text)); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestReadFailsWithItsReader(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for mediaType, text := range map[string]string{api.MediaNDJSON: "{\"id\":\"a\"}\n{\"id\"", api.MediaCSV: "id\na\nb"} {
		got, err := read(t, Format{MediaType: mediaType}, io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || len(got) != 1 {
			t.Errorf("%s: %q, %v", mediaType, got, err)
		}
	}
}

func TestReadOtherMediaTypes(t *testing.T) {
	t.Parallel()
	for _, mediaType := range []string{"", "application/json", "text/plain", "text/csv/x", ";"} {
		if _, err := Read(strings.NewReader(""), Format{MediaType: mediaType}); model.CodeOf(err) != model.UnsupportedMediaType || !strings.Contains(err.Error(), "application/jsonl or text/csv, is ") {
			t.Errorf("%q: %v", mediaType, err)
		}
	}
	for _, mediaType := range []string{"text/csv; charset=utf-8", "Application/X-NDJSON", "application/ndjson", "application/jsonl"} {
		if _, err := Read(strings.NewReader(""), Format{MediaType: mediaType}); err != nil {
			t.Errorf("%q: %v", mediaType, err)
		}
	}
}

func TestReadExport(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	long := strings.Repeat("x", 1<<20)
	for _, row := range []struct {
		text, want, says string
	}{
		{"", "[]", ""},
		{"{\"id\":\"a\"}\n\n{\"id\":\"é\",\"weight\":3,\"groups\":[\"x\"]}\n", "[0:a[] 0:é=3[x]]", ""},
		{"{\"id\":\"a\",\"bucket_id\":7}\n{\"id\":\"b\"}", "[0:a[] 0:b[]]", ""},
		{"{\"id\":\"a\"}\nwelcome\n{\"id\":\"b\"}\n", "[0:a[]]", "line 2: invalid character"},
		{"{\"id\":\"a\"}\n" + long + "\n{\"id\":\"b\"}\n", "[0:a[]]", "line 2: is longer than 1 MiB"},
		{"{\"id\":\"a\"}\n{\"id\":\"b\"", "[0:a[]]", "line 2: broken"},
	} {
		var text io.Reader = strings.NewReader(row.text)
		if strings.Contains(row.says, "broken") {
			text = io.MultiReader(text, iotest.ErrReader(broken))
		}
		got, err := describe(ReadExport(text))
		if fmt.Sprint(got) != row.want || (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%.100q: %q, %v", row.text, got, err)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	lines := func(last error) iter.Seq2[api.ImportLine, error] {
		return func(yield func(api.ImportLine, error) bool) {
			_ = yield(api.ImportLine{ID: "<a>", Weight: new(int64(3)), Groups: []string{"x"}, Number: 7}, nil) &&
				yield(api.ImportLine{ID: "b"}, last) && yield(api.ImportLine{ID: "c"}, nil)
		}
	}
	var text strings.Builder
	const want = "{\"id\":\"<a>\",\"weight\":3,\"groups\":[\"x\"]}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n"
	if err := Write(&text, lines(nil)); err != nil || text.String() != want {
		t.Errorf("%s, %v", text.String(), err)
	}
	if err := Write(io.Discard, lines(broken)); !errors.Is(err, broken) {
		t.Errorf("an error among the lines: %v", err)
	}
	reader, writer := io.Pipe()
	reader.CloseWithError(broken)
	if err := Write(writer, lines(nil)); !errors.Is(err, broken) {
		t.Errorf("a writer that fails: %v", err)
	}
}

// BenchmarkRead reads 10,000 lines at a time.
func BenchmarkRead(b *testing.B) {
	const lines = 10_000
	for _, file := range []struct{ name, mediaType, header, line string }{
		{"plain", api.MediaNDJSON, "", `{"id":"%d","weight":3}` + "\n"},
		{"groups", api.MediaNDJSON, "", `{"id":"%d","weight":3,"groups":["friends","beta"]}` + "\n"},
		{"other", api.MediaNDJSON, "", `{"weight":3,"id":"%d"}` + "\n"},
		{"csv", api.MediaCSV, "id,weight,groups\n", "%d,3,friends;beta\n"},
	} {
		text := bytes.NewBufferString(file.header)
		for i := range lines {
			fmt.Fprintf(text, file.line, i)
		}
		b.Run(file.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				all, err := Read(bytes.NewReader(text.Bytes()), Format{MediaType: file.mediaType})
				if err != nil {
					b.Fatal(err)
				}
				for _, err := range all {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
