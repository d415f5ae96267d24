// Package pkg holds no code, only this test of what may import what.
package pkg

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const anything = "anything"

// arrows lists the packages of this module that each package may import, tests
// aside. They lead from the programs down to the nouns, and never back. A new arrow
// needs a reason here.
var arrows = map[string]struct {
	imports string
	reason  string
}{
	"cmd/flaggery-admin": {"pkg/admin pkg/dev pkg/cli pkg/command pkg/transfer pkg/writer pkg/postgres pkg/auth pkg/api pkg/model migrations", "thin: flags and environment to Config; 'migrate', 'token', 'import' and 'export' work directly on a database, and 'token' names the setting of an invalid value"},
	"cmd/flaggery-edge":  {"pkg/edge pkg/command", "thin, and small enough to be a small image: no writer, no migrations"},
	"migrations":         {"", "SQL, for any program with a database"},
	"pkg/backoff":        {"", "pure except for the clock: retries of any kind"},
	"pkg/auth":           {"", "pure: roles and permissions, independent of what they protect"},
	"pkg/model":          {"pkg/auth", "pure: the nouns and their rules; the configuration carries the tokens that edges accept"},
	"pkg/bucketing":      {"pkg/model", "pure: arithmetic over the nouns"},
	"pkg/evaluation":     {"pkg/model", "pure: so that all programs resolve alike"},
	"pkg/api":            {"pkg/model pkg/auth", "requests and answers lean on the domain's codes and limits"},
	"pkg/transfer":       {"pkg/api pkg/model", "formats of subjects, independent of their source"},
	"pkg/state":          {"pkg/api pkg/model", "pure: documents; it reads their values as the API does"},
	"pkg/flaggery":       {"pkg/api pkg/transfer pkg/backoff", "other programs import it, so its dependencies are few; it reads and writes the same formats as the admin"},
	"pkg/postgres":       {"pkg/model pkg/auth pkg/backoff", "all SQL, and no rule of the domain"},
	"pkg/writer":         {"pkg/state pkg/postgres pkg/bucketing pkg/evaluation pkg/model pkg/auth pkg/api pkg/backoff migrations", "use cases in one transaction each; the service hands on its requests and results as they are"},
	"pkg/snapshot":       {"pkg/evaluation pkg/bucketing pkg/model pkg/auth", "a value, independent of its source and its server"},
	"pkg/replica":        {"pkg/snapshot pkg/model pkg/backoff", "its source is an interface, so that another one can replace PostgreSQL"},
	"pkg/web":            {"pkg/api pkg/model pkg/auth", "shared by both servers, so it depends on neither"},
	"pkg/cli":            {"pkg/flaggery pkg/command pkg/state pkg/api pkg/model", "verbs against a running admin, which they know by its client alone: neither server nor database; answers in YAML are quoted as documents are"},
	"pkg/command":        {"pkg/model", "programs and their settings, whatever they do; it prints the fields of a model.Error"},
	"pkg/signin":         {"pkg/model pkg/auth", "pages that know callers, but not what they may change"},
	"pkg/console":        {"pkg/model", "files for a browser: the pages are clients of the API like any other"},
	"pkg/shortcut":       {"", "HTTP alone, independent of what is served"},
	"pkg/admin":          {"pkg/state pkg/transfer pkg/writer pkg/postgres pkg/bucketing pkg/web pkg/command pkg/signin pkg/console pkg/auth pkg/api pkg/model pkg/backoff migrations", "the only service that writes; its metrics show proportions as the writer does; it waits for its database"},
	"pkg/edge":           {"pkg/replica pkg/snapshot pkg/postgres pkg/web pkg/command pkg/auth pkg/api pkg/model pkg/shortcut", "without the writer, the edge cannot write"},
	"pkg/pgserver":       {"", "a process, independent of its databases' content"},
	"pkg/dev":            {"pkg/admin pkg/edge pkg/web pkg/command pkg/writer pkg/postgres pkg/auth pkg/api pkg/model pkg/pgserver", "all in one process; its sample data goes through the writer, by a clock of its own"},
	"pkg/pgtest":         {"pkg/pgserver migrations", "tests only"},
	"pkg/oidctest":       {"", "tests only: a provider that knows nothing of Flaggery"},
	"pkg/faults":         {anything, "tests only"},
	"pkg/e2e":            {anything, "tests only: whole scenarios"},
}

