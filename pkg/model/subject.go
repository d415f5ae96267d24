package model

import (
	"fmt"
	"math"
)

// Weights are the traffic that subjects stand for. They are integers from end
// to end, and no larger than what every JSON parser keeps exactly.
const (
	MaxWeight      = 1<<53 - 1
	MaxTotalWeight = math.MaxInt64 // over all subjects
)

// BucketID counts up from 1 without gaps; buckets are never removed. 0 means "in no
// bucket": the subject is unknown.
type BucketID int32

// MaxBuckets bounds the buckets of one installation, and so the length of every
// list of buckets.
const MaxBuckets = 100_000

// GroupID identifies a group permanently: names can be reused, ids never are.
type GroupID int32

// Bucket is a container of subjects.
type Bucket struct {
	ID       BucketID `db:"id"`
	Weight   int64    `db:"weight"`   // the sum over its subjects
	Subjects int64    `db:"subjects"` // how many
}

// Subject is a user, an account or a client company: flags are resolved for it.
type Subject struct {
	ID       string
	Weight   int64
	BucketID BucketID
	Groups   []string // names, sorted
	Version  int64    // changes with every write to the subject; for If-Match
}

// Class is all that resolution needs to know of a subject. Subjects of one class
// get the same answer.
type Class struct {
	Bucket BucketID
	Groups []GroupID // ascending
}

// CheckWeight says what is wrong with a subject's weight.
func CheckWeight(weight int64) error {
	if weight < 0 || weight > MaxWeight {
		return fmt.Errorf("must be between 0 and %d, is %d", int64(MaxWeight), weight)
	}
	return nil
}
