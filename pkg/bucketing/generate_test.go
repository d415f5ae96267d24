package bucketing_test

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/model"
)

// weights draws the weights of up to most buckets: zero, common numbers, nearly
// equal ones, and large ones with a total of 2^63 − 1.
func weights(t *rapid.T, most int) []int64 {
	one := rapid.SampledFrom([]*rapid.Generator[int64]{
		rapid.Int64Range(0, 3),
		rapid.Int64Range(0, 1000),
		rapid.Int64Range(990, 1010),
		rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(1, 100), rapid.Int64Range(1, math.MaxInt64)),
	}).Draw(t, "kind of weights")
	left := int64(math.MaxInt64)
	result := rapid.SliceOfN(one, 0, most).Draw(t, "weights")
	for i := range result {
		result[i] = min(result[i], left)
		left -= result[i]
	}
	if len(result) > 0 && rapid.IntRange(0, 3).Draw(t, "fill up") == 3 {
		result[len(result)-1] += left
	}
	return result
}

func weighted(weights []int64) []model.Bucket {
	buckets := make([]model.Bucket, len(weights))
	for i, w := range weights {
		buckets[i] = model.Bucket{ID: model.BucketID(i + 1), Weight: w}
	}
	return buckets
}

func salts(t *rapid.T) model.Salt {
	return model.Salt(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "salt"))
}

// fixedSalt gives statistics the same salts on every run.
func fixedSalt(i int) model.Salt { return model.Salt{byte(i), byte(i >> 8), 'f', 'i', 'x', 'e', 'd'} }

func proportion() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.SampledFrom([]float64{0, 1, 0.5, 0.1, 0.25, 1.0 / 3, 1e-300, math.Nextafter(0, 1), math.Nextafter(1, 0)}),
		rapid.Float64Range(0, 1),
	)
}

// proportions draws the proportions of 1 to 6 groups, which sum to about 1.
func proportions(t *rapid.T) []float64 {
	parts := rapid.SliceOfN(rapid.IntRange(0, 10), 1, 6).Draw(t, "parts")
	sum := 0
	for _, p := range parts {
		sum += p
	}
	if sum == 0 {
		parts[0], sum = 1, 1
	}
	result := make([]float64, len(parts))
	for i, p := range parts {
		result[i] = float64(p) / float64(sum)
	}
	return result
}

func ids(from, to int) []model.BucketID {
	var result []model.BucketID
	for id := from; id <= to; id++ {
		result = append(result, model.BucketID(id))
	}
	return result
}

func repeat(n int, weight int64) []int64 { return slices.Repeat([]int64{weight}, n) }

func total(weights []int64) int64 {
	var sum int64
	for _, w := range weights {
		sum += w
	}
	return sum
}

// sums of the assigned buckets: weight and count of empty ones, and the same of
// all buckets.
func sums(buckets []model.Bucket, assigned []model.BucketID) (weight, total, empty, empties int64) {
	for _, b := range buckets {
		has := slices.Contains(assigned, b.ID)
		total += b.Weight
		if b.Weight == 0 {
			empties++
		}
		if has {
			weight += b.Weight
			if b.Weight == 0 {
				empty++
			}
		}
	}
	return weight, total, empty, empties
}

func heaviest(buckets []model.Bucket) int64 {
	var most int64
	for _, b := range buckets {
		most = max(most, b.Weight)
	}
	return most
}

// miss is |have − share × all|, exactly.
func miss(have int64, share *big.Rat, all int64) *big.Rat {
	want := new(big.Rat).Mul(share, new(big.Rat).SetInt64(all))
	return want.Abs(want.Sub(new(big.Rat).SetInt64(have), want))
}

func rat(f float64) *big.Rat { return new(big.Rat).SetFloat64(f) }

func isSet(t *rapid.T, assigned []model.BucketID, buckets int) {
	t.Helper()
	if assigned == nil {
		t.Fatal("assignment is nil, which is no empty array in PostgreSQL")
	}
	for i, id := range assigned {
		if id < 1 || int(id) > buckets || i > 0 && id <= assigned[i-1] {
			t.Fatalf("%v is no ascending set of 1 … %d", assigned, buckets)
		}
	}
}

func isSubset(a, b []model.BucketID) bool {
	return !slices.ContainsFunc(a, func(id model.BucketID) bool { return !slices.Contains(b, id) })
}

// within fails if a count is more than four standard deviations off what n draws
// with chance p give. Callers use fixed salts: it holds always or never.
func within(t *testing.T, what string, have, n int, p float64) {
	t.Helper()
	mean, deviation := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
	if math.Abs(float64(have)-mean) > 4*deviation {
		t.Errorf("%s: %d of %d, want %.0f ± %.0f", what, have, n, mean, 4*deviation)
	}
}
