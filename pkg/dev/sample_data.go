package dev

import (
	"fmt"
	"iter"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

const off = model.DisablingVariant

// sampleFeature is a feature of the sample data alone.
const sampleFeature = "checkout.one-page"

// Actors of the sample data.
const (
	mara    = "mara@example.com"
	priya   = "priya@example.com"
	jonas   = "jonas@example.com"
	ci      = "ci"
	release = "release-bot"
)

// feature is a row of sampleFeatures.
type feature struct {
	days              float64 // before the start, when it is created
	actor             string
	name, description string
	tags              string // separated by spaces
	variants          string // separated by " | ", each with a payload or without
	fallback          string // the default variant, "" for none
	rollout           string // its variant, "" for none; sampleChanges set the proportion
}

var sampleFeatures = []feature{
	{19.50, ci, "checkout.one-page", "The checkout on one page.", "checkout growth", "A | B", off, "A"},
	{19.48, mara, "checkout.apple-pay", "Apple Pay beside cards.", "checkout payments mobile", "A | B", "A", ""},
	{16.10, priya, "checkout.gift-cards", "Pay with a gift card, in part or in full.", "checkout payments", "on", off, "on"},
	{13.30, jonas, "checkout.address-lookup", "Complete addresses while they are typed.", "checkout", `A {"provider": "open-address", "after": 3} | B {"provider": "postal", "after": 5}`, "A", "B"},
	{19.44, ci, "checkout.split-payment", "Pay one order with two cards.", "checkout payments", "on", off, "on"},

	{19.42, ci, "search.semantic", "By meaning instead of by words.", "search ml", "A | B | C", "A", "B"},
	{17.20, jonas, "search.typo-tolerance", "Find what is misspelt.", "search", `A {"edits": 1} | B {"edits": 2}`, "A", ""},
	{12.60, jonas, "search.facets-v2", "Facets that count before they filter.", "search", "on", off, "on"},
	{19.38, ci, "search.recent", "Recent searches below the field.", "search ui", "on", off, "on"},

	{14.90, jonas, "billing.invoices-v2", "Invoices with a line for each seat.", "billing", "on", off, "on"},
	{19.34, priya, "billing.usage-meter", "What has been used this month, on the first page.", "billing growth", "A | B | C", "A", "B"},
	{11.70, priya, "billing.proration", "Charge for the days that are left of a month.", "billing", "on", off, "on"},
	{19.30, ci, "billing.tax-engine", "The calculation of taxes, old and new.", "billing compliance", `old {"url": "https://tax.example.com/v1"} | new {"url": "https://tax.example.com/v2"}`, "old", "new"},
	{15.50, mara, "billing.dunning-mails", "Friendlier reminders of unpaid invoices.", "billing mail", "A | B | C", "A", ""},

	{16.40, ci, "reports.export-parquet", "Reports as Parquet files.", "reports data", "A", "A", ""},
	{19.24, release, "reports.live-tiles", "Tiles that follow the data.", "reports", "on", off, "on"},
	{18.30, priya, "reports.scheduled", "Reports by mail each Monday.", "reports mail", "on", off, "on"},
	{10.20, jonas, "reports.cohorts", "Customers by the month in which they came.", "reports data", "on", off, "on"},

	{19.18, release, "editor.comments", "Comments beside the text.", "editor collaboration", "off | inline | threads", off, "threads"},
	{13.10, priya, "editor.offline", "Write without a network.", "editor", "A | B", "A", ""},
	{9.60, priya, "editor.tables-v2", "Tables with merged cells.", "editor", "on", off, "on"},
	{18.80, jonas, "editor.slash-menu", "A menu at the slash key.", "editor ui", "on", off, "on"},
	{19.10, ci, "editor.spellcheck", "Our own spell checker; browsers have a better one.", "editor", "on", off, ""},

	{17.90, ci, "mobile.push-digest", "One notification a day instead of many.", "mobile mail", "morning | evening", "morning", ""},
	{15.10, mara, "mobile.biometric", "Sign in with a finger or a face.", "mobile security", "A | B", off, "A"},
	{19.04, release, "mobile.dark-mode", "Dark colours at night.", "mobile ui", "on", off, "on"},
	{8.40, mara, "mobile.widgets", "Numbers on the home screen.", "mobile", "on", off, ""},

	{18.60, priya, "api.rate-limits-v2", "Limits by cost instead of by request.", "api", `v1 {"requests": 600} | v2 {"units": 10000, "burst": 500}`, "v1", "v2"},
	{12.20, jonas, "api.graphql", "The API as a graph.", "api beta", "on", "", ""},
	{7.80, jonas, "api.webhooks-v3", "Signed webhooks with retries.", "api", "on", off, "on"},
	{19.00, ci, "api.idempotency-keys", "A request that is sent twice counts once.", "api", "on", off, "on"},
	{16.90, priya, "api.page-size", "How many items a page of a list has.", "api tuning", `small {"items": 50} | medium {"items": 200} | large {"items": 1000}`, "medium", "large"},

	{14.20, mara, "ui.new-nav", "Navigation on the left.", "ui growth", "A | B", "A", "B"},
	{18.10, jonas, "ui.density", "How close rows are.", "ui", `cosy {"row": 56} | compact {"row": 40} | dense {"row": 32}`, "cosy", "compact"},
	{6.70, mara, "ui.banner", "A line on top of every page.", "ui mail", `maintenance {"text": "Maintenance on Sunday, 06:00 to 07:00 UTC", "level": "info"} | survey {"text": "Two minutes for a survey?", "link": "https://example.com/survey"}`, off, "survey"},
	{18.00, release, "ui.keyboard-help", "All keys at the question mark.", "ui", "on", off, "on"},
	{19.02, ci, "ui.holiday-theme", "Snow on the first page.", "ui", "on", off, "on"},

	{17.10, priya, "ai.reply-drafts", "A draft of each answer.", "ai support", `plain {"tone": "plain"} | warm {"tone": "warm"} | brief {"tone": "brief", "sentences": 3}`, off, "plain"},
	{10.90, priya, "ai.summaries", "Long threads in five lines.", "ai", "on", off, "on"},
	{15.90, jonas, "ai.model", "The model behind all that writes.", "ai tuning", `small {"model": "s-2", "temperature": 0.2} | large {"model": "l-2", "temperature": 0.2} | next {"model": "l-3-preview", "temperature": 0.1}`, "small", "large"},
	{5.30, jonas, "ai.translate", "Translate what customers write.", "ai support", "on", off, ""},
}

// sampleChanges is what happened before and after the features were created, by topic.
func sampleChanges(now time.Time) []event {
	period := func(name, description string, start, end float64, groups ...api.CreateTestGroup) api.CreateABTest {
		return api.CreateABTest{
			Name: name, Description: description, Groups: groups,
			Start: before(now, -start).Truncate(time.Hour), End: before(now, -end).Truncate(time.Hour),
		}
	}
	share := func(name string, proportion float64) api.CreateTestGroup {
		return api.CreateTestGroup{Name: name, Proportion: &proportion}
	}
	return []event{
		{19.90, release, "", addBuckets(400)},
		{19.88, mara, "", addGroup("staff", 100)},
		{19.86, mara, "", addGroup("beta", 10)},
		{19.84, mara, "", addGroup("enterprise", 5)},
		{19.82, mara, "", addGroup("friends", 0)},
		{19.80, mara, "", addGroup("mobile-testers", 0)},
		{19.70, ci, "from the billing system", importSubjects},
		{12.10, ci, "signed on Tuesday", addSubject("northwind-logistics", 8900)},
		{12.05, jonas, "", join("enterprise", "northwind-logistics")},
		{7.60, ci, "from the billing system", setWeight("globex-retail", 9200)},
		{5.90, jonas, "asked to try what comes", join("beta", "kestrel-air", "orchard-media")},
		{2.20, jonas, "too much at once", leave("beta", "kestrel-air")},

		{19.46, mara, "our first guests", override("friends", sampleFeature, "B")},
		{18.97, mara, "a few first", rollOut(sampleFeature, 0.05)},
		{11.90, mara, "orders are as before", rollOut(sampleFeature, 0.1)},
		{4.83, mara, "errors are flat since Monday", rollOut(sampleFeature, 0.25)},
		{3.20, priya, "texts come after the rollout has settled", testOf(sampleFeature,
			period("one-page-copy", "Shorter texts on the one page.", 12, 26, share("control", 0.5), share("short", 0.5)), "A", "B")},

		{6.90, mara, "the button has moved twice already: measure it", testOf("checkout.apple-pay",
			period("checkout-pay", "Apple Pay first, or cards first.", -6, 5, share("control", 0.5), share("apple-first", 0.5)), "A", "B")},
		{15.60, priya, "after the check by finance", rollOut("checkout.gift-cards", 0.2)},
		{10.30, priya, "support has its answers ready", rollOut("checkout.gift-cards", 0.5)},
		{2.40, priya, "no case in a week", rollOut("checkout.gift-cards", 0.75)},
		{9.10, jonas, "half the price of the first provider", rollOut("checkout.address-lookup", 0.3)},
		{1.30, jonas, "the other provider is slow in the evening", rollOut("checkout.address-lookup", 0.15)},
		{18.70, ci, "", rollOut("checkout.split-payment", 0.1)},
		{8.20, mara, "used by four customers in a year", archive("checkout.split-payment")},

		{18.90, priya, "before it is for everybody", testOf("search.semantic",
			period("semantic-rank", "Does ranking by meaning sell more?", -18.5, -6, share("control", 0.5), share("semantic", 0.5)), "A", "B")},
		{18.20, jonas, "we try it first", override("staff", "search.semantic", "C")},
		{17.80, jonas, "beta customers asked for it", override("beta", "search.semantic", "C")},
		{17.70, jonas, "asked for stable results", override("friends", "search.semantic", "A")},
		{5.60, priya, "semantic-rank: 3.1 % more orders", rollOut("search.semantic", 1)},
		{2.90, priya, "the next model", testOf("search.semantic",
			period("semantic-rank-2", "The model of November against that of May.", 2, 16, share("control", 0.8), share("next", 0.2)), "B", "C")},
		{11.30, jonas, "counts agree with the reports", rollOut("search.facets-v2", 0.4)},
		{18.40, release, "release 2.31", rollOut("search.recent", 1)},

		{12.80, jonas, "start of the month is over", rollOut("billing.invoices-v2", 0.25)},
		{4.30, jonas, "totals differ by a cent for two customers", rollOut("billing.invoices-v2", 0.1)},
		{17.60, priya, "half first, for the load of its query", rollOut("billing.usage-meter", 0.5)},
		{13.80, priya, "the query takes 8 ms", rollOut("billing.usage-meter", 1)},
		{2.60, mara, "support hears both words", testOf("billing.usage-meter",
			period("meter-wording", "“Used” or “left”?", -2, 12, share("used", 0.5), share("left", 0.5)), "B", "C")},
		{7.30, priya, "a handful of customers, watched by hand", rollOut("billing.proration", 0.01)},
		{16.20, mara, "finance has signed", rollOut("billing.tax-engine", 1)},
		{6.20, priya, "their contracts name the old rules", override("enterprise", "billing.tax-engine", "old")},

		{17.40, release, "release 2.32", rollOut("reports.live-tiles", 0.5)},
		{3.70, jonas, "they load the database too much", switchOff("reports.live-tiles")},
		{17.30, priya, "", rollOut("reports.scheduled", 0.9)},
		{1.15, release, "", rollOut("reports.scheduled", 1)},
		{1.11, mara, "not before the invoices are out", revertLast},
		{6.40, jonas, "memory is fine", rollOut("reports.cohorts", 0.35)},

		{18.50, release, "release 2.31", rollOut("editor.comments", 0.25)},
		{14.60, release, "release 2.33", rollOut("editor.comments", 1)},
		{14.40, priya, "", override("staff", "editor.comments", "inline")},
		{14.30, priya, "they test the other editor", override("beta", "editor.comments", "off")},
		{12.90, priya, "", testOf("editor.offline",
			period("offline-cache", "Keep the last ten documents.", -12.5, 1, share("control", 0.9), share("cache", 0.1)), "A", "B")},
		{8.10, priya, "conflicts when two devices come back", stop("offline-cache")},
		{5.10, priya, "pasting from spreadsheets works", rollOut("editor.tables-v2", 0.6)},
		{0.40, priya, "no report since Sunday", rollOut("editor.tables-v2", 0.8)},
		{15.20, jonas, "", rollOut("editor.slash-menu", 1)},
		{16.60, ci, "browsers do it", archive("editor.spellcheck")},

		{14.10, mara, "", testOf("mobile.push-digest",
			period("digest-hour", "Is a digest read in the evening?", -14, 3, share("morning", 0.5), share("evening", 0.5)), "morning", "evening")},
		{10.05, ci, "the provider throttles us", switchOff("mobile.push-digest")},
		{14.80, mara, "", override("mobile-testers", "mobile.biometric", "B")},
		{14.70, mara, "", override("staff", "mobile.biometric", "A")},
		{8.60, mara, "in both shops since Tuesday", rollOut("mobile.biometric", 0.05)},
		{17.50, release, "", rollOut("mobile.dark-mode", 1)},
		{7.10, mara, "", override("mobile-testers", "mobile.widgets", "on")},

		{17.00, priya, "clients know it since October", rollOut("api.rate-limits-v2", 0.1)},
		{9.30, priya, "two clients adapted", rollOut("api.rate-limits-v2", 0.25)},
		{5.05, priya, "no complaint in four days", rollOut("api.rate-limits-v2", 0.5)},
		{11.10, jonas, "by invitation", override("beta", "api.graphql", "on")},
		{3.40, jonas, "", rollOut("api.webhooks-v3", 0.02)},
		{16.50, release, "", rollOut("api.idempotency-keys", 1)},
		{12.40, priya, "", rollOut("api.page-size", 0.2)},
		{11.50, priya, "asked for by contoso-bank", override("enterprise", "api.page-size", "large")},

		{9.90, mara, "", rollOut("ui.new-nav", 0.3)},
		{1.80, mara, "icons alone are a riddle to some", testOf("ui.new-nav",
			period("nav-labels", "Words below the icons.", 5, 19, share("control", 0.5), share("labels", 0.5)), "A", "B")},
		{16.00, jonas, "", rollOut("ui.density", 0.4)},
		{2.10, mara, "the survey is over", switchOff("ui.banner")},
		{16.80, release, "", rollOut("ui.keyboard-help", 1)},
		{10.60, mara, "until next winter", archive("ui.holiday-theme")},

		{13.60, priya, "the budget allows it", rollOut("ai.reply-drafts", 0.2)},
		{9.40, priya, "the tone was a matter of taste so far", testOf("ai.reply-drafts",
			period("drafts-tone", "Which tone do customers answer?", -9, 2, share("plain", 0.4), share("warm", 0.3), share("brief", 0.3)), "plain", "warm", "brief")},
		{4.10, priya, "95 % of the reviewed ones are right", rollOut("ai.summaries", 0.45)},
		{0.90, priya, "wrong names in two summaries", switchOff("ai.summaries")},
		{0.15, priya, "mended: names are copied, not written", switchOn("ai.summaries")},
		{13.90, jonas, "", override("staff", "ai.model", "next")},
		{3.90, jonas, "the large one costs half since November", rollOut("ai.model", 0.3)},
		{4.60, jonas, "", override("staff", "ai.translate", "on")},
		{15.30, mara, "C reads best", setDefault("billing.dunning-mails", "C")},
	}
}

// sampleCustomers are the subjects that have names. Those in two groups get from each
// another variant of a feature: 42 of search.semantic, internal-qa of editor.comments.
var sampleCustomers = []struct {
	id     string
	weight int64
	groups []string
}{
	{"globex-retail", 7300, []string{"enterprise"}},
	{"contoso-bank", 8100, []string{"enterprise"}},
	{"blue-harbor-bank", 2900, []string{"enterprise"}},
	{"kestrel-air", 2600, []string{"enterprise"}},
	{"orchard-media", 1400, nil},
	{"tall-pine-clinic", 900, []string{"beta"}},
	{"42", 640, []string{"friends", "beta"}},
	{"internal-demo", 12, []string{"staff"}},
	{"internal-qa", 9, []string{"staff", "beta"}},
	{"internal-support", 7, []string{"staff", "mobile-testers"}},
}

// sampleAccounts is the number of subjects without a name: 2,000 in all, with the one that
// joins later.
const sampleAccounts int64 = 1989

// sampleLines are the customers with names, and accounts: a few large ones and a long
// tail of small ones.
func sampleLines() iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		for _, c := range sampleCustomers {
			if !yield(api.ImportLine{ID: c.id, Weight: &c.weight, Groups: c.groups}, nil) {
				return
			}
		}
		for i := range sampleAccounts {
			weight := 92_000 / (i + 35)
			// 7919 is a prime: no number comes twice.
			line := api.ImportLine{ID: fmt.Sprintf("acct-%d", 10_000+(2345+7919*i)%90_000), Weight: &weight}
			if i%49 == 5 {
				line.Groups = append(line.Groups, "friends")
			}
			if i%25 == 3 {
				line.Groups = append(line.Groups, "beta")
			}
			if i%90 == 17 {
				line.Groups = append(line.Groups, "mobile-testers")
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}
