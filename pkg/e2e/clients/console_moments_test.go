package clients

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/edge"
	"github.com/flaggery/flaggery/pkg/flaggery"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

// A person pastes 40 ids, of which 2 are unknown and 4 are members already, and overrides a
// feature for the group although a rollout gives everybody something else.
func TestMembersByPasting(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	ctx := t.Context()
	var ids, members []string
	for n := range 38 {
		id := "customer " + strconv.Itoa(n) // ids may have spaces
		i.check(i.admin.AddSubject(ctx, api.CreateSubject{ID: id, Weight: new(int64(1))}))
		if ids = append(ids, id); n < 4 {
			members = append(members, id)
		}
	}
	i.check(i.admin.AddSubjectsToGroup(ctx, "friends", members))
	i.check(i.admin.AddRollout(ctx, checkout, "A"))
	i.check(i.admin.SetRolloutProportion(ctx, checkout, 1, flaggery.Wait(10*time.Second)))
	b := i.open(i.token(auth.EditorRole), "/groups/friends")

	b.see("Members 5")
	paste := func(ids []string) {
		t.Helper()
		b.script(`const area = await until('a field', () => document.querySelector('textarea'));
			area.value = %s; area.dispatchEvent(new Event('input')); return ''`, strings.Join(ids, "\n"))
	}
	many := make([]string, 10_001)
	for n := range many {
		many[n] = "customer " + strconv.Itoa(n)
	}
	paste(many)
	b.see("These are 10,001 ids, and one write takes at most 10,000")
	b.do(chromedp.Reload())
	b.see("These are 10,001 ids") // they are kept
	paste(append(ids, "x", "y"))
	b.see("34 join, 4 are members already, 2 unknown: x, y.")
	b.press("Add 34 members")
	b.live()
	b.see("Members 39")

	i.serves("customer 37", "A")
	b.fill("Another feature", checkout)
	b.choose("Members get", "B")
	b.press("Override…")
	b.see("39 subjects with 81.3 % of the weight get something else.")
	b.fill("Why? (required, for the audit)", "as agreed")
	b.press("Let friends get B in production")
	b.press("Close") // which is Cancel until it is live
	i.serves("customer 37", "B")
	i.serves("2", "A")
}

// Two groups override the same feature, and a phone says which of them wins. Who leaves the
// winner gets what the other one says.
func TestMemberOfTwoGroups(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	ctx := t.Context()
	i.check(i.admin.AddGroup(ctx, api.CreateGroup{Name: "staff", Priority: 5}))
	i.check(i.admin.AddSubjectToGroup(ctx, "staff", "1"))
	i.check(i.admin.AddGroupOverride(ctx, "friends", checkout, "A"))
	i.check(i.admin.AddGroupOverride(ctx, "staff", checkout, "B", flaggery.Wait(10*time.Second)))
	b := i.open(i.token(auth.EditorRole), "/groups/friends")
	b.do(chromedp.EmulateViewport(390, 844))
	b.see("for members of both, staff (priority 5) wins")
	b.click("nav a", "Groups")
	b.press("staff")
	b.see("wins over friends (priority 0)")
	i.serves("1", "B")

	b.click("button", "Remove… 1")
	b.see("Remove 1 from staff?")
	b.see("1 subject with 10.0 % of the weight gets something else.")
	i.check(i.admin.SetSubjectWeight(ctx, "1", 3))
	b.see("1 subject with 25.0 % of the weight gets something else.") // the question follows, and so does the total
	b.press("Remove from staff")
	b.live()
	i.serves("1", "A")
	b.press("Close")

	// A change elsewhere is none of the group, one of the group is dated.
	i.check(i.admin.AddVariant(ctx, checkout, api.CreateVariant{Name: "C"}))
	b.script(`await until('C', () => find('button', 'C')[0]); return ''`)
	b.gone("FLAGGERY_ADMIN_TOKEN, ")
	i.check(i.admin.AddSubjectToGroup(ctx, "staff", "2"))
	b.see("FLAGGERY_ADMIN_TOKEN, ")
	i.check(i.admin.RemoveSubjectFromGroup(ctx, "staff", "2"))
	b.see("Members 0")

	// Receipts stay, although what they are about is gone.
	b.click("button", "Remove… the override of "+checkout)
	b.press("Remove the override")
	b.live()
	b.press("Undo…")
	b.press("Undo it")
	b.see("Undone.")
	b.press("Close")
	b.press("Close")
	b.press("Delete…")
	b.press("Delete staff")
	b.see("There is no group staff")
	b.live()
	b.press("Undo…")
	b.press("Undo it")
	b.see("wins over friends (priority 0)")
}

