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

// BucketID counts up from 1 without gaps; buckets are never removed. 0 is "in no
// bucket", where a subject is unknown.
type BucketID int32

// MaxBuckets bounds what one installation may have, and with it the length of
// every list of buckets.
const MaxBuckets = 100_000

// GroupID identifies a group for good: a name can be given again, an id never is.
type GroupID int32

// Bucket is a container of subjects.
type Bucket struct {
	ID       BucketID `db:"id"`
	Weight   int64    `db:"weight"`   // the sum over its subjects
	Subjects int64    `db:"subjects"` // how many
}

// Subject is a user, an account, a client company: whom flags are resolved for.
type Subject struct {
	ID       string
	Weight   int64
	BucketID BucketID
	Groups   []string // names, sorted
	Version  int64    // changes with every write to the subject; for If-Match
}

// Class is all that resolution needs of a subject. Subjects of one class get
// the same answer.
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
