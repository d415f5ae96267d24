package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/flaggery/flaggery/pkg/edge"
)

// row is a client's evaluation of one flag. The type of Fallback is the requested
// type.
type row struct {
	Flag     string `json:"flag"`
	Fallback any    `json:"fallback"`
	Subject  string `json:"subject"` // "" for a context without one

	value         any
	variant       string
	reason, error string
}

// details is an evaluation in the form of OpenFeature's SDKs for JavaScript.
type details struct {
	FlagKey   string
	Value     any
	Variant   string
	Reason    string
	ErrorCode string
}

func (r row) check(t *testing.T, got details) {
	t.Helper()
	want := details{r.Flag, r.value, r.variant, r.reason, r.error}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s of %q with %v (-want +got):\n%s", r.Flag, r.Subject, r.Fallback, diff)
	}
}

// decided are the flags of seedFlags with a value for subject 42, which is the same
// in all clients.
func decided() []row {
	return []row{
		{"plain", "fallback", "42", "on", "on", "STATIC", ""},
		{"switch", false, "42", true, "on", "STATIC", ""},
		{"colour", "red", "42", "blue", "on", "STATIC", ""},
		{"limit", 1.0, "42", 7.0, "on", "STATIC", ""},
		{"ratio", 0.1, "42", 0.5, "on", "STATIC", ""},
		{"menu", map[string]any{}, "42", map[string]any{"items": []any{"a", "b"}}, "on", "STATIC", ""},
		{"rolled", "fallback", "42", "on", "on", "SPLIT", ""},
		{"tested", "fallback", "42", "on", "on", "SPLIT", ""},
		{"overridden", "fallback", "42", "on", "on", "TARGETING_MATCH", ""},
		{"nothing", "fallback", "42", "fallback", "", "ERROR", "FLAG_NOT_FOUND"},
		{"unheard-of", "fallback", "42", "fallback", "", "ERROR", "FLAG_NOT_FOUND"},
		{"limit", "fallback", "42", "fallback", "", "ERROR", "TYPE_MISMATCH"},
	}
}

// The evaluations of OpenFeature's SDK for servers in JavaScript.
func TestNodeSDK(t *testing.T) {
	w := newFixture(t)
	token := seedFlags(t, w)
	edgeURL := must(t)(w.StartEdge("edge", "reject", func(c *edge.Config) { c.Auth = edge.AuthToken }))
	rows := append(decided(),
		// For a flag without a value the provider reports an error, so the SDK
		// returns its fallback.
		row{"disabled", true, "42", true, "", "ERROR", "GENERAL"},
		row{"disabled", false, "42", false, "", "ERROR", "GENERAL"},
		row{"plain", "fallback", "", "fallback", "", "ERROR", "TARGETING_KEY_MISSING"},
		row{"plain", "fallback", "nobody", "fallback", "", "ERROR", "INVALID_CONTEXT"},
	)
	question, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "server.mjs", edgeURL, token)
	node.Dir, node.Stdin = "js", bytes.NewReader(question)
	answer, err := output(node)
	if err != nil {
		t.Fatal(err)
	}
	var got []details
	if err := json.Unmarshal(answer, &got); err != nil || len(got) != len(rows) {
		t.Fatalf("%v: %s", err, answer)
	}
	for i, r := range rows {
		r.check(t, got[i])
	}
}