// The first column of a CSV, whose ids may have commas and quotes.
func TestMembersFromAFile(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	b := i.open(i.token(auth.EditorRole), "/groups/friends")
	b.script(`const files = new DataTransfer();
		files.items.add(new File(['id;weight\r\n"Smith, ""J"""; 3\r\n2;"a ""b"" c"\n\n"3"'], 'members.csv'));
		(await until('a field', () => document.querySelector('textarea'))).parentElement.parentElement.dispatchEvent(new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true}));
		return ''`)
	b.see(`2 join, 0 are members already, 1 unknown: Smith, "J".`)
	b.press("Add 2 members")
	b.live()
	b.see("Members 3")
}

// Somebody else overrides the same feature while a question is open.
func TestOverrideConflict(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	i.check(i.admin.AddGroupOverride(t.Context(), "friends", checkout, "A", flaggery.Wait(10*time.Second)))
	b := i.open(i.token(auth.EditorRole), "/groups/friends")
	b.click("tbody button", "B")
	b.see("Let friends get B of " + checkout + "?")
	i.check(i.admin.AddGroupOverride(t.Context(), "friends", checkout, model.DisablingVariant, flaggery.Wait(10*time.Second)))
	b.press("Let friends get B")
	b.see("Was A · theirs off · yours B")
	i.serves("1", model.DisablingVariant)
	b.press("Set B anyway…")
	b.gone("theirs off")
	b.press("Let friends get B")
	b.live()
	i.serves("1", "B")
}

// Nothing is saved while its consequence is still asked for.
func TestUnforeseenIsNotSaved(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	i.check(i.admin.AddGroupOverride(t.Context(), "friends", checkout, "A", flaggery.Wait(10*time.Second)))
	b := i.open(i.token(auth.EditorRole), "/groups/friends")
	b.click("tbody button", "B")
	b.see("1 subject with 10.0 % of the weight gets something else.")
	// The question is asked again after the change, and is answered later.
	b.script(`const real = window.fetch;
		window.held = [];
		window.writes = 0;
		window.fetch = (address, init) => {
			if (!String(address).includes('dry_run')) {
				if (init?.method !== 'GET') writes++;
				return real(address, init);
			}
			return new Promise((answer) => held.push(() => answer(real(address, init))));
		};
		return ''`)
	i.check(i.admin.AddGroupOverride(t.Context(), "friends", checkout, model.DisablingVariant, flaggery.Wait(10*time.Second)))
	b.script(`await until('a question', () => held.length > 0);
		top().querySelector('form').requestSubmit();
		return ''`)
	if writes := b.script(`await new Promise((next) => setTimeout(next)); return String(writes)`); writes != "0" {
		t.Errorf("%s writes were sent before their consequence was known", writes)
	}
	b.script(`held.forEach((go) => go()); return ''`)
	b.see("Was A · theirs off · yours B")
	b.press("Set B anyway…")
}

