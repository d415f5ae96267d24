// Package state is the configuration as a document: its form, how it is read from YAML
// and JSON and written to them, and its schema.
//
// A document says what it has an opinion on. A field that is absent is not managed: its
// value stays as it is. A field that is null shall have no value. Subjects, members,
// tokens, buckets and salts are in no document.
package state

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// Version is the version of the format that this package reads and writes.
const Version = 1

// Document is a configuration, or a part of one.
//
// The tags of its fields are rules for [Parse] and [Schema]: doc describes a field, check
// names the rule of its value, or of the values if it is a map, and names the rule of a
// map's keys. null says why there must be no null.
type Document struct {
	Version  int                 `json:"version" check:"version" doc:"Version of the format: 1"`
	Owner    string              `json:"owner,omitempty" check:"label" doc:"Owner of the objects that name none; nobody if left out"`
	Features map[string]*Feature `json:"features,omitempty" names:"name" null:"to remove a feature, drop it from the document and apply with prune=true" doc:"Features by name"`
	Groups   map[string]*Group   `json:"groups,omitempty" names:"name" null:"to remove a group, drop it from the document and apply with prune=true" doc:"Groups by name. Their members are in no document"`
	ABTests  map[string]*ABTest  `json:"abtests,omitempty" names:"name" null:"to remove a test, drop it from the document and apply with prune=true" doc:"A/B tests by name. Tests that have ended are ignored"`

	lines map[string]int // of the text it was read from, by path
}

// Path is the path of a part of a document, such as features.checkout.default, or
// features["checkout.button"].default if a name is no plain word.
func Path(names ...string) (path string) {
	for _, name := range names {
		path = join(path, name)
	}
	return path
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func join(path, name string) string {
	switch {
	case !plainName.MatchString(name):
		return path + "[" + strconv.Quote(name) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}

// lastName is the last of the names in a path, or a position in an array.
var lastName = regexp.MustCompile(`(\["([^"\\]|\\.)*"\]|\[[0-9]+\]|\.?[A-Za-z0-9_-]+)$`)

// parent is the path that contains a path; "" for none.
func parent(path string) string { return lastName.ReplaceAllString(path, "") }

// Line is the line at which a [Path], or else the nearest that contains it, stands in the
// text that the document was read from; 0 if it was not read from a text.
func (d *Document) Line(path string) int {
	for {
		line, ok := d.lines[path]
		if ok || path == "" {
			return line
		}
		path = parent(path)
	}
}

// Fault adds a fault of the part at a path, with its line if the document was read from a
// text.
func (d *Document) Fault(faults *model.Faults, path, format string, args ...any) {
	addFault(faults, path, d.Line(path), format, args...)
}

// addFault adds a fault of the part at a path and a line, 0 for none.
func addFault(faults *model.Faults, path string, line int, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if line > 0 {
		message = fmt.Sprintf("line %d: %s", line, message)
	}
	if path != "" && path[0] != '[' {
		path = "." + path
	}
	faults.Addf("body"+path, "%s", message)
}

// Field is a value in a document, null or absent.
type Field[T any] struct {
	Given bool
	Value *T // nil for null
}

// Of is a field with a value.
func Of[T any](value T) Field[T] { return Field[T]{Given: true, Value: &value} }

// Null is a field that shall have no value.
func Null[T any]() Field[T] { return Field[T]{Given: true} }

// Or is the value of the field: the zero value for null, unmanaged if it is absent.
func (f Field[T]) Or(unmanaged T) (value T) {
	switch {
	case !f.Given:
		return unmanaged
	case f.Value != nil:
		return *f.Value
	}
	return value
}

// IsZero reports whether the field is absent, for the option omitzero.
func (f Field[T]) IsZero() bool { return !f.Given }

// give says that the field is given, and returns where its value belongs.
func (f *Field[T]) give() any {
	f.Given = true
	return &f.Value
}

// MarshalJSON writes the value, or null.
func (f Field[T]) MarshalJSON() ([]byte, error) { return json.Marshal(f.Value) }

// Feature is what a document says of a feature.
type Feature struct {
	Owner       Field[string]       `json:"owner,omitzero" check:"label" doc:"Owner; null for nobody. The owner of the document if left out"`
	Description Field[string]       `json:"description,omitzero" check:"description"`
	Tags        Field[[]string]     `json:"tags,omitzero" check:"tags"`
	Contact     Field[string]       `json:"contact,omitzero" check:"contact" doc:"Who answers for the feature"`
	Expires     Field[string]       `json:"expires,omitzero" check:"date" doc:"Date from which the feature should be gone, in UTC, such as 2027-01-31"`
	Permanent   Field[bool]         `json:"permanent,omitzero" doc:"Whether the feature stays for good"`
	Archived    Field[bool]         `json:"archived,omitzero" doc:"Whether the feature is kept, but not served"`
	Off         Field[bool]         `json:"off,omitzero" doc:"Whether every subject gets __DISABLE__, whatever else applies"`
	Variants    map[string]*Variant `json:"variants,omitempty" names:"variant" doc:"Variants by name; null for one that shall not exist"` // nil: the variant shall not exist
	Default     Field[string]       `json:"default,omitzero" check:"variant" doc:"Variant of subjects that nothing else applies to; null for none"`
	Rollout     Field[Rollout]      `json:"rollout,omitzero" doc:"Rollout; null for none"`
}

// Variant is what a document says of a variant.
type Variant struct {
	Payload Field[json.RawMessage] `json:"payload,omitzero" check:"payload" doc:"Any JSON value of at most 64 KiB; null for none"`
}

// Rollout is what a document says of a rollout. People operate its proportion if it is
// absent; a new rollout begins with 0 then.
type Rollout struct {
	Variant    string         `json:"variant" check:"variant" doc:"Variant of the subjects in the rollout"`
	Proportion Field[float64] `json:"proportion,omitzero" check:"proportion" null:"leave it out if people operate it" doc:"Share of the total weight. If left out, people operate it, and a new rollout begins with 0"`
}

// Group is what a document says of a group. Its members are data, not configuration.
type Group struct {
	Owner     Field[string]      `json:"owner,omitzero" check:"label" doc:"Owner; null for nobody. The owner of the document if left out"`
	Priority  Field[int]         `json:"priority,omitzero" check:"priority" doc:"If two groups of a subject override the same feature, the higher priority wins; null for 0"`
	Overrides map[string]*string `json:"overrides,omitempty" names:"name" check:"variant" doc:"Variant by feature; null for a feature that shall not be overridden"` // nil: there shall be no override
}

// ABTest is what a document says of an A/B test. Tests that have ended are ignored.
type ABTest struct {
	Owner       Field[string] `json:"owner,omitzero" check:"label" doc:"Owner; null for nobody. The owner of the document if left out"`
	Description Field[string] `json:"description,omitzero" check:"description"`
	Start       time.Time     `json:"start" check:"time" doc:"Start of the test, inclusive"`
	End         time.Time     `json:"end" check:"time" doc:"End of the test, exclusive"`
	Groups      []TestGroup   `json:"groups" check:"groups" doc:"Groups of the test, in their order"`
}

// TestGroup is a group of an A/B test.
type TestGroup struct {
	Name       string            `json:"name" check:"name"`
	Proportion *float64          `json:"proportion,omitempty" check:"proportion" null:"leave it out of all groups for equal shares" doc:"Share of the total weight; give it for all groups, or for none to make them equal"` // nil for equal shares, in all groups
	Variants   map[string]string `json:"variants" names:"name" check:"variant" doc:"Variant by feature. All groups must have the same features"`                                                                             // by feature
}
