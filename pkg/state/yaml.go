package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/flaggery/flaggery/pkg/model"
)

// Bounds of a text, as the library needs some hundred bytes for each value.
const (
	MaxSize      = 8 << 20                  // in bytes
	maxDivisions = 1 << 17                  // parts between lines and commas: about as many as values
	maxDivision  = 6 * model.MaxPayloadSize // the longest string, if each byte is an escape
	maxDepth     = model.MaxJSONDepth + 8
)

// parseYAML reads a text in YAML 1.2, of which JSON is a part. It rejects what can stand
// for more than is written (anchors, aliases, merge keys), tags, keys that are no
// scalars, and a second document.
func parseYAML(s string) (value, error) {
	divisions := 0
	for division := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == '\n' || c == ',' }) {
		if len(division) > maxDivision {
			return value{}, fmt.Errorf("line 1: must have a comma or a new line after at most %d bytes, has %d without", maxDivision, len(division))
		}
		divisions++
	}
	if divisions > maxDivisions {
		return value{}, fmt.Errorf("line 1: must have at most %d lines and commas, has %d: split it", maxDivisions, divisions)
	}
	if jsontext.Value(s).IsValid(jsontext.AllowDuplicateNames(true)) {
		s = escape.ReplaceAllStringFunc(s, unescape)
	}
	decoder := yaml.NewDecoder(strings.NewReader(s))
	var root, next yaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		return value{}, nil
	case err != nil:
		return value{}, syntaxError(err)
	}
	switch err := decoder.Decode(&next); {
	case errors.Is(err, io.EOF):
		return valueOf(root.Content[0], 0)
	case err != nil:
		return value{}, syntaxError(err)
	}
	return value{}, refuse(&next, "must be one YAML document, another one begins here")
}

// escape is an escape in JSON, or two that stand for one character.
var escape = regexp.MustCompile(`\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\.`)

// unescape replaces the escapes that the library does not know.
func unescape(escape string) string {
	switch {
	case escape == `\/`:
		return "/"
	case len(escape) == len(`\n`):
		return escape
	}
	high, _ := strconv.ParseUint(escape[2:6], 16, 16) // the expression has hexadecimal digits here
	low, _ := strconv.ParseUint(escape[8:12], 16, 16)
	return string(utf16.DecodeRune(rune(high), rune(low)))
}

// syntaxError is an error of the library, whose text begins with "yaml: line N: ", or
// without a line if it is about the first one.
func syntaxError(err error) error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if !strings.HasPrefix(message, "line ") {
		message = "line 1: " + message
	}
	return errors.New(message)
}

func refuse(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %s (column %d)", node.Line, fmt.Sprintf(format, args...), node.Column)
}

func valueOf(node *yaml.Node, depth int) (v value, err error) {
	switch {
	case depth > maxDepth:
		return v, refuse(node, "must nest at most %d deep", maxDepth)
	case node.Anchor != "" || node.Kind == yaml.AliasNode:
		return v, refuse(node, "must not have anchors and aliases: write the value out")
	case node.Style&yaml.TaggedStyle != 0:
		return v, refuse(node, "must not have tags, has %q: put a value that begins with ! in quotes", node.Tag)
	}
	v.line = int32(node.Line)
	switch node.Kind {
	case yaml.MappingNode:
		v.kind = object
		for i := 0; i < len(node.Content); i += 2 {
			if err := v.addMember(node.Content[i], node.Content[i+1], depth); err != nil {
				return v, err
			}
		}
	case yaml.SequenceNode:
		v.kind = array
		for _, item := range node.Content {
			one, err := valueOf(item, depth+1)
			if err != nil {
				return v, err
			}
			v.members = append(v.members, member{value: one})
		}
	default:
		v.kind, v.text = text, node.Value
		if node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
			v.kind = kindOf(node.Value)
		}
	}
	return v, nil
}

func (v *value) addMember(key, of *yaml.Node, depth int) error {
	name, err := valueOf(key, depth)
	switch {
	case err != nil:
		return err
	case name.kind == object || name.kind == array:
		return refuse(key, "must have strings as keys, has %s", kinds[name.kind])
	case key.Tag == "!!merge":
		return refuse(key, "must not have merge keys (<<)")
	}
	one, err := valueOf(of, depth+1)
	v.members = append(v.members, member{name: name.text, nameKind: name.kind, line: name.line, value: one})
	return err
}

var (
	jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	yamlNumber = regexp.MustCompile(`^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

// kindOf is the kind of a scalar without quotes, by YAML 1.2's core schema. The library
// follows 1.1 in places.
func kindOf(s string) kind {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return null
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return boolean
	}
	switch {
	case jsonNumber.MatchString(s):
		return number
	case yamlNumber.MatchString(s):
		return unclear
	}
	return text
}

// writeYAML writes JSON as YAML.
func writeYAML(json []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(json, &root); err != nil {
		return nil, err
	}
	unquote(&root)
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	err := errors.Join(encoder.Encode(&root), encoder.Close())
	return b.Bytes(), err
}

// unquote leaves it to the encoder which strings need quotes, and how values are laid out,
// but for texts that it would write so that it cannot read them.
func unquote(node *yaml.Node) {
	isText := node.Kind == yaml.ScalarNode && node.Style != 0
	switch {
	case special.MatchString(node.Value) || unclean.MatchString(node.Value) || isText && kindOf(node.Value) != text:
		node.Style = yaml.DoubleQuotedStyle
	case len(node.Content) > 0 || node.Kind == yaml.ScalarNode:
		node.Style = 0
	}
	for i, part := range node.Content {
		unquote(part)
		if isKey := node.Kind == yaml.MappingNode && i%2 == 0; isKey && strings.Contains(part.Value, "\n") {
			part.Style = yaml.DoubleQuotedStyle
		}
	}
}

// unclean matches texts with whitespace at the edge of a line, and the merge key.
var unclean = regexp.MustCompile(`(?m)^[ \t]|[ \t]$|\A<<\z`)
