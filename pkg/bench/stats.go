package main

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// noise is the usual difference between two equal measurements on a small machine.
// A figure nearer to its goal than this is within noise.
const noise = 0.15

// median is the middle value, and of an even number the mean of the two middle
// ones; NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quantile is the smallest duration that a share of q of all do not exceed; 0 of
// none.
func quantile(durations []time.Duration, q float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	return sorted[rank(q, uint64(len(sorted)))-1]
}

// rank is the place, from 1, of a quantile among n sorted values.
func rank(q float64, n uint64) uint64 {
	return min(max(uint64(math.Ceil(q*float64(n))), 1), n)
}

// steps is the number of histogram buckets for each power of two.
const (
	stepBits = 5
	steps    = 1 << stepBits
)

// histogram counts durations of any size in little memory. A quantile is read
// from it at most 1/32 too high.
type histogram struct {
	counts [(64 - stepBits) * steps]uint64 // up to the longest duration
	total  uint64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// quantile is 0 if nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	left := rank(q, h.total)
	for i, n := range h.counts {
		if n >= left {
			return min(time.Duration(upperBound(i)), h.max)
		}
		left -= n
	}
	return h.max
}

// bucketOf numbers the buckets: below 64 one for each value, then 32 for each
// power of two.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-stepBits-1, 0)
	return shift<<stepBits + int(v>>shift)
}

// upperBound is the largest value in a bucket.
func upperBound(bucket int) uint64 {
	shift := max(bucket>>stepBits-1, 0)
	return uint64(bucket-shift<<stepBits+1)<<shift - 1
}
