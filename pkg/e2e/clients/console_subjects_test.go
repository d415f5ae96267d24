package clients

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// check fails the test if a write does.
func (i *installation) check(_ any, err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

// setMoment chooses a moment in the page's field for it.
func (b *browser) setMoment(at time.Time) {
	b.t.Helper()
	b.script(`const at = new Date(%s);
		const field = await until('the field', () => find('input[type=datetime-local]', '')[0]);
		field.value = new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, -1);
		field.dispatchEvent(new Event('change', {bubbles: true}));
		return ''`, at.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// A subject is explained at a moment of a test that is over, beside one of the other group.
func TestSubjectAtAMomentOfATest(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	trial := api.CreateABTest{
		Name: "one-page-trial", Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour),
		Groups: []api.CreateTestGroup{
			{Name: "left", Proportion: new(0.5), Variants: map[string]string{checkout: "A"}},
			{Name: "right", Proportion: new(0.5), Variants: map[string]string{checkout: "B"}},
		},
	}
	i.check(i.admin.AddABTest(t.Context(), trial, flaggery.Wait(10*time.Second)))
	in := map[string]string{} // a subject by what it gets
	for id := range 10 {
		subject := fmt.Sprint(id + 1)
		in[i.flags(subject)[checkout]] = subject
	}
	during := time.Now().Truncate(time.Millisecond)
	i.check(i.admin.StopABTest(t.Context(), trial.Name, flaggery.Wait(10*time.Second)))
	i.serves(in["A"], api.DisablingVariant)

	b := i.open(i.token(auth.ViewerRole), "/subjects/"+in["A"])
	b.see("that is the default")
	b.setMoment(during)
	b.see("test one-page-trial has it in group left")
	b.fill("Beside", in["B"])
	b.press("Compare")
	b.see("1 of them different")
	b.see("test one-page-trial has it in group right")

	b.press(checkout)
	b.see(in["A"] + " gets A of " + checkout + " because test one-page-trial has it in group left (revision ")
	b.press("Stop comparing")
	b.gone("in group right")
	b.press("Now")
	b.see("that is the default")

	// B has the colour of its place among all variants, although A is not mentioned.
	b.do(chromedp.Navigate(i.url + "/subjects/" + in["B"] + "?at=" + url.QueryEscape(during.UTC().Format(time.RFC3339Nano))))
	b.script(`await until('B in its colour', () => find('.gets .variant', 'B').some((e) => e.style.getPropertyValue('--c') === 'var(--variant-2)')); return ''`)

	// Addresses may be typed.
	for _, typed := range []string{"garbage", "275000-01-01T00:00:00Z"} {
		b.do(chromedp.Navigate(i.url + "/subjects/" + in["A"] + "?at=" + typed))
		b.see("The address has “" + typed + "” here, which is no time")
		b.see("that is the default")
		b.do(chromedp.Navigate(i.url + "/audit?until=" + typed))
		b.see("The address has “" + typed + "” here, which is no time")
		b.see("stopped test one-page-trial")
	}
	b.do(chromedp.Navigate(i.url + "/subjects/" + in["A"] + "?at=" + time.Now().AddDate(0, 0, 2).UTC().Format(time.DateOnly)))
	b.see("to come. The configuration is that of now")
	b.setMoment(during.AddDate(-1, 0, 0))
	b.see("the history does not go back to")
	b.press("Explain now")
	b.see("that is the default")
}

// Any text can be an id.
func TestSubjectOfAnyText(t *testing.T) {
	t.Parallel()
	const id = "a/b c?#ü😀"
	i := newInstallation(t).withCheckout()
	i.check(i.admin.AddGroupOverride(t.Context(), "friends", checkout, "B"))

	b := i.open(i.token(auth.EditorRole), "/subjects")
	b.press("Add a subject")
	b.fill("Id", id)
	b.see("It gets a variant of 1 feature.")
	b.press("Add " + id)
	b.live()
	i.serves(id, api.DisablingVariant)
	b.press("See what " + id + " gets")
	b.see("that is the default")

	b.press("Set weight…")
	b.fill("Weight", "7")
	b.press("Set the weight to 7")
	b.live()
	if got, err := i.admin.Subject(t.Context(), id); err != nil || got.Value.Weight != 7 {
		t.Errorf("weight %d, want 7: %v", got.Value.Weight, err)
	}
	b.press("Close")

	b.press("Add to a group…")
	b.fill("Group", "friends")
	b.fill("Why? (required, for the audit)", "they asked")
	b.press("Add to friends in production")
	b.live()
	i.serves(id, "B")
	b.press("Close")
	b.see("group friends overrides it")

	b.press("Delete…")
	b.fill("Why? (required, for the audit)", "they left")
	b.press("Delete " + id + " in production")
	b.live()
	b.press("Close")
	b.see("There is no subject " + id)
	b.press("Add it…")
	b.see("It gets a variant of 1 feature.")
}

// An import says what is wrong by line, and stores nothing until it is right.
func TestImportOfSubjects(t *testing.T) {
	t.Parallel()
	i := newInstallation(t).withCheckout()
	i.check(i.admin.AddGroupOverride(t.Context(), "friends", checkout, "B"))
	b := i.open(i.token(auth.EditorRole), "/subjects")
	b.press("Import…")
	choose := func(name, text string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b.do(chromedp.SetUploadFiles(css("input[type=file]"), []string{path}))
	}

	choose("wrong.csv", "id,weight,groups\nacme,much,\nglobex,2,enemies\n")
	b.see("line 2")
	b.see(`there is no group "enemies"`)
	choose("right.csv", "id,weight,groups\nacme,1,\nglobex,2,friends\n1,1,\n")
	b.see("2 created, 0 updated, 1 unchanged, 0 deleted.")
	b.gone("line 2")
	b.fill("Why? (required, for the audit)", "they joined")
	b.press("Import 2 subjects in production")
	b.live()
	i.serves("acme", api.DisablingVariant)
	i.serves("globex", "B")

	b.choose("Subjects that no line has", "are deleted")
	b.see("The file lacks 9 subjects")
	b.fill("Why? (required, for the audit)", "they left")
	b.press("Import, and delete 9 subjects in production")
	b.see("Imported: 0 created, 0 updated, 3 unchanged, 9 deleted.")
	if got, err := i.admin.About(t.Context()); err != nil || got.Value.Subjects != 3 {
		t.Errorf("%d subjects are left, want 3: %v", got.Value.Subjects, err)
	}
}
