package state

import (
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// Parse reads a document in YAML or JSON. The error has the code validation_failed and
// lists every fault, of more than maxFaults the first ones, with its path and line.
func Parse(data []byte) (*Document, error) {
	r := reader{doc: &Document{lines: map[string]int{}}}
	if root, ok := r.parse(data); ok {
		r.read("", root, reflect.ValueOf(r.doc).Elem(), "")
	}
	if r.full() {
		r.faults.Addf("body", "line 1: has more faults than these")
	}
	if err := r.faults.Err(); err != nil {
		return nil, err
	}
	return r.doc, nil
}

// reader reads values into Go values by their types and tags, and collects the faults.
type reader struct {
	doc    *Document
	faults model.Faults
}

// maxFaults bounds the answer to a text that is something else altogether.
const maxFaults = 500

// full reports whether there are so many faults that reading on is in vain.
func (r *reader) full() bool { return len(r.faults) >= maxFaults }

// parse reads a text whose version this program knows.
func (r *reader) parse(data []byte) (root value, ok bool) {
	s := strings.ReplaceAll(strings.TrimPrefix(string(data), api.ByteOrderMark), "\r\n", "\n")
	if len(data) > MaxSize {
		r.faultf("", 1, "must have at most %d bytes, has %d", MaxSize, len(data))
		return root, false
	}
	parse := parseYAML
	if isJSON(s) {
		parse = parseJSON
	} else if i := unprintable(s); i >= 0 {
		r.faultf("", 1+strings.Count(s[:i], "\n"), "must be UTF-8 text without control characters, has %q: write it as an escape in double quotes", first(s[i:]))
		return root, false
	}
	root, err := parse(s)
	switch {
	case err != nil:
		r.faults.Addf("body", "%s", err)
		return root, false
	case root.kind == null:
		r.faultf("", 1, "must not be empty: the least is version: %d", Version)
		return root, false
	}
	r.doc.lines[""] = int(root.line)
	for _, m := range root.members {
		var version int
		if m.name == "version" && api.Decode(m.value.appendJSON(nil), &version) == nil && version > Version {
			r.faultf("version", int(m.line), "version %d is newer than this program reads, which is %d", version, Version)
			return root, false
		}
	}
	return root, true
}

// first is the first character of a text, or its first byte if it is not UTF-8.
func first(s string) string {
	_, size := utf8.DecodeRuneInString(s)
	return s[:size]
}

// special matches the characters that are text in JSON, and to YAML line breaks or nothing
// at all, other than escaped.
var special = regexp.MustCompile(`[\x7f-\x9f\x{2028}\x{2029}\x{feff}\x{fffe}\x{ffff}]`)

// unprintable is where a text has a character that it must not have; -1 if nowhere.
func unprintable(s string) int {
	for i, c := range s {
		isInvalid := c == utf8.RuneError && !strings.HasPrefix(s[i:], string(c))
		if isInvalid || c < ' ' && c != '\t' && c != '\n' || c > '~' && special.MatchString(string(c)) {
			return i
		}
	}
	return -1
}

func (r *reader) faultf(path string, line int, format string, args ...any) {
	if !r.full() {
		addFault(&r.faults, path, line, format, args...)
	}
}

// read reads a value into a variable. The tag is that of its field, or of the field of
// the map that it is in.
func (r *reader) read(path string, v value, into reflect.Value, tag reflect.StructTag) {
	if field, ok := into.Addr().Interface().(interface{ give() any }); ok {
		into = reflect.ValueOf(field.give()).Elem()
	}
	if into.Kind() == reflect.Pointer {
		if v.kind == null && tag.Get("null") == "" {
			return
		}
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	before := len(r.faults)
	switch to := into.Addr().Interface().(type) {
	case *json.RawMessage:
		*to = r.payload(path, v)
	case *time.Time:
		r.scalar(path, v, into, tag)
		*to = to.UTC().Truncate(time.Microsecond)
	default:
		switch into.Kind() {
		case reflect.Struct:
			r.object(path, v, into, tag)
		case reflect.Map:
			r.entries(path, v, into, tag)
			return
		case reflect.Slice:
			r.items(path, v, into)
		default:
			r.scalar(path, v, into, tag)
		}
	}
	if check := rules[tag.Get("check")].check; check != nil && len(r.faults) == before {
		if err := check(into.Interface()); err != nil {
			r.faultf(path, r.doc.Line(path), "%s", err)
		}
	}
	if whole, ok := into.Addr().Interface().(interface {
		check(faulty bool) model.Faults
	}); ok {
		for _, fault := range whole.check(len(r.faults) > before) {
			at := path + strings.TrimPrefix(fault.Location, "body")
			r.faultf(at, r.doc.Line(at), "%s", fault.Message)
		}
	}
}

// is reports whether a value is of a kind, and notes a fault if it is not, with the hint
// for the kind that it is of.
func (r *reader) is(want kind, path string, v value, hints map[kind]string) bool {
	if v.kind == want {
		return true
	}
	r.faultf(path, r.doc.Line(path), "must be %s, is %s%s", kinds[want], kinds[v.kind], hinted(hints[v.kind]))
	return false
}

// hinted is a hint behind what is wrong; "" for none.
func hinted(hint string) string {
	if hint == "" {
		return ""
	}
	return ": " + hint
}

// name reports whether the name of a member is a string that no member before it has,
// and notes a fault if it is not.
func (r *reader) name(path string, m member, before map[string]int32) bool {
	first, again := before[m.name]
	switch {
	case m.nameKind != text:
		r.faultf(path, int(m.line), "must have strings as keys, has %s: write %q", m.name, m.name)
		return false
	case again:
		r.faultf(path, int(m.line), "is given twice, first in line %d", first)
		return false
	}
	before[m.name] = m.line
	return true
}

// members are those of an object by their paths, except for those with a faulty name. The
// document keeps the lines of all.
func (r *reader) members(path string, v value) iter.Seq2[string, member] {
	return func(yield func(string, member) bool) {
		given := map[string]int32{}
		for _, m := range v.members {
			if r.full() {
				return
			}
			at := join(path, m.name)
			r.doc.lines[at] = int(m.line)
			if r.name(at, m, given) && !yield(at, m) {
				return
			}
		}
	}
}

// object reads the members of an object into the fields of a struct.
func (r *reader) object(path string, v value, into reflect.Value, tag reflect.StructTag) {
	if !r.is(object, path, v, map[kind]string{null: tag.Get("null")}) {
		return
	}
	fields := fieldsOf(into.Type())
	for at, m := range r.members(path, v) {
		if f, known := fields.named(m.name); known {
			r.read(at, m.value, into.Field(f.index), f.tag)
			continue
		}
		known := fields.names()
		hint := "known are " + strings.Join(known, ", ")
		if nearest := model.Nearest(m.name, known, maxMisspelling); nearest != "" {
			hint = "did you mean " + nearest + "?"
		}
		r.faultf(at, int(m.line), "is not known here, %s", hint)
	}
	for _, f := range fields {
		at := join(path, f.name)
		if _, given := r.doc.lines[at]; f.required && !given {
			hint := ""
			if only := rules[f.tag.Get("check")].limits.Const; only != nil {
				hint = fmt.Sprintf("write %s: %v", f.name, only)
			}
			r.faultf(at, r.doc.Line(at), "must be given%s", hinted(hint))
		}
	}
}

// maxMisspelling is how many letters of a misspelt key may be wrong.
const maxMisspelling = 2

// entries reads the members of an object into a map.
func (r *reader) entries(path string, v value, into reflect.Value, tag reflect.StructTag) {
	hints := map[kind]string{null: "leave it out, or write {}", array: "write names as keys, such as {red: {}, blue: {}}"}
	if tag.Get("check") == "variant" {
		hints[array] = "write names as keys, such as {checkout: red}"
	}
	if !r.is(object, path, v, hints) || len(v.members) == 0 {
		return
	}
	entries := reflect.MakeMapWithSize(into.Type(), len(v.members))
	for at, m := range r.members(path, v) {
		if err := rules[tag.Get("names")].check(m.name); err != nil {
			r.faultf(at, int(m.line), "%s", err)
		}
		entry := reflect.New(into.Type().Elem()).Elem()
		r.read(at, m.value, entry, tag)
		entries.SetMapIndex(reflect.ValueOf(m.name), entry)
	}
	into.Set(entries)
}

// items reads the items of an array into a slice.
func (r *reader) items(path string, v value, into reflect.Value) {
	if !r.is(array, path, v, nil) {
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(v.members), len(v.members)))
	for i, m := range v.members {
		if r.full() {
			return
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		r.doc.lines[at] = int(m.value.line)
		r.read(at, m.value, into.Index(i), "")
	}
}

// scalar reads a string, number, boolean or time.
func (r *reader) scalar(path string, v value, into reflect.Value, tag reflect.StructTag) {
	hint := ""
	switch {
	case v.kind == unclear:
		r.unclear(path, v)
		return
	case v.kind == null:
		hint = tag.Get("null")
	case into.Kind() == reflect.String && (v.kind == boolean || v.kind == number):
		hint = fmt.Sprintf("write %q", shorten(v.text))
	case into.Kind() == reflect.Bool && v.kind == text && booleans[strings.ToLower(v.text)] != "":
		hint = "write " + booleans[strings.ToLower(v.text)]
	case into.Kind() == reflect.Float64 && v.kind == text:
		number, _ := strings.CutSuffix(v.text, "%")
		if percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64); err == nil && number != v.text {
			hint = fmt.Sprintf("write %g", percent/100)
		}
	}
	err := api.DecodeExact(v.appendJSON(nil), into.Addr().Interface())
	if err != nil {
		r.faultf(path, r.doc.Line(path), "%s%s", strings.TrimSpace(err.Error()), hinted(hint))
	}
}

// booleans are words for what JSON says as true and false, as YAML 1.1 has them.
var booleans = map[string]string{"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}

func (r *reader) unclear(path string, v value) {
	r.faultf(path, int(v.line), "must be a number as in JSON, such as 31 or 0.5, or a string in quotes, is %s", shorten(v.text))
}

// payload reads any value.
func (r *reader) payload(path string, v value) json.RawMessage {
	before := len(r.faults)
	r.checkPayload(path, v)
	if len(r.faults) > before {
		return nil
	}
	payload, err := Canonical(v.appendJSON(nil))
	if err != nil {
		r.faultf(path, r.doc.Line(path), "%s", model.JSONError(err))
	}
	return payload
}

// checkPayload notes what no JSON can say.
func (r *reader) checkPayload(path string, v value) {
	if v.kind == unclear {
		r.unclear(path, v)
	}
	given := map[string]int32{}
	for i, m := range v.members {
		if r.full() {
			return
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		if v.kind == object {
			at = join(path, m.name)
			r.name(at, m, given)
		}
		r.checkPayload(at, m.value)
	}
}

// check notes what one field alone does not show.
func (f *Feature) check(bool) (faults model.Faults) {
	if v := f.Variants[model.DisablingVariant]; v != nil && v.Payload.Value != nil {
		faults.Addf("body.variants."+model.DisablingVariant+".payload", "must be left out: %s has no payload", model.DisablingVariant)
	}
	return faults
}

// check notes what one field alone does not show, if the fields themselves are valid.
func (t *ABTest) check(faulty bool) (faults model.Faults) {
	if faulty {
		return nil
	}
	test := model.ABTest{Name: "valid", Start: t.Start, End: t.End} // the name is a key, and checked as one
	for _, g := range t.Groups {
		proportion := math.NaN() // left out
		if g.Proportion != nil {
			proportion = *g.Proportion
		}
		test.Groups = append(test.Groups, model.TestGroup{Name: g.Name, Proportion: proportion, Variants: g.Variants})
	}
	test.Validate(&faults)
	return faults
}

// fields are those of a struct that JSON has.
type fields []field

type field struct {
	index    int
	name     string
	required bool
	tag      reflect.StructTag
}

func fieldsOf(t reflect.Type) (all fields) {
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		name, options, _ := strings.Cut(tag.Get("json"), ",")
		if name != "" {
			all = append(all, field{i, name, options == "", tag})
		}
	}
	return all
}

func (f fields) named(name string) (field, bool) {
	for _, one := range f {
		if one.name == name {
			return one, true
		}
	}
	return field{}, false
}

func (f fields) names() (names []string) {
	for _, one := range f {
		names = append(names, one.name)
	}
	return names
}

// shorten is the beginning of a text, for a message.
func shorten(s string) string {
	const most = 40
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
