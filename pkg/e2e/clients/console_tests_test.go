package clients

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

const applePay = "checkout.apple-pay"

// withApplePay adds 40 buckets with a subject of weight 1 each, and a feature with
// variants blue, green and off, which is off by default.
func (i *installation) withApplePay() *installation {
	i.t.Helper()
	if _, err := i.admin.IncreaseBuckets(i.t.Context(), 40); err != nil {
		i.t.Fatal(err)
	}
	for id := range 40 {
		if _, err := i.admin.AddSubject(i.t.Context(), api.CreateSubject{ID: strconv.Itoa(id + 1), Weight: new(int64(1))}); err != nil {
			i.t.Fatal(err)
		}
	}
	if _, err := i.admin.AddFeature(i.t.Context(), api.CreateFeature{
		Name: applePay, Variants: []api.NewVariant{{Name: "blue"}, {Name: "green"}}, DisablingVariant: true, DefaultVariant: new(model.DisablingVariant),
	}); err != nil {
		i.t.Fatal(err)
	}
	return i
}

// addTest adds a test of the feature, off against blue, between two days from now.
func (i *installation) addTest(name string, start, end int) {
	i.t.Helper()
	now := time.Now().Truncate(time.Minute)
	if _, err := i.admin.AddABTest(i.t.Context(), api.CreateABTest{
		Name: name, Start: now.AddDate(0, 0, start), End: now.AddDate(0, 0, end),
		Groups: []api.CreateTestGroup{
			{Name: "control", Variants: map[string]string{applePay: model.DisablingVariant}},
			{Name: "treated", Variants: map[string]string{applePay: "blue"}},
		},
	}); err != nil {
		i.t.Fatal(err)
	}
}

// test reads a test.
func (i *installation) test(name string) api.ABTest {
	i.t.Helper()
	test, err := i.admin.ABTest(i.t.Context(), name)
	if err != nil {
		i.t.Fatal(err)
	}
	return test.Value
}

// servesGroups fails unless the edge gives every subject the variant of its group in a
// test.
func (i *installation) servesGroups(test string) {
	i.t.Helper()
	for _, g := range i.test(test).Groups {
		for _, bucket := range g.Buckets {
			// Each bucket has one subject, the first one the first subject.
			if got := i.flags(strconv.Itoa(int(bucket)))[applePay]; got != g.Variants[applePay] {
				i.t.Errorf("subject %d of group %s gets %q, want %q", bucket, g.Name, got, g.Variants[applePay])
			}
		}
	}
}

// servesOff fails unless the edge gives nobody the feature.
func (i *installation) servesOff() {
	i.t.Helper()
	for id := range 40 {
		if got := i.flags(strconv.Itoa(id + 1))[applePay]; got != model.DisablingVariant {
			i.t.Errorf("subject %d gets %q, want off", id+1, got)
		}
	}
}

// setTime sets the field of a time.
func (b *browser) setTime(label, value string) {
	b.t.Helper()
	b.script(`const label = %s, value = %s;
		const field = await until(label, () => [...document.querySelectorAll('label')].filter((l) => shown(l) && plain(l.textContent).startsWith(label)).map((l) => l.control)[0]);
		field.value = value;
		field.dispatchEvent(new Event('input', {bubbles: true}));
		return ''`, label, value)
}

// inDays is the value of a field of a time some days from now. The browser's zone is the
// process's.
func inDays(days float64) string {
	return time.Now().Add(time.Duration(days * 24 * float64(time.Hour))).Format("2006-01-02T15:04")
}

// moment is a time as the page shows it, with a sign before the clock.
func moment(at time.Time, sign string) string {
	day := "2 Jan"
	if at.Local().Year() != time.Now().Year() {
		day = "2 Jan 2006"
	}
	return at.Local().Format(day + sign + " 15:04")
}

