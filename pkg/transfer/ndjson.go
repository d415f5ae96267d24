package transfer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/flaggery/flaggery/pkg/api"
)

// ReadExport reads the NDJSON of an export. Unknown fields are skipped, as a later
// release may add some; an error is the last. The lines have no numbers, as theirs
// would not be those of an import that is made of them.
func ReadExport(r io.Reader) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		lines := newLineReader(r)
		for {
			text, err := lines.next()
			if text == nil && err == nil {
				return
			}
			var line api.ImportLine
			if err == nil {
				line, err = parseExported(text)
			}
			if err != nil {
				yield(api.ImportLine{}, fmt.Errorf("line %d: %w", lines.number, err))
				return
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}

func parseExported(text []byte) (line api.ImportLine, err error) {
	line, ok := parsePlain(0, text)
	if !ok {
		line = api.ImportLine{}
		err = json.Unmarshal(text, &line)
	}
	return line, err
}

func readNDJSON(r io.Reader) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		lines := newLineReader(r)
		for {
			text, err := lines.next()
			var line api.ImportLine
			switch {
			case errors.Is(err, errTooLong):
				line, err = badLine(lines.number, "%s", err)
			case err != nil:
				yield(line, readError(err))
				return
			case text == nil:
				return
			default:
				line, err = parseJSON(lines.number, text)
			}
			if !yield(line, err) {
				return
			}
		}
	}
}

// lineReader reads a text by its lines.
type lineReader struct {
	text   *bufio.Reader
	number int64 // of the line last read, from 1
}

func newLineReader(r io.Reader) lineReader {
	return lineReader{text: bufio.NewReaderSize(r, maxLine)}
}

// next is the next line that is not blank, valid until the call after, or nil at
// the end. It fails with errTooLong for a line that it skips.
func (l *lineReader) next() ([]byte, error) {
	for {
		l.number++
		line, err := l.text.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.text.ReadSlice('\n')
		}
		switch {
		case err != nil && err != io.EOF:
			return nil, err
		case tooLong:
			return nil, errTooLong
		case len(bytes.TrimSpace(line)) > 0:
			return line, nil
		case err == io.EOF:
			return nil, nil
		}
	}
}

func parseJSON(number int64, text []byte) (api.ImportLine, error) {
	if line, ok := parsePlain(number, text); ok {
		return line, nil
	}
	return decodeJSON(number, text)
}

func decodeJSON(number int64, text []byte) (api.ImportLine, error) {
	line := api.ImportLine{Number: number}
	if !utf8.Valid(text) {
		return badLine(number, "must be UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&line)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return badLine(number, "%s does not take this %s", wrong.Field, wrong.Value)
	} else if err != nil {
		return badLine(number, "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return badLine(number, "must be a single JSON object")
	}
	return line, nil
}
