package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/model"
)

// run executes a program of two commands and returns what it printed.
func run(args []string, variables ...string) (status int, stdout, stderr string) {
	var out, errs strings.Builder
	port := 0
	p := Program{Name: "things", Summary: "Things.", Version: "v1", Commands: []Command{
		{
			Name: "serve", Summary: "Serve.", Service: true,
			Flags: func(fs *flag.FlagSet) { fs.IntVar(&port, "port", 80, "`number`") },
			Validate: func() error {
				if port > 100 {
					return errors.New("FLAGGERY_PORT is too high")
				}
				return nil
			},
			Run: func(_ context.Context, env Environment) error {
				fmt.Fprintln(env.Stdout, "served", port, env.Version)
				return nil
			},
		},
		{Name: "data load", Arguments: "FILE…", Summary: "Load.", Run: func(_ context.Context, env Environment) error {
			if len(env.Args) == 2 {
				var faults model.Faults
				faults.Addf("line 1", "is bad")
				faults.Addf("line 2", "is worse")
				return fmt.Errorf("load: %w", faults.Err())
			}
			return errors.Join(fmt.Errorf("cannot load %q", env.Args), errors.New("really"))
		}},
	}}
	status = p.Execute(context.Background(), args, environment(variables...), Environment{Stdout: &out, Stderr: &errs})
	return status, out.String(), errs.String()
}

func TestProgram(t *testing.T) {
	for _, row := range []struct {
		args           string
		variable       string
		status         int
		stdout, stderr string // parts
	}{
		{"serve", "", 0, "served 80 v1\n", "settings.port=80"},
		{"serve --port 81", "82", 0, "served 81 v1\n", ""},
		{"serve --log-format json", "82", 0, "served 82 v1\n", `"port":"82"`},
		{"serve --log-level error", "", 0, "served 80 v1\n", ""},
		{"serve --port 101 --log-format xml", "", 1, "", "things: FLAGGERY_LOG_FORMAT: \"xml\" is neither text nor json; FLAGGERY_PORT is too high\n"},
		{"serve now", "", 2, "", "things: serve takes settings only, such as --log-level debug, but no arguments: found 1\n"},
		{"data load file", "", 1, "", "things: cannot load [\"file\"]; really\n"},
		{"data load a b", "", 1, "", "things: the request is not valid\n  line 1: is bad\n  line 2: is worse\n"},
		{"data load", "", 2, "", "things: data load takes FILE…: found 0 arguments\n"},
		{"completion bash zsh", "", 2, "", "things: completion takes bash|zsh|fish: found 2 arguments\n"},
		{"data", "", 2, "", "things: data must be followed by load, see things data --help\n"},
		{"data save", "", 2, "", "things: data must be followed by load, see things data --help\n"},
		{"data laod file", "", 2, "", "things: data must be followed by load, did you mean load?, see things data --help\n"},
		{"sevre --port 81", "", 2, "", "things: there is no command \"sevre\", did you mean serve?, see things --help\n"},
		{"data load --prot 81 file", "", 2, "", "things: data load: there is no flag --prot, see --help\n"},
		{"data load -log-levl debug file", "", 2, "", "things: data load: there is no flag --log-levl, did you mean --log-level?, see --help\n"},
		{"data load -x file", "", 2, "", "things: data load: there is no flag -x, see --help\n"},
		{"completion tcsh", "", 2, "", "things: completion takes bash, zsh or fish, found \"tcsh\"\n"},
		{"completion bash", "", 0, "__start_things", ""},
		{"completion zsh", "", 0, "#compdef things", ""},
		{"completion fish", "", 0, "fish completion for things", ""},
		{"data --help", "", 0, "Usage: things data COMMAND", ""},
		{"version", "", 0, "things v1\n", ""},
		{"", "", 0, "  data        load\n", ""},
		{"--help", "", 0, "  serve       Serve.\n", ""},
		{"help", "", 0, "  version ", ""},
		{"help data", "", 0, "  data load  Load.\n", ""},
		{"help data load", "", 0, "Usage: things data load [settings] FILE…\n", ""},
		{"serve --help", "", 0, "[FLAGGERY_PORT]", ""},
		{"serve --nonsense -h", "", 0, "[FLAGGERY_PORT]", ""},
		{"--version", "", 0, "things v1\n", ""},
		{"serve --version", "", 0, "things v1\n", ""},
	} {
		status, stdout, stderr := run(strings.Fields(row.args), "FLAGGERY_PORT", row.variable)
		if status != row.status || !strings.Contains(stdout, row.stdout) || !strings.Contains(stderr, row.stderr) ||
			row.stdout == "" && stdout != "" || status != 0 && stderr != row.stderr {
			t.Errorf("things %s: status %d\nstdout: %s\nstderr: %s", row.args, status, stdout, stderr)
		}
	}
}

func TestNoArgumentIsEmpty(t *testing.T) {
	if status, _, stderr := run([]string{"data", "load", "a", ""}); status != 2 || stderr != "things: data load: FILE must not be empty\n" {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestVersionOfTheBuild(t *testing.T) {
	if got := (Program{}).version(); got == "" {
		t.Error("none")
	}
}

func TestUnknownVariables(t *testing.T) {
	status, _, stderr := run([]string{"data", "load", "a", "b"}, "FLAGGERY_PROT", "1", "FLAGGERY_LOG_FROMAT_FILE", "x", "FLAGGERY_SOMETHING_ELSE", "",
		"FLAGGERY_PORT", "1", "FLAGGERY_PORT_FILE", "x", "FLAGGERY_LOG_LEVEL", "warn", "OTHER_PORT", "1",
		// Variables that Kubernetes sets for services named flaggery and
		// flaggery-admin.
		"FLAGGERY_SERVICE_HOST", "10.0.0.1", "FLAGGERY_SERVICE_PORT_HTTP", "80", "FLAGGERY_ADMIN_PORT", "tcp://10.0.0.1:80",
		"FLAGGERY_PORT_80_TCP", "tcp://10.0.0.1:80", "FLAGGERY_ADMIN_PORT_80_TCP_ADDR", "10.0.0.1")
	for _, want := range []string{
		"FLAGGERY_PROT, did you mean FLAGGERY_PORT?", "FLAGGERY_LOG_FROMAT_FILE, did you mean FLAGGERY_LOG_FORMAT?", "FLAGGERY_SOMETHING_ELSE\n",
	} {
		if !strings.Contains(stderr, want) && !strings.Contains(stderr, strings.TrimSpace(want)) {
			t.Errorf("does not name %q: %s", want, stderr)
		}
	}
	if n := strings.Count(stderr, "unknown variable"); status != 1 || n != 3 {
		t.Errorf("status %d, %d variables: %s", status, n, stderr)
	}
}
