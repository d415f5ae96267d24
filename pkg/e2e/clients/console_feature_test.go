package clients

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/e2e"
	"github.com/flaggery/flaggery/pkg/flaggery"
	"github.com/flaggery/flaggery/pkg/model"
)

const checkout = "checkout.one-page"

// withCheckout adds subjects 1 to 10 of weight 1, group friends with subject 1, and a
// feature with variants A, B and off, which is off by default.
func (i *installation) withCheckout() *installation {
	i.t.Helper()
	ctx := i.t.Context()
	check := func(_ any, err error) {
		i.t.Helper()
		if err != nil {
			i.t.Fatal(err)
		}
	}
	check(i.admin.IncreaseBuckets(ctx, 10))
	for id := range 10 {
		check(i.admin.AddSubject(ctx, api.CreateSubject{ID: strconv.Itoa(id + 1), Weight: new(int64(1))}))
	}
	check(i.admin.AddGroup(ctx, api.CreateGroup{Name: "friends"}))
	check(i.admin.AddSubjectToGroup(ctx, "friends", "1"))
	check(i.admin.AddFeature(ctx, api.CreateFeature{
		Name: checkout, Variants: []api.NewVariant{{Name: "A"}, {Name: "B"}}, DisablingVariant: true, DefaultVariant: new(model.DisablingVariant),
	}))
	return i
}

// serves fails unless the edge gives a subject a variant of checkout.
func (i *installation) serves(subject, variant string) {
	i.t.Helper()
	if got := i.flags(subject)[checkout]; got != variant {
		i.t.Errorf("the edge serves %q to subject %s, want %q", got, subject, variant)
	}
}

// get is the admin's answer.
func (i *installation) get(path string) string {
	i.t.Helper()
	r, err := http.NewRequestWithContext(i.t.Context(), http.MethodGet, i.url+path, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+e2e.Token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		i.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		i.t.Fatalf("GET %s answers %d: %s, %v", path, answer.StatusCode, body, err)
	}
	return string(body)
}

// live waits until a change is on the edge.
func (b *browser) live() {
	b.t.Helper()
	b.see("Live on 1 of 1 edge")
}

func TestFeatureOffAndOnAgain(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	if _, err := i.admin.SetDefaultVariant(t.Context(), checkout, "A"); err != nil {
		t.Fatal(err)
	}
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout)

	b.press("Switch off…")
	b.see("10 subjects with 100 % of the weight get something else.")
	if focused := b.script(`return document.activeElement.placeholder`); focused != "Why? (required, for the audit)" {
		t.Errorf("the focus is on %q, want the reason", focused)
	}
	b.see("say why")
	b.fill("Why? (required, for the audit)", "errors")
	i.serves("1", "A") // nothing happened yet
	b.press("Switch off " + checkout + " in production")
	b.live()
	i.serves("1", model.DisablingVariant)
	b.press("Close")
	b.see("off for everybody, whatever stands below")
	b.see("Switched it off · errors")

	b.click(".end button", "Switch on…")
	b.fill("Why? (required, for the audit)", "mended")
	b.press("Switch on " + checkout + " in production")
	b.live()
	i.serves("1", "A")
	b.press("Close")
	b.see("A for everybody else")
}

func TestFeatureOverrides(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout)

	b.press("Edit overrides")
	b.fill("Group", "nobodies")
	b.see("There is no group nobodies")
	b.fill("Group", "friends")
	b.see("1 member, priority 0.")
	b.choose("Its members get", "B")
	b.see("1 subject with 10.0 % of the weight gets something else.")
	b.do(chromedp.Reload()) // what was chosen is kept
	b.see("1 subject with 10.0 % of the weight gets something else.")
	b.press("Let friends get B")
	b.live()
	i.serves("1", "B")
	i.serves("2", model.DisablingVariant)
	b.see("friends get B · 1 subject")
	b.see("Group friends gets B")

	b.choose("Its members get", "no override")
	b.press("Remove the override for friends")
	b.gone("friends get B")
	b.live()
	i.serves("1", model.DisablingVariant)

	b.press("Explain a subject…")
	b.fill("Id of the subject", "7")
	b.press("Explain the subject")
	b.at(i.url + "/subjects/7?feature=" + checkout)
}

