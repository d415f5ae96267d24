package transfer

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// FuzzRead gives any text to both readers of imports. Each line yields one line or
// one error with its number, in order. The lines can be written and read again, as
// an import and as an export.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "\r\n\r\n", "{}", "null", "[]", "{\"id\":\"a\"}", "{\"id\":\"a\",\"weight\":3,\"groups\":[\"g\",\"h\"]}\n{\"id\":\"b\"}\n",
		"{\"id\":\"a\"} {\"id\":\"b\"}\n", "{\"id\":1}\n{\"id\":\"c\"}", "{\"id\":\"a\",\"what\":1}", "{\"id\":\"a\",\"Number\":9}", "{\"id\":\"a\",\"ID\":\"b\"}",
		"{\"id\":\"\\ud800\"}", "{\"id\":\"\xff\"}", "{\"weight\":1e3}", "{\"weight\":9223372036854775808}", "{\"groups\":null}",
		"id,weight,groups\na,1,g;h\nb,,\n", "\xef\xbb\xbfid\na\n", "weight,id\n1,a", "id,id\na,a\n", "id\n\"a\nb\"\nc\n", "id\n\"a", "id,weight\na\nb,x\nc,1\n", "a,b,c\n",
		"id,groups\na,;\n", "id\n\"\"\"\"\n", "id;groups\na;\"g;h\"\n;\n", "name\tid\nA\ta\n", "\xef\xbb\xbf{\"id\":\"a\"}", "\xff\xfei\x00d\x00",
		"{\"id\":\"a\",\"id\":\"b\"}", "{\"id\":\"a\",\"weight\":1.0}", "{\"id\":\"a\",\"weight\":-0}",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, csv bool) {
		mediaType := map[bool]string{false: api.MediaNDJSON, true: api.MediaCSV}[csv]
		read := func(text []byte, mediaType string) (good []api.ImportLine) {
			lines, err := Read(bytes.NewReader(text), Format{MediaType: mediaType, IgnoreColumns: true})
			if err != nil {
				t.Fatal(err)
			}
			last := int64(0)
			for line, err := range lines {
				if err != nil {
					// The io.Reader of this test never fails, so each error is
					// about the text.
					if model.CodeOf(err) != model.ValidationFailed {
						t.Fatalf("%q: %v", text, err)
					}
					continue
				}
				if line.Number <= last || line.Number > int64(bytes.Count(text, []byte{'\n'})+bytes.Count(text, []byte{'\r'}))+1 {
					t.Fatalf("%q: line %d comes after line %d", text, line.Number, last)
				}
				last = line.Number
				line.Number = 0
				good = append(good, line)
			}
			return good
		}
		good := read(text, mediaType)
		var written bytes.Buffer
		err := Write(&written, func(yield func(api.ImportLine, error) bool) {
			for _, line := range good {
				if !yield(line, nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		again := read(written.Bytes(), api.MediaNDJSON)
		var exported []api.ImportLine
		for line, err := range ReadExport(&written) {
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			exported = append(exported, line)
		}
		if diff := cmp.Diff(again, exported); diff != "" {
			t.Fatalf("%q (-import +export):\n%s", text, diff)
		}
		if len(again) != len(good) {
			t.Fatalf("%q: %d lines became %d when they were written and read again", text, len(good), len(again))
		}
		for i := range good {
			if csv {
				// A CSV may hold invalid UTF-8, which the rules for ids reject
				// later.
				continue
			}
			if diff := cmp.Diff(good[i], again[i], cmpopts.EquateEmpty()); diff != "" { // an empty list and none mean the same
				t.Fatalf("%q (-read +written and read again):\n%s", text, diff)
			}
		}
	})
}
