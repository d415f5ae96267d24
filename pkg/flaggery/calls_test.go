package flaggery_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"iter"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// never is a code that a call fails with when another method makes it.
var never = map[string]api.Code{
	"SetRolloutProportion": api.VariantNotFound, // it names none
	"DeleteFeature":        api.ABTestLive,      // a feature under test has variants
	"DeleteWholeFeature":   api.FeatureHasVariants,
}

// Comments of the client's methods name the codes that the table of calls has, and so
// do those of the writer's methods, which have the same names.
func TestCommentsNameTheCodes(t *testing.T) {
	client, writer := comments(t, "."), comments(t, "../writer")
	for method, row := range rows(t, api.AdminCalls, func(h *http.Client) any {
		return must(flaggery.NewAdmin("http://admin", "", flaggery.HTTPClient(h)))
	}) {
		codes := slices.DeleteFunc(slices.Clone(api.AdminCalls[row]), func(c api.Code) bool { return c == never[method] })
		checkComment(t, "Admin."+method, client["Admin."+method], codes)
		if comment, both := writer["Writer."+method]; both {
			checkComment(t, "Writer."+method, comment, codes)
		}
	}
	for method, row := range rows(t, api.EdgeCalls, func(h *http.Client) any {
		return must(flaggery.NewEdge("http://edge", flaggery.HTTPClient(h)))
	}) {
		checkComment(t, "Edge."+method, client["Edge."+method], api.EdgeCalls[row])
	}
}

// tabled are all codes in the table of calls.
var tabled = slices.Concat(slices.AppendSeq(slices.Collect(maps.Values(api.AdminCalls)), maps.Values(api.EdgeCalls))...)

// asAnother matches the comment of a method that is another one in a simpler form.
var asAnother = regexp.MustCompile(`^\w+ is [A-Z]\w+ of `)

func checkComment(t *testing.T, method, comment string, codes []api.Code) {
	t.Helper()
	if asAnother.MatchString(comment) {
		return
	}
	var named []api.Code
	for _, word := range regexp.MustCompile(`[a-z]+(_[a-z]+)+`).FindAllString(comment, -1) {
		if slices.Contains(tabled, api.Code(word)) {
			named = append(named, api.Code(word))
		}
	}
	slices.Sort(named)
	if want := slices.Sorted(slices.Values(codes)); !slices.Equal(named, want) {
		t.Errorf("the comment of %s names %q, the table of calls %q", method, named, want)
	}
}

// rows calls every method of a client, and finds the row of the table of calls that
// its request is in. Each row has a method.
func rows(t *testing.T, table api.Calls, newClient func(*http.Client) any) map[string]string {
	t.Helper()
	called, unused := "", maps.Clone(table)
	mux := http.NewServeMux()
	for row := range table {
		mux.HandleFunc(row, func(w http.ResponseWriter, _ *http.Request) {
			called = row
			answerProblem(w, http.StatusNotFound, "")
		})
	}
	client := reflect.ValueOf(newClient(&http.Client{Transport: inProcess{mux}}))
	found := map[string]string{}
	for i := range client.NumMethod() {
		called = ""
		call(t, client.Method(i))
		if called != "" {
			found[client.Type().Method(i).Name] = called
			delete(unused, called)
		}
	}
	for row := range unused {
		if !strings.Contains(row, "/ofrep/") && !strings.Contains(row, "/v1/subjects/{id}/flags") { // other ways to ask the same
			t.Errorf("%s has no method", row)
		}
	}
	return found
}

// call calls a method with arguments that say nothing.
func call(t *testing.T, method reflect.Value) {
	var arguments []reflect.Value
	for i := range method.Type().NumIn() {
		if method.Type().IsVariadic() && i == method.Type().NumIn()-1 {
			break
		}
		switch in := method.Type().In(i); in {
		case reflect.TypeFor[context.Context]():
			arguments = append(arguments, reflect.ValueOf(t.Context()))
		case reflect.TypeFor[string]():
			arguments = append(arguments, reflect.ValueOf("x"))
		case reflect.TypeFor[io.Reader]():
			arguments = append(arguments, reflect.ValueOf(strings.NewReader("")))
		case reflect.TypeFor[iter.Seq2[api.ImportLine, error]]():
			arguments = append(arguments, reflect.ValueOf(iter.Seq2[api.ImportLine, error](func(func(api.ImportLine, error) bool) {})))
		default:
			arguments = append(arguments, reflect.Zero(in))
		}
	}
	if result := method.Call(arguments)[0]; result.Kind() == reflect.Func {
		for range result.Seq2() { // whose request is made on the way
		}
	}
}

// comments are those of the exported methods of a package, by type and method.
func comments(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := must(filepath.Glob(filepath.Join(dir, "*.go")))
	all := map[string]string{}
	for _, file := range files {
		for _, d := range must(parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)).Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.IsExported() {
				receiver := strings.TrimPrefix(types.ExprString(f.Recv.List[0].Type), "*")
				all[receiver+"."+f.Name.Name] = f.Doc.Text()
			}
		}
	}
	return all
}