func TestFeatureDefaultChangedByTwo(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"Take A", "Set B anyway…"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			i := newInstallation(t).withCheckout()
			b := i.open(i.token(auth.EditorRole), "/features/"+checkout+"?edit=default")
			b.click("label", "B")
			b.see("off → B")

			// A change elsewhere in the feature is no conflict, and is shown.
			if _, err := i.admin.AddRollout(t.Context(), checkout, "A"); err != nil {
				t.Fatal(err)
			}
			b.see("A for 0 % of the weight FLAGGERY_ADMIN_TOKEN, ")
			b.see("off → B")

			if _, err := i.admin.SetDefaultVariant(t.Context(), checkout, "A"); err != nil {
				t.Fatal(err)
			}
			b.see("Was off · theirs A · yours B")
			b.press(way)
			b.gone("theirs")
			if way == "Take A" {
				b.see("Set the default")
			} else {
				b.see("A → B")
				b.fill("Why? (required, for the audit)", "B is faster")
				b.press("Set the default to B in production")
				b.live()
			}
			want := map[string]string{"Take A": "A", "Set B anyway…": "B"}[way]
			i.serves("2", want)
			b.see(want + " for everybody else")
		})
	}
}

func TestFeatureVariants(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	if _, err := i.admin.AddGroupOverride(t.Context(), "friends", checkout, "B"); err != nil {
		t.Fatal(err)
	}
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout+"?edit=variants")

	b.press("Edit payload of A")
	b.fill("Payload of A", `{"limit": `)
	b.see("This is not JSON")
	b.fill("Payload of A", `{"limit": 12345678901234567890}`)
	b.see("No subject gets A now.")
	b.press("Set the payload of A")
	b.live()
	i.check(i.admin.SetDefaultVariant(t.Context(), checkout, "A"))
	// JavaScript would round the number, drop the zero and sort the keys.
	stored := `{"b": 1.0, "7": [{"limit": 12345678901234567890}]}`
	i.check(i.admin.PatchVariant(t.Context(), checkout, "A", api.PatchVariant{Payload: json.RawMessage(stored)}))
	b.see("A " + stored)
	b.script(`const stored = %s, field = await until('it', () => [...document.querySelectorAll('textarea')].find((f) => f.value === stored));
		field.value = stored.replace('"b"', '"c"');
		field.dispatchEvent(new Event('input', {bubbles: true})); return ''`, stored)
	b.see("9 subjects with 90.0 % of the weight get A, and so this payload.")
	b.see("say why")
	b.fill("Why? (required, for the audit)", "another name")
	b.press("Set the payload of A in production")
	changed := strings.Replace(stored, `"b"`, `"c"`, 1)
	b.see("A " + changed)
	if body := i.get("/v1/features/" + checkout); !strings.Contains(body, changed) {
		t.Errorf("the payload was not kept: %s", body)
	}
	b.press("all changes")
	b.click("li [aria-expanded=false]", "")
	b.see(`+ "c": 1.0, "7": [ { "limit": 12345678901234567890 }`)
	// A feature may have this name.
	i.check(i.admin.AddFeature(t.Context(), api.CreateFeature{Name: "payload", Variants: []api.NewVariant{{Name: "A"}}, DefaultVariant: new("A")}))
	b.do(chromedp.Navigate(i.url + "/subjects/1?feature=payload"))
	b.see("payload A that is the default")
	b.do(chromedp.Navigate(i.url + "/features/" + checkout + "?edit=variants"))

	b.press("Delete… B")
	b.see("is in use")
	b.press("group friends")
	b.see("Its members get")
	if _, err := i.admin.DeleteGroupOverride(t.Context(), "friends", checkout); err != nil {
		t.Fatal(err)
	}
	b.see("Overrides none") // which moves what is below it
	b.press("Edit variants")
	b.press("Edit payload of B")
	b.fill("Payload of B", `{"typed": "with care"}`)
	b.do(chromedp.Reload())
	b.script(`await until('what was typed', () => find('textarea', '')[0]?.value === '{"typed": "with care"}'); return ''`)
	b.press("Delete… B")
	b.press("Delete B")
	b.live()
	b.press("Close")
	b.see("There is no variant B any more.")
	b.see(`{"typed": "with care"}`)
	f, err := i.admin.Feature(t.Context(), checkout)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.Value.Variants); n != 2 {
		t.Errorf("%d variants are left, want 2", n)
	}
}

