package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	osexec "os/exec" // exec is a function of other tests
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/e2e"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/web"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"flaggery-admin": main})
}

// TestScripts runs sessions at a terminal. Each has a database, an admin of the
// environment "testing" and an edge of its own, ten buckets, and the context "test".
// Besides testscript's commands there are:
//
//	exits STATUS ARGUMENT…
//		Run flaggery-admin, which exits with this status.
//	admin-of ANOTHER
//		$OTHER_URL is the admin through a proxy that makes its answers those of an
//		"older" release, without some fields, or of a "newer" one, with some more.
//	commands-of PAGE STEP…
//		Write the commands of steps of the workflow in a page of docs to STEP.sh.
//	install NAME
//		Start another installation of this environment without buckets, with a
//		protected context of its name. $NAME is its admin, $NAME_EDGE its edge.
//	transcript-of PAGE SECTION
//		Run the commands of the first transcript in a section of a page of docs at the
//		terminal of ttyin. They print what the page shows, but for times and addresses.
//
// $DOCS is the folder of docs.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/scripts",
		RequireUniqueNames: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    cmdExits,
			"admin-of": cmdAdminOf,
			"install":  cmdInstall,

			"commands-of":   cmdCommandsOf,
			"transcript-of": cmdTranscriptOf,
		},
		Setup: func(env *testscript.Env) error {
			t := env.T().(testing.TB)
			env.Values[testKey{}] = t
			adminURL, edgeURL, dbURL := install(t, "testing")
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("ADMIN", adminURL)
			env.Setenv("EDGE", edgeURL)
			env.Setenv("TOKEN", e2e.Token)
			env.Setenv("DATABASE", dbURL)
			env.Setenv("DOCS", docs)
			if err := prepare(env, "context", "add", "test", "--url", adminURL, "--token-command", "echo "+e2e.Token); err != nil {
				return err
			}
			return prepare(env, "api", "POST", "/v1/buckets", "-d", `{"amount": 10}`)
		},
	})
}

// install starts an admin with an edge of a database of its own, until the test ends.
func install(t testing.TB, environment string) (adminURL, edgeURL, dbURL string) {
	t.Helper()
	dbURL = pgtest.Open(t)
	services := e2e.NewFixture(dbURL, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})))
	t.Cleanup(func() {
		if err := services.Close(); err != nil {
			t.Error(err)
		}
	})
	adminURL, err := services.StartAdmin(func(c *admin.Config) { c.Installation.Environment = web.Environment(environment) })
	if err == nil {
		edgeURL, err = services.StartEdge("edge-1", "reject")
	}
	if err != nil {
		t.Fatal(err)
	}
	return adminURL, edgeURL, dbURL
}

func cmdInstall(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: install NAME")
	}
	adminURL, edgeURL, _ := install(ts.Value(testKey{}).(testing.TB), args[0])
	ts.Setenv(strings.ToUpper(args[0]), adminURL)
	ts.Setenv(strings.ToUpper(args[0])+"_EDGE", edgeURL)
	ts.Check(ts.Exec("flaggery-admin", "context", "add", args[0], "--url", adminURL, "--token-command", "echo "+e2e.Token, "--protected"))
}

func cmdCommandsOf(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: commands-of PAGE STEP…")
	}
	page, err := os.ReadFile(filepath.Join(docs, args[0]))
	ts.Check(err)
	for _, step := range args[1:] {
		found := regexp.MustCompile(`(?m)^      - name: ` + regexp.QuoteMeta(step) + `\n        run: \|\n((          .*\n)+)`).FindSubmatch(page)
		if found == nil {
			ts.Fatalf("%s has no step %q with commands", args[0], step)
		}
		ts.Check(os.WriteFile(ts.MkAbs(step+".sh"), bytes.ReplaceAll(found[1], []byte("          "), nil), 0o600))
	}
}

func cmdTranscriptOf(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: transcript-of PAGE SECTION")
	}
	page, err := os.ReadFile(filepath.Join(docs, args[0]))
	ts.Check(err)
	found := regexp.MustCompile("(?s)\n## " + regexp.QuoteMeta(args[1]) + "\n.*?\n```\n([$] .*?)```\n").FindStringSubmatch(string(page))
	if found == nil {
		ts.Fatalf("section %q of %s has no transcript", args[1], args[0])
	}
	script := "exec >/dev/tty 2>&1\n"
	for _, line := range regexp.MustCompile(`(?m)^[$] (.*)$`).FindAllStringSubmatch(found[1], -1) {
		script += fmt.Sprintf("cat <<'end'\n%s\nend\n%s\n", line[0], line[1])
	}
	ts.Check(ts.Exec("sh", "-c", script))
	if diff := cmp.Diff(passing.ReplaceAllString(found[1], ""), passing.ReplaceAllString(ts.ReadFile("ttyout"), "")); diff != "" {
		ts.Fatalf("%s shows another transcript (-page +terminal):\n%s", args[0], diff)
	}
}

// passing is what differs from run to run: durations, times and addresses, and answers
// to questions, which the terminal of a test shows before the questions.
var passing = regexp.MustCompile(`y\r?\n| *\r|[\d.]+ m?s\b|\S+T\S+Z|https?://[^)]+`)

// docs is the folder of documentation, wherever a script runs.
var docs = func() string {
	path, err := filepath.Abs("../../docs")
	if err != nil {
		panic(err)
	}
	return path
}()

// testKey is the key of a script's test in its values.
type testKey struct{}

// prepare runs the program before a script.
func prepare(env *testscript.Env, args ...string) error {
	c := osexec.Command("flaggery-admin", args...)
	c.Env = env.Vars
	text, err := c.CombinedOutput()
	if err != nil {
		err = errors.New(string(text))
	}
	return err
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: exits STATUS ARGUMENT…")
	}
	err, status := ts.Exec("flaggery-admin", args[1:]...), 0
	var failed *osexec.ExitError
	if errors.As(err, &failed) {
		status = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("exits with status %d", status)
	}
}

// laterFields are not in the answers of an older release.
var laterFields = []string{"stage", "settled_on", "contact", "expires", "permanent", "off", "archived", "applies", "state", "aside", "environment"}

func cmdAdminOf(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: admin-of older|newer")
	}
	target, err := url.Parse(ts.Getenv("ADMIN"))
	ts.Check(err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		if args[0] == "older" { // it refuses views that came later
			r.Out.URL.RawQuery = strings.Replace(r.Out.URL.RawQuery, "view=names", "view=later", 1)
		}
		r.Out.Header.Set("Accept-Encoding", "identity")
	}}
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Header.Get("Content-Type") != "application/json" {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) == 0 {
			return err
		}
		var value any
		if err := json.Unmarshal(body, &value); err != nil {
			return err
		}
		body, err = json.Marshal(ofRelease(args[0], value))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
		return err
	}
	server := httptest.NewServer(proxy)
	ts.Defer(server.Close)
	ts.Setenv("OTHER_URL", server.URL)
}

// named are the members whose own members have names of resources.
var named = []string{"features", "overrides", "variants"}

// ofRelease changes every object of an answer.
func ofRelease(release string, value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = ofRelease(release, v[i])
		}
	case map[string]any:
		for name, member := range v {
			byName, isObject := member.(map[string]any)
			if !isObject || !slices.Contains(named, name) {
				v[name] = ofRelease(release, member)
				continue
			}
			for key := range byName {
				byName[key] = ofRelease(release, byName[key])
			}
		}
		if release == "newer" {
			v["flavour"] = "vanilla"
			break
		}
		for _, name := range laterFields {
			delete(v, name)
		}
	}
	return value
}
