package web

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettingsFromFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args  []string
		env   map[string]string
		want  string
		fault string
	}{
		"file":                     {env: map[string]string{"FLAGGERY_TOKEN_FILE": path}, want: "from-file"},
		"the variable comes first": {env: map[string]string{"FLAGGERY_TOKEN_FILE": path, "FLAGGERY_TOKEN": "direct"}, want: "direct"},
		"the flag comes first":     {args: []string{"--token=flag"}, env: map[string]string{"FLAGGERY_TOKEN_FILE": path}, want: "flag"},
		"no such file":             {env: map[string]string{"FLAGGERY_TOKEN_FILE": path + "x"}, fault: "FLAGGERY_TOKEN_FILE: open "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var token Secret
			fs := flag.NewFlagSet("", flag.ContinueOnError)
			fs.Var(&token, "token", "")
			_, err := ParseSettings(fs, c.args, func(name string) string { return c.env[name] })
			if c.fault != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.fault) {
					t.Fatalf("got error %v, want %s…", err, c.fault)
				}
				return
			}
			if err != nil || string(token) != c.want {
				t.Fatalf("got %q, %v, want %q", string(token), err, c.want)
			}
		})
	}
}
