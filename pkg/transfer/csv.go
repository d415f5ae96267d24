package transfer

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

const byteOrderMark = "\xef\xbb\xbf"

func readCSV(r io.Reader) iter.Seq2[api.ImportLine, error] {
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
			if errors.Is(err, errTooLong) { // its end is unknown, so nothing can be read after it
				yield(badLine(int64(last)+1, "%s", err))
				return
			}
			if err != nil {
				yield(api.ImportLine{}, readError(err))
				return
			}
			number, _ := records.FieldPos(0)
			last, _ = records.FieldPos(len(record) - 1)
			switch {
			case columns != nil:
				if !yield(parseRecord(int64(number), columns, record)) {
					return
				}
			case isHeader(record):
				columns = slices.Clone(record)
			default:
				yield(badLine(int64(number), "must be a header of the columns id, weight and groups, each at most once and id always"))
				return
			}
		}
	}
}

func isHeader(columns []string) bool {
	sorted := slices.Sorted(slices.Values(columns))
	unknown := slices.ContainsFunc(columns, func(c string) bool { return c != "id" && c != "weight" && c != "groups" })
	return !unknown && slices.Contains(columns, "id") && len(slices.Compact(sorted)) == len(columns)
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
