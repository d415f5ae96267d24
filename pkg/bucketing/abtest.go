package bucketing

import (
	"cmp"
	"math/big"
	"math/bits"
	"slices"

	"github.com/flaggery/flaggery/pkg/model"
)

// Draw is how the buckets of a test came to its groups.
type Draw struct {
	Groups [][]model.BucketID // by group, ascending: every bucket is in exactly one
	Aside  []model.BucketID   // ascending: too heavy to be drawn, and no part of a comparison of the groups
	Chance []float64          // by group: the probability that a drawn bucket with weight is in it
}

// Split hands every bucket to exactly one group of a test. The proportions sum
// to about 1.
//
// Buckets are drawn one by one: each goes to a group with a probability
// proportional to what the group still needs. While every group can be drawn,
// need ÷ Σ need is a martingale: after a bucket of weight w, a group needs
// need × (1 − w ÷ Σ need) on average. So all drawn buckets have the same
// probability of being in a group, whatever they weigh and whenever their turn
// comes; with equal weights this is complete randomisation. The last few are
// an exception, as they go only where they bring a group no farther from its
// share.
//
// A bucket of more than twice the mean weight and more than a quarter of the
// smallest group is set aside: it goes to the group that needs most, and the
// rest is drawn after that. Buckets without weight are drawn by count, with the
// proportions as their probabilities.
//
// No group's weight is off its proportion by the heaviest bucket or more, and
// no group's count of empty buckets by one or more.
func Split(salt model.Salt, buckets []model.Bucket, proportions []float64) Draw {
	// In salted order, as of equally needy groups the first one is served.
	order := make([]int, len(proportions))
	for g := range order {
		order[g] = g
	}
	order = salted(salt, groupOrder, order, func(g int) int32 { return int32(g) })
	shuffled := make([]float64, len(order))
	for i, g := range order {
		shuffled[i] = proportions[g]
	}
	shares := normalise(shuffled)

	var aside, drawn, empty []model.Bucket
	var total, heaviest int64
	limit := heaviestDrawn(buckets, shares)
	for _, b := range byLikeness(salt, buckets, hash(salt, likenessFactor, 0)|1<<63) {
		total, heaviest = total+b.Weight, max(heaviest, b.Weight)
		switch {
		case b.Weight > limit:
			aside = append(aside, b)
		case b.Weight > 0:
			drawn = append(drawn, b)
		default:
			b.Weight = 1 // counts as one
			empty = append(empty, b)
		}
	}
	targets := apportion(total, shares, hash(salt, roundingOffset, 0))
	vacant := apportion(int64(len(empty)), shares, hash(salt, roundingOffset, 1))
	asideTo, needs := handOut(aside, targets, neediest)
	drawnTo := draw(salt, drawn, needs, max(heaviest, 1))
	emptyTo := draw(salt, empty, vacant, 1)

	result := Draw{make([][]model.BucketID, len(order)), []model.BucketID{}, make([]float64, len(order))}
	chance := chances(shares, total, targets, needs)
	for i, g := range order {
		result.Aside = append(result.Aside, asideTo[i]...)
		result.Groups[g] = ascending(append(append(asideTo[i], drawnTo[i]...), emptyTo[i]...))
		result.Chance[g] = chance[i]
	}
	ascending(result.Aside)
	return result
}

// heaviestDrawn is the weight above which buckets are set aside.
func heaviestDrawn(buckets []model.Bucket, shares []*big.Rat) int64 {
	var weights []int64
	var total int64
	for _, b := range buckets {
		if b.Weight > 0 {
			weights = append(weights, b.Weight)
			total += b.Weight
		}
	}
	slices.Sort(weights)
	positive := slices.DeleteFunc(slices.Clone(shares), func(s *big.Rat) bool { return s.Sign() == 0 })
	quarter := new(big.Rat).Quo(slices.MinFunc(positive, (*big.Rat).Cmp), big.NewRat(4, 1))
	for n := len(weights); n > 0; n-- {
		w := weights[n-1]
		if uint64(w) <= 2*uint64(total)/uint64(n) || big.NewRat(w, 1).Cmp(new(big.Rat).Mul(quarter, big.NewRat(total, 1))) <= 0 {
			return w
		}
		total -= w
	}
	return 0
}