func TestPlanTest(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withApplePay()
	i.addTest("checkout-pay", 1, 3)
	b := i.open(i.token(auth.EditorRole), "/tests")
	b.press("checkout-pay")
	b.see("planned, in ")

	// It overlaps, and starts when the other one ends.
	b.do(chromedp.Navigate(i.url + "/tests?new=1&feature=" + applePay))
	b.see("It still needs a name.")
	b.fill("Name", "pay-button-colour")
	b.setTime("Starts", inDays(2))
	b.setTime("Ends", inDays(6))
	b.script(`const list = await until('variants', () => document.querySelector('[aria-label="Variant of checkout.apple-pay for treated"]'));
		list.value = 'green';
		list.dispatchEvent(new Event('change', {bubbles: true}));
		return ''`)
	b.see("Overlaps checkout-pay from ")
	b.see("pay-button-colour (yours)")
	other := i.test("checkout-pay")
	b.press("Start when it ends, " + moment(other.End, ""))
	b.see("Nothing changes for anybody until it starts.")
	b.find("button", "Plan pay-button-colour")
	const right = `return String(document.querySelector('[data-clicked]').getBoundingClientRect().right)`
	edge := b.script(right)
	b.onStore(`await (window.held ??= new Promise((go) => (window.release = go))); return real(address, init)`)
	b.press("Plan pay-button-colour")
	b.see("Saving…")
	// A second click meets no other button.
	if now, discard := b.script(right), b.script(`return String(find('button', 'Discard the draft')[0].matches(':disabled'))`); now != edge || discard != "true" {
		t.Errorf("while it is sent, the button ends at %s, want %s, and that beside it is disabled: %s", now, edge, discard)
	}
	b.evaluate(`(release(), '')`)
	b.see("Live on 1 of 1 edge")
	planned := i.test("pay-button-colour")
	if !planned.Start.Equal(other.End) || planned.End.Sub(planned.Start) != 4*24*time.Hour {
		t.Errorf("it runs from %v to %v, want 4 days from %v", planned.Start, planned.End, other.End)
	}
	i.servesOff()

	// Moved to now, it has to end before the other one starts.
	b.press("pay-button-colour")
	b.see("Until then, nobody is in it.")
	b.press("Move…")
	b.press("Start now")
	b.press("End when it starts, " + moment(other.Start, ""))
	b.see("20 subjects with 50.0 % of the weight get something else.")
	b.see("say why")
	i.servesOff()
	b.fill("Why? (required, for the audit)", "green is ready")
	b.press("Start pay-button-colour now in production")
	b.see("live, ")
	b.see("Live on 1 of 1 edge")
	b.press("Close")
	i.servesGroups("pay-button-colour")

	b.press("Stop now…")
	b.see("green → off")
	b.fill("Why? (required, for the audit)", "blue it is")
	b.press("Stop pay-button-colour in production")
	b.see("Live on 1 of 1 edge")
	i.servesOff()
	b.press("Close")
	b.see("Subjects get again what they would get without it.")
	if got := i.test("pay-button-colour").State; got != api.Ended {
		t.Errorf("its state is %s", got)
	}
	b.press("Delete…")
	b.press("Delete pay-button-colour")
	b.see("Live on 1 of 1 edge")
	b.press("Close")
	b.see("checkout-pay")
	b.at(i.url + "/tests")
}

// The test that stands in the way of a plan is deleted before the page gets the refusal.
func TestConflictGoes(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withApplePay()
	i.addTest("checkout-pay", 1, 3)
	b := i.open(i.token(auth.EditorRole), "/tests?new=1&feature="+applePay)
	b.fill("Name", "second")
	b.script(`const real = window.fetch.bind(window);
		const held = new Promise((go) => (window.release = go));
		window.fetch = async (address, init) => {
			const answer = await real(address, init);
			window.conflict ||= answer.status === 409;
			if (String(address).includes('dry_run')) await held;
			return answer;
		};
		return ''`)
	b.setTime("Starts", inDays(2))
	b.setTime("Ends", inDays(6))
	b.see("Overlaps checkout-pay from ")
	b.script(`await until('a conflict', () => window.conflict); return ''`)
	if _, err := i.admin.DeleteABTest(t.Context(), "checkout-pay"); err != nil {
		t.Fatal(err)
	}
	b.gone("Overlaps checkout-pay")
	b.evaluate(`(release(), '')`)
	b.press("Plan second")
	b.live()
	i.test("second")
}

