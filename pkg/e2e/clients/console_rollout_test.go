package clients

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/flaggery"
	"github.com/flaggery/flaggery/pkg/model"
)

const checkoutEditor = "/features/" + checkout + "?edit=rollout"

// rollout is an installation with subjects and a feature to roll out, off by default.
type rollout struct {
	*installation
	weights map[string]int64 // of all subjects
}

// newRollout makes 50 buckets, 200 subjects and a feature with a rollout of A, unless the
// share is negative.
func newRollout(t *testing.T, share float64) *rollout {
	t.Helper()
	r := &rollout{newInstallation(t), map[string]int64{}}
	var lines strings.Builder
	for n := range 200 {
		id := fmt.Sprintf("acct-%d", n)
		r.weights[id] = int64(1 + n%7)
		fmt.Fprintf(&lines, "{\"id\":%q,\"weight\":%d}\n", id, r.weights[id])
	}
	if _, err := r.admin.IncreaseBuckets(t.Context(), 50); err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.ImportSubjectsFrom(t.Context(), strings.NewReader(lines.String()), "application/x-ndjson"); err != nil {
		t.Fatal(err)
	}
	feature := api.CreateFeature{Name: checkout, Variants: []api.NewVariant{{Name: "A"}, {Name: "B"}}, DisablingVariant: true, DefaultVariant: new(model.DisablingVariant)}
	if share >= 0 {
		feature.Rollout = &api.CreateRollout{Variant: "A", Proportion: share}
	}
	if _, err := r.admin.AddFeature(t.Context(), feature, flaggery.Wait(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	return r
}

// served is what the edge serves of the feature to each subject.
func (r *rollout) served() map[string]string {
	r.t.Helper()
	variants := map[string]string{}
	for id := range r.weights {
		variants[id] = r.flags(id)[checkout]
	}
	return variants
}

// stored is the rollout that the admin has.
func (r *rollout) stored() api.Rollout {
	r.t.Helper()
	stored, err := r.admin.Rollout(r.t.Context(), checkout)
	if err != nil {
		r.t.Fatal(err)
	}
	return stored.Value
}

// The numbers before the write are those of what the edge serves after it, and Undo brings
// everybody back.
func TestRolloutDoesWhatItsPreviewSays(t *testing.T) {
	t.Parallel()
	r := newRollout(t, 0.1)
	before := r.served()
	b := r.open(r.token(auth.EditorRole), checkoutEditor)
	b.see("of the weight gets")
	b.fill("Percent of the weight", "25")
	b.see("none loses.")
	said := b.text(".consequence .note")
	achieved := b.text(".bars")
	if after := r.served(); !maps.Equal(after, before) {
		t.Errorf("the edge serves %v before anything is saved, before %v", after, before)
	}

	b.press("Roll out to 25.0 %")
	b.see("Live on 1 of 1 edge")
	after := r.served()
	var gained, heads, weight, total int64
	for id, variant := range after {
		total += r.weights[id]
		if variant == "A" {
			heads++
			weight += r.weights[id]
		}
		switch {
		case variant == "A" && before[id] != "A":
			gained++
		case variant != before[id]:
			t.Errorf("%s got %s and gets %s", id, before[id], variant)
		}
	}
	if want := fmt.Sprintf("%d subjects gain, none loses.", gained); !strings.HasSuffix(said, want) {
		t.Errorf("the page said %q, want %q", said, want)
	}
	if want := fmt.Sprintf("by weight %.1f %% by heads %.1f %%", 100*float64(weight)/float64(total), 100*float64(heads)/float64(len(after))); achieved != want {
		t.Errorf("the page said %q, want %q", achieved, want)
	}

	b.press("Undo…")
	b.press("Undo it")
	b.script(`await until('the receipt', () => find('dialog .receipt', '').some((e) => plain(e.innerText).includes('Live on 1 of 1 edge'))); return ''`)
	if undone := r.served(); !maps.Equal(undone, before) {
		t.Errorf("the edge serves %v after Undo, before %v", undone, before)
	}
	b.press("Close")
	if share := b.script(`const field = await until('10.0', () => find('input[inputmode=decimal]', '').find((e) => e.value === '10.0')); return field.value`); share != "10.0" {
		t.Errorf("the slider is at %s %%", share)
	}
}

// Somebody else's change meanwhile is shown beside one's own, with a button for each.
func TestRolloutShowsConflict(t *testing.T) {
	t.Parallel()
	r := newRollout(t, 0.1)
	created, err := r.admin.CreateToken(t.Context(), api.NewToken{Name: "ci-bot", Role: auth.EditorRole})
	if err != nil {
		t.Fatal(err)
	}
	mara, bot := r.open(r.token(auth.EditorRole), checkoutEditor), r.open(created.Value.Token, checkoutEditor)
	save := func(share string) {
		t.Helper()
		bot.see("of the weight gets")
		bot.fill("Percent of the weight", share)
		bot.press("Roll out to " + share + " %")
		bot.see("Live on 1 of 1 edge")
	}

	mara.see("of the weight gets")
	mara.fill("Percent of the weight", "25.0")
	mara.see("none loses.")
	save("15.0")
	mara.see("ci-bot changed this")
	mara.see("Was 10.0 % · theirs 15.0 % · yours 25.0 %")
	mara.press("Take 15.0 %")
	mara.gone("yours 25.0 %")
	if stored := r.stored(); stored.Proportion != 0.15 {
		t.Errorf("the rollout is at %v, want theirs, 0.15", stored.Proportion)
	}

	mara.fill("Percent of the weight", "30.0")
	mara.see("none loses.")
	save("20.0")
	mara.see("Was 15.0 % · theirs 20.0 % · yours 30.0 %")
	mara.press("Set 30.0 % anyway")
	mara.see("Live on 1 of 1 edge")
	if stored := r.stored(); stored.Proportion != 0.3 {
		t.Errorf("the rollout is at %v, want 0.3", stored.Proportion)
	}
}

// The keyboard reaches every share: arrows by 1, with Shift by 10, and any decimal typed.
func TestRolloutByKeyboard(t *testing.T) {
	t.Parallel()
	r := newRollout(t, 0.1)
	b := r.open(r.token(auth.EditorRole), checkoutEditor+"&to=20")
	b.see("Roll out to 20.0 %")
	slider := css("input[type=range][aria-label=Rollout]")
	b.do(chromedp.Focus(slider), chromedp.SendKeys(slider, kb.ArrowRight))
	b.see("Roll out to 21.0 %")
	b.do(chromedp.KeyEvent(kb.ArrowLeft, chromedp.KeyModifiers(chromedp.ModifierShift)))
	b.see("Roll out to 11.0 %")
	b.do(chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.ArrowLeft))
	b.see("Reduce to 9.0 %")
	b.do(chromedp.KeyEvent(kb.End))
	b.see("Roll out to 100 % in production") // a large change names where it happens
	b.see("say why")
	b.fill("Percent of the weight", "100.5")
	b.see("0 to 100 with at most one decimal")
	b.fill("Percent of the weight", "0.5")
	b.see("Reduce to 0.5 %")

	grid := css("input[aria-label=Bucket]")
	b.do(chromedp.Focus(grid), chromedp.SendKeys(grid, kb.ArrowRight))
	b.see("Bucket 2 ·")
	for heaviest, err := range r.admin.FindSubjects(t.Context(), api.SubjectQuery{Bucket: 2, Sort: api.HeaviestFirst}) {
		if err != nil {
			t.Fatal(err)
		}
		b.see(fmt.Sprintf("%s %d", heaviest.ID, heaviest.Weight))
		break
	}
	if stored := r.stored(); stored.Proportion != 0.1 {
		t.Errorf("the rollout is at %v, and nothing was saved", stored.Proportion)
	}
}

// A rollout is created at 0, so that the preview of its first share is exact; and deleted.
func TestRolloutFromNothingAndBack(t *testing.T) {
	t.Parallel()
	r := newRollout(t, -1)
	b := r.open(r.token(auth.EditorRole), checkoutEditor+"&to=15")
	b.press("Create the rollout at 0 %")
	b.see("Roll out to 15.0 %")
	if stored := r.stored(); stored.Proportion != 0 || stored.Variant != "A" {
		t.Errorf("the new rollout is %+v, want A for nobody", stored)
	}
	b.see("none loses.")
	said := b.text(".consequence .note")
	b.press("Roll out to 15.0 %")
	b.gone("Back to 0 %")
	b.see("Live on 1 of 1 edge")
	gained := 0
	for _, variant := range r.served() {
		if variant == "A" {
			gained++
		}
	}
	if want := fmt.Sprintf("%d subjects gain, none loses.", gained); !strings.HasSuffix(said, want) {
		t.Errorf("the page said %q, want %q", said, want)
	}

	b.press("Delete the rollout…")
	b.press("Delete the rollout")
	b.see("There is no rollout yet.")
	b.script(`await until('the receipt', () => find('dialog .receipt', '')[0]); return ''`)
	for id, variant := range r.served() {
		if variant != model.DisablingVariant {
			t.Errorf("%s gets %s without a rollout", id, variant)
		}
	}
}

// onStore makes writes of the page, but no dry runs, run JavaScript with (address, init) and
// real, the fetch of the browser.
func (b *browser) onStore(body string) {
	b.t.Helper()
	b.evaluate(`(() => {
		const real = window.fetch.bind(window);
		window.fetch = async (address, init) => {
			if ((init?.method ?? 'GET') === 'GET' || String(address).includes('dry_run')) return real(address, init);
			` + body + `
		};
		return '';
	})()`)
}

// A refused save says so until something else is wanted, although dry runs succeed.
func TestRolloutRefused(t *testing.T) {
	t.Parallel()
	r := newRollout(t, 0.1)
	b := r.open(r.token(auth.EditorRole), checkoutEditor)
	b.see("of the weight gets")
	b.onStore(`return new Response(JSON.stringify({status: 403, code: 'forbidden', detail: 'not within its scope'}), {status: 403})`)
	b.fill("Percent of the weight", "20")
	b.press("Roll out to 20.0 %")
	b.see("not within its scope")
	// The page reads the feature again, and asks again what the change would do.
	r.check(r.admin.PatchFeature(t.Context(), checkout, api.PatchFeature{Description: new("new words")}, flaggery.Wait(10*time.Second)))
	b.see("new words")
	b.find("button", "Roll out to 20.0 %") // once the consequence is there
	b.see("not within its scope")
	b.fill("Percent of the weight", "21")
	b.gone("not within its scope")
}

// A write that never arrived is sent again as it was; what was changed since is saved by the
// button that names it.
func TestRolloutLost(t *testing.T) {
	t.Parallel()
	r := newRollout(t, 0.1)
	b := r.open(r.token(auth.EditorRole), checkoutEditor)
	b.see("of the weight gets")
	b.onStore(`if (window.online) return real(address, init);
		const now = Date.now;
		Date.now = () => now() + 60000; // or it may still be on its way
		throw new TypeError('offline')`)
	b.fill("Percent of the weight", "20")
	b.press("Roll out to 20.0 %")
	b.see("It was not saved: the audit does not have it. Send it again")
	if why := b.script(`return find('button', 'Roll out to 20.0 %%')[0].title`); why != "Send it again, or change something." {
		t.Errorf("the button is disabled for %q", why)
	}
	b.fill("Percent of the weight", "25")
	b.gone("Send it again")
	b.evaluate(`String(window.online = true)`)
	b.press("Roll out to 25.0 %")
	b.see("Live on 1 of 1 edge")
	if stored := r.stored(); stored.Proportion != 0.25 {
		t.Errorf("the rollout is at %v, want 0.25", stored.Proportion)
	}
}

// After a save, the slider stays where it is although the feature is read again later, and
// goes on from the version of the answer.
func TestRolloutSaved(t *testing.T) {
	t.Parallel()
	r := newRollout(t, 0.1)
	b := r.open(r.token(auth.EditorRole), checkoutEditor)
	b.see("of the weight gets")
	b.evaluate(`(() => {
		const real = window.fetch.bind(window);
		const held = new Promise((go) => (window.release = go));
		window.fetch = async (address, init) => {
			if (String(address).endsWith('/v1/features/` + checkout + `')) await held;
			return real(address, init);
		};
		return '';
	})()`)
	share := `return find('input[inputmode=decimal]', '')[0].value`
	b.fill("Percent of the weight", "20")
	b.press("Roll out to 20.0 %")
	b.see("Live on 1 of 1 edge")
	if at := b.script(share); at != "20.0" {
		t.Errorf("after the save the slider is at %s %%", at)
	}
	b.fill("Percent of the weight", "21")
	b.press("Roll out to 21.0 %")
	b.see("Live on 1 of 1 edge")
	if at := b.script(share); at != "21.0" || r.stored().Proportion != 0.21 {
		t.Errorf("after the second save the slider is at %s %%, the rollout at %v", at, r.stored().Proportion)
	}
	b.evaluate(`(release(), '')`)

	// An undone undo leaves a receipt that holds, and can be undone.
	for range 2 {
		b.press("Undo…")
		b.press("Undo it")
		b.script(`await until('the receipt', () => find('.receipt', '').length > 0 && find('button', 'Close').length > 0); return ''`)
	}
	b.press("Close")
	b.see("Undone.") // the undo
	b.press("Close")
	b.gone("Undone.")
	b.see("Live on 1 of 1 edge")
	if stored := r.stored(); stored.Proportion != 0.21 {
		t.Errorf("the rollout is at %v after the undone undo, want 0.21", stored.Proportion)
	}
	b.press("Undo…")
	b.press("Undo it")
	b.press("Close")
	b.see("Undone.")
	if stored := r.stored(); stored.Proportion != 0.2 {
		t.Errorf("the rollout is at %v, want 0.2", stored.Proportion)
	}
}
