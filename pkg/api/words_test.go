package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// Programs that import only package api must find every code there.
func TestCodesAreComplete(t *testing.T) {
	ours, models := constants(t, "words.go"), constants(t, "../model/error.go")
	if len(models) == 0 {
		t.Fatal("no codes found")
	}
	for _, code := range models {
		if !slices.Contains(ours, code) {
			t.Errorf("words.go lacks %s", code)
		}
	}
}

func constants(t *testing.T, file string) (names []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.CONST {
			for _, spec := range d.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}
