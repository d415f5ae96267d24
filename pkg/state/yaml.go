package state

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"

	gojson "github.com/go-json-experiment/json"
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

// checkDivisions bounds what a text costs before any of it is read.
func checkDivisions(s string) error {
	divisions := 0
	for division := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == '\n' || c == ',' }) {
		if len(division) > maxDivision {
			return fmt.Errorf("line 1: must have a comma or a new line after at most %d bytes, has %d without", maxDivision, len(division))
		}
		divisions++
	}
	if divisions > maxDivisions {
		return fmt.Errorf("line 1: must have at most %d lines and commas, has %d: split it", maxDivisions, divisions)
	}
	return nil
}

// parseYAML reads a text in YAML 1.2. It rejects what can stand for more than is written
// (anchors, aliases, merge keys), tags, directives, keys that are no scalars, and a second
// document.
func parseYAML(s string) (value, error) {
	if err := checkDivisions(s); err != nil {
		return value{}, err
	}
	if directive := directives.FindStringIndex(s); directive != nil {
		return value{}, fmt.Errorf("line %d: must have no directives: leave this line out", 1+strings.Count(s[:directive[1]], "\n"))
	}
	documents, err := decode(s)
	switch {
	case err != nil:
		return value{}, syntaxError(s, err)
	case len(documents) == 0:
		return value{}, nil
	case len(documents) == 1:
		return valueOf(documents[0].Content[0], 0)
	}
	return value{}, refuse(&documents[1], "must be one YAML document, another one begins here")
}

// decode reads the first two documents of a text.
func decode(s string) (documents []yaml.Node, err error) {
	decoder := yaml.NewDecoder(strings.NewReader(s))
	for len(documents) < 2 {
		var document yaml.Node
		err := decoder.Decode(&document)
		switch {
		case errors.Is(err, io.EOF):
			return documents, nil
		case err != nil:
			return nil, err
		}
		documents = append(documents, document)
	}
	return documents, nil
}

// directives match the first directive of a text, which is before all of its content.
var directives = regexp.MustCompile(`\A(?:[ \t]*(?:#[^\n]*)?\n)*%`)

// maxSearched bounds the texts, in bytes, in which a line at fault is searched for: the
// search reads the text about twenty times.
const maxSearched = 256 << 10

// libraryPlace is how an error of the library begins. It has no line if that is the first.
var libraryPlace = regexp.MustCompile(`^yaml: (line ([0-9]+): )?`)

// tabIndentation matches a line that is indented with a tab.
var tabIndentation = regexp.MustCompile(`^ *\t`)

// syntaxHints say what to check, by a part of the library's message.
var syntaxHints = map[string]string{
	"expected key":   ": check the indentation",
	"'-' indicator":  ": check the indentation",
	"mapping values": `: check the indentation, and put a text with ": " in quotes`,
}

// syntaxError is an error of the library with the line at fault. The library names the
// line in which the object or array around it begins. The line at fault is the last one of
// the shortest part of the text that has the same error.
func syntaxError(s string, err error) error {
	place := libraryPlace.FindStringSubmatch(err.Error())
	message := err.Error()[len(place[0]):]
	if len(s) > maxSearched {
		return fmt.Errorf("line %s: in what begins here or in the next line: %s", cmp.Or(place[2], "1"), message)
	}
	begin := sort.Search(len(s), func(i int) bool {
		line, _, _ := strings.Cut(s[i:], "\n")
		_, partErr := decode(s[:i+len(line)])
		return partErr != nil && partErr.Error() == err.Error()
	})
	if tabIndentation.MatchString(s[begin:]) && !strings.HasPrefix(strings.TrimSpace(s), "{") {
		message = "a tab: indent with spaces"
	}
	for part, hint := range syntaxHints {
		if strings.Contains(message, part) {
			message += hint
		}
	}
	return fmt.Errorf("line %d: %s", 1+strings.Count(s[:begin], "\n"), message)
}

func errDepth(line int32) error {
	return fmt.Errorf("line %d: must nest at most %d deep", line, maxDepth)
}

func refuse(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %s (column %d)", node.Line, fmt.Sprintf(format, args...), node.Column)
}

func valueOf(node *yaml.Node, depth int) (v value, err error) {
	switch {
	case depth > maxDepth:
		return v, errDepth(int32(node.Line))
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

// YAML writes JSON as YAML that every reader takes for the same values. Members keep their
// order, numbers their digits.
func YAML(json []byte) ([]byte, error) {
	var root yaml.Node
	err := gojson.Unmarshal(json, &root, gojson.WithUnmarshalers(gojson.UnmarshalFromFunc(readNode)),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	err = errors.Join(encoder.Encode(&root), encoder.Close())
	return b.Bytes(), err
}

// readNode reads a value in JSON as the node that stands for it in YAML. The encoder lays
// nodes out and quotes texts that have a syntax in YAML; it has to be asked for the quotes
// of others.
func readNode(in *jsontext.Decoder, node *yaml.Node) error {
	token, err := in.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case jsontext.KindBeginObject:
		node.Kind = yaml.MappingNode
	case jsontext.KindBeginArray:
		node.Kind = yaml.SequenceNode
	default:
		node.Kind, node.Value = yaml.ScalarNode, token.String()
		if token.Kind() == jsontext.KindString && (ambiguous.MatchString(node.Value) || special.MatchString(node.Value)) {
			node.Style = yaml.DoubleQuotedStyle
		}
		return nil
	}
	for in.PeekKind() != jsontext.KindEndObject && in.PeekKind() != jsontext.KindEndArray {
		part := new(yaml.Node)
		if err := readNode(in, part); err != nil {
			return err
		}
		if isKey := node.Kind == yaml.MappingNode && len(node.Content)%2 == 0; isKey && strings.Contains(part.Value, "\n") {
			part.Style = yaml.DoubleQuotedStyle
		}
		node.Content = append(node.Content, part)
	}
	_, err = in.ReadToken()
	return err
}

// ambiguous matches texts that some version of YAML takes for another value if they stand
// without quotes: words, numbers, dates, and the merge key. It also matches whitespace at
// the edge of a line, which the encoder loses.
var ambiguous = regexp.MustCompile(`(?i)\A(|~|=|<<|null|true|false|yes|no|on|off|y|n|[-+]?\.(inf|nan)|[-+]?\.?[0-9][0-9a-fotxz_.:+ -]*)\z|(?m)^[ \t]|[ \t]$`)
