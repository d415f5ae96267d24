package clients

import (
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestFirstRun(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	b := i.open(i.token(auth.EditorRole), "/")
	b.at(i.url + "/start")
	b.press("Create 1,000 buckets")
	b.press("Create 1,000 sample subjects")
	b.press("Create my-first-feature")
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
	// It comes back where it was.
	b.do(chromedp.Navigate(i.url + "/start"))
	b.see("Open my-first-feature")
}

func TestPaletteByKeyboard(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	if _, err := i.admin.AddRollout(t.Context(), checkout, "A"); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	b.do(
		chromedp.Navigate(i.url+"/signin"),
		chromedp.WaitVisible(css("input[name=token]")),
		chromedp.KeyEvent(i.token(auth.EditorRole)+kb.Enter),
		chromedp.WaitVisible(css("main h1, main h2")),
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
