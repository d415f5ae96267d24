package bucketing

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/flaggery/flaggery/pkg/model"
)

// Split hands every bucket to exactly one group of a test, each group's being
// ascending. The proportions sum to about 1.
//
// No group's weight is off its proportion by more than the heaviest bucket, and
// no group's count of empty buckets by one or more. Buckets of like weight (of
// the same power of two) go in salted order: by exact weight, any two tests
// would divide the same buckets in the same way, and the second would measure
// what the first left behind.
func Split(salt model.Salt, buckets []model.Bucket, proportions []float64) [][]model.BucketID {
	order := inOrder(salt, buckets)
	slices.SortStableFunc(order, func(a, b model.Bucket) int {
		return cmp.Compare(bits.Len64(uint64(b.Weight)), bits.Len64(uint64(a.Weight)))
	})
	var total, empty int64
	for _, b := range buckets {
		total += b.Weight
		if b.Weight == 0 {
			empty++
		}
	}
	missing, vacant := apportion(total, proportions), apportion(empty, proportions)

	// Groups of equal need go in salted order too, or the heaviest bucket would
	// be in the first group of every test.
	precedence := make([]int, len(proportions))
	for g := range precedence {
		precedence[g] = g
	}
	precedence = salted(salt, groupOrder, precedence, func(g int) int32 { return int32(g) })
	neediest := func(need []int64) int {
		return slices.MaxFunc(precedence, func(a, b int) int { return cmp.Compare(need[a], need[b]) })
	}

	groups := make([][]model.BucketID, len(proportions))
	for g := range groups {
		groups[g] = []model.BucketID{}
	}
	for _, b := range order {
		need, step := missing, b.Weight
		if b.Weight == 0 {
			need, step = vacant, 1
		}
		g := neediest(need)
		need[g] -= step
		groups[g] = append(groups[g], b.ID)
	}
	for g := range groups {
		groups[g] = ascending(groups[g])
	}
	return groups
}

// JoinSplit returns the buckets of a test's groups, each ascending, after empty
// buckets were added to the installation. Every group receives a share within
// one bucket of its proportion, and neither above nor below it in the long run,
// however few are added at a time.
func JoinSplit(salt model.Salt, groups [][]model.BucketID, added []model.BucketID, proportions []float64) [][]model.BucketID {
	joined := make([][]model.BucketID, len(groups))
	last := 0 // the last group that may receive any; it also gets what rounding leaves
	for g, p := range proportions {
		joined[g] = append([]model.BucketID{}, groups[g]...)
		if p > 0 {
			last = g
		}
	}
	if len(added) == 0 {
		return joined
	}

	// Systematic sampling: the groups lie end to end on a line as long as the
	// added buckets are many, each as long as its share of them; the buckets, in
	// salted order, are points on it one apart. Where the first one lies is drawn
	// anew for every addition, from what no other addition has: its lowest id.
	offset := float64(hash(salt, joinOffset, int32(slices.Min(added)))>>11) / (1 << 53)
	count := float64(len(added))
	g, end := 0, proportions[0]*count
	for i, id := range salted(salt, bucketOrder, added, func(id model.BucketID) int32 { return int32(id) }) {
		for g < last && float64(i)+offset >= end {
			g++
			end += proportions[g] * count
		}
		joined[g] = append(joined[g], id)
	}
	for g := range joined {
		joined[g] = ascending(joined[g])
	}
	return joined
}
