package bucketing_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestPlacerTakesTheLightestBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.SliceOfN(rapid.Int64Range(0, 50), 1, 20).Draw(t, "buckets")
		subjects := rapid.SliceOf(rapid.Int64Range(0, 50)).Draw(t, "subjects")
		buckets := weighted(start)
		shuffled := rapid.Permutation(buckets).Draw(t, "order")
		given := slices.Clone(shuffled)
		placer := bucketing.NewPlacer(shuffled)
		for _, w := range subjects {
			want := 0
			for i := range buckets {
				if buckets[i].Weight < buckets[want].Weight {
					want = i
				}
			}
			buckets[want].Weight += w
			if got := placer.Place(w); got != buckets[want].ID {
				t.Fatalf("weight %d went to bucket %d, not to %d", w, got, buckets[want].ID)
			}
		}
		if !slices.Equal(given, shuffled) {
			t.Fatal("the caller's buckets were changed")
		}
	})
}

func TestPlacerKeepsBucketsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sums := make([]int64, rapid.IntRange(1, 30).Draw(t, "buckets"))
		placer := bucketing.NewPlacer(weighted(sums))
		var heaviest int64
		for _, w := range rapid.SliceOf(rapid.Int64Range(0, model.MaxWeight)).Draw(t, "subjects") {
			sums[placer.Place(w)-1] += w
			heaviest = max(heaviest, w)
			if gap := slices.Max(sums) - slices.Min(sums); gap > heaviest {
				t.Fatalf("buckets differ by %d, the heaviest subject has %d", gap, heaviest)
			}
		}
	})
}

func TestPlacerWithoutBuckets(t *testing.T) {
	if got := bucketing.NewPlacer(nil).Place(1); got != 0 {
		t.Errorf("bucket %d, want none", got)
	}
}