// What is typed while a write is on its way is neither lost nor taken for saved.
func TestTypedWhileSaving(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout+"?edit=variants")
	b.press("Edit payload of A")
	b.fill("Payload of A", "1")
	b.onStore(`await (window.held ??= new Promise((go) => (window.release = go))); return real(address, init)`)
	b.press("Set the payload of A")
	b.see("Saving…")
	b.fill("Payload of A", "23")
	b.evaluate(`(release(), '')`)
	b.see("A 1")
	b.press("Set the payload of A")
	b.see("A 23")
	if body := i.get("/v1/features/" + checkout); !strings.Contains(body, `"payload":23`) {
		t.Errorf("what was typed meanwhile is not stored: %s", body)
	}
}

func TestFeatureMadeAndDeleted(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	b := i.open(i.token(auth.EditorRole), "/features")

	b.press("New feature")
	b.fill("Name", checkout)
	b.see("there is a feature \"" + checkout + "\" already")
	b.fill("Name", "-search")
	b.see("must start with a letter or a digit")
	b.fill("Variants, separated by commas", "new, old")
	b.choose("Default, for everybody", "old")
	b.choose("Rollout, to begin at 0 %", "of new")
	b.press("Create -search")
	b.script(`await until('focus on the name at fault', () => document.activeElement.value === '-search'); return ''`)

	b.do(chromedp.Reload())
	b.see("must start with a letter or a digit") // what was typed is kept
	b.fill("Name", "search")
	b.press("Create search")
	b.live()
	if got := i.flags("1")["search"]; got != "old" {
		t.Errorf("the edge serves %q, want old", got)
	}
	b.press("Open search")
	b.see("new for 0 % of the weight")

	b.press("More about search")
	b.press("Delete…")
	b.see("features/search/rollout")
	b.fill("Why? (required, for the audit)", "a mistake")
	b.press("Delete search in production")
	b.live()
	if got, there := i.flags("1")["search"]; there {
		t.Errorf("the edge still serves %q", got)
	}
	b.press("Close")
	b.see("There is no feature search")
	b.see("mara deleted it")
	b.press("Undo…")
	b.fill("Why? (required, for the audit)", "it was none")
	b.press("Undo it in production")
	b.see("old for everybody else")
	if got := i.flags("1")["search"]; got != "old" {
		t.Errorf("the edge serves %q after the undo, want old", got)
	}
}

