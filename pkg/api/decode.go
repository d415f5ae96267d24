package api

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/flaggery/flaggery/pkg/model"
)

// ByteOrderMark is what some editors and spreadsheets write at the beginning of a
// text. It is always skipped, although JSON does not allow it.
const ByteOrderMark = "\xef\xbb\xbf"

// Decode reads a JSON value from a client into v, a pointer. It accepts only texts
// that all readers understand alike: it rejects what [model.CheckBody] rejects,
// compares names of members exactly, accepts 1.0 for an integer but never rounds, and
// reads -0 as 0. A value of type any is kept as it was sent, as a json.RawMessage, or
// nil for null. Members without a field in v are skipped.
//
// The error is a *MismatchError if the text is JSON that does not fit v, or one of
// [model.CheckBody].
func Decode(text []byte, v any) error { return decode(text, v) }

// DecodeExact is Decode, but fails with a *MismatchError for members without a field
// in v, and for null, except for values of type any.
func DecodeExact(text []byte, v any) error {
	return decode(text, v, json.RejectUnknownMembers(true), json.WithUnmarshalers(exactUnmarshalers))
}

// Encode writes a value, and every json.RawMessage in it unchanged.
func Encode(v any) ([]byte, error) { return model.EncodeJSON(v) }

// DecodeAnswer is Decode for answers of a service, and accepts all that encoding/json
// does: a service may be newer, and hold values from before they were checked.
func DecodeAnswer(text []byte, v any) error {
	return json.Unmarshal(text, v, jsonv1.DefaultOptionsV1(), json.WithUnmarshalers(keepAny))
}

// MismatchError is a part of a JSON value that does not fit.
type MismatchError struct {
	Location string // "groups[0].weight", "" for the whole value
	Message  string
}

func (e *MismatchError) Error() string { return strings.TrimSpace(e.Location + " " + e.Message) }

func decode(text []byte, v any, options ...json.Options) error {
	text = bytes.TrimPrefix(text, []byte(ByteOrderMark))
	if err := model.CheckBody(text); err != nil {
		return err
	}
	err := json.Unmarshal(text, v, append([]json.Options{json.WithUnmarshalers(unmarshalers)}, options...)...)
	var mismatch *json.SemanticError
	if !errors.As(err, &mismatch) {
		return err
	}
	return &MismatchError{Location: location(mismatch.JSONPointer), Message: message(mismatch)}
}

// location writes the location of a value in the form of the contract's errors.
func location(at jsontext.Pointer) string {
	var place strings.Builder
	for token := range at.Tokens() {
		if _, err := strconv.ParseUint(token, 10, 64); err == nil {
			fmt.Fprintf(&place, "[%s]", token)
			continue
		}
		if place.Len() > 0 {
			place.WriteByte('.')
		}
		place.WriteString(token)
	}
	return place.String()
}

var (
	errNotAnInteger = errors.New("must be an integer")
	errIntegerRange = fmt.Errorf("must be an integer between -2^63 and 2^63-1")
)

func message(e *json.SemanticError) string {
	var invalid *time.ParseError
	switch {
	case errors.Is(e.Err, json.ErrUnknownName):
		return "is not known here"
	case errors.Is(e.Err, errNotAnInteger), errors.Is(e.Err, errIntegerRange):
		return e.Err.Error() + ", is " + string(e.JSONValue)
	case errors.As(e.Err, &invalid):
		return fmt.Sprintf("must be a time such as 2027-01-31T15:04:05Z, is %q", invalid.Value)
	}
	return fmt.Sprintf("must be %s, is %s", want(e.GoType), kinds[e.JSONKind])
}

// want names the JSON type of a Go type.
func want(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Map, reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return "a time"
		}
		return "an object"
	case reflect.Float64:
		return "a number"
	}
	return "an integer"
}

var kinds = map[jsontext.Kind]string{
	jsontext.KindNull: "null", jsontext.KindFalse: "false", jsontext.KindTrue: "true", jsontext.KindString: "a string",
	jsontext.KindNumber: "a number", jsontext.KindBeginObject: "an object", jsontext.KindBeginArray: "an array",
}

var keepAny = json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *any) error {
	raw, err := d.ReadValue()
	if *v = nil; raw.Kind() != jsontext.KindNull {
		*v = stdjson.RawMessage(bytes.Clone(raw))
	}
	return err
})

var unmarshalers = json.JoinUnmarshalers(
	keepAny,
	json.UnmarshalFromFunc(decodeInteger[int64]),
	json.UnmarshalFromFunc(decodeInteger[int]),
	json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *float64) error {
		if d.PeekKind() != jsontext.KindNumber {
			return errors.ErrUnsupported
		}
		token, err := d.ReadToken()
		if err == nil {
			*v, err = strconv.ParseFloat(token.String(), 64)
			*v += 0 // turns -0 into 0
		}
		return err
	}),
)

// ParseInteger reads a text as Decode reads an integer: it accepts 1.0, and rejects
// texts that are no JSON, such as +1 and 01.
func ParseInteger(text string) (int64, error) {
	if strings.Trim(text, " \t\r\n") != text || jsontext.Value(text).Kind() != jsontext.KindNumber || !jsontext.Value(text).IsValid() {
		return 0, errNotAnInteger
	}
	return parseInteger(text)
}

var exactUnmarshalers = json.JoinUnmarshalers(unmarshalers, json.UnmarshalFromFunc(func(d *jsontext.Decoder, v any) error {
	if d.PeekKind() != jsontext.KindNull {
		return errors.ErrUnsupported
	}
	_, err := d.ReadToken()
	if err == nil {
		err = &json.SemanticError{GoType: reflect.TypeOf(v).Elem(), JSONPointer: d.StackPointer(), JSONKind: jsontext.KindNull}
	}
	return err
}))

// decodeInteger reads an integer in any notation, such as 1.0 or 1e2.
func decodeInteger[T int | int64](d *jsontext.Decoder, v *T) error {
	if d.PeekKind() != jsontext.KindNumber {
		return errors.ErrUnsupported
	}
	raw, err := d.ReadValue()
	if err != nil {
		return err
	}
	n, err := parseInteger(string(raw))
	if err != nil {
		return &json.SemanticError{JSONValue: raw.Clone(), JSONPointer: d.StackPointer(), JSONKind: jsontext.KindNumber, Err: err}
	}
	*v = T(n)
	return nil
}

// maxExponent is larger than an integer below 2^63 needs in practice. Without a limit,
// exact arithmetic could take much memory.
const maxExponent = 400

func parseInteger(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		if exponent, err := strconv.Atoi(text[i+1:]); err != nil || exponent < -maxExponent || exponent > maxExponent {
			return 0, errNotAnInteger
		}
	}
	r, ok := new(big.Rat).SetString(text)
	switch {
	case !ok || !r.IsInt():
		return 0, errNotAnInteger
	case !r.Num().IsInt64():
		return 0, errIntegerRange
	}
	return r.Num().Int64(), nil
}
