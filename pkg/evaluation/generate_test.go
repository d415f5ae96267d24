package evaluation_test

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/model"
)

var epoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// hour is a moment near which the drawn tests begin and end.
func hour(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }

// configuration draws a valid configuration of up to 5 features.
func configuration(t *rapid.T) *model.Configuration {
	c := &model.Configuration{Buckets: rapid.IntRange(0, 130).Draw(t, "buckets")}
	for i := range rapid.IntRange(0, 5).Draw(t, "features") {
		c.Features = append(c.Features, drawFeature(t, fmt.Sprintf("feature-%d", i), c.Buckets))
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "tests") {
		test := drawTest(t, fmt.Sprintf("test-%d", i), c)
		overlaps := func(other model.ABTest) bool { return len(model.Overlap(&test, &other)) > 0 }
		if len(test.Features()) > 0 && !slices.ContainsFunc(c.Tests, overlaps) {
			c.Tests = append(c.Tests, test)
		}
	}
	for i, id := range rapid.Permutation([]model.GroupID{1, 2, 3, 4}).Draw(t, "groups") {
		g := model.Group{ID: id, Name: fmt.Sprintf("group-%d", i), Priority: rapid.IntRange(-1, 1).Draw(t, "priority")}
		g.Overrides = map[string]string{}
		for _, f := range c.Features {
			if len(f.Variants) > 0 && rapid.Bool().Draw(t, "overridden") {
				g.Overrides[f.Name] = drawVariant(t, f)
			}
		}
		c.Groups = append(c.Groups, g)
	}
	return c
}

func drawFeature(t *rapid.T, name string, buckets int) model.Feature {
	f := model.Feature{Name: name, Off: rapid.IntRange(0, 5).Draw(t, "off") == 5, Archived: rapid.IntRange(0, 5).Draw(t, "archived") == 5}
	for _, v := range []string{"A", "B", model.DisablingVariant} {
		if rapid.Bool().Draw(t, "has "+v) {
			f.Variants = append(f.Variants, model.Variant{Name: v})
		}
	}
	if len(f.Variants) == 0 {
		return f
	}
	if rapid.Bool().Draw(t, "has default") {
		f.Default = drawVariant(t, f)
	}
	if rapid.Bool().Draw(t, "has rollout") {
		f.Rollout = &model.Rollout{Variant: drawVariant(t, f)}
		for b := range model.BucketID(buckets) {
			if rapid.Bool().Draw(t, "assigned") {
				f.Rollout.Buckets = append(f.Rollout.Buckets, b+1)
			}
		}
	}
	return f
}

func drawTest(t *rapid.T, name string, c *model.Configuration) model.ABTest {
	start := rapid.IntRange(0, 9).Draw(t, "start")
	test := model.ABTest{Name: name, Start: hour(start), End: hour(start + rapid.IntRange(0, 5).Draw(t, "hours"))}
	test.Groups = make([]model.TestGroup, rapid.IntRange(2, 4).Draw(t, "test groups"))
	for g := range test.Groups {
		test.Groups[g] = model.TestGroup{Name: fmt.Sprintf("arm-%d", g), Variants: map[string]string{}}
	}
	for _, f := range c.Features {
		if len(f.Variants) == 0 || !rapid.Bool().Draw(t, "under test") {
			continue
		}
		for g := range test.Groups {
			test.Groups[g].Variants[f.Name] = drawVariant(t, f)
		}
	}
	for b := range model.BucketID(c.Buckets) {
		g := &test.Groups[rapid.IntRange(0, len(test.Groups)-1).Draw(t, "arm")]
		g.Buckets = append(g.Buckets, b+1)
	}
	return test
}

func drawVariant(t *rapid.T, f model.Feature) string {
	return rapid.SampledFrom(f.Variants).Draw(t, "variant").Name
}

// class draws a class; group 9 is one that was deleted.
func class(t *rapid.T, buckets int) model.Class {
	var groups []model.GroupID
	for _, id := range []model.GroupID{1, 2, 3, 4, 9} {
		if rapid.Bool().Draw(t, "in group") {
			groups = append(groups, id)
		}
	}
	return model.Class{Bucket: model.BucketID(rapid.IntRange(0, buckets).Draw(t, "bucket")), Groups: groups}
}

// moment draws a time at, just before or just after a full hour.
func moment(t *rapid.T) time.Time {
	at := hour(rapid.IntRange(-1, 16).Draw(t, "hour"))
	return at.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "nanoseconds")))
}
