package model

import (
	"iter"
	"time"

	"github.com/flaggery/flaggery/pkg/auth"
)

// Position is a point in a history of revisions.
type Position struct {
	Epoch    string // identity of the history; "" before there is any
	Revision int64
	At       time.Time // when the revision was made; distinguishes two histories that share an epoch
}

// Update brings a reader from the position in its query to a later one: it holds
// the changes between them or, if Full, everything.
type Update struct {
	Position
	Now           time.Time      // on the database's clock, when reading the update began
	Received      time.Time      // on the reader's clock, when Now was received
	Full          bool           // replaces everything that the reader holds
	Configuration *Configuration // nil if it did not change
	// Tokens are those that may query an edge, by hash in ascending order; nil if they did
	// not change or were not read.
	Tokens []auth.Credential
	Count  int64 // of subjects in the database; only if Full
	// Subjects are those concerned, deletions first; an error ends them. They can be
	// read once, and only while the reader works on the update. nil if no subject changed.
	Subjects iter.Seq2[*SubjectUpdate, error]
}

// SubjectUpdate is one subject as it is now.
type SubjectUpdate struct {
	ID     []byte // valid until the next one comes, like Groups
	Bucket BucketID
	Groups []GroupID // ascending
	New    bool      // created after the position in the query; not set if Full
	Gone   bool      // deleted, and it existed at the position in the query
}
