package transfer

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

const (
	columnID     = "id"
	columnWeight = "weight"
	columnGroups = "groups"
)

var knownColumns = []string{columnID, columnWeight, columnGroups}

// readCSV reads records under a header. The header line is read first, because it
// decides the separator of the records.
func readCSV(r io.Reader, ignoreColumns bool) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		text, err := newText(r)
		if err != nil {
			yield(failed(1, err))
			return
		}
		lines := lineReader{text: text}
		header, err := lines.next()
		switch {
		case err != nil:
			yield(failed(lines.number, err))
			return
		case header == nil:
			yield(badLine(lines.number, "%s", errNoLine))
			return
		}
		columns, separator, err := parseHeader(header, ignoreColumns)
		if err != nil {
			yield(badLine(lines.number, "%s", err))
			return
		}
		bounded := &recordLimit{r: text}
		records := csv.NewReader(bounded)
		records.ReuseRecord = true
		records.Comma = separator
		records.FieldsPerRecord = len(columns)
		empty := true
		for last := 0; ; {
			bounded.left = maxLine
			record, err := records.Read()
			if err == io.EOF {
				if empty {
					yield(badLine(lines.number+int64(last)+1, "%s", errNoLine))
				}
				return
			}
			if fault := (*csv.ParseError)(nil); errors.As(err, &fault) {
				empty, last = false, fault.Line
				if !yield(badLine(lines.number+int64(fault.StartLine), "%s", fault.Err)) {
					return
				}
				continue
			}
			if err != nil { // the end of a record that is too long is unknown, so reading stops
				yield(failed(lines.number+int64(last)+1, err))
				return
			}
			number, _ := records.FieldPos(0)
			last, _ = records.FieldPos(len(record) - 1)
			if isBlank(record) { // spreadsheets append such rows
				continue
			}
			empty = false
			if !yield(parseRecord(lines.number+int64(number), columns, record)) {
				return
			}
		}
	}
}

// parseHeader is the columns of a header and the separator of its file.
func parseHeader(line []byte, ignoreColumns bool) (columns []string, separator rune, err error) {
	for _, separator = range ",;\t" {
		r := csv.NewReader(bytes.NewReader(line))
		r.Comma = separator
		columns, err = r.Read()
		if err == nil && slices.Contains(columns, columnID) {
			return columns, separator, checkColumns(columns, ignoreColumns)
		}
	}
	return nil, 0, fmt.Errorf("must be a header with a column id, such as id,weight,groups, is %.100q", bytes.TrimRight(line, "\r\n"))
}

func checkColumns(columns []string, ignoreOthers bool) error {
	var others []string
	for i, column := range columns {
		switch known := slices.Contains(knownColumns, column); {
		case known && slices.Contains(columns[:i], column):
			return fmt.Errorf("has two columns %s", column)
		case !known && !ignoreOthers:
			others = append(others, fmt.Sprintf("%.100q", column))
		}
	}
	if len(others) > 0 {
		return fmt.Errorf("has columns other than id, weight and groups, which columns=ignore would skip: %s", strings.Join(others, ", "))
	}
	return nil
}

func isBlank(record []string) bool {
	return !slices.ContainsFunc(record, func(field string) bool { return field != "" })
}

func parseRecord(number int64, columns, record []string) (api.ImportLine, error) {
	line := api.ImportLine{Number: number}
	for i, column := range columns {
		value := strings.Clone(record[i]) // the reader uses one string for the whole record
		switch {
		case column == columnID:
			line.ID = value
		case column == columnGroups && value == "":
			line.Groups = []string{}
		case value == "": // as if the column were missing
		case column == columnWeight:
			weight, err := api.ParseInteger(value)
			if err != nil {
				return badLine(number, "weight must be an integer between 0 and %d, is %.30q", int64(model.MaxWeight), value)
			}
			line.Weight = &weight
		case column == columnGroups:
			line.Groups = strings.Split(value, ";")
		}
	}
	return line, nil
}

// recordLimit fails if a record takes more than the bytes left to it, so that an
// open quote does not bring the rest of the file into memory.
type recordLimit struct {
	r    io.Reader
	left int
}

func (l *recordLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLong
	}
	n, err := l.r.Read(p)
	l.left -= n
	return n, err
}
