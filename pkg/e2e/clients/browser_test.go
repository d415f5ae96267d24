package clients

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/e2e"
	"github.com/flaggery/flaggery/pkg/flaggery"
	"github.com/flaggery/flaggery/pkg/oidctest"
	"github.com/flaggery/flaggery/pkg/signin"
)

type css = chromedp.CSS

// browser is a person's browser, with a profile of its own.
type browser struct {
	t   *testing.T
	ctx context.Context

	silent  bool // the pages may write nothing to the console
	touches bool // the person taps

	mu      sync.Mutex
	refused []string // violations of pages' policies, and failed scripts
}

// findBrowser is the path of the program, installed by .ci/prerequisites or the
// user.
func findBrowser(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("FLAGGERY_BROWSER"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium: install it, or name the program in FLAGGERY_BROWSER")
	return ""
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findBrowser(t)), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1000, 800),
		// It contacts no other server.
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true), chromedp.Flag("no-proxy-server", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which refuses root
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t}
	// This starts the browser, which lives as long as this context, so the context
	// with the time limit comes after it.
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	b.ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancel)
	return b
}

func (b *browser) hear(event any) {
	switch e := event.(type) {
	case *log.EventEntryAdded:
		// Answers that are problems are logged too.
		if e.Entry.Source == log.EntrySourceSecurity || e.Entry.Source == log.EntrySourceJavascript || e.Entry.Source == log.EntrySourceViolation {
			b.refuse(e.Entry.Text)
		}
	case *runtime.EventConsoleAPICalled:
		if b.silent {
			for _, arg := range e.Args {
				b.refuse(fmt.Sprintf("console.%s: %s %s", e.Type, arg.Value, arg.Description))
			}
		}
	case *network.EventRequestWillBeSent:
		if host := strings.TrimPrefix(e.Request.URL, "http://"); !strings.HasPrefix(host, "127.0.0.1:") && !strings.HasPrefix(host, "localhost:") && !strings.HasPrefix(host, "data:") {
			b.refuse("a request to " + e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		b.refuse(e.ExceptionDetails.Text)
	case *page.EventJavascriptDialogOpening:
		b.refuse("a dialog: " + e.Message)
	}
}

func (b *browser) refuse(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = append(b.refused, what)
}

// takeRefused returns the violations since the last call.
func (b *browser) takeRefused() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := strings.Join(b.refused, "\n")
	b.refused = nil
	return all
}

// do runs actions. If one of them fails, the test ends with a screenshot.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := b.try(time.Minute, steps...); err != nil {
		b.fail(err.Error())
	}
}

// try runs actions within a time. Some of them wait for an element.
func (b *browser) try(limit time.Duration, steps ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	return chromedp.Do(ctx, steps...)
}

// read runs an expression and returns its value.
func (b *browser) read(a chromedp.Action[string]) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, a)
	if err != nil {
		b.fail(err.Error())
	}
	return text
}

// evaluate runs an expression in the page and awaits its promise.
func (b *browser) evaluate(expression string) string {
	b.t.Helper()
	return b.read(chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
}

// at waits until the page has this address.
func (b *browser) at(url string) {
	b.t.Helper()
	b.wait(`const url = %s; await until('the page ' + url, () => location.href === url); return ''`, url)
}

func (b *browser) fail(why string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 10*time.Second)
	defer cancel()
	if picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
		file := strings.ReplaceAll(b.t.Name(), "/", "-") + ".png"
		if os.WriteFile(file, picture, 0o600) == nil {
			why += "; what it showed is in " + file
		}
	}
	b.t.Fatal(why)
}

