package clients

import (
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/e2e"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestFirstRun(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	b := i.open(i.token(auth.EditorRole), "/")
	b.at(i.url + "/start")
	focused := func(step string) {
		t.Helper()
		b.script(`const step = %s; await until('the focus on ' + step, () => document.activeElement.id === step); return ''`, step)
	}
	b.press("Create 1,000 buckets")
	focused("step-2")
	b.press("Create 1,000 sample subjects")
	focused("step-3")
	b.press("Create my-first-feature")
	focused("step-4")
	b.see("Roll out to 10.0 %")
	// Another feature, earlier in the list, does not lead the guide astray after a reload.
	if _, err := i.admin.AddFeature(t.Context(), api.CreateFeature{Name: "another"}); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Reload())
	b.press("Roll out to 10.0 %")
	b.see("Live on 1 of 1 edge")
	// The page names a subject that gets A and one that does not.
	for said, served := range map[string]string{"A": "A", "off": model.DisablingVariant} {
		subject := b.script(`const gets = new RegExp('^(\\S+) gets ' + %s + '$');
			return await until('a subject', () => find('main span', '').map((e) => gets.exec(plain(e.innerText))?.[1]).find(Boolean))`, said)
		if got := i.flags(subject)["my-first-feature"]; got != served {
			t.Errorf("the edge serves %q to subject %s, the page says %q", got, subject, said)
		}
	}
	b.do(chromedp.Reload())
	b.see("Open my-first-feature")
	// What is done is not tried again.
	if failed := b.script(`return performance.getEntriesByType('resource').filter((e) => e.responseStatus >= 400).map((e) => e.name).join(' ')`); failed != "" {
		t.Errorf("the guide sends requests that fail: %s", failed)
	}
}

func TestGuideFromTheListOfFeatures(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	b := i.open(i.token(auth.AdminRole), "/features")
	b.press("Continue the guide")
	b.at(i.url + "/start")
	b.press("Create 1,000 buckets")
	b.see("There are 1,000 buckets.")
	b.press("Features")
	// The request of the empty list works as it stands. A shell reads it, in the place of curl this test sends it.
	shell := exec.CommandContext(t.Context(), "sh", "-c", `curl() { printf '%s\n' "$@"; }; `+b.text(".copyable .mono"))
	shell.Env = append(os.Environ(), "TOKEN="+e2e.Token)
	output, err := shell.Output()
	args := strings.Split(strings.TrimSpace(string(output)), "\n")
	if err != nil || len(args) != 7 { // -H … -H … url -d body
		t.Fatalf("the shell reads %q: %v", args, err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, args[4], strings.NewReader(args[6]))
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{args[1], args[3]} {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Fatalf("the request of the empty list gets %s", answer.Status)
	}
	b.press("checkout")
	b.at(i.url + "/features/checkout")
}

func TestPaletteByKeyboard(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	if _, err := i.admin.AddRollout(t.Context(), checkout, "A"); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	b.do(chromedp.Navigate(i.url + "/signin"))
	b.script(`await until('the focus', () => document.activeElement.name === 'token'); return ''`)
	b.do(
		chromedp.KeyEvent(i.token(auth.EditorRole)+kb.Enter),
		chromedp.WaitVisible(css(".finder")),
		chromedp.KeyEvent("k", chromedp.KeyModifiers(chromedp.ModifierCtrl)),
		chromedp.WaitVisible(css("dialog[open] input:focus")),
		chromedp.KeyEvent("roll out checkout to 20 %"),
	)
	b.see("Roll out " + checkout + " to 20 %…")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.at(i.url + "/features/" + checkout + "?edit=rollout&to=20")
	b.see("Roll out to 20.0 %")
	b.see("2 subjects gain, none loses.")
	i.serves("2", model.DisablingVariant) // the palette saves nothing
	for range 100 {                       // more than there are elements before the button
		b.do(chromedp.KeyEvent(kb.Tab))
		if b.script(`return plain(document.activeElement.textContent)`) == "Roll out to 20.0 %" {
			break
		}
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.live()
	served := 0
	for id := range 10 {
		if i.flags(strconv.Itoa(id + 1))[checkout] == "A" {
			served++
		}
	}
	if served != 2 {
		t.Errorf("the edge serves A to %d of 10 subjects, want 2", served)
	}
	if refused := b.takeRefused(); refused != "" {
		t.Error(refused)
	}
}

// The focus goes along: over the navigation, and to the page that is opened.
func TestFocusGoesAlong(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	b := i.open(i.token(auth.ViewerRole), "/features")
	b.see(checkout)
	const along = `await until('the focus on the page', () => document.activeElement.id === 'content'); return ''`
	b.do(chromedp.KeyEvent(kb.Tab))
	b.see("Skip to the content")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.script(along)
	b.script(`document.querySelector('td a').focus(); return ''`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.at(i.url + "/features/" + checkout)
	b.script(along)
}

func TestPaletteByItsButton(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	b := i.open(i.token(auth.ViewerRole), "/features")
	b.see(checkout)
	const open, closed = `until('the palette', () => document.querySelector('dialog[open] input:focus'))`, `until('no palette', () => !document.querySelector('dialog'))`
	b.click(".finder", "")
	b.script(`await ` + open + `; return ''`)
	b.do(chromedp.KeyEvent("tests"))
	b.script(`await until('its entry', () => find('dialog [role=option]', 'Tests')[0]); return ''`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.at(i.url + "/tests")
	b.script(`await ` + closed + `; return ''`)

	b.click(".finder", "")
	b.script(`await ` + open + `; return ''`)
	b.do(chromedp.MouseClickXY(5, 5))
	b.script(`await ` + closed + `; return ''`)
	b.at(i.url + "/tests")
}

func TestMenuOfTheAccount(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	b := i.open(i.token(auth.ViewerRole), "/features")
	b.see(checkout)
	for name, leave := range map[string]func(){
		"Escape":            func() { b.do(chromedp.KeyEvent(kb.Escape)) },
		"a click elsewhere": func() { b.click("main h1", "Features") },
		"a link": func() {
			b.press("Start here")
			b.at(i.url + "/start")
			b.press("Features")
			b.at(i.url + "/features")
		},
	} {
		b.click(".me summary", "")
		b.see("Sign out")
		leave()
		b.gone("Sign out")
		focused := b.script(`return String(document.activeElement.matches('.me summary'))`)
		if (name == "Escape") != (focused == "true") {
			t.Errorf("after %s, the focus is on the menu: %s", name, focused)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	b := i.open(i.token(auth.ViewerRole), "/features")
	b.see(checkout)
	b.do(chromedp.KeyEvent("?"))
	b.see("go to tests")
	b.do(chromedp.KeyEvent(kb.Escape))
	b.gone("go to tests")
	b.script(`await until('the focus', () => !document.activeElement.closest('dialog')); return ''`)
	b.do(chromedp.KeyEvent("gt"))
	b.at(i.url + "/tests")
	b.do(chromedp.KeyEvent("gf"))
	b.at(i.url + "/features")
	b.see(checkout)
	b.do(chromedp.KeyEvent("/"), chromedp.WaitVisible(css("main input[type=search]:focus")), chromedp.KeyEvent("gt?"))
	// The driver sends the character of / apart from its key.
	if typed := b.script(`return document.activeElement.value`); strings.TrimPrefix(typed, "/") != "gt?" {
		t.Errorf("the filter has %q after the keys gt?, which are for it", typed)
	}
}
