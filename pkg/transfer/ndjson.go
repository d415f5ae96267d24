package transfer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/flaggery/flaggery/pkg/api"
)

// ReadExport reads the NDJSON of an export. Unknown fields are skipped, because a
// later release may add some; an error ends the sequence. The lines carry no
// numbers: an import made of them would have other ones.
func ReadExport(r io.Reader) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		lines := lineReader{text: bufio.NewReaderSize(r, maxLine)}
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
	line, ok := parseCanonical(0, text)
	if !ok {
		line = api.ImportLine{}
		err = json.Unmarshal(text, &line)
	}
	return line, err
}

func readNDJSON(r io.Reader) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		text, err := newText(r)
		if err != nil {
			yield(failed(1, err))
			return
		}
		lines := lineReader{text: text}
		for empty := true; ; empty = false {
			text, err := lines.next()
			switch {
			case err == nil && text == nil:
				if empty {
					yield(badLine(lines.number, "%s", errNoLine))
				}
				return
			case err == nil:
				if !yield(parseJSON(lines.number, text)) {
					return
				}
			case !yield(failed(lines.number, err)) || !errors.Is(err, errTooLong):
				return
			}
		}
	}
}

// lineReader reads a text line by line.
type lineReader struct {
	text   *bufio.Reader
	number int64 // of the line last read, from 1
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
	if line, ok := parseCanonical(number, text); ok {
		return line, nil
	}
	return decodeJSON(number, text)
}

func decodeJSON(number int64, text []byte) (api.ImportLine, error) {
	var line api.ImportLine
	if err := api.DecodeExact(text, &line); err != nil {
		return badLine(number, "%s", err)
	}
	line.Number = number
	return line, nil
}
