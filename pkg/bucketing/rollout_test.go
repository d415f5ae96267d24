package bucketing_test

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
)

// checkStep fails if a change of proportion moved a bucket against its direction,
// or 0 and 1 are not exact.
func checkStep(t *rapid.T, buckets int, before, after []model.BucketID, from, to float64) {
	t.Helper()
	isSet(t, after, buckets)
	switch {
	case to >= from && !isSubset(before, after):
		t.Fatalf("from %g up to %g removed buckets: %v became %v", from, to, before, after)
	case to <= from && !isSubset(after, before):
		t.Fatalf("from %g down to %g added buckets: %v became %v", from, to, before, after)
	case to == 0 && len(after) != 0:
		t.Fatalf("proportion 0 has buckets: %v", after)
	case to == 1 && len(after) != buckets:
		t.Fatalf("proportion 1 has %d of %d buckets", len(after), buckets)
	}
}

func TestAssignAtUnchangedWeights(t *testing.T) {
	half := big.NewRat(1, 2)
	rapid.Check(t, func(t *rapid.T) {
		salt, buckets := salts(t), weighted(weights(t, 40))
		allowed := new(big.Rat).SetInt64(heaviest(buckets))
		allowed.Mul(allowed, half)
		allowed.Add(allowed, half) // for the target, which is a whole number
		assigned, from := []model.BucketID{}, 0.0
		for _, to := range rapid.SliceOf(proportion()).Draw(t, "proportions") {
			given := slices.Clone(assigned)
			after := bucketing.Assign(salt, buckets, assigned, from, to)
			if !slices.Equal(given, assigned) {
				t.Fatal("the caller's assignment was changed")
			}
			checkStep(t, len(buckets), assigned, after, from, to)
			weight, total, empty, empties := sums(buckets, after)
			if off := miss(weight, rat(to), total); off.Cmp(allowed) > 0 {
				t.Fatalf("%g of %d is off by %s, more than half the heaviest bucket of %d", to, total, off.FloatString(3), heaviest(buckets))
			}
			if off := miss(empty, rat(to), empties); off.Cmp(half) > 0 {
				t.Fatalf("%g of %d empty buckets: has %d", to, empties, empty)
			}
			if direct := bucketing.Assign(salt, buckets, nil, 0, to); to != from && !slices.Equal(after, direct) {
				t.Fatalf("%g has %v by way of %g, and %v from 0", to, after, from, direct)
			}
			if w, all, _ := bucketing.Effective(buckets, after); w != weight || all != total {
				t.Fatalf("effective weight is %d of %d, want %d of %d", w, all, weight, total)
			}
			assigned, from = after, to
		}
	})
}

func TestAssignWhileWeightsDrift(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		salt, drift := salts(t), weights(t, 40)
		assigned, from := []model.BucketID{}, 0.0
		for _, to := range rapid.SliceOf(proportion()).Draw(t, "proportions") {
			buckets := weighted(drift)
			after := bucketing.Assign(salt, buckets, assigned, from, to)
			checkStep(t, len(buckets), assigned, after, from, to)

			// Precision yields only to direction: a deficit after a rise, or an
			// excess after a fall, is within the bound.
			weight, total, _, _ := sums(buckets, after)
			gap := new(big.Rat).Mul(rat(to), new(big.Rat).SetInt64(total))
			gap.Sub(gap, new(big.Rat).SetInt64(weight))
			if from > to {
				gap.Neg(gap)
			}
			allowed := big.NewRat(heaviest(buckets), 2)
			if from != to && gap.Cmp(allowed.Add(allowed, big.NewRat(1, 2))) > 0 {
				t.Fatalf("from %g to %g is still off by %s", from, to, gap.FloatString(3))
			}
			assigned, from = after, to
			drift = rapid.Permutation(drift).Draw(t, "drift")
		}
	})
}

