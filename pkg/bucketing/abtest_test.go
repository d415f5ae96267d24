package bucketing_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

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
		salt, weights, proportions := salts(t), weights(t, 40), proportions(t)
		if rapid.Bool().Draw(t, "a third in one bucket") {
			all := total(weights)
			weights = append(weights, min(all/2, math.MaxInt64-all))
		}
		buckets := weighted(weights)
		draw := bucketing.Split(salt, buckets, proportions)
		checkCover(t, draw.Groups, len(buckets))
		isSet(t, draw.Aside, len(buckets))
		bound, one := big.NewRat(max(heaviest(buckets), 1), 1), big.NewRat(1, 1)
		for g, share := range shares(proportions) {
			weight, total, empty, empties := sums(buckets, draw.Groups[g])
			if off := miss(weight, share, total); off.Cmp(bound) >= 0 {
				t.Fatalf("group %d is off by %s, the heaviest bucket has %d", g, off.FloatString(3), heaviest(buckets))
			}
			if off := miss(empty, share, empties); off.Cmp(one) >= 0 {
				t.Fatalf("group %d has %d of %d empty buckets", g, empty, empties)
			}
			if proportions[g] == 0 && len(draw.Groups[g]) > 0 {
				t.Fatalf("group %d has proportion 0 and buckets %v", g, draw.Groups[g])
			}
			if p, _ := share.Float64(); len(draw.Aside) == 0 && draw.Chance[g] != p {
				t.Fatalf("group %d has chance %g instead of %g, and nothing is set aside", g, draw.Chance[g], p)
			}
		}
	})
}

func TestSetAside(t *testing.T) {
	for _, c := range []struct {
		name        string
		weights     []int64
		proportions []float64
		aside       []model.BucketID
		chance      []float64
	}{
		{"no buckets", nil, []float64{0.7, 0.3}, nil, []float64{0.7, 0.3}},
		{"no weight", []int64{0, 0, 0}, []float64{0.7, 0, 0.3}, nil, []float64{0.7, 0, 0.3}},
		{"one bucket", []int64{5}, []float64{0.8, 0.2}, nil, []float64{0.8, 0.2}},
		{"a fifth of all at 60/40", append(repeat(100, 1), 25), []float64{0.6, 0.4}, ids(101, 101), []float64{0.5, 0.5}},
		{"a fifth of all at 80/20", append(repeat(100, 1), 25), []float64{0.8, 0.2}, ids(101, 101), []float64{0.75, 0.25}},
		{"a fifth of all beside a group of 0", append(repeat(100, 1), 25), []float64{0.8, 0.2, 0}, ids(101, 101), []float64{0.75, 0.25, 0}},
		{"twice the mean", []int64{1, 4, 1}, []float64{0.9, 0.1}, nil, []float64{0.9, 0.1}},
		{"more than twice the mean", []int64{1, 5, 1, 0}, []float64{0.9, 0.1}, ids(2, 2), []float64{0.65, 0.35}},
		{"a quarter of the smallest group", append(repeat(150, 1), 10), []float64{0.75, 0.25}, nil, []float64{0.75, 0.25}},
		{"more than a quarter of the smallest group", append(repeat(149, 1), 11), []float64{0.75, 0.25}, ids(150, 150), []float64{109.0 / 149, 40.0 / 149}},
		{"after the heaviest, another one", append(repeat(20, 1), 20, 10), []float64{0.8, 0.2}, ids(21, 22), []float64{0.5, 0.5}},
		{"more than its group needs", []int64{6, 1, 1}, []float64{0.6, 0.4}, ids(1, 1), []float64{0, 1}},
	} {
		draw := bucketing.Split(fixedSalt(1), weighted(c.weights), c.proportions)
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-15 }
		if !slices.Equal(draw.Aside, c.aside) || !slices.EqualFunc(draw.Chance, c.chance, near) {
			t.Errorf("%s: set aside %v with chances %v, want %v with %v", c.name, draw.Aside, draw.Chance, c.aside, c.chance)
		}
	}
}

// TestChances also logs how often the heaviest and the lightest bucket are in each
// group, by the draw and by need alone.
func TestChances(t *testing.T) {
	const salts = 20_000
	spread := make([]int64, 100)
	for i := range spread {
		spread[i] = 1049 - int64(i)/2
	}
	triple, fifth := append(repeat(8, 3000), repeat(92, 1000)...), append([]int64{5000}, repeat(20, 1000)...)
	shapes := []struct {
		name        string
		weights     []int64 // the heaviest first, the lightest last
		proportions []float64
	}{
		{"16, 15, 14", []int64{16, 15, 14}, []float64{0.5, 0.5}},
		{"100 of 1049 to 1000", spread, []float64{0.8, 0.2}},
		{"100 of 1049 to 1000", spread, []float64{0.9, 0.1}},
		{"100 of 1049 to 1000", spread, []float64{0.5, 0.3, 0.2}},
		{"8 of 3000, 92 of 1000", triple, []float64{0.8, 0.2}},
		{"one of 5000, 20 of 1000", fifth, []float64{0.8, 0.2}},
		{"29 of 1000, one of 300", append(repeat(29, 1000), 300), []float64{0.9, 0.1}},
		{"13 of 1", repeat(13, 1), []float64{0.8, 0.2}},
		{"13 of 1000", repeat(13, 1000), []float64{0.8, 0.2}},
	}
	rows := make([]string, len(shapes))
	t.Run("shapes", func(t *testing.T) {
		for row, s := range shapes {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				buckets := weighted(s.weights)
				draw := bucketing.Split(fixedSalt(0), buckets, s.proportions)
				before := frequencies(len(buckets), len(s.proportions), salts/20, func(salt model.Salt) [][]model.BucketID {
					return bucketing.Greedy(salt, buckets, s.proportions)
				})
				now := frequencies(len(buckets), len(s.proportions), salts, func(salt model.Salt) [][]model.BucketID {
					return bucketing.Split(salt, buckets, s.proportions).Groups
				})
				for b := range buckets {
					for g, chance := range draw.Chance {
						off := math.Abs(now[b][g] - chance)
						if !slices.Contains(draw.Aside, buckets[b].ID) && off > 4*math.Sqrt(chance*(1-chance)/salts) {
							t.Errorf("bucket %d is in group %d in %.4f of all draws, want %.4f", b+1, g, now[b][g], chance)
						}
					}
				}
				last := len(buckets) - 1
				rows[row] = fmt.Sprintf("%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%d", s.name, before[0], before[last], now[0], now[last], draw.Chance, len(draw.Aside))
			})
		}
	})
	var table strings.Builder
	out := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "buckets\theaviest before\tlightest before\theaviest now\tlightest now\tchance\tset aside\n%s\n", strings.Join(rows, "\n"))
	out.Flush()
	t.Log("\n" + table.String())
}

