package clients

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/dev"
	"github.com/flaggery/flaggery/pkg/e2e"
)

// Somebody compares a page of two installations.
func TestOtherEnvironments(t *testing.T) {
	t.Parallel()
	i := &installation{t: t, fixture: newFixture(t)}
	staging := must(t)(i.fixture.StartAdmin(func(c *admin.Config) { c.Installation.Environment = "staging" }))
	i.url = must(t)(i.fixture.StartAdmin(func(c *admin.Config) {
		c.Installation = admin.Installation{Environment: "production", Environments: "staging=" + staging + "/,production=https://flags.example.com"}
	}))
	b := i.open(e2e.Token, "/features?tag=web")
	b.fill("Filter by name or tag", "check") // changes the query in place
	b.press("production")
	if links := b.text("header details.other .menu"); links != "This page in staging" {
		t.Errorf("the menu has %s", links)
	}
	b.press("staging")
	b.script(`await until('the other installation', () => find('header strong.environment', 'staging')[0]); return ''`)
	if at := b.script(`return location.href`); at != staging+"/features?tag=web&query=check" {
		t.Errorf("the link leads to %s", at)
	}
}

// startSample runs what "make run" runs, with its sample data, and returns the URL of the
// admin.
func startSample(t *testing.T) (admin string) {
	t.Helper()
	var c dev.Config
	c.Flags(flag.NewFlagSet("", flag.ContinueOnError)) // sets the defaults
	ready := make(chan string, 1)
	c.DataDir, c.Port, c.EdgePort, c.AdminToken = t.TempDir(), 0, 0, sampleToken
	c.Out, c.Ready = t.Output(), func(admin, _ string) { ready <- admin }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- dev.Run(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case admin = <-ready:
		return admin
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return ""
	}
}

const sampleToken = "a-token-for-tests-and-nothing-else"

// look is how a person looks at a page.
type look struct {
	width, height int64
	dark          bool
}

func (l look) theme() string {
	if l.dark {
		return "dark"
	}
	return "light"
}

func (l look) String() string { return fmt.Sprintf("%s at %d px", l.theme(), l.width) }

var (
	desktop = look{1280, 860, false}
	window  = look{900, 860, false}
	half    = look{700, 860, false} // of a screen
	phone   = look{390, 844, false}
)

// maxShift is how much of the layout may move while a page loads.
const maxShift = 0.02

// set emulates a screen and a theme.
func (b *browser) set(l look) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(l.width, l.height), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: l.theme()}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	}))
}

// visit opens a page and waits until it has loaded what it shows.
func (b *browser) visit(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
	b.settle()
}

// settle waits until the page is loading nothing.
func (b *browser) settle() {
	b.t.Helper()
	b.script(`await until('a heading', () => document.querySelector('main h1, main h2'));
		await until('no skeleton', () => !document.querySelector('[aria-busy=true], main .skeleton'));
		return ''`)
}

// samplePages are pages with something to see on the sample data, with every form open once.
var samplePages = []string{
	"/features", "/features?new=1", "/features?state=rolling",
	"/features/checkout.one-page", "/features/checkout.one-page?edit=rollout", "/features/checkout.one-page?edit=overrides",
	"/features/checkout.one-page?edit=default", "/features/checkout.one-page?edit=variants", "/features/no-such-feature",
	"/tests", "/tests?new=1", "/groups", "/groups?new=1", "/groups/friends",
	"/subjects", "/subjects?new=1", "/subjects?import=1", "/subjects/globex-retail", "/subjects/globex-retail?with=contoso-bank", "/subjects/no-such-subject", "/buckets", "/edges", "/audit", "/tokens", "/start",
}

// Every page is usable by everybody: axe finds nothing serious in it, in both themes and on
// a phone. It stays in its place while it loads, asks no other host for anything, and
// complains of nothing.
func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	base := startSample(t)
	axe, err := os.ReadFile("../../console/ui/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal("make test-clients installs it:", err)
	}
	b := newBrowser(t)
	b.silent = true
	b.do(
		chromedp.Navigate(base+"/signin"),
		chromedp.SendKeys(css("input[name=token]"), sampleToken+"\n"),
		chromedp.WaitVisible(css(".finder")),
	)
	b.takeRefused()
	for _, page := range samplePages {
		for _, l := range []look{desktop, phone} {
			b.set(l)
			// Answers come in another order each time: what always shifts is a fault.
			shift := ""
			for range 3 {
				b.visit(base + page)
				if shift = b.script(layoutShift, maxShift); shift == "" {
					break
				}
			}
			if shift != "" {
				t.Errorf("%s, %s: the layout shifts by %s while it loads", page, l, shift)
			}
			b.do(chromedp.Evaluate[chromedp.Void](string(axe)))
			for _, l.dark = range []bool{false, true} {
				b.set(l)
				if violations := b.script(seriousViolations); violations != "" {
					t.Errorf("%s, %s:\n%s", page, l, violations)
				}
			}
			if refused := b.takeRefused(); refused != "" {
				t.Errorf("%s, %s: the browser complains:\n%s", page, l, refused)
			}
		}
		for _, l := range []look{desktop, window, half, phone} {
			b.set(l)
			if wide := b.script(`return document.documentElement.scrollWidth > innerWidth ? String(document.documentElement.scrollWidth) : ''`); wide != "" {
				t.Errorf("%s, %s: the page is %s px wide and scrolls sideways", page, l, wide)
			}
		}
	}
}

