package model

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// MaxJSONDepth is how deep arrays and objects of a payload may nest.
const MaxJSONDepth = 64

// bodyDepth is how deep a request may nest around a payload.
const bodyDepth = 8

// Errors of text that does begin with a JSON value.
var (
	ErrJSONDepth    = fmt.Errorf("must nest at most %d deep", MaxJSONDepth)
	ErrJSONNumber   = errors.New("must not hold numbers beyond 1.8e308")
	ErrJSONTrailing = errors.New("must be a single JSON value")
)

// CheckJSON fails unless text is one JSON value that all parsers read alike
// (I-JSON, RFC 7493): UTF-8 without unpaired surrogates, no object with two members
// of one name, no number beyond the range of a float64, at most MaxJSONDepth deep.
// The error is one of those above, or names the place where the text is not JSON.
func CheckJSON(text []byte) error { return checkJSON(text, MaxJSONDepth) }

// CheckBody is CheckJSON for the text of a request, which may have payloads in it.
func CheckBody(text []byte) error { return checkJSON(text, MaxJSONDepth+bodyDepth) }

func checkJSON(text []byte, maxDepth int) error {
	var number error // reported only if the whole text is JSON
	d := jsontext.NewDecoder(bytes.NewReader(text))
	for first := true; first || d.StackDepth() > 0; first = false {
		token, err := d.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("must not be empty")
		case err != nil:
			return JSONError(err)
		case d.StackDepth() > maxDepth:
			return ErrJSONDepth
		case token.Kind() == jsontext.KindNumber:
			if _, err := strconv.ParseFloat(token.String(), 64); err != nil {
				number = ErrJSONNumber
			}
		}
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return ErrJSONTrailing
	}
	return number
}

// maxPointer bounds how much of a place in JSON an error shows.
const maxPointer = 100

// JSONError translates an error of jsontext into the words of our other errors.
func JSONError(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return err
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Errorf("has two members %.*q", maxPointer, syntax.JSONPointer.LastToken())
	}
	place := ""
	if syntax.JSONPointer != "" {
		place = fmt.Sprintf(" in %.*s", maxPointer, syntax.JSONPointer)
	}
	return fmt.Errorf("must be valid JSON: %s%s at byte %d", strings.TrimPrefix(syntax.Err.Error(), "jsontext: "), place, syntax.ByteOffset)
}

// EncodeJSON writes v as encoding/json does, but every json.RawMessage in it byte
// for byte: an Encoder would compact or escape it.
func EncodeJSON(v any) ([]byte, error) {
	type passed struct {
		end int // of the null that stands for raw
		raw stdjson.RawMessage
	}
	var all []passed
	size := 0
	pass := json.MarshalToFunc(func(e *jsontext.Encoder, raw stdjson.RawMessage) error {
		if raw != nil && !stdjson.Valid(raw) {
			return fmt.Errorf("must be valid JSON, is %.100q", raw)
		}
		err := e.WriteToken(jsontext.Null)
		if raw != nil {
			all = append(all, passed{int(e.OutputOffset()), raw})
			size += len(raw)
		}
		return err
	})
	text, err := json.Marshal(v, jsonv1.DefaultOptionsV1(), jsontext.EscapeForHTML(false), json.WithMarshalers(pass))
	if len(all) == 0 {
		return text, err
	}
	whole, start := make([]byte, 0, len(text)+size), 0
	for _, p := range all {
		whole = append(append(whole, text[start:p.end-len("null")]...), p.raw...)
		start = p.end
	}
	return append(whole, text[start:]...), err
}
