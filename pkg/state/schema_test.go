package state

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write docs/state.schema.json instead of comparing it")

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("state.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("state.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestSchemaIsDocumented(t *testing.T) {
	t.Parallel()
	const file = "../../docs/state.schema.json"
	if *update {
		if err := os.WriteFile(file, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, Schema()) {
		t.Errorf("%s is not up to date: run 'go test ./pkg/state -run Schema -update'", file)
	}
}

// What Parse reads, the schema accepts.
func TestSchemaAcceptsDocuments(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		text, err := documents().Draw(t, "document").JSON()
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(document); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	})
}

// What the schema rejects, Parse rejects too.
func TestSchemaRejectsFaults(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	for name, text := range map[string]string{
		"no version":               `{}`,
		"a newer version":          `{"version": 2}`,
		"an unknown field":         `{"version": 1, "subjects": {}}`,
		"a list for a map":         `{"version": 1, "features": []}`,
		"null for a map":           `{"version": 1, "features": null}`,
		"null for a feature":       `{"version": 1, "features": {"a": null}}`,
		"null for a group":         `{"version": 1, "groups": {"a": null}}`,
		"null for a test":          `{"version": 1, "abtests": {"a": null}}`,
		"an invalid name":          `{"version": 1, "features": {"-": {}}}`,
		"an unknown field within":  `{"version": 1, "features": {"a": {"b": 1}}}`,
		"a number for a text":      `{"version": 1, "features": {"a": {"description": 1}}}`,
		"a long description":       `{"version": 1, "features": {"a": {"description": "` + string(bytes.Repeat([]byte("a"), 4097)) + `"}}}`,
		"a text for a boolean":     `{"version": 1, "features": {"a": {"off": "yes"}}}`,
		"equal tags":               `{"version": 1, "features": {"a": {"tags": ["a", "a"]}}}`,
		"no date":                  `{"version": 1, "features": {"a": {"expires": "soon"}}}`,
		"an empty owner":           `{"version": 1, "owner": ""}`,
		"a rollout of nothing":     `{"version": 1, "features": {"a": {"rollout": {}}}}`,
		"a rollout of null":        `{"version": 1, "features": {"a": {"rollout": {"variant": null}}}}`,
		"a proportion of null":     `{"version": 1, "features": {"a": {"rollout": {"variant": "A", "proportion": null}}}}`,
		"a proportion beyond 1":    `{"version": 1, "features": {"a": {"rollout": {"variant": "A", "proportion": 1.1}}}}`,
		"a priority beyond bounds": `{"version": 1, "groups": {"a": {"priority": 2147483648}}}`,
		"a fraction of a priority": `{"version": 1, "groups": {"a": {"priority": 0.5}}}`,
		"members":                  `{"version": 1, "groups": {"a": {"members": []}}}`,
		"a test without groups":    `{"version": 1, "abtests": {"a": {"start": "2027-01-01T00:00:00Z", "end": "2027-02-01T00:00:00Z"}}}`,
		"a test of one group":      `{"version": 1, "abtests": {"a": {"start": "2027-01-01T00:00:00Z", "end": "2027-02-01T00:00:00Z", "groups": [{"name": "a", "variants": {"f": "A"}}]}}}`,
		"a test of no time":        `{"version": 1, "abtests": {"a": {"start": "now", "end": "2027-02-01T00:00:00Z", "groups": [{"name": "a", "variants": {"f": "A"}}, {"name": "b", "variants": {"f": "A"}}]}}}`,
	} {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(document) == nil {
			t.Errorf("%s: the schema accepts %s", name, text)
		}
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: Parse accepts %s", name, text)
		}
	}
}
