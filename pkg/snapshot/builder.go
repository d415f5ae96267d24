package snapshot

import (
	"encoding/json"
	"fmt"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

// Reason is why an update was rejected, as a metric's label.
type Reason string

// Why an update was rejected.
const (
	RevisionBack  Reason = "revision_back"      // the revision went back within an epoch
	Inconsistent  Reason = "configuration"      // the configuration contradicts itself
	Dangling      Reason = "dangling_reference" // a subject is in a bucket that does not exist
	Miscounted    Reason = "count"              // the number of subjects differs from the database's count
	Unrecognised  Reason = "unrecognised"       // a change does not match the known subjects
	NotApplicable Reason = "not_applicable"     // a partial update without a base
)

// Reasons lists all of them.
var Reasons = []Reason{RevisionBack, Inconsistent, Dangling, Miscounted, Unrecognised, NotApplicable}

// Refused is the error of an invalid update, which was not applied.
type Refused struct {
	Reason Reason
	Err    error
}

func (r *Refused) Error() string { return fmt.Sprintf("update refused (%s): %v", r.Reason, r.Err) }
func (r *Refused) Unwrap() error { return r.Err }

func refuse(reason Reason, format string, args ...any) error {
	return &Refused{reason, fmt.Errorf(format, args...)}
}

// Builder makes snapshots, one after the other. It is for one goroutine.
type Builder struct {
	key     key
	unknown Unknown
	answers *Answers
	classes *classes

	environment string // as in Snapshot
}

// NewBuilder makes a Builder. Its snapshots share the treatment of unknown ids and
// the Answers that count what they serve.
func NewBuilder(unknown Unknown) *Builder {
	return &Builder{key: newKey(), unknown: unknown, answers: newAnswers(), classes: newClasses()}
}

// NameEnvironment puts the name of an environment, unless it is "", into the metadata of
// OFREP of all later snapshots.
func (b *Builder) NameEnvironment(name string) {
	if name == "" {
		return
	}
	text, _ := json.Marshal(name) // no text fails
	b.environment = `"environment":` + string(text)
}

// Answers returns the Answers that all snapshots of the Builder share.
func (b *Builder) Answers() *Answers { return b.answers }

// Apply makes the next snapshot from an update and base, which is the Builder's
// last snapshot or nil. It does not change base. An invalid update is Refused as a
// whole.
func (b *Builder) Apply(base *Snapshot, u *model.Update) (*Snapshot, error) {
	switch {
	case base == nil && !u.Full:
		return nil, refuse(NotApplicable, "changes to revision %d came before anything was loaded", u.Revision)
	case base != nil && u.Epoch == base.Epoch && u.Revision < base.Revision:
		return nil, refuse(RevisionBack, "the database is at revision %d, behind %d", u.Revision, base.Revision)
	case u.Full && u.Configuration == nil:
		return nil, refuse(NotApplicable, "everything at revision %d came without a configuration", u.Revision)
	}
	next := Snapshot{index: newIndex(b.key, 0), unknown: b.unknown, environment: b.environment}
	if base != nil {
		next = *base
	}
	next.Position = u.Position
	next.RevisionHeader = revisionHeader(u.Position)

	if u.Full || u.Tokens != nil {
		next.tokens = u.Tokens
	}

	var (
		resolver      *evaluation.Resolver
		configuration = u.Configuration
		err           error
	)
	if configuration != nil {
		if resolver, err = evaluation.Compile(configuration); err != nil {
			return nil, &Refused{Inconsistent, err}
		}
		b.classes.addBuckets(configuration.Buckets)
	} else {
		resolver, configuration = base.generation.resolver, base.generation.configuration
	}
	if u.Full || u.Subjects != nil {
		if next.index, err = b.subjects(next.index, u, configuration.Buckets); err != nil {
			return nil, err
		}
	}
	if u.Configuration != nil || next.generation.crowded(len(b.classes.list)) {
		// A period that has begun stays begun, even if the clock was set back a little.
		now := u.Now.UnixNano()
		if base != nil {
			now = max(now, base.generation.period.Load().from)
		}
		next.generation = newGeneration(resolver, configuration, len(b.classes.list), b.answers, now)
	}
	next.classes, next.ungrouped = b.classes.list, b.classes.ungrouped
	return &next, nil
}

// subjects makes the next index from an update.
func (b *Builder) subjects(base *index, u *model.Update, buckets int) (*index, error) {
	d := newDraft(base, u.Full, int(u.Count))
	if u.Subjects != nil {
		for s, err := range u.Subjects {
			if err != nil {
				return nil, err
			}
			if s.Gone {
				err = d.remove(s.ID)
			} else if s.Bucket < 1 || int(s.Bucket) > buckets {
				return nil, refuse(Dangling, "a subject is in bucket %d of %d", s.Bucket, buckets)
			} else {
				err = d.put(s.ID, b.classes.intern(s.Bucket, s.Groups), !s.New)
			}
			if err != nil {
				return nil, &Refused{Unrecognised, err}
			}
		}
	}
	if u.Full && int64(d.count) != u.Count {
		return nil, refuse(Miscounted, "%d subjects came, the database counts %d", d.count, u.Count)
	}
	return d.finish(), nil
}