// The evaluations of OpenFeature's SDK for browsers, in Chromium and on a page of
// another origin.
func TestWebSDK(t *testing.T) {
	w := newFixture(t)
	token := seedFlags(t, w)
	site := serveBundle(t, "web")
	edgeURL := must(t)(w.StartEdge("edge", "reject", func(c *edge.Config) {
		c.Auth = edge.AuthToken
		allow(t, c, site)
	}))
	b := newBrowser(t)
	b.do(chromedp.Navigate(site), chromedp.Poll[chromedp.Void]("globalThis.start"))

	b.evaluate(call("start", edgeURL, token, "42"))
	evaluate := func(rows []row) {
		t.Helper()
		var got []details
		if err := json.Unmarshal([]byte(b.evaluate(call("evaluate", rows))), &got); err != nil {
			t.Fatal(err)
		}
		for i, r := range rows {
			r.check(t, got[i])
		}
	}
	evaluate(append(decided(),
		row{"disabled", true, "42", true, "__DISABLE__", "DISABLED", ""},
		row{"disabled", false, "42", false, "__DISABLE__", "DISABLED", ""},
	))
	b.evaluate(call("become", "43"))
	evaluate([]row{
		{"colour", "red", "43", "blue", "on", "STATIC", ""},
		{"overridden", "fallback", "43", "fallback", "", "ERROR", "FLAG_NOT_FOUND"},
	})
	// The flags of the previous person must be gone.
	b.evaluate(call("become", "nobody"))
	evaluate([]row{{"colour", "red", "nobody", "red", "", "ERROR", "FLAG_NOT_FOUND"}})
	if refused := b.takeRefused(); refused != "" {
		t.Errorf("the browser refused: %s", refused)
	}

	// A site that is not allowed reads nothing.
	other := newBrowser(t)
	other.do(chromedp.Navigate(strings.Replace(site, "localhost", "127.0.0.1", 1)), chromedp.Poll[chromedp.Void]("globalThis.start"))
	if got := other.evaluate(call("start", edgeURL, token, "42") + `.catch(e => "failed: " + e.message)`); !strings.HasPrefix(got, "failed: ") {
		t.Errorf("a page of an unknown origin: %s", got)
	}
}

// Parts of a page in React, which change with the person.
func TestReactSDK(t *testing.T) {
	w := newFixture(t)
	seedFlags(t, w)
	site := serveBundle(t, "react")
	edgeURL := must(t)(w.StartEdge("edge", "reject", func(c *edge.Config) { allow(t, c, site) }))
	b := newBrowser(t)
	const shop = css("#shop")
	b.do(chromedp.Navigate(site+"?edge="+url.QueryEscape(edgeURL)), chromedp.WaitVisible(shop))
	if got := b.read(chromedp.Text(shop)); !strings.HasPrefix(got, "blue true on") {
		t.Errorf("shows %q to 42", got)
	}
	b.do(chromedp.Click(shop+" button"), chromedp.Poll[chromedp.Void](`document.querySelector("#shop")?.textContent.startsWith("blue true nothing")`))
	if refused := b.takeRefused(); refused != "" {
		t.Errorf("the browser refused: %s", refused)
	}
}

// allow lets pages of a site read the edge's answers.
func allow(t *testing.T, c *edge.Config, site string) {
	t.Helper()
	if err := c.Origins.Set(site); err != nil {
		t.Fatal(err)
	}
}

// call is a call of one of the page's functions.
func call(function string, args ...any) string {
	texts := make([]string, len(args))
	for i, arg := range args {
		text, _ := json.Marshal(arg) // never fails for strings and rows
		texts[i] = string(text)
	}
	return function + "(" + strings.Join(texts, ", ") + ")"
}

// serveBundle serves a page with one of js/*.mjs and what it imports. Its host is
// localhost: to a browser, another site than an edge on 127.0.0.1.
func serveBundle(t *testing.T, name string) (site string) {
	t.Helper()
	build := exec.CommandContext(t.Context(), filepath.Join("node_modules", ".bin", "esbuild"), name+".mjs",
		"--bundle", "--format=esm", `--define:process.env.NODE_ENV="production"`)
	build.Dir = "js"
	script, err := output(build)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/script.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(script)
		case "/":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<!doctype html><link rel=icon href="data:,"><div id=root></div><script type=module src=/script.js></script>`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

// output runs a command; the error contains its output.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s, after 'npm ci' in pkg/e2e/clients/js, as make test-clients does it: %w: %s", cmd, err, stderr.Bytes())
	}
	return out, nil
}
