package bucketing

import (
	"math/big"
	"slices"

	"github.com/flaggery/flaggery/pkg/model"
)

// target is proportion × total, rounded to the nearest integer, halves up. It
// is exact: a float64 holds neither every weight nor such a product.
func target(proportion float64, total int64) int64 {
	exact := new(big.Rat).SetFloat64(proportion)
	exact.Mul(exact, new(big.Rat).SetInt64(total))
	exact.Add(exact, big.NewRat(1, 2))
	return new(big.Int).Quo(exact.Num(), exact.Denom()).Int64()
}

// apportion shares total out by largest remainders: each share is within one
// of its proportion, and together they are total. The proportions are taken
// relative to their sum, which may miss 1 a little.
func apportion(total int64, proportions []float64) []int64 {
	sum := new(big.Rat)
	for _, p := range proportions {
		sum.Add(sum, new(big.Rat).SetFloat64(p))
	}
	type remainder struct {
		group int
		rest  *big.Rat
	}
	shares, left := make([]int64, len(proportions)), total
	remainders := make([]remainder, len(proportions))
	for i, p := range proportions {
		exact := new(big.Rat).SetFloat64(p)
		exact.Quo(exact.Mul(exact, new(big.Rat).SetInt64(total)), sum)
		whole := new(big.Int).Quo(exact.Num(), exact.Denom())
		shares[i] = whole.Int64()
		left -= shares[i]
		remainders[i] = remainder{i, exact.Sub(exact, new(big.Rat).SetInt(whole))}
	}
	slices.SortStableFunc(remainders, func(a, b remainder) int { return b.rest.Cmp(a.rest) })
	for _, r := range remainders[:left] {
		shares[r.group]++
	}
	return shares
}

// Effective is the weight of the assigned buckets, which are ascending, and the
// weight of all.
func Effective(buckets []model.Bucket, assigned []model.BucketID) (weight, total int64) {
	for _, b := range buckets {
		total += b.Weight
		if contains(assigned, b.ID) {
			weight += b.Weight
		}
	}
	return weight, total
}

// Proportion is weight ÷ total, and 0 where there is no weight at all.
func Proportion(weight, total int64) float64 {
	return float64(weight) / float64(max(total, 1))
}

func contains(ascending []model.BucketID, id model.BucketID) bool {
	_, found := slices.BinarySearch(ascending, id)
	return found
}

func ascending(ids []model.BucketID) []model.BucketID {
	slices.Sort(ids)
	return ids
}