func TestPlanTestFaults(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withApplePay()
	i.addTest("checkout-pay", -2, -1)
	b := i.open(i.token(auth.EditorRole), "/tests?new=1")

	b.fill("Feature", "nothing")
	b.press("Add feature")
	b.see("nothing")
	b.see("It still needs a name, a feature.")
	b.fill("Feature", applePay)
	b.press("Add feature")
	b.fill("Name", "checkout-pay")
	b.see(`there is a test "checkout-pay" already`)
	b.fill("Name", "second")
	b.fill("Name of group 2", "control")
	b.see(`"control" is the name of another group of this test`)
	b.press("Plan second")
	b.script(`await until('the focus on the field at fault', () => document.activeElement.ariaLabel === 'Name of group 2'); return ''`)
	b.fill("Name of group 2", "treated")
	b.click("label", "Equal shares")
	b.fill("Share of treated in percent", "40")
	b.see("the proportions must sum to 1, they sum to 0.9")
	b.setTime("Ends", inDays(-1))
	b.see("must be after start")

	// What was typed is kept.
	b.do(chromedp.Reload())
	b.see("must be after start")
	b.setTime("Ends", inDays(9))
	b.fill("Share of control in percent", "60")
	b.press("Plan second")
	b.see("Live on 1 of 1 edge")
	if groups := i.test("second").Groups; groups[0].Proportion != 0.6 || groups[1].Proportion != 0.4 {
		t.Errorf("its groups are %+v", groups)
	}
}

func TestExtendTest(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withApplePay()
	i.addTest("checkout-pay", -1, 2)
	i.addTest("next", 5, 6)
	i.servesGroups("checkout-pay")
	b := i.open(i.token(auth.EditorRole), "/tests/checkout-pay")
	b.press("Extend…")
	b.fill("Description", "typed with care")
	b.do(chromedp.Reload())
	b.script(`await until('what was typed', () => find('textarea', '')[0]?.value === 'typed with care'); return ''`)
	b.setTime("Ends", inDays(5.5))
	b.see("Overlaps next from ")
	next := i.test("next").Start
	b.press("End when it starts, " + moment(next, ""))
	b.see("Nothing changes now: its subjects stay in their groups until ")
	b.press("Extend checkout-pay to " + moment(next, ","))
	b.see("Live on 1 of 1 edge")
	if end := i.test("checkout-pay").End; !end.Equal(next) {
		t.Errorf("it ends at %v, want %v", end, next)
	}
	i.servesGroups("checkout-pay")
}

func TestPlanTestAcrossClockChange(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withApplePay()
	b := i.open(i.token(auth.EditorRole), "/tests")
	b.do(
		chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Europe/Berlin"})
			return err
		}),
		chromedp.Navigate(i.url+"/tests?new=1&feature="+applePay),
	)
	b.fill("Name", "spring")
	b.setTime("Starts", "2027-03-20T09:00")
	b.setTime("Ends", "2027-04-03T09:00")
	b.see("Times in Europe/Berlin (UTC+1), then Europe/Berlin (UTC+2) · lasts 13 d 23 h")
	b.see("The clocks go forward by 1 h on Sunday, 28 March 2027: this day of the test has 23 h.")
	b.press("Plan spring")
	b.see("Live on 1 of 1 edge")
	test := i.test("spring")
	if got := fmt.Sprint(test.Start.UTC().Format(time.RFC3339), " ", test.End.UTC().Format(time.RFC3339)); got != "2027-03-20T08:00:00Z 2027-04-03T07:00:00Z" {
		t.Errorf("it runs %s", got)
	}
}

// Somebody else changes a test, and then stops it, while the question is open.
func TestStopTestTogether(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withApplePay()
	i.addTest("checkout-pay", -1, 2)
	b := i.open(i.token(auth.EditorRole), "/tests/checkout-pay")
	b.press("Stop now…")
	b.see("blue → off")
	b.fill("Why? (required, for the audit)", "enough")
	i.check(i.admin.PatchABTest(t.Context(), "checkout-pay", api.PatchABTest{Description: new("new words")}))
	b.press("Stop checkout-pay in production")
	b.see("changed this")
	b.gone("blue → off")
	b.press("See what it changes now")
	b.see("blue → off")
	i.check(i.admin.StopABTest(t.Context(), "checkout-pay"))
	b.see("It has ended meanwhile: there is nothing to stop.")
	if buttons := b.script(`return find('button', '').map((e) => plain(e.textContent)).join()`); buttons != "Close" {
		t.Errorf("the question offers %s", buttons)
	}
	b.press("Close")
}