// confined lists libraries that only some packages may import, so that they can be
// replaced or upgraded in few places.
var confined = []struct {
	library string
	users   string
	reason  string
}{
	{"github.com/spf13/cobra", "pkg/command", "a program declares commands and settings, and does not know who parses them"},
	{"github.com/labstack/echo", "pkg/web pkg/admin pkg/edge pkg/signin pkg/console", "its support ends with 2026: the step to v5 stays small"},
	{"github.com/danielgtaylor/huma", "pkg/web pkg/admin pkg/edge pkg/signin", "it comes with echo"},
	{"github.com/jmoiron/sqlx", "pkg/postgres", "all SQL is there"},
	{"github.com/lib/pq", "pkg/postgres pkg/pgserver pkg/pgtest", "all SQL is in postgres; pgserver pings its server, pgtest creates databases"},
	{"github.com/golang-migrate/migrate", "migrations", "no other package depends on the tool"},
	{"github.com/klauspost/compress", "pkg/web", "answers are compressed there"},
	{"go.yaml.in/yaml", "pkg/state", "YAML is read and written there"},
	{"github.com/prometheus", "pkg/web pkg/admin pkg/edge", "services are measured; the packages below report to an observer"},
}

func TestArrows(t *testing.T) {
	const module = "github.com/flaggery/flaggery/"
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if err == nil && entry.IsDir() && file != "." {
			if _, err := fs.Stat(root, path.Join(file, "go.mod")); err == nil {
				return fs.SkipDir // a module of its own
			}
		}
		if err != nil || path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name := path.Dir(file)
		row, known := arrows[name]
		if !known {
			t.Errorf("%s: the package has no row in the table of arrows: add one, with its reason", file)
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if own, ok := strings.CutPrefix(imported, module); ok && row.imports != anything && !slices.Contains(strings.Fields(row.imports), own) {
				t.Errorf("%s imports %s; it may import %q: %s", file, own, row.imports, row.reason)
			}
			for _, c := range confined {
				if strings.HasPrefix(imported, c.library) && !slices.Contains(strings.Fields(c.users), name) {
					t.Errorf("%s imports %s, which is for %s: %s", file, imported, c.users, c.reason)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var update = flag.Bool("update", false, "write the picture in docs/architecture.md instead of comparing it")

// TestPicture keeps the picture of the packages in docs/architecture.md.
func TestPicture(t *testing.T) {
	const file, begin, end = "../docs/architecture.md", "```mermaid\n", "```\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	kept, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no picture", file)
	}
	if *update {
		kept = picture()
		if err := os.WriteFile(file, []byte(before+begin+kept+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if kept != picture() {
		t.Errorf("the picture in %s is not up to date: run 'go test -run Picture ./pkg -update'", file)
	}
}

// The files that the page names exist.
func TestJourneys(t *testing.T) {
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range regexp.MustCompile("`([a-z]+/[a-z]+\\.go)`").FindAllSubmatch(text, -1) {
		if _, err := os.Stat(string(file[1])); err != nil {
			t.Errorf("docs/architecture.md: %v", err)
		}
	}
}

// picture is a Mermaid graph of the arrows, without those of tests and without
// those that longer ways imply.
func picture() string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for _, from := range slices.Sorted(maps.Keys(arrows)) {
		if arrows[from].imports == anything || strings.HasPrefix(arrows[from].reason, "tests only") {
			continue
		}
		direct := strings.Fields(arrows[from].imports)
		for _, to := range slices.Sorted(slices.Values(direct)) {
			if !slices.ContainsFunc(direct, func(other string) bool { return other != to && reaches(other, to) }) {
				fmt.Fprintf(&b, "    %s --> %s\n", path.Base(from), path.Base(to))
			}
		}
	}
	return b.String()
}

// reaches reports whether arrows lead from one package to another.
func reaches(from, to string) bool {
	return from == to || slices.ContainsFunc(strings.Fields(arrows[from].imports), func(next string) bool { return reaches(next, to) })
}
