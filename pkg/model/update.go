package model

import "time"

// Position is a point in one history of revisions.
type Position struct {
	Epoch    string // identity of the history; "" before there is any
	Revision int64
	At       time.Time // when the revision was made; tells two histories apart that share an epoch
}

// Update is what brings a reader from the position that it asked from to a later
// one: either what changed between them or, where Full, everything.
type Update struct {
	Position
	Now           time.Time      // on the database's clock, as the update began to be read
	Received      time.Time      // the reader's own clock when Now came in
	Full          bool           // replaces all that the reader had
	Configuration *Configuration // nil where it did not change
	Count         int64          // how many subjects there are; only where Full
	// Subjects calls each once for every subject concerned, deletions first, and
	// stops at its error. It may be called once, and only while the reader has not
	// returned. nil where no subject changed.
	Subjects func(each func(*SubjectUpdate) error) error
}

// SubjectUpdate is one subject as it is now.
type SubjectUpdate struct {
	ID     []byte // valid until the next one comes, like Groups
	Bucket BucketID
	Groups []GroupID // ascending
	New    bool      // created after the position that was asked from; not set where Full
	Gone   bool      // deleted, and it existed at the position that was asked from
}
