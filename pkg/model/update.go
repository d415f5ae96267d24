package model

import (
	"iter"
	"time"
)

// Position is a point in one history of revisions.
type Position struct {
	Epoch    string // identity of the history; "" before there is any
	Revision int64
	At       time.Time // when the revision was made; tells two histories apart that share an epoch
}

// Update is what brings a reader from the position that it asked from to a later
// one: either what changed between them or, if Full, everything.
type Update struct {
	Position
	Now           time.Time      // on the database's clock, as the update began to be read
	Received      time.Time      // the reader's own clock when Now came in
	Full          bool           // replaces all that the reader had
	Configuration *Configuration // nil if it did not change
	Count         int64          // how many subjects there are; only if Full
	// Subjects are those concerned, deletions first; an error ends them. They can be
	// read once, and only while the reader works on the update. nil if no subject changed.
	Subjects iter.Seq2[*SubjectUpdate, error]
}

// SubjectUpdate is one subject as it is now.
type SubjectUpdate struct {
	ID     []byte // valid until the next one comes, like Groups
	Bucket BucketID
	Groups []GroupID // ascending
	New    bool      // created after the position that was asked from; not set if Full
	Gone   bool      // deleted, and it existed at the position that was asked from
}
