package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/e2e"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// installation is an admin with an edge, and clients of both.
type installation struct {
	t       *testing.T
	fixture *e2e.Fixture
	url     string // of the admin
	admin   *flaggery.Admin
	edgeURL string
}

// newInstallation starts an admin and an edge on an empty database.
func newInstallation(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, fixture: newFixture(t)}
	i.url = must(t)(i.fixture.StartAdmin(func(c *admin.Config) {
		c.Installation = admin.Installation{Environment: "production", Colour: "#b3261e", ReasonAbove: 0.25}
	}))
	i.edgeURL = must(t)(i.fixture.StartEdge("edge-1", "reject"))
	var err error
	if i.admin, err = flaggery.NewAdmin(i.url, e2e.Token); err != nil {
		t.Fatal(err)
	}
	return i
}

// flags are the variants that the edge serves to a subject now, by feature.
func (i *installation) flags(subject string) map[string]string {
	i.t.Helper()
	r, err := http.NewRequestWithContext(i.t.Context(), http.MethodGet, i.edgeURL+"/v1/subject/flags?subject_id="+url.QueryEscape(subject), nil)
	if err != nil {
		i.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		i.t.Fatal(err)
	}
	defer answer.Body.Close()
	var flags api.Flags
	if err := json.NewDecoder(answer.Body).Decode(&flags); err != nil || answer.StatusCode != http.StatusOK {
		i.t.Fatalf("the edge answers %d: %v", answer.StatusCode, err)
	}
	return flags.Flags
}

// token creates a token of a role.
func (i *installation) token(role auth.Role) string {
	i.t.Helper()
	created, err := i.admin.CreateToken(i.t.Context(), api.NewToken{Name: "mara", Role: role})
	if err != nil {
		i.t.Fatal(err)
	}
	return created.Value.Token
}

// open signs somebody in with a token and opens a page in a browser of their own.
func (i *installation) open(token, path string) *browser {
	i.t.Helper()
	b := newBrowser(i.t)
	b.silent = true
	b.do(
		chromedp.Navigate(i.url+"/signin?next="+url.QueryEscape(path)),
		chromedp.SendKeys(css("input[name=token]"), token+"\n"),
		chromedp.WaitVisible(css("#content h1, #content h2")), // the page of the sign-in has headings too
	)
	i.t.Cleanup(func() {
		if refused := b.takeRefused(); refused != "" && !i.t.Failed() {
			i.t.Errorf("the pages ask for more than they may:\n%s", refused)
		}
	})
	return b
}

// visible is JavaScript that finds visible elements by selector and text. White space
// of any kind and width counts as one space.
const visible = `
	const plain = (text) => (text ?? '').replace(/\s+/g, ' ').trim();
	const shown = (e) => e.checkVisibility({visibilityProperty: true});
	const top = () => [...document.querySelectorAll('dialog[open]')].at(-1) ?? document; // nothing below it can be reached
	const find = (selector, text) => [...top().querySelectorAll(selector)].filter((e) => shown(e) && (text === '' || plain(e.textContent) === text || e.ariaLabel === text));
	const until = async (what, look) => {
		for (const end = Date.now() + 60000; Date.now() < end; await new Promise((next) => setTimeout(next, 20))) {
			const found = look();
			if (found) return found;
		}
		throw new Error('not there: ' + what + '\n' + plain(document.querySelector('dialog[open]')?.innerText ?? document.querySelector('main')?.innerText));
	};
`

// script runs JavaScript with the functions of visible and returns its text.
func (b *browser) script(body string, args ...any) string {
	b.t.Helper()
	return b.evaluate(b.expression(body, args...))
}

// wait is script for one that only waits. If another page takes the place of the one it
// runs in, it begins again there.
func (b *browser) wait(body string, args ...any) {
	b.t.Helper()
	expression := b.expression(body, args...)
	for {
		_, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "Inspected target navigated") {
			b.fail(err.Error())
		}
	}
}

func (b *browser) expression(body string, args ...any) string {
	b.t.Helper()
	quoted := make([]any, len(args))
	for i, arg := range args {
		text, err := json.Marshal(arg)
		if err != nil {
			b.t.Fatal(err)
		}
		quoted[i] = string(text)
	}
	return "(async () => {" + visible + fmt.Sprintf(body, quoted...) + "})()"
}

// see waits until the page shows a text, in one element or across several.
func (b *browser) see(text string) {
	b.t.Helper()
	b.wait(`const text = %s; await until(text, () => plain(document.body?.innerText).includes(text)); return ''`, text)
}

// gone waits until the page does not show a text.
func (b *browser) gone(text string) {
	b.t.Helper()
	b.wait(`const text = %s; await until('no ' + text, () => document.body && !plain(document.body.innerText).includes(text)); return ''`, text)
}

