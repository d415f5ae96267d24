package writer

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddABTest adds a test and draws the group of every bucket. A test that starts in the
// past is live at once, or ended. Times are stored to the microsecond. Fails with
// abtest_exists, feature_not_found, feature_archived, variant_not_found or
// abtest_overlap, which names the other test, the features and the period.
func (w *Writer) AddABTest(ctx context.Context, create api.CreateABTest, opts ...Option) (Result[api.ABTest], error) {
	test, err := newTest(create)
	if err != nil {
		return Result[api.ABTest]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.ABTest, error) {
		if err := c.match(absent); err != nil {
			return api.ABTest{}, err
		}
		return c.addTest(ctx, test)
	})
}

func (c *change) addTest(ctx context.Context, test *model.ABTest) (api.ABTest, error) {
	if err := c.checkTest(ctx, test); err != nil {
		return api.ABTest{}, err
	}
	buckets, err := c.allBuckets(ctx)
	if err != nil {
		return api.ABTest{}, err
	}
	proportions := make([]float64, len(test.Groups))
	for i, g := range test.Groups {
		proportions[i] = g.Proportion
	}
	test.Salt, test.Revision = c.drawSalt(), c.tx.Revision
	draw := bucketing.Split(test.Salt, buckets, proportions)
	for i, assigned := range draw.Groups {
		test.Groups[i].Buckets = assigned
	}
	test.Design = &model.Design{Number: model.DrawnDesign, Aside: draw.Aside, Chance: draw.Chance}
	if err := c.tx.InsertABTest(ctx, test, buckets); err != nil {
		return api.ABTest{}, err
	}
	after := testForm(test, buckets, c.tx.Now)
	return after, c.note(created, testResource.of(test.Name), nil, after)
}

// newTest returns the requested test, checked as far as possible without the database.
func newTest(create api.CreateABTest) (*model.ABTest, error) {
	var f model.Faults
	test := &model.ABTest{
		Name: create.Name, Description: create.Description,
		Start: create.Start.UTC().Truncate(time.Microsecond), End: create.End.UTC().Truncate(time.Microsecond),
	}
	f.Check("body.description", model.CheckDescription(test.Description))
	checkTime(&f, "body.start", test.Start)
	checkTime(&f, "body.end", test.End)
	for i, g := range create.Groups {
		proportion := math.NaN() // left out
		if g.Proportion != nil {
			proportion = *g.Proportion
			f.Check(fmt.Sprintf("body.groups[%d].proportion", i), model.CheckProportion(proportion))
		}
		for feature := range g.Variants {
			f.Check(fmt.Sprintf("body.groups[%d].variants", i), model.CheckName(feature))
		}
		test.Groups = append(test.Groups, model.TestGroup{Name: g.Name, Proportion: proportion, Variants: maps.Clone(g.Variants)})
	}
	if len(f) > 0 {
		return nil, f.Err()
	}
	test.Validate(&f)
	return test, f.Err()
}

func checkTime(f *model.Faults, location string, at time.Time) {
	f.Check(location, model.CheckTime(at))
}

