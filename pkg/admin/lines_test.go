package admin

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// describe tells of the lines of text: "3:id=weight[groups]" or "3!message".
func describe(t *testing.T, mediaType string, text io.Reader) (lines []string, failure error) {
	t.Helper()
	all, err := ImportLines(text, mediaType)
	if err != nil {
		t.Fatal(err)
	}
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

func TestImportLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10<<20)
	for _, row := range []struct {
		name, mediaType, text string
		want                  []string // each line begins so
	}{
		{"nothing", api.MediaNDJSON, "", nil},
		{"blank", api.MediaNDJSON, "\n \n\r\n", nil},
		{"lines", api.MediaNDJSON, "{\"id\":\"a\"}\n\n{\"id\":\"b\",\"weight\":3,\"groups\":[\"x\",\"y\"]}\r\n{\"id\":\"\u2028\"}", []string{"1:a[]", "3:b=3[x y]", "4:\u2028[]"}},
		{"faults", api.MediaNDJSON, "{\n{\"id\":1}\n{\"di\":\"a\"}\n{\"id\":\"a\"}{}\n{\"id\":\"\xff\"}\n{\"id\":\"a\",\"weight\":1.5}\n[]\nnull\n{\"id\":\"ok\"}", []string{
			"1!unexpected EOF", "2!id does not take this number", "3!unknown field", "4!must be a single JSON object", "5!must be UTF-8", "6!weight does not take this number 1.5", "7! does not take this array", "8:[]", "9:ok[]"}},
		{"a long line", api.MediaNDJSON, "{\"id\":\"a\"}\n{\"id\":\"" + long + "\"}\n{\"id\":\"b\"}\n", []string{"1:a[]", "2!is longer than 1 MiB", "3:b[]"}},
		{"a long last line", api.MediaNDJSON, long, []string{"1!is longer than 1 MiB"}},

		{"nothing", api.MediaCSV, "", nil},
		{"header alone", api.MediaCSV, "id,weight,groups\n", nil},
		{"lines", api.MediaCSV, "\xef\xbb\xbfid,weight,groups\r\na,3,x;y\r\n\r\n\"b,\n\"\"c\",,\r\nd,0,x", []string{"2:a=3[x y]", "4:b,\n\"c[]", "6:d=0[x]"}},
		{"other columns", api.MediaCSV, "weight,id\n3,a\n", []string{"2:a=3[]"}},
		{"ids alone", api.MediaCSV, "id\na\nb", []string{"2:a[]", "3:b[]"}},
		{"no header", api.MediaCSV, "a,3,x\nb,3,x\n", []string{"1!must be a header"}},
		{"no id", api.MediaCSV, "weight\n3\n", []string{"1!must be a header"}},
		{"a column twice", api.MediaCSV, "id,id\na,b\n", []string{"1!must be a header"}},
		{"faults", api.MediaCSV, "id,weight\na,x\nb,1.5\nc\nd,1,2\n\"e\"f,1\ng,1\n", []string{"2!weight must be an integer", "3!weight must be an integer", "4!wrong number of fields", "5!wrong number of fields", "6!", "7:g=1[]"}},
		{"an open quote", api.MediaCSV, "id\na\n\"b\nc\n", []string{"2:a[]", "3!"}},
		{"a long line", api.MediaCSV, "id\na\n" + long + "\nb", []string{"2:a[]", "3!is longer than 1 MiB"}},
		{"an open quote before much", api.MediaCSV, "id\na\n\"" + strings.Repeat("x\n", 5<<20), []string{"2:a[]", "3!is longer than 1 MiB"}},
	} {
		got, err := describe(t, row.mediaType, strings.NewReader(row.text))
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

func TestImportLinesFailWithTheirReader(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for mediaType, text := range map[string]string{api.MediaNDJSON: "{\"id\":\"a\"}\n{\"id\"", api.MediaCSV: "id\na\nb"} {
		got, err := describe(t, mediaType, io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || len(got) != 1 {
			t.Errorf("%s: %q, %v", mediaType, got, err)
		}
	}
}

func TestImportLinesOfOtherMediaTypes(t *testing.T) {
	t.Parallel()
	for _, mediaType := range []string{"", "application/json", "text/plain", "text/csv/x", ";"} {
		if _, err := ImportLines(strings.NewReader(""), mediaType); model.CodeOf(err) != model.ValidationFailed {
			t.Errorf("%q: %v", mediaType, err)
		}
	}
	for _, mediaType := range []string{"text/csv; charset=utf-8", "Application/X-NDJSON"} {
		if _, err := ImportLines(strings.NewReader(""), mediaType); err != nil {
			t.Errorf("%q: %v", mediaType, err)
		}
	}
}