// text waits for the first visible element of a selector and returns its text.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return b.script(`const s = %s; return plain((await until(s, () => find(s, '')[0])).innerText)`, selector)
}

// press clicks a button or link, named by its whole text, once it can be pressed.
func (b *browser) press(name string) {
	b.t.Helper()
	b.click("button, a, summary, [role=option], [role=tab]", name)
}

// click clicks the first visible element with a selector and a text, "" for any. If the
// page replaces the element just then, the next one is clicked.
func (b *browser) click(selector, text string) {
	b.t.Helper()
	for b.find(selector, text); ; b.find(selector, text) {
		if b.touches {
			b.tap()
			return
		}
		err := b.try(5*time.Second, chromedp.Click(css("[data-clicked]")))
		if err == nil {
			return
		}
		if !errors.Is(err, context.DeadlineExceeded) || b.script(`return String(document.querySelector('[data-clicked]') !== null)`) == "true" {
			b.fail(err.Error())
		}
	}
}

// find marks what to click.
func (b *browser) find(selector, text string) {
	b.t.Helper()
	// Not while the page moves it, or is about to: what a change would do is still asked.
	b.wait(`const s = %s, text = %s;
		let at = '', since = 0;
		const found = await until(s + ' ' + text, () => {
			const e = top().querySelector('.consequence.stale, .consequence .skeleton') ? undefined : find(s, text).find((e) => !e.disabled);
			const box = e ? JSON.stringify(e.getBoundingClientRect()) : '';
			if (!e || box !== at) { at = box; since = Date.now(); return undefined; }
			return Date.now() - since > 100 ? e : undefined;
		});
		document.querySelector('[data-clicked]')?.removeAttribute('data-clicked');
		found.setAttribute('data-clicked', '');
		found.scrollIntoView({block: 'center', behavior: 'instant'});
		return ''`, selector, text)
}

// tap touches what click has found.
func (b *browser) tap() {
	b.t.Helper()
	var at input.TouchPoint
	if err := json.Unmarshal([]byte(b.script(`const found = document.querySelector('[data-clicked]'), box = found.getBoundingClientRect();
		const at = {x: box.x + box.width / 2, y: box.y + box.height / 2};
		const there = document.elementFromPoint(at.x, at.y);
		if (!found.contains(there)) throw new Error('covered by ' + there?.outerHTML);
		return JSON.stringify(at)`)), &at); err != nil {
		b.t.Fatal(err)
	}
	for _, touch := range []input.DispatchTouchEventParams{
		{Type: input.DispatchTouchEventTypeTouchStart, TouchPoints: []*input.TouchPoint{&at}},
		{Type: input.DispatchTouchEventTypeTouchEnd, TouchPoints: []*input.TouchPoint{}},
	} {
		b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, input.DispatchTouchEvent, touch)
			return err
		}))
	}
}

// fill types a text into the field with a label, instead of what it has.
func (b *browser) fill(label, text string) {
	b.t.Helper()
	b.script(`const label = %s;
		const field = await until(label, () => {
			const found = [...top().querySelectorAll('label')].filter((l) => shown(l) && plain(l.textContent).startsWith(label)).map((l) => l.control)
				.concat([...top().querySelectorAll('input, textarea, select')].filter((e) => shown(e) && (e.ariaLabel === label || e.placeholder === label)));
			return found[0];
		});
		document.querySelector('[data-filled]')?.removeAttribute('data-filled');
		field.setAttribute('data-filled', '');
		field.scrollIntoView({block: 'center', behavior: 'instant'});
		field.focus(); field.select?.();
		return ''`, label)
	b.do(chromedp.SendKeys(css("[data-filled]"), text))
}

// choose chooses an option, by its text, of the list with a label.
func (b *browser) choose(label, option string) {
	b.t.Helper()
	b.script(`const label = %s, option = %s;
		const [list, value] = await until(label + ': ' + option, () => {
			const list = [...document.querySelectorAll('label')].filter((l) => shown(l) && plain(l.textContent).startsWith(label)).map((l) => l.control)[0];
			const found = !list?.disabled && [...(list?.options ?? [])].find((o) => plain(o.textContent) === option);
			return found ? [list, found.value] : undefined;
		});
		list.focus();
		list.value = value;
		list.dispatchEvent(new Event('input', {bubbles: true}));
		list.dispatchEvent(new Event('change', {bubbles: true}));
		return ''`, label, option)
}

func TestListOfFeatures(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	if _, err := i.admin.AddFeature(t.Context(), api.CreateFeature{Name: "checkout.one-page", Variants: []api.NewVariant{{Name: "A"}}, DefaultVariant: new("A")}); err != nil {
		t.Fatal(err)
	}
	b := i.open(i.token(auth.ViewerRole), "/features")
	b.see("checkout.one-page")
	b.see("default only")
	b.press("checkout.one-page")
	b.at(i.url + "/features/checkout.one-page")
}
