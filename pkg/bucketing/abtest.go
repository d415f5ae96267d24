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
// Buckets are drawn by the pivotal method (Deville and Tillé, "Unequal
// probability sampling without replacement through a splitting method"), group
// by group: each bucket begins with the group's share as its part, and two at a
// time pass parts of the same weight to each other until one is in or out.
// Which one gains is by chance, so that neither does on average: the parts are
// martingales, and every drawn bucket has the same probability of being in a
// group, whatever it weighs. With equal weights this is complete randomisation.
//
// A bucket of more than twice the mean weight and more than a quarter of the
// smallest group is set aside: it goes to the group that needs most, and the
// rest is drawn after that. Buckets without weight are drawn by count, with the
// proportions as their probabilities.
//
// Each group's weight misses its proportion by less than the heaviest bucket, and
// its count of empty buckets by less than one.
func Split(salt model.Salt, buckets []model.Bucket, proportions []float64) Draw {
	// In salted order: of groups with equal need the first one receives the bucket.
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
	asideTo, needs := byNeed(aside, targets)
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

// draw hands out buckets by chance and keeps each group's weight within bound of
// its need. With three or more groups a draw may miss the bound and is repeated. If
// all draws miss it (many groups of one or two buckets), need alone decides.
func draw(salt model.Salt, buckets []model.Bucket, needs []int64, bound int64) [][]model.BucketID {
	for p := firstDraw; p <= lastDraw; p++ {
		groups, left := newGroups(len(needs)), slices.Clone(needs)
		rest, all := buckets, int64(0)
		for _, need := range needs {
			all += max(need, 0)
		}
		for g, need := range needs {
			need = max(need, 0)
			var picked []model.Bucket
			picked, rest = pick(rest, need, all, func(n int32, below int64) int64 {
				high, _ := bits.Mul64(hash(salt, p, n*model.MaxTestGroups+int32(g)), uint64(below))
				return int64(high)
			})
			all -= need
			for _, b := range picked {
				groups[g] = append(groups[g], b.ID)
				left[g] -= b.Weight
			}
		}
		if !slices.ContainsFunc(left, func(n int64) bool { return n <= -bound || n >= bound }) {
			return groups
		}
	}
	groups, _ := byNeed(buckets, needs)
	return groups
}

// pick picks each bucket with the probability need ÷ all. The weight picked is
// off that share by less than the bucket decided last, mostly a light one, as light
// ones come last. A random number is in [0, below), another one for each n.
func pick(buckets []model.Bucket, need, all int64, random func(n int32, below int64) int64) (picked, rest []model.Bucket) {
	// parts holds, for each bucket, how much of its weight is in. It starts as need
	// ÷ all of the bucket's weight, rounded up or down by chance, as in apportion.
	parts := make([]int64, len(buckets))
	offset := uint64(random(0, all))
	var sum, begin uint64
	for i, b := range buckets {
		sum += uint64(b.Weight)
		high, low := bits.Mul64(sum, uint64(need))
		low, carry := bits.Add64(low, offset, 0)
		end, _ := bits.Div64(high+carry, low, uint64(all))
		parts[i], begin = int64(end-begin), end
	}
	open := 0 // the one bucket so far that may still be undecided
	for i := 1; i < len(buckets); i++ {
		gain := min(buckets[open].Weight-parts[open], parts[i])
		loss := min(parts[open], buckets[i].Weight-parts[i])
		if random(int32(buckets[i].ID), gain+loss) >= loss {
			gain = -loss
		}
		parts[open], parts[i] = parts[open]+gain, parts[i]-gain
		if parts[open] == 0 || parts[open] == buckets[open].Weight {
			open = i
		}
	}
	for i, b := range buckets {
		if parts[i] == b.Weight || i == open && random(model.MaxBuckets+1, b.Weight) < parts[i] {
			picked = append(picked, b)
		} else {
			rest = append(rest, b)
		}
	}
	return picked, rest
}

// byNeed gives each bucket, in order, to the group that needs most. It returns what
// each group got and what it still needs (negative if it got too much). The error
// of a group is below the heaviest bucket: before its last bucket it still needed
// some, and any bucket that it did not get went to a group that needed more.
func byNeed(buckets []model.Bucket, needs []int64) ([][]model.BucketID, []int64) {
	groups, left := newGroups(len(needs)), slices.Clone(needs)
	for _, b := range buckets {
		g := slices.Index(left, slices.Max(left))
		groups[g] = append(groups[g], b.ID)
		left[g] -= b.Weight
	}
	return groups, left
}

// newGroups holds empty slices instead of nil, which PostgreSQL would store as
// NULL.
func newGroups(n int) [][]model.BucketID {
	groups := make([][]model.BucketID, n)
	for g := range groups {
		groups[g] = []model.BucketID{}
	}
	return groups
}

// chances holds, by group, the probability that a drawn bucket is in it. Buckets
// set aside have already reduced the groups' needs from targets to needs. The
// result uses exact shares, not rounded ones.
func chances(shares []*big.Rat, total int64, targets, needs []int64) []float64 {
	exact, sum := make([]*big.Rat, len(shares)), new(big.Rat)
	for g, share := range shares {
		exact[g] = new(big.Rat).Mul(share, big.NewRat(max(total, 1), 1)) // without weight, the share itself
		exact[g].Sub(exact[g], big.NewRat(targets[g]-needs[g], 1))
		if exact[g].Sign() < 0 {
			exact[g] = new(big.Rat) // it already has more than its share
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
// buckets were added to the installation. Every group receives a share within one
// bucket of its proportion. There is no drift in the long run, even if buckets are
// added one at a time.
func JoinSplit(salt model.Salt, groups [][]model.BucketID, added []model.BucketID, proportions []float64) [][]model.BucketID {
	joined := make([][]model.BucketID, len(groups))
	last := 0 // the last group that may receive any; it also gets the rounding remainder
	for g, p := range proportions {
		joined[g] = append([]model.BucketID{}, groups[g]...)
		if p > 0 {
			last = g
		}
	}
	if len(added) == 0 {
		return joined
	}

	// Systematic sampling: the groups lie end to end on a line as long as the added
	// buckets are many, each as long as its share of them; the buckets, in salted
	// order, are points on it one apart. The position of the first one is drawn for
	// each addition, from a value that is unique to it: its lowest id.
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
