package main

import (
	"net"
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
	}{
		{[]string{"serve"}, "FLAGGERY_DB_URL (--db-url) is not set"},
		{[]string{"serve", "--port", "x", "--unknown-subjects", "guess"}, "FLAGGERY_UNKNOWN_SUBJECTS"},
		{[]string{"serve", "--log-level", "error", url, "--port", port}, "address already in use"},
		{[]string{"migrate"}, "there is no command"},
	} {
		status, _, stderr := run(t, row.args...)
		if status != 1 || !strings.HasPrefix(stderr, "flaggery-edge: ") || !strings.Contains(stderr, row.stderr) ||
			strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "hunter2") {
			t.Errorf("%q: status %d: %s", row.args, status, stderr)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	if _, stdout, _ := run(t, "serve", "--help"); !strings.Contains(stdout, "FLAGGERY_UNKNOWN_SUBJECTS") {
		t.Error(stdout)
	}
	if _, stdout, _ := run(t, "--version"); !strings.HasPrefix(stdout, "flaggery-edge ") {
		t.Error(stdout)
	}
}
