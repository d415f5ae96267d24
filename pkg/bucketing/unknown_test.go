package bucketing_test

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestBucketOfMovesOnlyToTheNewBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, buckets := rapid.String().Draw(t, "id"), rapid.IntRange(1, model.MaxBuckets).Draw(t, "buckets")
		before, after := bucketing.BucketOf(id, buckets), bucketing.BucketOf(id, buckets+1)
		if before < 1 || int(before) > buckets {
			t.Fatalf("bucket %d of %d", before, buckets)
		}
		if after != before && int(after) != buckets+1 {
			t.Fatalf("moved from bucket %d to %d when bucket %d was added", before, after, buckets+1)
		}
	})
}

func TestBucketOfIsEven(t *testing.T) {
	const buckets, ids = 20, 20_000
	counts, moved := make([]int, buckets), 0
	for i := range ids {
		id := strconv.Itoa(i)
		b := bucketing.BucketOf(id, buckets)
		counts[b-1]++
		if bucketing.BucketOf(id, buckets+1) != b {
			moved++
		}
	}
	for i, n := range counts {
		within(t, "ids in bucket "+strconv.Itoa(i+1), n, ids, 1.0/buckets)
	}
	within(t, "ids moved by a new bucket", moved, ids, 1.0/(buckets+1))
}

func BenchmarkBucketOfNoAlloc(b *testing.B) {
	for b.Loop() {
		bucketing.BucketOf("3f6c2b1e-9a54-4b6e-8a0e-2d1f0b7c9e11", 1000)
	}
}

func TestBucketOfNoAlloc(t *testing.T) {
	allocs := testing.AllocsPerRun(100, func() { _ = bucketing.BucketOf("3f6c2b1e-9a54-4b6e-8a0e-2d1f0b7c9e11", 1000) })
	if allocs != 0 {
		t.Errorf("%g allocations", allocs)
	}
}
