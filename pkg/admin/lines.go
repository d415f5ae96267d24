package admin

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// maxLine bounds what one line of an import takes in memory: ids and the names of
// thousands of groups fit.
const maxLine = 1 << 20

// atMost lets so many lines through; one more is a bad line. 0 is no limit.
func atMost(limit int, lines iter.Seq2[api.ImportLine, error]) iter.Seq2[api.ImportLine, error] {
	if limit == 0 {
		return lines
	}
	return func(yield func(api.ImportLine, error) bool) {
		n := 0
		for line, err := range lines {
			if n++; n > limit {
				yield(badLine(line.Number, "is one more than the %d lines that FLAGGERY_MAX_IMPORT_LINES allows: split the file, or use flaggery-admin import", limit))
				return
			}
			if !yield(line, err) {
				return
			}
		}
	}
}

// ImportLines reads an import in one of its two media types, a line at a time.
// A line at fault is yielded with a validation_failed error, and the lines go on;
// any other error is the last that is yielded.
func ImportLines(r io.Reader, mediaType string) (iter.Seq2[api.ImportLine, error], error) {
	switch base, _, _ := mime.ParseMediaType(mediaType); base {
	case api.MediaNDJSON:
		return ndjsonLines(r), nil
	case api.MediaCSV:
		return csvLines(r), nil
	}
	var faults model.Faults
	faults.Addf("header.Content-Type", "must be %s or %s", api.MediaNDJSON, api.MediaCSV)
	return nil, faults.Err()
}

func badLine(number int64, format string, args ...any) (api.ImportLine, error) {
	return api.ImportLine{Number: number}, model.Errorf(model.ValidationFailed, format, args...)
}

func ndjsonLines(r io.Reader) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		lines := bufio.NewReaderSize(r, maxLine)
		for number := int64(1); ; number++ {
			text, err := lines.ReadSlice('\n')
			var line api.ImportLine
			var fault error
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				line, fault = badLine(number, "is longer than 1 MiB")
				for errors.Is(err, bufio.ErrBufferFull) {
					_, err = lines.ReadSlice('\n')
				}
			case len(bytes.TrimSpace(text)) > 0:
				line, fault = parseJSON(number, text)
			case err == nil:
				continue // a blank line
			}
			if err != nil && err != io.EOF {
				yield(api.ImportLine{}, fmt.Errorf("read the import: %w", err))
				return
			}
			if line.Number > 0 && !yield(line, fault) || err == io.EOF {
				return
			}
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

// parsePlain reads a line as exports and most programs write it, a tenth of the
// cost of encoding/json: id, weight and groups in this order and without
// escapes. ok is false for any other, right or wrong.
func parsePlain(number int64, text []byte) (line api.ImportLine, ok bool) {
	line.Number = number
	s := plainScanner(text)
	if !s.take("{") || !s.take(`"id"`) || !s.take(":") {
		return line, false
	}
	if line.ID, ok = s.text(); !ok {
		return line, false
	}
	more := s.take(",")
	if more && s.take(`"weight"`) {
		if !s.take(":") {
			return line, false
		}
		weight, ok := s.number()
		if !ok {
			return line, false
		}
		line.Weight = &weight
		more = s.take(",")
	}
	if more {
		if !s.take(`"groups"`) || !s.take(":") || !s.take("[") {
			return line, false
		}
		line.Groups = []string{}
		for !s.take("]") {
			if len(line.Groups) > 0 && !s.take(",") {
				return line, false
			}
			group, ok := s.text()
			if !ok {
				return line, false
			}
			line.Groups = append(line.Groups, group)
		}
	}
	return line, s.take("}") && len(bytes.TrimRight(s, "\r\n")) == 0
}

// plainScanner is what is left of a line.
type plainScanner []byte

func (s *plainScanner) take(token string) bool {
	text := bytes.TrimLeft(*s, " ")
	if len(text) < len(token) || string(text[:len(token)]) != token {
		return false
	}
	*s = text[len(token):]
	return true
}