// Names are as long as they may be, and pages no wider than the screen for that.
func TestLongNames(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	ctx, long := t.Context(), func(letter string) string { return strings.Repeat(letter, 128) }
	payload := json.RawMessage(`"` + strings.Repeat("a text of some length ", 2000) + `"`)
	i.check(i.admin.AddFeature(ctx, api.CreateFeature{
		Name: long("f"), Variants: []api.NewVariant{{Name: "A", Payload: payload}, {Name: long("V")}}, DefaultVariant: new("A"), Tags: []string{"tag"},
	}))
	i.check(i.admin.AddGroup(ctx, api.CreateGroup{Name: long("g")}))
	i.check(i.admin.AddSubjectToGroup(ctx, long("g"), "1"))
	i.check(i.admin.AddGroupOverride(ctx, long("g"), long("f"), long("V")))
	i.check(i.admin.AddABTest(ctx, api.CreateABTest{Name: long("t"), Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour), Groups: []api.CreateTestGroup{
		{Name: long("k"), Variants: map[string]string{long("f"): "A"}}, {Name: long("l"), Variants: map[string]string{long("f"): long("V")}},
	}}))
	b := i.open(i.token(auth.AdminRole), "/features")
	for _, page := range []string{
		"/features", "/features/" + long("f"), "/features/" + long("f") + "?edit=overrides", "/features/" + long("f") + "?edit=rollout", "/features/" + long("f") + "?edit=variants",
		"/tests", "/tests/" + long("t"), "/tests?new=1&feature=" + long("f"), "/groups", "/groups/" + long("g"), "/subjects/1", "/audit",
	} {
		for _, l := range []look{desktop, window, half, phone} {
			b.set(l)
			b.visit(i.url + page)
			if wide := b.script(`return document.documentElement.scrollWidth <= innerWidth ? '' : [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 80)).slice(0, 5).join('\n')`); wide != "" {
				t.Errorf("%s, %s: the page scrolls sideways, as these are too wide:\n%s", page, l, wide)
			}
			if cut := b.script(`return find('main .more', '').filter((e) => e.getBoundingClientRect().right > innerWidth - 20).length + ''`); cut != "0" {
				t.Errorf("%s, %s: %s menus are cut", page, l, cut)
			}
		}
		if strings.HasSuffix(page, "variants") {
			if tall := b.script(`return document.documentElement.scrollHeight > 3000 ? String(document.documentElement.scrollHeight) : ''`); tall != "" {
				t.Errorf("%s: a payload makes the page %s px tall", page, tall)
			}
		}
		if strings.HasPrefix(page, "/tests/") {
			b.set(desktop)
			if wide := b.script(`return String((await until('the time', () => find('.time', '')[0])).offsetWidth)`); wide != "400" {
				t.Errorf("the bar of the time is %s px wide, want 400", wide)
			}
		}
	}
}

const seriousViolations = `
	const found = await axe.run(document, {resultTypes: ['violations']});
	return found.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical')
		.map((v) => v.id + ': ' + v.help + '\n' + v.nodes.slice(0, 3).map((n) => '    ' + n.html.slice(0, 200) + ' ' + n.failureSummary.replace(/\s+/g, ' ')).join('\n')).join('\n')`

// layoutShift is what moved while the page loaded, "" if that is little.
const layoutShift = `const max = %s; return await new Promise((done) => {
	let sum = 0;
	new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) sum += e.value; }).observe({type: 'layout-shift', buffered: true});
	requestAnimationFrame(() => requestAnimationFrame(() => done(sum < max ? '' : String(sum))));
})`

var pictures = flag.Bool("pictures", false, "write the pictures of docs/console.md")

// TestPictures takes the pictures of docs/console.md from the sample data.
func TestPictures(t *testing.T) {
	if !*pictures {
		t.Log("go test -run Pictures -pictures writes them")
		return
	}
	base := startSample(t)
	b := newBrowser(t)
	b.do(
		chromedp.Navigate(base+"/signin"),
		chromedp.SendKeys(css("input[name=token]"), sampleToken+"\n"),
		chromedp.WaitVisible(css(".finder")),
	)
	for _, p := range []struct {
		name, page string
		look       look
	}{
		{"features", "/features", desktop},
		{"feature", "/features/checkout.one-page?edit=rollout&to=35", desktop},
		{"tests", "/tests", look{1280, 560, true}},
		{"subject", "/subjects/" + url.PathEscape("42"), desktop},
		{"audit", "/audit", desktop},
		{"phone", "/features/checkout.one-page", look{390, 1180, true}},
	} {
		b.set(p.look)
		b.visit(base + p.page)
		b.script(`await until('the edges', () => document.querySelector('nav').textContent.includes('1 of 1 edge')); return ''`)
		picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("../../../docs/images", "console-"+p.name+".png"), picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
