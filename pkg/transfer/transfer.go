// Package transfer reads and writes subjects in the formats of imports and
// exports: NDJSON, a JSON object a line, and CSV under a header. The admin, its
// command line and the Go client share it, so that they accept the same files.
package transfer

import (
	"bufio"
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

var errTooLong = errors.New("is longer than 1 MiB")

// Read reads an import of one of its two media types, a line at a time. A bad
// line is yielded with a validation_failed error, and the lines go on; any other
// error is the last.
func Read(r io.Reader, mediaType string) (iter.Seq2[api.ImportLine, error], error) {
	switch base, _, _ := mime.ParseMediaType(mediaType); base {
	case api.MediaNDJSON:
		return readNDJSON(r), nil
	case api.MediaCSV:
		return readCSV(r), nil
	}
	var faults model.Faults
	faults.Addf("header.Content-Type", "must be %s or %s", api.MediaNDJSON, api.MediaCSV)
	return nil, faults.Err()
}

func badLine(number int64, format string, args ...any) (api.ImportLine, error) {
	return api.ImportLine{Number: number}, model.Errorf(model.ValidationFailed, format, args...)
}

func readError(err error) error { return fmt.Errorf("read the import: %w", err) }

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
