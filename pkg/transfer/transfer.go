// Package transfer reads and writes subjects in the formats of imports and
// exports: NDJSON, a JSON object a line, and CSV under a header. The admin, its
// command line and the Go client share it, so that they accept the same files.
package transfer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// maxLine bounds the memory that one line takes: ids and the names of thousands
// of groups fit.
const maxLine = 1 << 20

// What is wrong with a text itself.
var (
	errTooLong = errors.New("is longer than 1 MiB")
	errUTF16   = errors.New("is UTF-16: save it as UTF-8")
	errNoLine  = errors.New("is missing: the import has no line")
)

// Format is how an import is written.
type Format struct {
	MediaType     string
	IgnoreColumns bool // of a CSV, if imports do not know them; else they are refused
}

// Read reads an import, a line at a time. A bad line is yielded with a
// validation_failed error, and the lines go on unless nothing can be read after it;
// any other error is the last. An import without any line has a bad one.
func Read(r io.Reader, f Format) (iter.Seq2[api.ImportLine, error], error) {
	switch base, _, _ := mime.ParseMediaType(f.MediaType); base {
	case api.MediaNDJSON, "application/ndjson", "application/jsonl":
		return readNDJSON(r), nil
	case api.MediaCSV:
		return readCSV(r, f.IgnoreColumns), nil
	}
	return nil, model.Errorf(model.UnsupportedMediaType,
		"Content-Type must be %s, application/ndjson, application/jsonl or %s, is %q", api.MediaNDJSON, api.MediaCSV, f.MediaType)
}

// newText is the text of an import after its byte order mark.
func newText(r io.Reader) (*bufio.Reader, error) {
	text := bufio.NewReaderSize(r, maxLine)
	start, err := text.Peek(len(api.ByteOrderMark))
	switch {
	case err != nil && err != io.EOF:
		return nil, err
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")), bytes.IndexByte(start, 0) >= 0:
		return nil, errUTF16
	case string(start) == api.ByteOrderMark:
		_, _ = text.Discard(len(start))
	}
	return text, nil
}

func badLine(number int64, format string, args ...any) (api.ImportLine, error) {
	return api.ImportLine{Number: number}, model.Errorf(model.ValidationFailed, format, args...)
}

// failed is what to yield if the text cannot be read: a bad line if it is the text's
// fault.
func failed(number int64, err error) (api.ImportLine, error) {
	if errors.Is(err, errTooLong) || errors.Is(err, errUTF16) {
		return badLine(number, "%s", err)
	}
	return api.ImportLine{}, fmt.Errorf("read the import: %w", err)
}

// Write writes items as NDJSON. It ends at the first error that items yields,
// and what was written until then is no whole.
func Write[T any](w io.Writer, items iter.Seq2[T, error]) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false) // for people, and for parsePlain
	for item, err := range items {
		if err == nil {
			err = encoder.Encode(item)
		}
		if err != nil {
			return err
		}
	}
	return buffered.Flush()
}