// frequencies is how often each bucket is in each group, by bucket and group.
func frequencies(buckets, groups, n int, split func(model.Salt) [][]model.BucketID) [][]float64 {
	result := make([][]float64, buckets)
	for i := range result {
		result[i] = make([]float64, groups)
	}
	for i := range n {
		for g, ids := range split(fixedSalt(i)) {
			for _, id := range ids {
				result[id-1][g] += 1 / float64(n)
			}
		}
	}
	return result
}

// TestFalsePositives compares the groups of tests without any effect, bucket by
// bucket. Customers who came in the same year are alike, and the latest are all
// in buckets that were added for them, which are the lightest.
func TestFalsePositives(t *testing.T) {
	const tests, level, first, all = 2000, 0.05, 60, 100
	random := rand.New(rand.NewPCG(1, 2))
	buckets := weighted(make([]int64, all))
	place := func(placer *bucketing.Placer, weight int64) {
		for weight > 0 {
			w := 1 + random.Int64N(10)
			buckets[placer.Place(w)-1].Weight += w
			weight -= w
		}
	}
	place(bucketing.NewPlacer(buckets[:first]), first*1040)
	place(bucketing.NewPlacer(buckets), (all-first)*1010)

	falsePositives := func(split func(model.Salt) [][]model.BucketID) float64 {
		n := 0
		for i := range tests {
			outcomes := make([]float64, len(buckets))
			for b := range outcomes {
				outcomes[b] = random.NormFloat64()
				if b < first {
					outcomes[b] += 2
				}
			}
			if pValue(random, outcomes, split(fixedSalt(i))[1]) <= level {
				n++
			}
		}
		return float64(n) / tests
	}
	before := falsePositives(func(salt model.Salt) [][]model.BucketID {
		return bucketing.Greedy(salt, buckets, []float64{0.8, 0.2})
	})
	now := falsePositives(func(salt model.Salt) [][]model.BucketID {
		return bucketing.Split(salt, buckets, []float64{0.8, 0.2}).Groups
	})
	t.Logf("false positives at a level of 5 %%: %.1f %% before, %.1f %% now", 100*before, 100*now)
	if math.Abs(now-level) > 0.015 {
		t.Errorf("%.1f %% of tests without an effect are significant", 100*now)
	}
}

// pValue is that of a permutation test: how often as many buckets, picked at
// random, are as far from the mean of all as those of group.
func pValue(random *rand.Rand, outcomes []float64, group []model.BucketID) float64 {
	const permutations = 199
	mean := 0.0
	for _, x := range outcomes {
		mean += x / float64(len(outcomes))
	}
	off := 0.0
	for _, id := range group {
		off += outcomes[id-1] - mean
	}
	as := 1
	for range permutations {
		other := 0.0
		for i := range group {
			j := i + random.IntN(len(outcomes)-i)
			outcomes[i], outcomes[j] = outcomes[j], outcomes[i]
			other += outcomes[i] - mean
		}
		if math.Abs(other) >= math.Abs(off) {
			as++
		}
	}
	return float64(as) / (permutations + 1)
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
			a := bucketing.Split(fixedSalt(2*i), weighted(all), []float64{0.5, 0.5}).Groups
			b := bucketing.Split(fixedSalt(2*i+1), weighted(all), []float64{0.5, 0.5}).Groups
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
		groups := bucketing.Split(fixedSalt(i), weighted([]int64{1000, 10, 10}), []float64{0.5, 0.5}).Groups
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
		a, total, _ := bucketing.Effective(buckets, bucketing.Split(fixedSalt(i), buckets, []float64{0.5, 0.5}).Groups[0])
		if a != total/2 {
			t.Errorf("the first group has %d of %d", a, total)
		}
	}
}

func TestJoinSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		salt, buckets, proportions := salts(t), weighted(weights(t, 20)), proportions(t)
		groups := bucketing.Split(salt, buckets, proportions).Groups
		added := rapid.IntRange(0, 40).Draw(t, "added")
		after := bucketing.JoinSplit(salt, groups, ids(len(buckets)+1, len(buckets)+added), proportions)
		checkCover(t, after, len(buckets)+added)
		slack := big.NewRat(1+1e9, 1e9) // the line is computed in floats
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