// A person opens the documentation, signs in with a token, tries an operation, and
// signs out.
func TestSignInWithToken(t *testing.T) {
	url := must(t)(newFixture(t).StartAdmin())
	b := newBrowser(t)
	const field = css("input[name=token]")

	b.do(chromedp.Navigate(url+"/docs"), chromedp.WaitVisible(field))
	b.at(url + "/signin?next=%2Fdocs")
	b.do(chromedp.SendKeys(field, "wrong\n"), chromedp.WaitVisible(css(".fault")))
	b.do(chromedp.SendKeys(field, e2e.Token+"\n"), chromedp.WaitVisible(css(".swagger-ui .opblock")))
	b.at(url + "/docs")

	const operation = css("#operations-features-add-feature")
	b.do(
		chromedp.Click(operation+" .opblock-summary-control"),
		chromedp.Click(operation+" .try-out__btn"),
		chromedp.WaitVisible(operation+" textarea"),
		chromedp.Evaluate[chromedp.Void](`document.querySelector("`+string(operation)+` textarea").select()`), // replaced by the typed text
		chromedp.SendKeys(operation+" textarea", `{"name": "tried"}`),
		chromedp.Click(operation+" .execute"),
		chromedp.WaitVisible(operation+" .live-responses-table .response-col_status"),
	)
	if status := b.read(chromedp.Text(operation + " .live-responses-table .response .response-col_status")); !strings.HasPrefix(status, "201") {
		b.fail("the operation answered " + status)
	}
	if refused := b.takeRefused(); refused != "" {
		t.Errorf("the pages ask for more than they may:\n%s", refused)
	}

	// An injected script does not run, and would not find the token.
	b.evaluate(`(() => {
		const s = document.createElement("script")
		s.textContent = "window.injected = true"
		document.body.append(s)
		return ""
	})()`)
	if injected := b.evaluate(`String(window.injected)`); injected != "undefined" {
		t.Error("a foreign script ran")
	}
	if refused := b.takeRefused(); !strings.Contains(refused, "Content Security Policy") {
		t.Errorf("nothing refused the script: %q", refused)
	}
	if cookies := b.evaluate(`document.cookie`); cookies != "" {
		t.Errorf("scripts see %q", cookies)
	}

	b.do(chromedp.Navigate(url + "/"))
	b.press("FLAGGERY_ADMIN_TOKEN · admin")
	b.press("Sign out")
	b.do(chromedp.WaitVisible(field))
	b.at(url + "/signin")
	b.do(chromedp.Navigate(url+"/"), chromedp.WaitVisible(field))
	if refused := b.takeRefused(); refused != "" {
		t.Errorf("the pages ask for more than they may:\n%s", refused)
	}
}

// A person signs in at a provider on another site, and visits a malicious site.
func TestSignInByProvider(t *testing.T) {
	provider := oidctest.New(t)
	provider.Says(map[string]any{"email": "ann@example.com", "email_verified": true, "groups": "developers"})
	port := freePort(t)
	url := fmt.Sprintf("http://localhost:%d", port) // to a browser, another site than 127.0.0.1
	must(t)(newFixture(t).StartAdmin(func(c *admin.Config) {
		c.Port = port
		c.Provider = signin.Provider{Issuer: provider.URL, ClientID: oidctest.ClientID, PublicURL: url, Claim: "groups", Scopes: "email", Roles: "developers=editor"}
		c.ProviderSecret = oidctest.ClientSecret
	}))
	b := newBrowser(t)

	b.do(chromedp.Navigate(url+"/docs"), chromedp.Click(css("a.button")), chromedp.WaitVisible(css(".swagger-ui .opblock")))
	b.at(url + "/docs")
	const create = `fetch("%s/v1/features", {method: "POST", mode: "%s", credentials: "include", headers: {"Content-Type": "%s"}, body: '{"name": "%s"}'})
		.then(r => r.type + " " + r.status, e => e.name)`
	if got := b.evaluate(fmt.Sprintf(create, url, "same-origin", "application/json", "by-ann")); got != "basic 201" {
		t.Errorf("her own request: %s", got)
	}
	const ann = "ann@example.com (sub 1234) · editor"
	b.do(chromedp.Navigate(url + "/"))
	b.see(ann)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<p id=here>hello<form id=create method=post enctype=text/plain action="%[1]s/v1/features"><input name='{"name": "by-form", "x":"' value='"}'></form>
			<form id=out method=post action="%[1]s/signout"></form><iframe src="%[1]s/"></iframe>`, url)
	}))
	t.Cleanup(evil.Close)
	const here = css("#here")
	b.do(chromedp.Navigate(evil.URL), chromedp.WaitVisible(here))
	for mode, kind := range map[string]string{"no-cors": "text/plain", "cors": "application/json"} {
		if got := b.evaluate(fmt.Sprintf(create, url, mode, kind, "by-script")); got != "opaque 0" && got != "TypeError" {
			t.Errorf("a foreign page's request with %s: %s", mode, got)
		}
	}
	for _, form := range []string{"create", "out"} {
		b.do(chromedp.Navigate(evil.URL), chromedp.WaitVisible(here),
			chromedp.Evaluate[chromedp.Void](`document.getElementById("`+form+`").submit()`), chromedp.WaitNotPresent(here))
	}
	client, err := flaggery.NewAdmin(url, e2e.Token)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for feature, err := range client.Features(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, feature.Name)
	}
	if strings.Join(names, " ") != "by-ann" {
		t.Errorf("features %v", names)
	}
	b.do(chromedp.Navigate(url + "/"))
	b.see(ann) // another site did not sign her out
	var actors []string
	for entry, err := range client.Audit(t.Context(), flaggery.AuditFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		actors = append(actors, entry.Actor+" "+entry.Comment)
	}
	if len(actors) != 2 || !strings.HasPrefix(actors[0], "ann@example.com") {
		t.Errorf("audit %q", actors)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