// checkTest checks a new test against what is stored.
func (c *change) checkTest(ctx context.Context, test *model.ABTest) error {
	tests, err := c.tx.AllABTests(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(tests, func(other model.ABTest) bool { return other.Name == test.Name }) {
		return model.Errorf(model.ABTestExists, "there is a test %q already", test.Name)
	}
	if err := c.checkTestVariants(ctx, test); err != nil {
		return err
	}
	return c.refuseOverlap(test, tests)
}

// refuseOverlap fails with abtest_overlap if another test shares a feature and a moment
// with this one.
func (c *change) refuseOverlap(test *model.ABTest, tests []model.ABTest) error {
	if c.overlapsLast {
		c.moved = append(c.moved, test.Name)
		return nil
	}
	var reasons []string
	var conflicts []model.Conflict
	for i := range tests {
		other := &tests[i]
		if features := model.Overlap(test, other); len(features) > 0 && other.Name != test.Name {
			conflicts = append(conflicts, model.Conflict{Test: other.Name, Features: features, Start: other.Start, End: other.End})
			reasons = append(reasons, fmt.Sprintf("test %q names %s too, and both would be live from %s to %s", other.Name,
				strings.Join(features, ", "), latest(test.Start, other.Start), earliest(test.End, other.End)))
		}
	}
	if len(conflicts) == 0 {
		return nil
	}
	err := model.Errorf(model.ABTestOverlap, "%s", strings.Join(reasons, "; "))
	err.Conflicts = conflicts
	return err
}

// refuseOverlaps is refuseOverlap for the tests that were left to it.
func (c *change) refuseOverlaps(ctx context.Context) error {
	c.overlapsLast = false
	if len(c.moved) == 0 {
		return nil
	}
	tests, err := c.tx.AllABTests(ctx)
	if err != nil {
		return err
	}
	for i := range tests {
		if test := &tests[i]; slices.Contains(c.moved, test.Name) {
			if err := c.refuseOverlap(test, tests); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTestVariants fails if variants of a test do not exist, and names all of them.
func (c *change) checkTestVariants(ctx context.Context, test *model.ABTest) error {
	missing := &model.Error{Code: model.VariantNotFound, Detail: "the test names variants that do not exist"}
	for _, name := range test.Features() {
		f, err := c.tx.Feature(ctx, name)
		if model.CodeOf(err) == model.FeatureNotFound {
			return &model.Error{Code: model.FeatureNotFound, Detail: fmt.Sprintf("there is no feature %q", name), Fields: []model.FieldError{
				{Location: "body.groups[0].variants." + name, Message: "is no feature"},
			}}
		}
		if err == nil {
			err = refuseArchived(f)
		}
		if err != nil {
			return err
		}
		for i, g := range test.Groups {
			if _, err := variantOf(f, g.Variants[name]); err != nil {
				missing.Fields = append(missing.Fields, model.FieldError{
					Location: fmt.Sprintf("body.groups[%d].variants.%s", i, name), Message: err.Error(),
				})
			}
		}
	}
	if len(missing.Fields) > 0 {
		return missing
	}
	return nil
}

func latest(a, b time.Time) string {
	if a.Before(b) {
		a = b
	}
	return a.Format(time.RFC3339Nano)
}

func earliest(a, b time.Time) string {
	if b.Before(a) {
		a = b
	}
	return a.Format(time.RFC3339Nano)
}

// PatchABTest changes the given fields. The start can change until the test starts, the
// end until it ends, to now or later. Fails with abtest_not_found or abtest_overlap.
func (w *Writer) PatchABTest(ctx context.Context, name string, patch api.PatchABTest, opts ...Option) (Result[api.ABTest], error) {
	var f model.Faults
	f.Check("path.test", model.CheckName(name))
	if patch.Start != nil {
		checkTime(&f, "body.start", patch.Start.UTC())
	}
	if patch.End != nil {
		checkTime(&f, "body.end", patch.End.UTC())
	}
	if patch.Description != nil {
		f.Check("body.description", model.CheckDescription(*patch.Description))
	}
	if err := f.Err(); err != nil {
		return Result[api.ABTest]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.ABTest, error) {
		test, err := c.matchTest(ctx, name)
		if err != nil {
			return api.ABTest{}, err
		}
		return c.patchTest(ctx, test, test.Owner, patch)
	})
}

func (c *change) patchTest(ctx context.Context, test *model.ABTest, owner string, patch api.PatchABTest) (api.ABTest, error) {
	buckets, err := c.allBuckets(ctx)
	if err != nil {
		return api.ABTest{}, err
	}
	before := testForm(test, buckets, c.tx.Now)
	ownerChanges := test.Owner != owner
	test.Owner = owner
	if patch.Description != nil {
		test.Description = *patch.Description
	}
	if err := c.movePeriod(ctx, test, patch); err != nil {
		return api.ABTest{}, err
	}
	if test.Start.Equal(before.Start) && test.End.Equal(before.End) && test.Description == before.Description && !ownerChanges {
		return before, nil
	}
	return c.updateTest(ctx, updated, test, before, buckets)
}

// movePeriod changes the part of a test's period that lies in the future.
func (c *change) movePeriod(ctx context.Context, test *model.ABTest, patch api.PatchABTest) error {
	var f model.Faults
	start, end, now := test.Start, test.End, c.tx.Now
	if patch.Start != nil {
		test.Start = patch.Start.UTC().Truncate(time.Microsecond)
	}
	if patch.End != nil {
		test.End = patch.End.UTC().Truncate(time.Microsecond)
	}
	startMoves, endMoves := !test.Start.Equal(start), !test.End.Equal(end)
	if !startMoves && !endMoves {
		return nil
	}
	if startMoves && !now.Before(start) {
		f.Addf("body.start", "cannot change any more, the test started at %s", start.Format(time.RFC3339Nano))
	}
	switch {
	case endMoves && !now.Before(end):
		f.Addf("body.end", "cannot change any more, the test ended at %s", end.Format(time.RFC3339Nano))
	case endMoves && test.End.Before(now):
		f.Addf("body.end", "must not be before now, which is %s, is %s", now.Format(time.RFC3339Nano), test.End.Format(time.RFC3339Nano))
	case !test.End.After(test.Start):
		f.Addf("body.end", "must be after start, which is %s, is %s", test.Start.Format(time.RFC3339Nano), test.End.Format(time.RFC3339Nano))
	}
	if err := f.Err(); err != nil {
		return err
	}
	tests, err := c.tx.AllABTests(ctx)
	if err != nil {
		return err
	}
	return c.refuseOverlap(test, tests)
}

// updateTest stores the period and the description of a test.
func (c *change) updateTest(ctx context.Context, action string, test *model.ABTest, before api.ABTest, buckets []model.Bucket) (api.ABTest, error) {
	test.Revision = c.tx.Revision
	if err := c.tx.UpdateABTest(ctx, test); err != nil {
		return api.ABTest{}, err
	}
	after := testForm(test, buckets, c.tx.Now)
	return after, c.note(action, testResource.of(test.Name), before, after)
}

// StopABTest ends a live test now. Fails with abtest_not_found, or with
// validation_failed if the test is not live. A scheduled test can be deleted instead.
func (w *Writer) StopABTest(ctx context.Context, name string, opts ...Option) (Result[api.ABTest], error) {
	if err := checkPath("test", model.CheckName(name)); err != nil {
		return Result[api.ABTest]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.ABTest, error) {
		test, err := c.matchTest(ctx, name)
		if err != nil {
			return api.ABTest{}, err
		}
		return c.stopTest(ctx, test)
	})
}

func (c *change) stopTest(ctx context.Context, test *model.ABTest) (api.ABTest, error) {
	switch test.State(c.tx.Now) {
	case model.Scheduled:
		return api.ABTest{}, model.Errorf(model.ValidationFailed,
			"test %q is not live: it starts at %s. To prevent that, delete it", test.Name, test.Start.Format(time.RFC3339))
	case model.Ended:
		return api.ABTest{}, model.Errorf(model.ValidationFailed,
			"test %q is not live: it ended at %s", test.Name, test.End.Format(time.RFC3339))
	}
	buckets, err := c.allBuckets(ctx)
	if err != nil {
		return api.ABTest{}, err
	}
	before := testForm(test, buckets, c.tx.Now)
	test.End = c.tx.Now
	return c.updateTest(ctx, stopped, test, before, buckets)
}

// DeleteABTest removes a test. Fails with abtest_not_found, or with abtest_live
// while it is live.
func (w *Writer) DeleteABTest(ctx context.Context, name string, opts ...Option) (Result[api.ABTest], error) {
	if err := checkPath("test", model.CheckName(name)); err != nil {
		return Result[api.ABTest]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.ABTest, error) {
		test, err := c.matchTest(ctx, name)
		if err != nil {
			return api.ABTest{}, err
		}
		return c.deleteTest(ctx, test)
	})
}

func (c *change) deleteTest(ctx context.Context, test *model.ABTest) (api.ABTest, error) {
	if test.State(c.tx.Now) == model.Live {
		return api.ABTest{}, model.Errorf(model.ABTestLive,
			"test %q is live until %s: stop it first", test.Name, test.End.Format(time.RFC3339))
	}
	buckets, err := c.allBuckets(ctx)
	if err != nil {
		return api.ABTest{}, err
	}
	if err := c.tx.DeleteABTest(ctx, test.Name); err != nil {
		return api.ABTest{}, err
	}
	before := testForm(test, buckets, c.tx.Now)
	return before, c.note(deleted, testResource.of(test.Name), before, nil)
}

// moveFeature moves an ended test's references to a feature to the test's record, or
// back: the action is recorded or restored.
func (c *change) moveFeature(ctx context.Context, test, feature, action string) error {
	before, err := testOf(ctx, c.tx, test)
	if err != nil {
		return err
	}
	move := c.tx.RecordFeature
	if action == restored {
		move = c.tx.RestoreFeature
	}
	if err := move(ctx, test, feature); err != nil {
		return err
	}
	after, err := testOf(ctx, c.tx, test)
	if err != nil {
		return err
	}
	return c.note(action, testResource.of(test), before, after)
}

// matchTest loads the test that a write is about, and matches its version.
func (c *change) matchTest(ctx context.Context, name string) (*model.ABTest, error) {
	test, err := c.tx.ABTest(ctx, name)
	if err != nil {
		return nil, err
	}
	return test, c.match(test.Revision)
}

// ABTest reads one test. Fails with abtest_not_found.
func (w *Writer) ABTest(ctx context.Context, name string) (Result[api.ABTest], error) {
	if err := checkPath("test", model.CheckName(name)); err != nil {
		return Result[api.ABTest]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (api.ABTest, int64, error) {
		test, err := testOf(ctx, tx, name)
		return test, test.Revision, err
	})
}

// testOf reads a test in the form of the contract. Fails with abtest_not_found.
func testOf(ctx context.Context, tx *postgres.Tx, name string) (api.ABTest, error) {
	test, err := tx.ABTest(ctx, name)
	if err != nil {
		return api.ABTest{}, err
	}
	buckets, err := tx.Buckets(ctx)
	if err != nil {
		return api.ABTest{}, err
	}
	return testForm(test, buckets, tx.Now), nil
}

// ABTestFilter selects the tests that ABTests lists. The zero value selects all.
type ABTestFilter struct {
	State   model.TestState
	Feature string    // a feature that the test names, or named before it was deleted
	From    time.Time // only tests that end after this
	Until   time.Time // only tests that start before this
}

// stored returns the filter for the database.
func (f ABTestFilter) stored() (postgres.ABTestFilter, error) {
	var faults model.Faults
	if !slices.Contains([]model.TestState{"", model.Scheduled, model.Live, model.Ended}, f.State) {
		faults.Addf("query.state", "must be %s, %s or %s, is %q", model.Scheduled, model.Live, model.Ended, f.State)
	}
	if f.Feature != "" {
		faults.Check("query.feature", model.CheckName(f.Feature))
	}
	checkYear(&faults, "query.from", f.From)
	checkYear(&faults, "query.until", f.Until)
	if !f.From.IsZero() && !f.Until.IsZero() && !f.Until.After(f.From) {
		faults.Addf("query.until", "must be after from, which is %s, is %s", f.From.Format(time.RFC3339Nano), f.Until.Format(time.RFC3339Nano))
	}
	return postgres.ABTestFilter{State: f.State, Feature: f.Feature, From: f.From.UTC(), Until: f.Until.UTC()}, faults.Err()
}

// ABTests lists the tests in name order.
func (w *Writer) ABTests(ctx context.Context, filter ABTestFilter, page Page) (Result[api.Page[api.ABTest]], error) {
	f, err := filter.stored()
	if err != nil {
		return Result[api.Page[api.ABTest]]{}, err
	}
	f.After = page.After
	return list(ctx, w, page, func(t *model.ABTest) string { return t.Name },
		func(tx *postgres.Tx, limit int) iter.Seq2[*model.ABTest, error] { return tx.ABTests(ctx, f, limit) },
		eachWithBuckets(ctx, func(tx *postgres.Tx, t *model.ABTest, buckets []model.Bucket) api.ABTest {
			return testForm(t, buckets, tx.Now)
		}))
}

func testForm(t *model.ABTest, buckets []model.Bucket, now time.Time) api.ABTest {
	form := api.ABTest{
		Name: t.Name, Description: t.Description, Start: t.Start, End: t.End, State: t.State(now),
		Groups: make([]api.TestGroup, len(t.Groups)), Owner: orNil(t.Owner), Revision: t.Revision, DeletedFeatures: t.DeletedFeatures(),
		Design: t.Design.Number, Aside: append([]model.BucketID{}, t.Design.Aside...), Warnings: testWarnings(t),
	}
	for i, g := range t.Groups {
		weight, _, proportion := bucketing.Effective(buckets, g.Buckets)
		form.Groups[i] = api.TestGroup{
			Name: g.Name, Proportion: g.Proportion, Variants: map[string]string{},
			EffectiveProportion: proportion, EffectiveWeight: weight,
			Buckets: append([]model.BucketID{}, g.Buckets...),
		}
		maps.Copy(form.Groups[i].Variants, g.Variants)
		maps.Copy(form.Groups[i].Variants, g.Record)
		for _, id := range g.Buckets {
			form.Groups[i].Subjects += buckets[id-1].Subjects
		}
		if t.Design.Chance != nil {
			form.Groups[i].Chance = &t.Design.Chance[i]
		}
	}
	return form
}

// Below these limits, the results of a test are not reliable.
const (
	fewBuckets = 20   // of a group
	lowChance  = 0.05 // of a drawn bucket to be in a group
)

// testWarnings returns the reasons why the results of a test are not reliable.
func testWarnings(t *model.ABTest) (warnings []api.Warning) {
	warn := func(code, format string, args ...any) {
		warnings = append(warnings, api.Warning{Code: code, Message: fmt.Sprintf(format, args...)})
	}
	if t.Design.Number == model.GreedyDesign {
		warn("not_drawn", "buckets were assigned by their weight, not by chance: the groups differ before the test begins")
		return warnings
	}
	for i, g := range t.Groups {
		if g.Proportion == 0 {
			continue
		}
		drawn := len(g.Buckets)
		for _, id := range t.Design.Aside {
			if slices.Contains(g.Buckets, id) {
				drawn--
			}
		}
		if drawn < fewBuckets {
			warn("few_buckets", "group %q has %d drawn buckets: with fewer than %d, results are not reliable. "+
				"1,000 buckets are a good number for tests; subjects never move, so add them before the subjects", g.Name, drawn, fewBuckets)
		}
		if t.Design.Chance != nil && t.Design.Chance[i] < lowChance {
			warn("low_chance", "a bucket has the chance %.3g to be in group %q, as heavy buckets were set aside: below %g, results are not reliable",
				t.Design.Chance[i], g.Name, lowChance)
		}
	}
	return warnings
}
