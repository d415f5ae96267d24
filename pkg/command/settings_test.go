package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type settings struct {
	url   DatabaseURL
	token Secret
	host  string
	port  int
	on    bool
}

func (s *settings) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.Var(&s.url, "db-url", "the database")
	fs.Var(&s.token, "admin-token", "a `secret`")
	fs.StringVar(&s.host, "host", "127.0.0.1", "where")
	fs.IntVar(&s.port, "port", 8080, "`number`")
	fs.BoolVar(&s.on, "enable", false, "whether")
	return fs
}

func environment(pairs ...string) (environ []string) {
	for i := 0; i < len(pairs); i += 2 {
		environ = append(environ, pairs[i]+"="+pairs[i+1])
	}
	return environ
}

func TestSettingsPrecedence(t *testing.T) {
	var s settings
	rest, err := parseSettings(s.flags(), nil, []string{"first", "--port", "1", "--enable", "second"},
		environment("FLAGGERY_PORT", "2", "FLAGGERY_HOST", "::1", "FLAGGERY_DB_URL", "postgres://x", "FLAGGERY_ENABLE", "false"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (settings{url: "postgres://x", host: "::1", port: 1, on: true}); s != want {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(rest, []string{"first", "second"}) {
		t.Errorf("%q", rest)
	}
}

func TestSettingsReportAllFaults(t *testing.T) {
	var s settings
	_, err := parseSettings(s.flags(), nil, []string{"--nonsense", "--enable=perhaps", "--host"}, environment("FLAGGERY_PORT", "http"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"-nonsense", "-enable", "perhaps", "-host", "FLAGGERY_PORT"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not name %s: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than a line: %v", err)
	}
	if _, err := parseSettings(s.flags(), nil, []string{"--nonsense", "-h"}, environment()); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	var s settings
	fs := s.flags()
	if _, err := parseSettings(fs, nil, []string{"--admin-token", "hunter2", "--db-url", "postgres://me:hunter2@db:5432/flaggery?sslmode=disable"}, environment()); err != nil {
		t.Fatal(err)
	}
	all := struct {
		URL   DatabaseURL
		Token Secret
	}{s.url, s.token}
	var out bytes.Buffer
	for _, format := range []string{"text", "json"} {
		log, err := newLogger(&out, slog.LevelInfo, format)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("start", settingsGroup(fs), "token", s.token, "url", s.url, "all", all)
	}
	fmt.Fprintf(&out, "%v %s %q %+v %#v %#v %#v", s.token, s.token, s.token, all, all, s.url, s.token)
	if err := json.NewEncoder(&out).Encode(map[string]any{"token": s.token, "url": s.url, "pointer": &s.token}); err != nil {
		t.Fatal(err)
	}
	writeUsage(fs, nil, &out)
	if strings.Contains(out.String(), "hunter2") {
		t.Error(out.String())
	}
	for _, want := range []string{"settings.db-url", "postgres://me:***@db:5432/flaggery?sslmode=disable", "settings.port=8080", `"host":"127.0.0.1"`, "[FLAGGERY_ADMIN_TOKEN]", "(default 127.0.0.1)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}

func TestDatabaseURLsAreShownWithoutPassword(t *testing.T) {
	for url, want := range map[string]string{
		"":                                 "",
		"postgres://db/flaggery":           "postgres://db/flaggery",
		"postgres://me@db":                 "postgres://me@db",
		"postgres://me:hunter2@db":         "postgres://me:***@db",
		"postgres://db/x?password=hunter2": "postgres://db/x",
		"postgres://db:5432,b:5433/x?password=hunter2":                                                   "postgres://db:5432,b:5433/x",
		"postgresql://[::1]:5432/x?user=me&PASSWORD=hunter2&sslmode=verify-full&sslrootcert=/etc/ca.pem": "postgresql://[::1]:5432/x?sslmode=verify-full&sslrootcert=/etc/ca.pem&user=me",
		"postgres:///x?host=/var/run/postgresql&sslpassword=hunter2":                                     "postgres:///x?host=/var/run/postgresql",
		"postgres://db/x?options=-c%20a%3Dhunter2":                                                       "postgres://db/x",
		"postgres://db/x?password=hunter2%zz":                                                            "postgres://db/x",
		"postgres://db/x?sslmode=disable;password=hunter2":                                               "postgres://db/x",
		"postgres://db/x?sslmode=disable password=hunter2":                                               "postgres://db/x?sslmode=***",
		"postgres://db/x password=hunter2":                                                               "postgres://db***",
		"postgres://me:12/hunter2@db/x":                                                                  "***",
		"postgres://me:12?hunter2@db/x":                                                                  "***",
		"postgres://me:12#hunter2@db/x":                                                                  "***",
		"postgres://me:hun@ter2@db/x":                                                                    "postgres://me:***@db/x",
		"mysql://me:hunter2@db/x":                                                                        "***",
		"host=db password=hunter2 sslrootcert=file://x":                                                  "***",
		"postgres://me:hunter2%@db":                                                                      "***", // no URL
		"host=db password=hunter2 user=me":                                                               "***",
		"postgres://me:h%20nter2@db/a%20b":                                                               "postgres://me:***@db***",
		"postgres:hunter2":                                                                               "***",
		"postgres://me:hunter2@db/x#hunter2":                                                             "postgres://me:***@db/x",
	} {
		if got := DatabaseURL(url).String(); got != want {
			t.Errorf("%s is shown as %s", url, got)
		}
	}
}

func TestLoggerRefusesOtherFormats(t *testing.T) {
	if _, err := newLogger(nil, 0, "xml"); err == nil || !strings.Contains(err.Error(), "FLAGGERY_LOG_FORMAT") {
		t.Error(err)
	}
}

func TestSettingsSayWhatTheyTake(t *testing.T) {
	var wait time.Duration
	var s settings
	fs := s.flags()
	fs.DurationVar(&wait, "wait", 0, "`time`")
	fs.Int64("weight", 1, "`number`")
	fs.Float64("share", 1, "`number`")
	fs.Bool("all", false, "all")
	fs.TextVar(new(slog.Level), "log-level", slog.LevelInfo, "`level`")
	_, err := parseSettings(fs, nil, strings.Fields("--wait 5 --weight=abc --share many --all=maybe --log-level loud --host"), environment("FLAGGERY_PORT", "tcp://10.0.0.1:8081", "FLAGGERY_ENABLE", "on"))
	for _, want := range []string{
		`FLAGGERY_PORT (--port) must be a whole number, is "tcp://10.0.0.1:8081"`,
		`FLAGGERY_ENABLE (--enable) must be true or false, is "on"`,
		`--wait must be a duration such as 30s or 1h, is "5"`,
		`--weight must be a whole number, is "abc"`,
		`--share must be a number, is "many"`,
		`--all must be true or false, is "maybe"`,
		`--log-level must be one of debug, info, warn, error, is "loud"`,
		`--host needs a value`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %s: %v", want, err)
		}
	}
	if err != nil && (strings.Contains(err.Error(), "for flag") || strings.Contains(err.Error(), "strconv")) {
		t.Errorf("has words of Go: %v", err)
	}
}

// What one run is to do is no matter of the environment, in which it would stay for
// the next run.
func TestOnceIsNoVariable(t *testing.T) {
	var all bool
	run := func(args ...string) string {
		var out bytes.Buffer
		p := Program{Name: "things", Commands: []Command{{
			Name: "drop", Once: []string{"all"}, Run: func(context.Context, Environment) error { return nil },
			Flags: func(fs *flag.FlagSet) { fs.BoolVar(&all, "all", false, "all of them") },
		}}}
		p.Execute(t.Context(), append([]string{"drop"}, args...), environment("FLAGGERY_ALL", "true"), Environment{Stdout: &out, Stderr: &out})
		return out.String()
	}
	if text := run(); all || !strings.Contains(text, "variable=FLAGGERY_ALL") {
		t.Errorf("the variable: %v, %s", all, text)
	}
	if run("--all"); !all {
		t.Error("the flag is not heard")
	}
	if text := run("--help"); strings.Contains(text, "FLAGGERY_ALL") {
		t.Error(text)
	}
}

func TestDurationsAreLoggedWithUnit(t *testing.T) {
	for format, want := range map[string]string{"text": "took=1.5ms", "json": `"took":"1.5ms"`} {
		var out bytes.Buffer
		log, err := newLogger(&out, slog.LevelInfo, format)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("done", "took", 1500*time.Microsecond)
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}

func TestSettingFromFileWithByteOrderMark(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("\xef\xbb\xbfhunter2\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var s settings
	if _, err := parseSettings(s.flags(), nil, nil, environment("FLAGGERY_ADMIN_TOKEN_FILE", file)); err != nil || s.token != "hunter2" {
		t.Errorf("%q: %v", string(s.token), err)
	}
}

func TestSecretsGivenAsFlags(t *testing.T) {
	for _, row := range []struct {
		args      string
		private   bool
		variables []string
		want      string
	}{
		{args: "serve --admin-token hunter2", want: "admin-token"},
		{args: "serve -admin-token=hunter2 --db-url postgres://me:hunter2@db", want: "admin-token db-url"},
		{args: "serve --db-url postgres://db?password=hunter2", want: "db-url"},
		{args: "serve --db-url postgres://me@db --port 1"},
		{args: "serve", variables: []string{"FLAGGERY_ADMIN_TOKEN", "hunter2", "FLAGGERY_DB_URL", "postgres://me:hunter2@db"}},
		{args: "serve --admin-token hunter2", private: true},
	} {
		var s settings
		p := Program{Name: "things", Commands: []Command{{
			Name: "serve", Private: row.private, Run: func(context.Context, Environment) error { return nil },
			Flags: func(fs *flag.FlagSet) { s.flags().VisitAll(func(f *flag.Flag) { fs.Var(f.Value, f.Name, f.Usage) }) },
		}}}
		var log bytes.Buffer
		p.Execute(t.Context(), strings.Fields(row.args), environment(row.variables...), Environment{Stdout: &log, Stderr: &log})
		_, names, warned := strings.Cut(strings.TrimSpace(log.String()), "flags=")
		if warned != (row.want != "") || strings.Trim(names, `"`) != row.want || strings.Contains(log.String(), "hunter2") {
			t.Errorf("%s: %s", row.args, log.String())
		}
	}
}

// A misplaced argument may be a secret as well.
func TestMistakesDoNotShowSecrets(t *testing.T) {
	for _, args := range []string{
		"--admin-token=hunter2 serve", "--admin-token hunter2 serve", "serve --admin-token= hunter2", "serve --port x --admin-token hunter2", "serve --db-url= postgres://me:hunter2@db",
	} {
		var s settings
		p := Program{Name: "things", Commands: []Command{{
			Name: "serve", Run: func(context.Context, Environment) error { return nil },
			Flags: func(fs *flag.FlagSet) { s.flags().VisitAll(func(f *flag.Flag) { fs.Var(f.Value, f.Name, f.Usage) }) },
		}}}
		var out bytes.Buffer
		status := p.Execute(t.Context(), strings.Fields(args), nil, Environment{Stdout: &out, Stderr: &out})
		if status != StatusUsage || strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s: status %d, %s", args, status, out.String())
		}
	}
}