// Somebody finds a change in the audit, reads what it did, and undoes it.
func TestUndoFromTheAudit(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	changed, err := i.admin.SetDefaultVariant(t.Context(), checkout, "B", flaggery.Comment("by mistake"), flaggery.Wait(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	i.serves("1", "B")
	b := i.open(i.token(auth.EditorRole), "/audit?resource=features/"+checkout)
	b.see("made B the default of " + checkout + " instead of off · by mistake")
	revision := strconv.FormatInt(changed.Revision, 10)
	b.click("button", "Details of revision "+revision)
	b.see(`+ "variant": "B"`)
	b.click("button", "Undo… revision "+revision)
	b.see("10 subjects with 100 % of the weight get something else.")
	i.serves("1", "B") // nothing happened yet
	b.fill("Why? (required, for the audit)", "it was one")
	b.press("Undo it in production")
	b.press("Close")
	i.serves("1", model.DisablingVariant)
	b.see("made off the default of " + checkout + " instead of B")
}

// A viewer sees the consequence of everything, and cannot save it.
func TestViewerTries(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	i.check(i.admin.AddRollout(t.Context(), checkout, "A", flaggery.Wait(10*time.Second)))
	b := i.open(i.token(auth.ViewerRole), "/features/"+checkout+"?edit=rollout&to=20")
	before := i.get("/v1/audit")

	b.see("2 subjects gain, none loses.")
	b.see("You are viewer: role editor can save this.")
	slider := css("input[type=range][aria-label=Rollout]")
	// With a track of the browser, its grey would depend on the variant.
	if look := b.script(`return getComputedStyle(find('input[aria-label=Rollout]', '')[0]).appearance`); look != "none" {
		t.Errorf("the slider has the browser's appearance %s", look)
	}
	b.do(chromedp.Focus(slider), chromedp.SendKeys(slider, kb.End))
	b.see("10 subjects gain, none loses.")
	if disabled := b.script(`const button = await until('the button', () => find('button', 'Roll out to 100 %% in production')[0]);
		button.form.requestSubmit(); // as Enter does in a field
		return String(button.disabled)`); disabled != "true" {
		t.Error("the button can be pressed")
	}
	b.press("Switch off…")
	b.see("10 subjects")
	b.script(`(await until('the button', () => find('button', 'Switch off ' + %s + ' in production')[0])).form.requestSubmit(); return ''`, checkout)
	b.see("You are viewer: role editor can save this.")
	b.press("Cancel")
	if after := i.get("/v1/audit"); after != before {
		t.Errorf("the audit has\n%s\nbefore it had\n%s", after, before)
	}
	i.serves("2", model.DisablingVariant)
}

// What the scope of a token does not include is tried, and cannot be saved.
func TestScopeOfToken(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	i.check(i.admin.AddRollout(t.Context(), checkout, "A", flaggery.Wait(10*time.Second)))
	created, err := i.admin.CreateToken(t.Context(), api.NewToken{Name: "mara", Role: auth.EditorRole, Scope: []string{"checkout.?", "ui.*"}})
	if err != nil {
		t.Fatal(err)
	}
	b := i.open(created.Value.Token, "/features/"+checkout+"?edit=rollout&to=20")
	const scope = "Your token's scope is checkout.?, ui.*: "
	b.see("2 subjects gain, none loses.")
	b.see(scope + checkout + " is outside of it.")
	if disabled := b.script(`return String(find('button', 'Roll out to 20.0 %%')[0].disabled)`); disabled != "true" {
		t.Error("the button can be pressed")
	}
	b.press("Back to 0 %")
	b.gone(scope)
	// What a revert touches is known from its dry run.
	b.press("Undo… revision " + strings.TrimSpace(b.script(`return find('button .hidden', '').map((e) => plain(e.textContent)).find((text) => text.startsWith('revision')).slice(8)`)))
	b.see(scope + checkout + " is outside of it.")
	b.press("Cancel")
	b.click(".me summary", "")
	b.see("mara, role editor, scope checkout.?, ui.*")

	b.do(chromedp.Navigate(i.url + "/subjects?import=1"))
	b.see(scope + "subjects and buckets are outside of it.")
	b.do(chromedp.Navigate(i.url + "/features?new=1"))
	b.fill("Name", "checkout.10")
	b.see(scope + "checkout.10 is outside of it.")
	b.fill("Name", "checkout.1")
	b.gone(scope)
	b.press("Create checkout.1")
	b.see("checkout.1")
	i.check(i.admin.Feature(t.Context(), "checkout.1"))
}

// Somebody at 3 a.m. has only a phone.
func TestPhone(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	i.check(i.admin.SetDefaultVariant(t.Context(), checkout, "A", flaggery.Wait(10*time.Second)))
	b := i.open(i.token(auth.EditorRole), "/features")
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
	b.touches = true
	b.script(`addEventListener('pointerdown', (event) => (window.pointers = [...(window.pointers ?? []), event.pointerType])); return ''`)
	fits := func(what string) {
		t.Helper()
		if wide := b.script(`const widths = [document.documentElement, ...document.querySelectorAll('dialog[open]')].map((e) => Math.max(e.scrollWidth, e.getBoundingClientRect().right));
			return Math.max(...widths) > 390 ? String(Math.max(...widths)) : ''`); wide != "" {
			t.Errorf("%s is %s px wide", what, wide)
		}
	}

	b.see(checkout)
	fits("the list")
	b.press(checkout)
	b.press("Switch off…")
	b.see("10 subjects with 100 % of the weight get something else.")
	fits("the dialog")
	b.fill("Why? (required, for the audit)", "errors")
	b.press("Switch off " + checkout + " in production")
	b.live()
	i.serves("1", model.DisablingVariant)
	b.press("Undo…")
	b.see("Undo revision")
	b.fill("Why? (required, for the audit)", "it was the network")
	b.press("Undo it in production")
	b.see("Undone.")
	i.serves("1", "A")
	b.press("Close") // the question of Undo
	b.press("Close") // that of the switch
	fits("the page")
	if pointers := b.script(`return [...new Set(window.pointers)].join()`); pointers != "touch" {
		t.Errorf("the page was used by %q", pointers)
	}
}

// The session ends while somebody fills in a form: nothing is lost, and nothing is sent
// twice.
func TestSessionEndsInAForm(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	token := i.token(auth.EditorRole)
	b := i.open(token, "/features/"+checkout+"?edit=default")
	b.click("fieldset label", "B")
	b.fill("Why? (required, for the audit)", "typed with care")
	b.see("10 subjects with 100 % of the weight get something else.")
	for stored, err := range i.admin.Tokens(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if stored.Session {
			i.check(i.admin.RevokeToken(t.Context(), stored.ID))
		}
	}
	// The dialog may come first, as the stream of events ends with the session.
	b.script(`[...document.querySelectorAll('button')].find((e) => plain(e.textContent) === 'Set the default to B in production').click(); return ''`)
	b.see("Your session is over")
	b.script(`await fetch('/signin', {method: 'POST', headers: {'Content-Type': 'application/x-www-form-urlencoded'}, body: 'token=' + %s}); return ''`, token)
	b.see("It was not saved: the audit does not have it.")
	i.serves("1", model.DisablingVariant)
	b.press("Send it again")
	b.live()
	i.serves("1", "B")
	if audit := i.get("/v1/audit?resource=features/" + checkout + "/default_variant"); strings.Count(audit, "typed with care") != 1 {
		t.Errorf("the audit has %s", audit)
	}
}

// front is a proxy in front of an admin that can fail.
type front struct {
	*httptest.Server
	loses atomic.Bool // the answers of writes
	down  atomic.Bool // answers 503
	newer atomic.Bool // has the scripts of another release
	torn  atomic.Bool // answers 502 for the scripts of editors
}

// newFront lets the pages of an installation be opened by way of a front.
func newFront(i *installation) *front {
	t := i.t
	t.Helper()
	target, err := url.Parse(i.url)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1 // events
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stores := r.Method != http.MethodGet && strings.HasPrefix(r.URL.Path, "/v1/") && !r.URL.Query().Has("dry_run")
		switch {
		case f.down.Load() && strings.HasPrefix(r.URL.Path, "/v1/"):
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		case f.newer.Load() && strings.HasPrefix(r.URL.Path, "/assets/"):
			w.WriteHeader(http.StatusNotFound)
		case f.torn.Load() && strings.HasSuffix(r.URL.Path, "Editor.js"):
			w.WriteHeader(http.StatusBadGateway)
		case f.loses.Load() && stores:
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			// The connection breaks before the answer. Browsers send such a request again by
			// themselves if the connection was used before; If-Match lets only one of them in.
			panic(http.ErrAbortHandler)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		f.CloseClientConnections() // streams of events
		f.Close()
	})
	i.url = f.URL
	return f
}

// The answer of a write that is stored does not arrive.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	front := newFront(i)
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout+"?edit=default")
	b.click("fieldset label", "B")
	b.fill("Why? (required, for the audit)", "once")
	front.loses.Store(true)
	b.press("Set the default to B in production")
	b.see("Saved as revision")
	i.serves("1", "B")
	if audit := i.get("/v1/audit?resource=features/" + checkout + "/default_variant"); strings.Count(audit, `"comment":"once"`) != 1 {
		t.Errorf("the audit has %s", audit)
	}
}

