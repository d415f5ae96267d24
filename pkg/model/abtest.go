package model

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// proportionSlack is how far a test's proportions may miss 1, so that thirds
// can be written as decimals.
const proportionSlack = 1e-9

// Validate notes all faults of a test that is to be created, with locations as in
// the request body. Proportions that are all NaN stand for "left out" and become
// equal proportions.
func (t *ABTest) Validate(f *Faults) {
	f.Check("body.name", CheckName(t.Name))
	if !t.End.After(t.Start) {
		f.Addf("body.end", "must be after start")
	}
	if n := len(t.Groups); n < 2 || n > MaxTestGroups {
		f.Addf("body.groups", "must have between 2 and %d groups, has %d", MaxTestGroups, n)
		return
	}
	t.shareEqually()
	sum, seen := 0.0, map[string]bool{}
	for i, g := range t.Groups {
		at := fmt.Sprintf("body.groups[%d]", i)
		f.Check(at+".name", CheckName(g.Name))
		if seen[g.Name] {
			f.Addf(at+".name", "%q is the name of another group of this test", g.Name)
		}
		seen[g.Name] = true
		if math.IsNaN(g.Proportion) {
			f.Addf(at+".proportion", "must be given for every group of the test, or for none")
		} else {
			f.Check(at+".proportion", CheckProportion(g.Proportion))
		}
		sum += g.Proportion
		if len(g.Variants) == 0 {
			f.Addf(at+".variants", "must name a variant for at least one feature")
		}
		for _, feature := range slices.Sorted(maps.Keys(g.Variants)) {
			f.Check(at+".variants."+feature, CheckVariantReference(g.Variants[feature]))
			if _, ok := t.Groups[0].Variants[feature]; !ok {
				f.Addf(at+".variants", "every group must have the same features, %q is not in the first one", feature)
			}
		}
		for _, feature := range slices.Sorted(maps.Keys(t.Groups[0].Variants)) {
			if _, ok := g.Variants[feature]; !ok && len(g.Variants) > 0 {
				f.Addf(at+".variants", "every group must have the same features, %q is missing", feature)
			}
		}
	}
	if math.Abs(sum-1) > proportionSlack {
		f.Addf("body.groups", "the proportions must sum to 1, they sum to %g", sum)
	}
}

func (t *ABTest) shareEqually() {
	given := slices.ContainsFunc(t.Groups, func(g TestGroup) bool { return !math.IsNaN(g.Proportion) })
	if given {
		return
	}
	for i := range t.Groups {
		t.Groups[i].Proportion = 1 / float64(len(t.Groups))
	}
}

// Overlap returns the features that a and b share, if their periods overlap.
func Overlap(a, b *ABTest) []string {
	from, until := a.Start, a.End
	if b.Start.After(from) {
		from = b.Start
	}
	if b.End.Before(until) {
		until = b.End
	}
	if !from.Before(until) {
		return nil
	}
	inB := b.Features()
	return slices.DeleteFunc(a.Features(), func(name string) bool { return !slices.Contains(inB, name) })
}
