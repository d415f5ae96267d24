package bucketing

import "github.com/flaggery/flaggery/pkg/model"

// BucketOf gives an unknown id a bucket, the same on every edge and after every
// restart; 0 if there are no buckets. When buckets are added, an id either stays or
// moves to a new one, and as few ids move as keep the buckets even (Lamping and
// Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm"). It does not
// allocate. Its results are frozen in testdata.
func BucketOf(id string, buckets int) model.BucketID {
	key := mix(id)
	bucket, next := int64(-1), int64(0)
	for next < int64(buckets) {
		bucket = next
		key = key*2862933555777941757 + 1
		// One division and one product, each rounded as IEEE 754 says: the same on
		// every architecture, as there is no sum that a compiler could fuse in.
		next = int64(float64(bucket+1) * (float64(1<<31) / float64(key>>33+1)))
	}
	return model.BucketID(bucket + 1)
}

// mix is 64-bit FNV-1a with the finaliser of MurmurHash3, as FNV alone leaves
// the high bits, which come first here, alike for ids that differ at their end.
func mix(id string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h ^= uint64(id[i])
		h *= 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