// While the admin does not answer, what was read stays, grey and dated, and reading goes on
// by itself.
func TestOutage(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	front := newFront(i)
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout)
	b.see("off for everybody else")
	front.down.Store(true)
	front.CloseClientConnections() // the stream of events is read again
	b.see("Next try")
	b.script(`await until('a date', () => /What you see is from .*\d\d:\d\d\./.test(plain(document.querySelector('.banner')?.innerText)));
		await until('grey data', () => document.querySelector('main .stale')); return ''`)
	b.see("off for everybody else")
	front.down.Store(false)
	b.gone("Next try")
	b.script(`await until('nothing grey', () => !document.querySelector('main .stale')); return ''`)
}

// The browser connects the stream of events again by itself. What changed meanwhile is read.
func TestStreamBreaks(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	front := newFront(i)
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout)
	b.see("off for everybody else")
	b.see("1 of 1 edge") // it is open
	front.CloseClientConnections()
	i.check(i.admin.SetDefaultVariant(t.Context(), checkout, "A"))
	b.see("A for everybody else")
}

// The consequence of what was wanted before does not take the place of the present one, when
// it is asked for again after an outage.
func TestOutageWhileTrying(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	i.check(i.admin.AddRollout(t.Context(), checkout, "A", flaggery.Wait(10*time.Second)))
	front := newFront(i)
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout+"?edit=rollout")
	b.see("of the weight gets")
	b.script(`const real = setTimeout;
		window.late = []; // what is tried again
		window.setTimeout = (then, ms) => (ms >= 1000 ? late.push(then) : real(then, ms));
		return ''`)
	front.down.Store(true)
	b.fill("Percent of the weight", "20")
	b.script(`await until('the next try', () => late.length > 0); return ''`)
	front.down.Store(false)
	b.fill("Percent of the weight", "100")
	b.see("10 subjects gain, none loses.")
	if stale := b.script(`late.forEach((then) => then());
		await new Promise((next) => setTimeout(next));
		return String(document.querySelector('.consequence.stale') !== null)`); stale != "false" {
		t.Error("20 % is tried again after 100 % was wanted")
	}
}

