package evaluation_test

import (
	"strings"
	"testing"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestCompileRefuses(t *testing.T) {
	second := func(c *model.Configuration, start, end int) {
		test := c.Tests[0]
		test.Name, test.Start, test.End = "trial2", hour(start), hour(end)
		c.Tests = append(c.Tests, test)
	}
	for _, c := range []struct {
		name   string
		change func(c *model.Configuration)
		want   []string // every fault, in order
	}{
		{"buckets below 0", func(c *model.Configuration) { c.Buckets = -1 }, []string{"there are -1 buckets, not between 0 and 100000"}},
		{"feature twice", func(c *model.Configuration) { c.Features[0].Name = "foobar" }, []string{`features: "foobar" is there twice`}},
		{"features out of order", func(c *model.Configuration) { c.Features[0].Name = "z" }, []string{`features: "foobar" comes after "z", out of name order`}},
		{"variant twice", func(c *model.Configuration) { c.Features[1].Variants[1].Name = "A" }, []string{
			`feature "foobar": variants: "A" is there twice`,
			`test "trial": group "experiment": names the variant "B" of feature "foobar", which does not exist`,
			`group "friends": names the variant "B" of feature "foobar", which does not exist`,
		}},
		{"default", func(c *model.Configuration) { c.Features[2].Default = "off" }, []string{`feature "plain": default: names the variant "off" of feature "plain", which does not exist`}},
		{"rollout variant", func(c *model.Configuration) { c.Features[1].Rollout.Variant = "" }, []string{`feature "foobar": rollout: names the variant "" of feature "foobar", which does not exist`}},
		{"rollout bucket 0", func(c *model.Configuration) { c.Features[1].Rollout.Buckets = []model.BucketID{0} }, []string{`feature "foobar": rollout: bucket 0 is not between 1 and 10`}},
		{"rollout bucket 11", func(c *model.Configuration) { c.Features[1].Rollout.Buckets = []model.BucketID{3, 11} }, []string{`feature "foobar": rollout: bucket 11 is not between 1 and 10`}},
		{"rollout not ascending", func(c *model.Configuration) { c.Features[1].Rollout.Buckets = []model.BucketID{3, 3} }, []string{`feature "foobar": rollout: bucket 3 comes after 3, its buckets must ascend`}},
		{"test twice", func(c *model.Configuration) { second(c, 5, 6); c.Tests[1].Name = "trial" }, []string{`tests: "trial" is there twice`}},
		{"test group twice", func(c *model.Configuration) { c.Tests[0].Groups[1].Name = "control" }, []string{`test "trial": group "control": is there twice`}},
		{"too many test groups", func(c *model.Configuration) { c.Tests[0].Groups = make([]model.TestGroup, 65) }, []string{`test "trial": has 65 groups, more than 64`}},
		{"test groups of other features", func(c *model.Configuration) { c.Tests[0].Groups[1].Variants = map[string]string{"plain": "on"} }, []string{`test "trial": group "experiment": has the features ["plain"], the first group has ["foobar"]`}},
		{"test of unknown feature", func(c *model.Configuration) {
			for g := range c.Tests[0].Groups {
				c.Tests[0].Groups[g].Variants = map[string]string{"gone": "A"}
			}
		}, []string{
			`test "trial": group "control": names the feature "gone", which does not exist`,
			`test "trial": group "experiment": names the feature "gone", which does not exist`,
		}},
		{"test variant", func(c *model.Configuration) { c.Tests[0].Groups[1].Variants["foobar"] = "C" }, []string{`test "trial": group "experiment": names the variant "C" of feature "foobar", which does not exist`}},
		{"bucket in no test group", func(c *model.Configuration) { c.Tests[0].Groups[1].Buckets = []model.BucketID{9} }, []string{`test "trial": bucket 10 is in none of its groups`}},
		{"bucket in two test groups", func(c *model.Configuration) { c.Tests[0].Groups[1].Buckets = []model.BucketID{8, 9, 10} }, []string{`test "trial": group "experiment": bucket 8 is in group "control" too`}},
		{"test buckets not ascending", func(c *model.Configuration) { c.Tests[0].Groups[1].Buckets = []model.BucketID{10, 9} }, []string{`test "trial": group "experiment": bucket 9 comes after 10, its buckets must ascend`}},
		{"overlapping tests", func(c *model.Configuration) { second(c, 1, 3) }, []string{`feature "foobar": tests "trial" and "trial2" overlap from 2025-01-01T01:00:00Z on`}},
		{"tests with the same start", func(c *model.Configuration) { second(c, 0, 1) }, []string{`feature "foobar": tests "trial" and "trial2" overlap from 2025-01-01T00:00:00Z on`}},
		{"group twice", func(c *model.Configuration) { c.Groups[1].Name = "friends" }, []string{`groups: "friends" is there twice`}},
		{"group id twice", func(c *model.Configuration) { c.Groups[1].ID = 1 }, []string{`groups "friends" and "others" have the same id 1`}},
		{"override of unknown feature", func(c *model.Configuration) { c.Groups[1].Overrides = map[string]string{"gone": "A"} }, []string{`group "others": names the feature "gone", which does not exist`}},
		{"override variant", func(c *model.Configuration) { c.Groups[1].Overrides = map[string]string{"bare": "A"} }, []string{`group "others": names the variant "A" of feature "bare", which does not exist`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			configuration := example()
			c.change(configuration)
			r, err := evaluation.Compile(configuration)
			if want := strings.Join(c.want, "\n"); err == nil || err.Error() != want || r != nil {
				t.Errorf("got:\n%v\nwant:\n%s", err, want)
			}
		})
	}
}

func TestCompileAccepts(t *testing.T) {
	for name, change := range map[string]func(c *model.Configuration){
		"nothing": func(c *model.Configuration) { *c = model.Configuration{} },
		"a test right after another": func(c *model.Configuration) {
			next := c.Tests[0]
			next.Name, next.Start, next.End = "trial2", hour(2), hour(4)
			c.Tests = append(c.Tests, next)
		},
		"a test that was stopped before it began, within another": func(c *model.Configuration) {
			stopped := c.Tests[0]
			stopped.Name, stopped.Start, stopped.End = "trial2", hour(1), hour(1)
			c.Tests = append(c.Tests, stopped)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := example()
			change(c)
			if _, err := evaluation.Compile(c); err != nil {
				t.Error(err)
			}
		})
	}
}
