package bucketing

import "github.com/flaggery/flaggery/pkg/model"

// Greedy splits tests as before the draw, for comparison: every bucket goes to the
// neediest group, those of a higher power of two first.
func Greedy(salt model.Salt, buckets []model.Bucket, proportions []float64) [][]model.BucketID {
	var total int64
	for _, b := range buckets {
		total += b.Weight
	}
	groups, _ := byNeed(byLikeness(salt, buckets, 1<<63), apportion(total, normalise(proportions), 1<<63))
	return groups
}
