package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/dev"
	"github.com/flaggery/flaggery/pkg/edge"
)

var update = flag.Bool("update", false, "write the generated files in docs instead of comparing them")

// checkDocument compares a generated file in docs with its content, or writes it.
func checkDocument(t *testing.T, name, content string) {
	t.Helper()
	file := filepath.Join("../../docs", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile(file); err != nil || string(kept) != content {
		t.Errorf("docs/%s is not up to date (error %v): run 'go test -run %s ./pkg/e2e -update'", name, err, t.Name())
	}
}

// TestConfiguration keeps docs/configuration.md, which lists the settings as they
// are declared.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	content := configurationDocument
	for _, c := range []command.Command{
		{Name: "flaggery-admin serve", Flags: new(admin.Config).Flags},
		{Name: "flaggery-edge serve", Flags: new(edge.Config).Flags},
		{Name: "flaggery-admin dev", Flags: new(dev.Config).Flags},
	} {
		content += "\n## " + c.Name + "\n\n" + settings(c.FlagSet())
	}
	checkDocument(t, "configuration.md", content)
}

const configurationDocument = `# Configuration

All settings of both services and of the development server. This page is generated from the programs by
` + "`go test -run Configuration ./pkg/e2e -update`" + `; the settings of the other commands are in their ` + "`--help`" + `.

- Each setting is an environment variable and a flag. The flag takes precedence.
- ` + "`…_FILE`" + ` names a file with the value: ` + "`FLAGGERY_DB_URL_FILE=/run/secrets/db-url`" + `. Secrets belong there or in the
  environment, not in flags, which anybody on the machine can list.
- A program reports all invalid settings at once and exits with status 1. At the start it logs its settings, with
  secrets masked, and a warning for each unknown ` + "`FLAGGERY_…`" + ` variable.
- Go's ` + "`GOMEMLIMIT`" + ` is set to a share of the container's memory limit, unless it is in the environment.
`

// settings is a Markdown table of flags. Cells are not padded, so
// that changes of different rows merge without conflicts.
func settings(fs *flag.FlagSet) string {
	host, _ := os.Hostname()
	escaped := strings.NewReplacer("|", `\|`, "*", `\*`)
	var table strings.Builder
	table.WriteString("| variable | flag | default | meaning |\n|---|---|---|---|\n")
	fs.VisitAll(func(f *flag.Flag) {
		_, meaning := flag.UnquoteUsage(f)
		value := "`" + f.DefValue + "`"
		switch f.DefValue {
		case "":
			value = "–"
		case host:
			value = "the host's name"
		}
		fmt.Fprintf(&table, "| `%s` | `--%s` | %s | %s |\n", command.Variable(f.Name), f.Name, value, escaped.Replace(meaning))
	})
	return table.String()
}

// TestOpenAPI keeps docs/openapi, so that changes of the contract show in reviews.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	for name, d := range map[string]*documented{"admin": s.admin, "edge": s.edge} {
		text := (&operation{documented: d, method: "GET", path: "/openapi.json"}).do(t, nil).body
		var content bytes.Buffer
		if err := json.Indent(&content, []byte(strings.TrimSpace(text)), "", "  "); err != nil {
			t.Fatal(err)
		}
		checkDocument(t, "openapi/"+name+".json", content.String()+"\n")
	}
}
