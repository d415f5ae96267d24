package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/model"
)

func checkText(s string) error { return model.CheckDescription(s) }

var equal = cmpopts.IgnoreUnexported(Document{})

// Whatever a document holds, reading what was written gives the same document, and
// writing that the same text.
func TestDocumentsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := documents().Draw(t, "document")
		text, err := d.YAML()
		if err != nil {
			t.Fatal(err)
		}
		comesBack(t, d, text, text)
		inJSON, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		comesBack(t, d, inJSON, text)
		comesBack(t, d, bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), text)
		var compact, tabs bytes.Buffer
		if err := errors.Join(json.Compact(&compact, inJSON), json.Indent(&tabs, inJSON, "", "\t")); err != nil {
			t.Fatal(err)
		}
		comesBack(t, d, compact.Bytes(), text)
		comesBack(t, d, tabs.Bytes(), text)
	})
}

func comesBack(t *rapid.T, d *Document, text, inYAML []byte) {
	t.Helper()
	read, err := Parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if diff := cmp.Diff(d, read, equal); diff != "" {
		t.Fatalf("read from\n%s\n%s", text, diff)
	}
	again, err := read.YAML()
	if err != nil || !bytes.Equal(again, inYAML) {
		t.Fatalf("written again (%v):\n%s\nof\n%s", err, again, text)
	}
}
