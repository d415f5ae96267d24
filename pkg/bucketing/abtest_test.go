package bucketing_test

import (
	"fmt"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
)

// checkCover fails unless every bucket of 1 … buckets is in exactly one group.
func checkCover(t *rapid.T, groups [][]model.BucketID, buckets int) {
	t.Helper()
	for _, g := range groups {
		isSet(t, g, buckets)
	}
	all := slices.Concat(groups...)
	slices.Sort(all)
	if !slices.Equal(all, ids(1, buckets)) {
		t.Fatalf("%v does not have each of 1 … %d once", groups, buckets)
	}
}

// shares are proportions relative to their exact sum, which floats miss.
func shares(proportions []float64) []*big.Rat {
	sum, result := new(big.Rat), make([]*big.Rat, len(proportions))
	for i, p := range proportions {
		result[i] = rat(p)
		sum.Add(sum, result[i])
	}
	for _, r := range result {
		r.Quo(r, sum)
	}
	return result
}

func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		salt, buckets, proportions := salts(t), weighted(weights(t, 40)), proportions(t)
		groups := bucketing.Split(salt, buckets, proportions)
		checkCover(t, groups, len(buckets))
		most, one := new(big.Rat).SetInt64(heaviest(buckets)), big.NewRat(1, 1)
		for g, share := range shares(proportions) {
			weight, total, empty, empties := sums(buckets, groups[g])
			if off := miss(weight, share, total); off.Cmp(most) > 0 {
				t.Fatalf("group %d is off by %s, more than the heaviest bucket of %d", g, off.FloatString(3), heaviest(buckets))
			}
			if off := miss(empty, share, empties); off.Cmp(one) >= 0 {
				t.Fatalf("group %d has %d of %d empty buckets", g, empty, empties)
			}
			if proportions[g] == 0 && len(groups[g]) > 0 {
				t.Fatalf("group %d has proportion 0 and buckets %v", g, groups[g])
			}
		}
	})
}

func TestTestsAreIndependent(t *testing.T) {
	const buckets, pairs = 100, 200
	for _, likeness := range []string{"equal", "nearly equal"} {
		all := make([]int64, buckets)
		for i := range all {
			all[i] = 1000
			if likeness == "nearly equal" {
				all[i] += int64(i)
			}
		}
		shared := 0
		for i := range pairs {
			a := bucketing.Split(fixedSalt(2*i), weighted(all), []float64{0.5, 0.5})
			b := bucketing.Split(fixedSalt(2*i+1), weighted(all), []float64{0.5, 0.5})
			for _, id := range a[0] {
				if slices.Contains(b[0], id) {
					shared++
				}
			}
		}
		within(t, fmt.Sprintf("buckets of %s weight in the first group of two tests", likeness), shared, buckets*pairs, 0.25)
	}
}

func TestHeaviestBucketIsInEitherGroup(t *testing.T) {
	const n = 1000
	first := 0
	for i := range n {
		groups := bucketing.Split(fixedSalt(i), weighted([]int64{1000, 10, 10}), []float64{0.5, 0.5})
		if slices.Contains(groups[0], 1) {
			first++
		}
	}
	within(t, "tests with the heaviest bucket in their first group", first, n, 0.5)
}

func TestSplitEvensOutByLightBuckets(t *testing.T) {
	skewed := make([]int64, 1001)
	for i := range skewed {
		skewed[i] = 1
	}
	skewed[700] = 500
	for i := range 20 {
		buckets := weighted(skewed)
		a, total := bucketing.Effective(buckets, bucketing.Split(fixedSalt(i), buckets, []float64{0.5, 0.5})[0])
		if a != total/2 {
			t.Errorf("the first group has %d of %d", a, total)
		}
	}
}

func TestJoinSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		salt, buckets, proportions := salts(t), weighted(weights(t, 20)), proportions(t)
		groups := bucketing.Split(salt, buckets, proportions)
		added := rapid.IntRange(0, 40).Draw(t, "added")
		after := bucketing.JoinSplit(salt, groups, ids(len(buckets)+1, len(buckets)+added), proportions)
		checkCover(t, after, len(buckets)+added)
		slack := big.NewRat(1+1e9, 1e9) // the line is laid out in floats
		for g, share := range shares(proportions) {
			if !isSubset(groups[g], after[g]) {
				t.Fatalf("old buckets moved: %v became %v", groups, after)
			}
			joined := int64(len(after[g]) - len(groups[g]))
			if off := miss(joined, share, int64(added)); off.Cmp(slack) > 0 {
				t.Fatalf("%d of %d buckets joined group %d of %v", joined, added, g, proportions)
			}
			if proportions[g] == 0 && joined > 0 {
				t.Fatalf("group %d has proportion 0, and %d buckets joined", g, joined)
			}
		}
	})
}

func TestJoinSplitOneByOne(t *testing.T) {
	const n = 5000
	proportions := []float64{0.2, 0, 0.5, 0.3}
	groups := make([][]model.BucketID, len(proportions))
	for id := range model.BucketID(n) {
		groups = bucketing.JoinSplit(fixedSalt(1), groups, []model.BucketID{id + 1}, proportions)
	}
	for g, p := range proportions {
		within(t, fmt.Sprintf("buckets that joined group %d one by one", g), len(groups[g]), n, p)
	}
}
