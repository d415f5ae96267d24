package main

import (
	"flag"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/command"
)

func run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	env := command.Environment{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	status = program().Execute(t.Context(), args, nil, env)
	return status, out.String(), errs.String()
}

func TestFailuresAreOneLine(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, port, _ := net.SplitHostPort(busy.Addr().String())
	const url = "--db-url=postgres://me:hunter2@127.0.0.1:1/flaggery"
	for _, row := range []struct {
		args   []string
		stderr string
		status int
	}{
		{[]string{"serve"}, "FLAGGERY_DB_URL (--db-url) is not set", 1},
		{[]string{"serve", "--port", "x", "--unknown-subjects", "guess"}, "FLAGGERY_UNKNOWN_SUBJECTS", 1},
		{[]string{"serve", "--log-level", "error", url, "--port", port}, "FLAGGERY_PORT (--host, --port): listen tcp 127.0.0.1:" + port, 1},
		{[]string{"migrate"}, "there is no command", 2},
	} {
		status, _, stderr := run(t, row.args...)
		if status != row.status || !strings.HasPrefix(stderr, "flaggery-edge: ") || !strings.Contains(stderr, row.stderr) ||
			strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "hunter2") {
			t.Errorf("%q: status %d: %s", row.args, status, stderr)
		}
	}
}

var update = flag.Bool("update", false, "rewrite the expected help texts")

// TestHelp compares the help texts with the expected ones.
func TestHelp(t *testing.T) {
	_, all, _ := run(t, "--help")
	for _, c := range program().Commands {
		_, help, _ := run(t, append(strings.Fields(c.Name), "--help")...)
		all += "\n$ flaggery-edge " + c.Name + " --help\n" + help
	}
	const golden = "testdata/help.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(all), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if all != string(want) {
		t.Errorf("%s differs from the help: run go test -run TestHelp -update, and read the difference", golden)
	}
}

func TestVersion(t *testing.T) {
	for _, args := range []string{"--version", "version"} {
		if _, stdout, _ := run(t, args); !strings.HasPrefix(stdout, "flaggery-edge ") {
			t.Errorf("%s prints %q", args, stdout)
		}
	}
}
