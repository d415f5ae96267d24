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

// Errors of the text as a whole.
var (
	errTooLong = errors.New("is longer than 1 MiB")
	errUTF16   = errors.New("is UTF-16: save it as UTF-8")
	errNoLine  = errors.New("is missing: the import has no line")
)

// Format is how an import is written.
type Format struct {
	MediaType     string
	IgnoreColumns bool // skip unknown columns of a CSV; else they are rejected
}

// Read reads an import line by line. An invalid line is yielded with a
// validation_failed error, and reading goes on if it can; any other error ends the
// sequence. An import without lines yields one such error.
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

// newText returns the text of an import without its byte order mark.
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

// failed returns what to yield if the text cannot be read: an invalid line if the
// text is at fault.
func failed(number int64, err error) (api.ImportLine, error) {
	if errors.Is(err, errTooLong) || errors.Is(err, errUTF16) {
		return badLine(number, "%s", err)
	}
	return api.ImportLine{}, fmt.Errorf("read the import: %w", err)
}

// Write writes items as NDJSON. It stops at the first error that items yields; the
// output is then incomplete.
func Write[T any](w io.Writer, items iter.Seq2[T, error]) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false) // for people, and for parseCanonical
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
