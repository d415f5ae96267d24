package bucketing

import (
	"slices"

	"github.com/flaggery/flaggery/pkg/model"
)

// Assign returns a rollout's buckets, ascending, when its proportion goes from
// one value to another; assigned, which is not modified, is what it has so far.
//
// A rise only adds buckets and a fall only removes them, so nobody flickers. At
// unchanged weights, the weight assigned stays within half the heaviest bucket of
// the target, and the empty buckets within half a bucket of theirs. If weights have
// drifted since the last change, direction goes before precision: a rise adds
// nothing if the rollout is already above its new target.
//
// 0 is no bucket and 1 is every bucket, whatever they weigh.
func Assign(salt model.Salt, buckets []model.Bucket, assigned []model.BucketID, from, to float64) []model.BucketID {
	result := make([]model.BucketID, 0, len(buckets))
	switch {
	case from == to:
		return append(result, assigned...)
	case to == 0:
		return result
	case to == 1:
		for _, b := range buckets {
			result = append(result, b.ID)
		}
		return ascending(result)
	}

	var weight, weightAll, empty, emptyAll int64
	for _, b := range buckets {
		has := contains(assigned, b.ID)
		weightAll += b.Weight
		if has {
			weight += b.Weight
		}
		if b.Weight == 0 {
			emptyAll++
			if has {
				empty++
			}
		}
	}
	weightGap, emptyGap := target(to, weightAll)-weight, target(to, emptyAll)-empty

	// Buckets enter in salted order and leave in the reverse of it, and a tie is
	// always for fewer buckets: at unchanged weights, what is assigned depends on
	// the proportion alone and not on the way to it.
	rise, order := to > from, inOrder(salt, buckets)
	if !rise {
		weightGap, emptyGap = -weightGap, -emptyGap
		slices.Reverse(order)
	}
	moved := map[model.BucketID]bool{}
	for _, b := range order {
		if contains(assigned, b.ID) == rise {
			continue
		}
		gap, step := &weightGap, b.Weight
		if b.Weight == 0 {
			gap, step = &emptyGap, 1
		}
		if miss := step - *gap; miss > *gap || miss == *gap && rise {
			*gap = 0 // the move would not bring the sum nearer: stop
			continue
		}
		*gap -= step
		moved[b.ID] = true
	}
	for _, b := range buckets {
		if contains(assigned, b.ID) != moved[b.ID] {
			result = append(result, b.ID)
		}
	}
	return ascending(result)
}

// Join returns a rollout's buckets, ascending, after empty buckets were added to
// the installation. The share of them that joins is within one bucket of the
// proportion. There is no drift in the long run, even if buckets are added one at a
// time.
func Join(salt model.Salt, assigned, added []model.BucketID, proportion float64) []model.BucketID {
	return JoinSplit(salt, [][]model.BucketID{assigned, nil}, added, []float64{proportion, 1 - proportion})[0]
}