func TestAssignHalfOfEmptyBuckets(t *testing.T) {
	buckets := weighted(make([]int64, 10))
	if got := bucketing.Assign(fixedSalt(1), buckets, nil, 0, 0.5); len(got) != 5 {
		t.Errorf("half of 10 empty buckets is %v", got)
	}
}

func TestEffective(t *testing.T) {
	for _, row := range []struct {
		weights       []int64
		assigned      []model.BucketID
		weight, total int64
		proportion    float64
	}{
		{nil, nil, 0, 0, 0},
		{[]int64{1, 3}, []model.BucketID{2}, 3, 4, 0.75},
		{[]int64{0, 4}, []model.BucketID{1}, 0, 4, 0},
		{[]int64{0, 0, 0, 0}, []model.BucketID{1}, 0, 0, 0.25}, // by count
		{[]int64{0, 0}, []model.BucketID{1, 2}, 0, 0, 1},
	} {
		weight, total, proportion := bucketing.Effective(weighted(row.weights), row.assigned)
		if weight != row.weight || total != row.total || proportion != row.proportion {
			t.Errorf("%v of %v: %d of %d is %g", row.assigned, row.weights, weight, total, proportion)
		}
	}
}

func TestAssignNear63Bits(t *testing.T) {
	const quarter = 1 << 61
	buckets := weighted([]int64{quarter, quarter, quarter, quarter - 1})
	for to, want := range map[float64]int{1e-9: 0, 0.25: 1, 0.5: 2, 0.75: 3, math.Nextafter(1, 0): 4} {
		if got := bucketing.Assign(fixedSalt(1), buckets, nil, 0, to); len(got) != want {
			t.Errorf("%g of four quarters is %v", to, got)
		}
	}
}

func TestRolloutsAreIndependent(t *testing.T) {
	const buckets, pairs = 100, 200
	equal := make([]int64, buckets)
	for i := range equal {
		equal[i] = 1000
	}
	shared := 0
	for i := range pairs {
		a := bucketing.Assign(fixedSalt(2*i), weighted(equal), nil, 0, 0.5)
		b := bucketing.Assign(fixedSalt(2*i+1), weighted(equal), nil, 0, 0.5)
		for _, id := range a {
			if slices.Contains(b, id) {
				shared++
			}
		}
	}
	within(t, "buckets that two rollouts at 50 % share", shared, buckets*pairs, 0.25)
}

func TestJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, added := rapid.IntRange(0, 40).Draw(t, "old"), rapid.IntRange(0, 40).Draw(t, "added")
		p, salt := proportion().Draw(t, "proportion"), salts(t)
		assigned := bucketing.Assign(salt, weighted(make([]int64, old)), nil, 0, p)
		given := slices.Clone(assigned)
		after := bucketing.Join(salt, assigned, ids(old+1, old+added), p)
		if !slices.Equal(given, assigned) {
			t.Fatal("the caller's assignment was changed")
		}
		isSet(t, after, old+added)
		if !isSubset(assigned, after) || !isSubset(after[len(assigned):], ids(old+1, old+added)) {
			t.Fatalf("old buckets moved: %v became %v", assigned, after)
		}
		joined := int64(len(after) - len(assigned))
		if off := miss(joined, rat(p), int64(added)); off.Cmp(big.NewRat(1, 1)) > 0 {
			t.Fatalf("%d of %d buckets joined at %g", joined, added, p)
		}
		if p == 0 && joined != 0 || p == 1 && joined != int64(added) {
			t.Fatalf("%d of %d buckets joined at %g", joined, added, p)
		}
	})
}

func TestJoinOneByOne(t *testing.T) {
	for i, p := range []float64{0.01, 0.3, 0.5, 0.97} {
		assigned := []model.BucketID{}
		const n = 5000
		for id := range model.BucketID(n) {
			assigned = bucketing.Join(fixedSalt(i), assigned, []model.BucketID{id + 1}, p)
		}
		within(t, "buckets that joined one by one", len(assigned), n, p)
	}
}