func (s *plainScanner) text() (string, bool) {
	if !s.take(`"`) {
		return "", false
	}
	end := bytes.IndexByte(*s, '"')
	if end < 0 {
		return "", false
	}
	text := (*s)[:end]
	*s = (*s)[end+1:]
	for _, c := range text {
		if c < ' ' || c == '\\' || c >= utf8.RuneSelf {
			return "", false
		}
	}
	return string(text), true
}

// number takes digits that no sign, fraction or exponent goes with, few enough
// not to overflow.
func (s *plainScanner) number() (n int64, ok bool) {
	text := bytes.TrimLeft(*s, " ")
	digits := 0
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' {
		n = 10*n + int64(text[digits]-'0')
		digits++
	}
	*s = text[digits:]
	return n, 0 < digits && digits <= 16 && (text[0] != '0' || digits == 1)
}

func csvLines(r io.Reader) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		text := bufio.NewReader(r)
		if mark, _ := text.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
			_, _ = text.Discard(len(mark)) // spreadsheets write it
		}
		bounded := &recordLimit{r: text}
		records := csv.NewReader(bounded)
		records.ReuseRecord = true
		var columns []string
		for last := 0; ; {
			bounded.left = maxLine
			record, err := records.Read()
			if err == io.EOF {
				return
			}
			if fault := (*csv.ParseError)(nil); errors.As(err, &fault) {
				last = fault.Line
				if !yield(badLine(int64(fault.StartLine), "%s", fault.Err)) {
					return
				}
				continue
			}
			if errors.Is(err, errLongRecord) { // where it ends is not known, so this is the end
				yield(badLine(int64(last)+1, "%s", err))
				return
			}
			if err != nil {
				yield(api.ImportLine{}, fmt.Errorf("read the import: %w", err))
				return
			}
			number, _ := records.FieldPos(0)
			last, _ = records.FieldPos(len(record) - 1)
			if columns == nil {
				if columns = slices.Clone(record); !yieldHeader(columns, int64(number), yield) {
					return
				}
				continue
			}
			if !yield(parseRecord(int64(number), columns, record)) {
				return
			}
		}
	}
}

const byteOrderMark = "\xef\xbb\xbf"

// yieldHeader tells whether lines can be read under this header, and yields what
// is wrong with it where they cannot.
func yieldHeader(columns []string, number int64, yield func(api.ImportLine, error) bool) bool {
	sorted := slices.Sorted(slices.Values(columns))
	unknown := slices.ContainsFunc(columns, func(c string) bool { return c != "id" && c != "weight" && c != "groups" })
	if unknown || !slices.Contains(columns, "id") || len(slices.Compact(sorted)) != len(columns) {
		yield(badLine(number, "must be a header of the columns id, weight and groups, each at most once and id always"))
		return false
	}
	return true
}

func parseRecord(number int64, columns, record []string) (api.ImportLine, error) {
	line := api.ImportLine{Number: number}
	for i, column := range columns {
		value := strings.Clone(record[i]) // the reader uses one string for the whole record
		switch {
		case column == "id":
			line.ID = value
		case value == "": // as if the column were not there
		case column == "weight":
			weight, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return badLine(number, "weight must be an integer between 0 and %d, is %.30q", int64(model.MaxWeight), value)
			}
			line.Weight = &weight
		case column == "groups":
			line.Groups = strings.Split(value, ";")
		}
	}
	return line, nil
}

var errLongRecord = errors.New("is longer than 1 MiB")

// recordLimit fails where a record takes more than what was left to it, so that
// an open quote does not bring the rest of the file into memory.
type recordLimit struct {
	r    io.Reader
	left int
}

func (l *recordLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLongRecord
	}
	n, err := l.r.Read(p)
	l.left -= n
	return n, err
}