// A part of a page does not arrive: the rest is shown, and a way out.
func TestPartIsMissing(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	front := newFront(i)
	front.torn.Store(true)
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout+"?edit=default")
	b.see("A part of this page could not be loaded:")
	b.see("off for everybody else")
	front.torn.Store(false)
	b.click(".banner button", "Reload")
	b.gone("A part of this page could not be loaded:")
	b.see("Everybody else gets")
	b.takeRefused() // the script that could not be loaded
}

// An admin of another release answers while a tab is open.
func TestOldTab(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	front := newFront(i)
	b := i.open(i.token(auth.EditorRole), "/features?new=1")
	b.fill("Name", "typed-before")
	b.click("nav a", "Groups")
	b.press("New group")
	b.fill("Name", "typed-too")
	front.newer.Store(true)
	b.click("nav a", "Audit")
	b.see("Flaggery was updated:")
	front.newer.Store(false) // the reloaded page names scripts that are there
	b.click(".banner button", "Reload")
	b.gone("Flaggery was updated:")
	for _, form := range []struct{ page, button, example, name string }{
		{"Features", "New feature", "such as checkout.one-page", "typed-before"},
		{"Groups", "New group", "such as friends", "typed-too"},
	} {
		b.click("nav a", form.page)
		b.press(form.button)
		if name := b.script(`return (await until('the form', () => find('input[placeholder=' + JSON.stringify(%s) + ']', '')[0])).value`, form.example); name != form.name {
			t.Errorf("%s: the form has the name %q, want %q", form.page, name, form.name)
		}
	}
	b.takeRefused() // the script that could not be loaded
}

