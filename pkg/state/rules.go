package state

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"time"

	gojson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/flaggery/flaggery/pkg/model"
)

// rule is what values of a field must comply with beside their type.
type rule struct {
	check  func(any) error // nil if the type or the whole object says it all
	limits schema          // the same, as far as a schema can say it; lengths are in characters there
}

// rules are those that the tags check and names refer to.
var rules = map[string]rule{
	"version":     {of(checkVersion), schema{Const: Version}},
	"name":        {of(model.CheckName), schema{Pattern: model.NamePattern}},
	"variant":     {of(model.CheckVariantReference), schema{Pattern: "^" + model.DisablingVariant + "$|" + model.NamePattern}},
	"label":       {of(model.CheckLabel), schema{MinLength: 1, MaxLength: model.MaxNameLength}},
	"description": {of(model.CheckDescription), schema{MaxLength: model.MaxDescriptionLength}},
	"tags":        {of(model.CheckTags), schema{MaxItems: model.MaxTags, UniqueItems: true}},
	"contact":     {of(model.CheckContact), schema{MaxLength: model.MaxNameLength}},
	"date":        {of(model.CheckDate), schema{Pattern: `^(\d{4}-\d{2}-\d{2})?$`}},
	"payload":     {check: of(model.CheckPayload)},
	"proportion":  {of(model.CheckProportion), schema{Minimum: pointer(0), Maximum: pointer(1)}},
	"priority":    {of(model.CheckPriority), schema{Minimum: pointer(math.MinInt32), Maximum: pointer(model.MaxPriority)}},
	"time":        {check: of(model.CheckTime)},
	"groups":      {limits: schema{MinItems: 2, MaxItems: model.MaxTestGroups}},
}

// of is a check of values of a type.
func of[T any](check func(T) error) func(any) error {
	return func(v any) error { return check(v.(T)) }
}

func pointer(n float64) *float64 { return &n }

func checkVersion(version int) error {
	if version != Version {
		return fmt.Errorf("must be %d, is %d", Version, version)
	}
	return nil
}

// schema is a part of a JSON Schema.
type schema struct {
	Schema               string             `json:"$schema,omitzero"`
	Title                string             `json:"title,omitzero"`
	Description          string             `json:"description,omitzero"`
	Type                 any                `json:"type,omitzero"`
	Format               string             `json:"format,omitzero"`
	Const                any                `json:"const,omitzero"`
	Pattern              string             `json:"pattern,omitzero"`
	MinLength            int                `json:"minLength,omitzero"`
	MaxLength            int                `json:"maxLength,omitzero"`
	Minimum              *float64           `json:"minimum,omitzero"`
	Maximum              *float64           `json:"maximum,omitzero"`
	MinItems             int                `json:"minItems,omitzero"`
	MaxItems             int                `json:"maxItems,omitzero"`
	UniqueItems          bool               `json:"uniqueItems,omitzero"`
	Items                *schema            `json:"items,omitzero"`
	Required             []string           `json:"required,omitzero"`
	Properties           map[string]*schema `json:"properties,omitzero"`
	PropertyNames        *schema            `json:"propertyNames,omitzero"`
	AdditionalProperties any                `json:"additionalProperties,omitzero"` // false, or a schema
}

// Schema is a JSON Schema (2020-12) of documents, for editors. What it rejects, [Parse]
// rejects too.
func Schema() []byte {
	s := schemaOf(reflect.TypeFor[Document](), "")
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", "Flaggery state document"
	text, err := gojson.Marshal(s, gojson.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		panic(err) // the types of this package have a schema
	}
	return append(text, '\n')
}

// schemaOf is the schema of a type, whose field, or the field of the map that it is in,
// has the tag.
func schemaOf(t reflect.Type, tag reflect.StructTag) *schema {
	nullable := false
	if _, ok := reflect.New(t).Interface().(interface{ give() any }); ok {
		t = t.Field(1).Type // the pointer to the value
	}
	if t.Kind() == reflect.Pointer {
		t, nullable = t.Elem(), tag.Get("null") == ""
	}
	s := &schema{}
	if t.Kind() != reflect.Map {
		*s = rules[tag.Get("check")].limits
	}
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		return s // anything
	case t == reflect.TypeFor[time.Time]():
		s.Type, s.Format = "string", "date-time"
	case t.Kind() == reflect.Struct:
		s.Type, s.AdditionalProperties, s.Properties = "object", false, map[string]*schema{}
		for _, f := range fieldsOf(t) {
			p := schemaOf(t.Field(f.index).Type, f.tag)
			p.Description = f.tag.Get("doc")
			s.Properties[f.name] = p
			if f.required {
				s.Required = append(s.Required, f.name)
			}
		}
	case t.Kind() == reflect.Map:
		names := rules[tag.Get("names")].limits
		s.Type, s.PropertyNames, s.AdditionalProperties = "object", &names, schemaOf(t.Elem(), tag)
	case t.Kind() == reflect.Slice:
		s.Type, s.Items = "array", schemaOf(t.Elem(), "")
	default:
		s.Type = map[reflect.Kind]string{reflect.Bool: "boolean", reflect.Int: "integer", reflect.Float64: "number", reflect.String: "string"}[t.Kind()]
	}
	if nullable {
		s.Type = []any{s.Type, "null"}
	}
	return s
}