// byLikeness orders buckets by the bit length of weight × factor, the highest
// first, and in salted order within one. The factor, in [2^63, 2^64), moves the
// borders: buckets of nearly equal weight are seldom on two sides of one, and
// not in every test.
func byLikeness(salt model.Salt, buckets []model.Bucket, factor uint64) []model.Bucket {
	order := inOrder(salt, buckets)
	likeness := func(b model.Bucket) int {
		high, _ := bits.Mul64(uint64(b.Weight), factor) // any weight but 0 adds all 64 bits of the lower half
		return bits.Len64(high)
	}
	slices.SortStableFunc(order, func(a, b model.Bucket) int { return cmp.Compare(likeness(b), likeness(a)) })
	return order
}

// handOut gives the buckets, in their order, each to the group that pick says.
// It returns what each group got and what it still needs, below 0 if it got too
// much.
func handOut(buckets []model.Bucket, needs []int64, pick func([]int64, model.Bucket) int) ([][]model.BucketID, []int64) {
	groups, needs := make([][]model.BucketID, len(needs)), slices.Clone(needs)
	for g := range groups {
		groups[g] = []model.BucketID{}
	}
	for _, b := range buckets {
		g := pick(needs, b)
		groups[g] = append(groups[g], b.ID)
		needs[g] -= b.Weight
	}
	return groups, needs
}

// draw hands out buckets by chance, so that no group has bound too much or too
// little. A draw that fails to do so is repeated; if all fail, which takes many
// groups of one or two buckets, need alone decides.
func draw(salt model.Salt, buckets []model.Bucket, needs []int64, bound int64) [][]model.BucketID {
	for p := firstDraw; p <= lastDraw; p++ {
		groups, left := handOut(buckets, needs, func(needs []int64, b model.Bucket) int {
			return lot(hash(salt, p, int32(b.ID)), needs, b)
		})
		if !slices.ContainsFunc(left, func(n int64) bool { return n <= -bound || n >= bound }) {
			return groups
		}
	}
	groups, _ := handOut(buckets, needs, neediest)
	return groups
}

// lot picks a group for b out of those that b brings no farther from their
// share, with a probability proportional to what each needs; the neediest one if
// there is none. The random number is uniform over 64 bits.
func lot(random uint64, needs []int64, b model.Bucket) int {
	candidate := func(need int64) bool { return need > 0 && need >= b.Weight-need }
	var sum int64
	for _, need := range needs {
		if candidate(need) {
			sum += need
		}
	}
	high, _ := bits.Mul64(random, uint64(sum))
	at := int64(high) // in [0, sum)
	for g, need := range needs {
		if candidate(need) {
			if at < need {
				return g
			}
			at -= need
		}
	}
	return neediest(needs, b)
}

// neediest picks the group that needs most. If every bucket goes there, no group
// has the heaviest one too much, as it needed something before its last, or too
// little, as those that got theirs needed more.
func neediest(needs []int64, _ model.Bucket) int {
	most := 0
	for g, need := range needs {
		if need > needs[most] {
			most = g
		}
	}
	return most
}

// chances are the groups' probabilities of a bucket that is drawn after some were
// set aside, which took what the groups need from targets to needs. They are of
// the exact shares, not of rounded ones.
func chances(shares []*big.Rat, total int64, targets, needs []int64) []float64 {
	exact, sum := make([]*big.Rat, len(shares)), new(big.Rat)
	for g, share := range shares {
		exact[g] = new(big.Rat).Mul(share, big.NewRat(max(total, 1), 1)) // without weight, the share itself
		exact[g].Sub(exact[g], big.NewRat(targets[g]-needs[g], 1))
		if exact[g].Sign() < 0 {
			exact[g] = new(big.Rat) // it has too much, and gets no more
		}
		sum.Add(sum, exact[g])
	}
	result := make([]float64, len(shares))
	for g := range result {
		result[g], _ = exact[g].Quo(exact[g], sum).Float64()
	}
	return result
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