func TestListOfManyFeatures(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	for n := range 60 {
		create := api.CreateFeature{Name: fmt.Sprintf("f%02d", n), Variants: []api.NewVariant{{Name: "A"}}, DefaultVariant: new("A")}
		if n == 7 {
			create.Tags = []string{"search"}
		}
		if _, err := i.admin.AddFeature(t.Context(), create); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := i.admin.PatchFeature(t.Context(), "f03", api.PatchFeature{Off: new(true)}, flaggery.Comment("a test")); err != nil {
		t.Fatal(err)
	}
	b := i.open(i.token(auth.EditorRole), "/features")

	rows := func(want int) {
		t.Helper()
		b.script(`const want = %s; await until(want + ' rows', () => find('tbody tr', '').length === want); return ''`, want)
	}
	rows(50)
	b.press("Show more")
	rows(61)
	b.fill("Filter by name or tag", "search")
	rows(1)
	b.see("f07")
	b.at(i.url + "/features?query=search")
	b.do(chromedp.Reload())
	rows(1)
	b.fill("Filter by name or tag", "no such")
	b.see("No feature is like that.")
	b.press("Show all")
	b.choose("State", "off")
	rows(1)
	b.see("f03")
	b.choose("State", "any state")
	b.choose("Order", "last changed first")
	b.script(`await until('f03 first', () => find('tbody tr a', '')[0]?.textContent === 'f03'); return ''`)

	b.press("More about f59")
	b.press("Switch off…")
	b.see("Switch off f59?")
	b.fill("Why? (required, for the audit)", "errors")
	b.press("Switch off f59 in production")
	b.live()
	if got := i.flags("1")["f59"]; got != model.DisablingVariant {
		t.Errorf("the edge serves %q, want off", got)
	}
	b.press("Close")

	// Where the question would be, the page says why there is none.
	b.script(`const real = fetch;
		window.fetch = (url, ...more) => real(url.replace(/f58$/, 'gone'), ...more); // deleted since the list was read
		return ''`)
	b.press("More about f58")
	b.press("Switch off…")
	b.script(`await until('why not', () => find('dialog .fault', 'there is no feature "gone"')[0]); return ''`)
	b.press("Close")

	// More features than a page has mention its name, and sort before it.
	for n := range 101 {
		i.check(i.admin.AddFeature(t.Context(), api.CreateFeature{Name: fmt.Sprintf("a%03d.f59", n)}))
	}
	b.do(chromedp.Navigate(i.url + "/features/f59"))
	b.see("stage off")
	b.do(chromedp.Navigate(i.url + "/groups/friends"))
	b.fill("Another feature", "f59")
	b.choose("Members get", "A")
}

// Somebody says who answers for a feature and when it should be gone, and finds it when the
// date has come.
func TestFeatureLifecycle(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	i.check(i.admin.AddFeature(t.Context(), api.CreateFeature{Name: "search"}))
	b := i.open(i.token(auth.EditorRole), "/features/"+checkout)
	b.see("stage new · no contact · no expiry")
	b.press("More about " + checkout)
	b.press("Edit details")
	b.fill("Contact", " ")
	b.script(`const field = await until('the field', () => find('input[type=date]', '')[0]);
		field.value = '2020-01-31';
		field.dispatchEvent(new Event('input', {bubbles: true}));
		return ''`)
	b.script(`await until('a fault', () => find('[aria-invalid=true]', '')[0]?.placeholder.startsWith('who answers')); return ''`)
	b.do(chromedp.Reload())
	if date := b.script(`return (await until('the field', () => find('input[type=date]', '')[0])).value`); date != "2020-01-31" {
		t.Errorf("the date %q was kept", date)
	}
	b.fill("Contact", "team-checkout")
	b.see("Nothing changes for any subject.")
	b.press("Save the details")
	b.live()
	b.see("stage expired since 31 Jan 2020 · contact team-checkout")
	b.see("Made team-checkout its contact, set it to expire on 31 Jan 2020")
	f, err := i.admin.Feature(t.Context(), checkout)
	if err != nil {
		t.Fatal(err)
	}
	if f.Value.Contact != "team-checkout" || f.Value.Expires == nil || *f.Value.Expires != "2020-01-31" || f.Value.Permanent {
		t.Errorf("the admin has %+v", f.Value)
	}

	b.click("nav a", "Features")
	b.see("search")
	b.choose("Stage", "expired")
	b.gone("search")
	b.script(`await until('the sign', () => find('tbody .mark', 'expired')[0]?.title === 'expired since 31 Jan 2020'); return ''`)
	b.at(i.url + "/features?stage=expired")
	var expired []string
	for f, err := range i.admin.FeatureSummaries(t.Context(), flaggery.FeatureFilter{Stage: api.StageExpired}) {
		if err != nil {
			t.Fatal(err)
		}
		expired = append(expired, f.Name)
	}
	if len(expired) != 1 || expired[0] != checkout {
		t.Errorf("the admin lists %v as expired", expired)
	}

	b.press("New feature")
	b.fill("Name", "kill.switch")
	b.press("Contact and expiry")
	b.click("label", "permanent: it stays for good")
	b.press("Create kill.switch")
	b.live()
	if f, err := i.admin.Feature(t.Context(), "kill.switch"); err != nil || !f.Value.Permanent {
		t.Errorf("the admin has %+v: %v", f.Value, err)
	}
	b.press("Open kill.switch")
	b.see("no contact · permanent")
}