// One of two edges is behind: the receipt names it and goes on, and every page says so.
func TestEdgeBehind(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	i.check(i.admin.AddRollout(t.Context(), checkout, "A"))
	var relay *pgtest.Relay
	must(t)(i.fixture.StartEdge("edge-2", "reject", func(c *edge.Config) {
		relay = pgtest.NewRelay(t, string(c.DBURL))
		c.DBURL = command.DatabaseURL(relay.URL())
	}))
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout+"?edit=rollout")
	b.see("of the weight gets")
	b.fill("Percent of the weight", "100")
	b.fill("Why? (required, for the audit)", "late")
	relay.Freeze()
	b.press("Roll out to 100 % in production")
	b.see("Live on 1 of 2 edges after 2.")
	b.see("waiting for edge-2.")
	i.serves("1", "A")
	b.see("Edge edge-2 is behind for")
	relay.Thaw()
	relay.Cut()
	b.see("Live on 2 of 2 edges.")
	b.gone("Edge edge-2 is behind for")

	b.press("Edit default")
	b.click("fieldset label", "B")
	b.see("Nothing changes for any subject.")
	relay.Freeze()
	b.press("Set the default to B")
	b.see("waiting for edge-2.")
	for _, page := range []string{"Features", "Tests", "Groups", "Subjects", "Audit"} {
		b.click("nav a", page)
		b.see("Edge edge-2 is behind for")
	}
	b.press("see edges")
	b.see("1 of 2 edges serve revision")
	relay.Thaw()
	relay.Cut()
	b.see("2 of 2 edges serve revision")
	b.gone("Edge edge-2 is behind for")
}

// A token is made in the console, works, and does no more once it is revoked.
func TestTokens(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	b := i.open(i.token(auth.AdminRole), "/tokens?new=1")
	b.fill("Name", "deploys")
	b.choose("Role", "editor")
	b.fill("Names it may change; all if empty", "checkout.*, ")
	b.see(`must hold globs of 1 to 128 of the characters A-Z a-z 0-9 . _ - * ?, holds ""`)
	b.fill("Names it may change; all if empty", "checkout.*, web-?")
	b.press("Create the token")
	b.see("This is the only time that the token is shown.")
	token := b.text(".copyable .mono")
	client, err := flaggery.NewAdmin(i.url, token)
	if err != nil {
		t.Fatal(err)
	}
	if me, err := client.Me(t.Context()); err != nil || me.Value.Name != "deploys" || !slices.Equal(me.Value.Scope, []string{"checkout.*", "web-?"}) {
		t.Fatalf("the token is of %+v: %v", me.Value, err)
	}
	b.press("Close")
	b.see("checkout.*, web-?")
	b.click("button", "Revoke… the token of deploys")
	b.press("Revoke it")
	b.live()
	if _, err := client.Me(t.Context()); flaggery.CodeOf(err) != model.Unauthenticated {
		t.Errorf("the revoked token is answered: %v", err)
	}
	if kept := b.script(`return JSON.stringify({...sessionStorage, ...localStorage}) + location.href`); strings.Contains(kept, token) {
		t.Error("the page keeps the token:", kept)
	}
}
