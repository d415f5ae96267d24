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

// normalise returns proportions as exact shares of their sum, which may differ
// slightly from 1.
func normalise(proportions []float64) []*big.Rat {
	shares, sum := make([]*big.Rat, len(proportions)), new(big.Rat)
	for g, p := range proportions {
		shares[g] = new(big.Rat).SetFloat64(p)
		sum.Add(sum, shares[g])
	}
	for _, s := range shares {
		s.Quo(s, sum)
	}
	return shares
}

// apportion rounds shares of total to whole numbers that sum to total, each less
// than one off its share, and equal to it on average over all offsets: systematic
// sampling, as in JoinSplit. An offset is a number of 2^64ths.
func apportion(total int64, shares []*big.Rat, offset uint64) []int64 {
	end := new(big.Rat).SetFrac(new(big.Int).SetUint64(offset), new(big.Int).Lsh(big.NewInt(1), 64))
	result, before := make([]int64, len(shares)), int64(0)
	for g, share := range shares {
		end.Add(end, new(big.Rat).Mul(share, big.NewRat(total, 1)))
		points := new(big.Int).Quo(end.Num(), end.Denom()).Int64()
		result[g], before = points-before, points
	}
	return result
}

// Effective is the weight of the assigned buckets, the weight of all, and the
// proportion that the assigned ones make. Both come in the order of their ids.
func Effective(buckets []model.Bucket, assigned []model.BucketID) (weight, total int64, proportion float64) {
	var count int64
	for _, b := range buckets {
		total += b.Weight
		if len(assigned) > 0 && assigned[0] == b.ID {
			assigned = assigned[1:]
			weight += b.Weight
			count++
		}
	}
	return weight, total, Proportion(weight, total, count, int64(len(buckets)))
}

// Proportion is weight ÷ total. While nothing weighs anything it is count ÷ all,
// those of buckets: a rollout to everybody has proportion 1 before anybody is there.
func Proportion(weight, total, count, all int64) float64 {
	if total == 0 {
		weight, total = count, all
	}
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
