package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Configuration is everything that resolution depends on except the subjects, at
// one revision.
type Configuration struct {
	Buckets  int       // their ids are 1 … Buckets
	Features []Feature // in name order
	Tests    []ABTest  // in name order
	Groups   []Group   // in name order
}

// Salt keys the bucket order of one rollout or test, so that the orders of two
// are independent. It is drawn at random at creation and stored.
type Salt [16]byte

// Feature is what is switched.
type Feature struct {
	Name        string
	Description string
	Tags        []string
	Variants    []Variant // in name order
	Default     string    // a variant's name, or "" for none
	Rollout     *Rollout  // nil for none
	Off         bool      // every subject gets __DISABLE__
	Archived    bool      // not served, regardless of everything else
	Revision    int64     // of the last change to the feature, its variants, default or rollout

	Contact   string `json:"-"` // who answers for it; "" if it was not read: edges do not
	Expires   string `json:"-"` // a date such as 2027-01-31, or "" for none; likewise
	Permanent bool   `json:"-"` // it stays for good; likewise false
	Owner     string `json:"-"` // the state document that manages it, or "" for none; likewise
}

// FeatureState sums up in a word who gets a feature.
type FeatureState string

// The states of a feature. Of those that apply it has the first one.
const (
	StateArchived FeatureState = "archived" // it is not served
	StateOff      FeatureState = "off"      // it is switched off
	StateTesting  FeatureState = "testing"  // a test of it is live
	StateEveryone FeatureState = "everyone" // its rollout has the proportion 1
	StateRolling  FeatureState = "rolling"  // its rollout has a proportion between 0 and 1
	StateDefault  FeatureState = "default"  // it has no rollout, or one of the proportion 0
)

// FeatureStage says in a word how far a feature is on the way to its removal.
type FeatureStage string

// The stages of a feature. Of those that apply it has the first one.
const (
	StageArchived FeatureStage = "archived" // it is not served
	StageExpired  FeatureStage = "expired"  // its date has come, and it is not permanent
	StageOff      FeatureStage = "off"      // it is switched off
	StageTesting  FeatureStage = "testing"  // a test of it is live
	StageSettled  FeatureStage = "settled"  // for SettledAfter, everybody has been given the same variant, and it is not permanent
	StageNew      FeatureStage = "new"      // it has given nothing but its default since its creation
	StageRolling  FeatureStage = "rolling"  // none of these
)

// SettledAfter is how long nothing about what a feature gives may have changed for it to
// be settled.
const SettledAfter = 14 * 24 * time.Hour

// Variant is one of the things that a feature can resolve to.
type Variant struct {
	Name    string
	Payload json.RawMessage `json:",omitempty"` // any JSON value; nil for none
}

// Disabling reports whether v is the reserved variant that switches its feature
// off.
func (v Variant) Disabling() bool { return v.Name == DisablingVariant }

// Variant finds a variant by its name.
func (f *Feature) Variant(name string) (Variant, bool) {
	i, ok := slices.BinarySearchFunc(f.Variants, name, func(v Variant, name string) int {
		return cmp.Compare(v.Name, name)
	})
	if !ok {
		return Variant{}, false
	}
	return f.Variants[i], true
}

// Rollout hands one variant of a feature to a share of the buckets.
type Rollout struct {
	Variant    string
	Proportion float64 // as requested; the share of the buckets is near it
	Salt       Salt
	Buckets    []BucketID // assigned, ascending
}

// ABTest compares variants of features over a period: every bucket is in
// exactly one of its groups.
type ABTest struct {
	Name     string
	Start    time.Time // included
	End      time.Time // excluded
	Salt     Salt
	Groups   []TestGroup // in the order in which they were given
	Revision int64       // of the last change to the test
	Design   *Design     `json:"-"` // nil if it was not read: edges do not

	Description string `json:"-"` // likewise ""
	Owner       string `json:"-"` // the state document that manages it, or "" for none; likewise
}

// Design is how a test's buckets came to its groups, which decides what can be
// concluded from it.
type Design struct {
	Number int        // GreedyDesign or DrawnDesign
	Aside  []BucketID // ascending: too heavy to be drawn, and no part of a comparison
	Chance []float64  // by group: the probability of a drawn bucket to be in it; nil for GreedyDesign
}

// The designs so far. A test keeps the one that it was created with.
const (
	GreedyDesign = 1 // by need alone: groups differ before the test begins
	DrawnDesign  = 2 // by chance
)

// TestGroup is one group of an A/B test.
type TestGroup struct {
	Name       string
	Proportion float64
	Variants   map[string]string // by feature; the same features in each group of a test
	Buckets    []BucketID        // assigned, ascending

	Record map[string]string `json:"-"` // of features deleted since; nil if it was not read: edges do not
}

// TestState is the state of a test at some moment.
type TestState string

// The states of a test.
const (
	Scheduled TestState = "scheduled"
	Live      TestState = "live"
	Ended     TestState = "ended"
)

// State is the state of the test at the moment at: live from its start (included)
// to its end (excluded).
func (t *ABTest) State(at time.Time) TestState {
	switch {
	case at.Before(t.Start):
		return Scheduled
	case at.Before(t.End):
		return Live
	default:
		return Ended
	}
}

// Features are those that the test is about, in name order.
func (t *ABTest) Features() []string {
	if len(t.Groups) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(t.Groups[0].Variants))
}

// DeletedFeatures is what the test was about and is there no longer, in name order.
func (t *ABTest) DeletedFeatures() []string {
	if len(t.Groups) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(t.Groups[0].Record))
}

// Group is a set of subjects for which variants are overridden.
type Group struct {
	ID        GroupID
	Name      string
	Priority  int               // the higher wins if two groups of a subject override the same feature
	Overrides map[string]string // variant by feature
	Revision  int64             // of the last change to the group or its overrides; its members do not count
}

// CompareGroups orders groups by precedence: the higher priority first, then the
// name that sorts first.
func CompareGroups(a, b Group) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Name, b.Name))
}

// Limits of the configuration. They bound the cost of one revision on an edge; each
// is far above what people manage by hand.
const (
	MaxDescriptionLength = 4096
	MaxTags              = 64
	MaxTestGroups        = 64
	MaxPriority          = math.MaxInt32
	// MaxConfigurationSize bounds all names, texts and payloads together, in bytes.
	// Assignments do not count.
	MaxConfigurationSize = 32 << 20
)

// CheckProportion says what is wrong with a share of the traffic.
func CheckProportion(p float64) error {
	switch {
	case p >= 0 && p <= 1:
		return nil
	case p > 1 && p <= 100:
		return fmt.Errorf("must be a number between 0 and 1, is %g: did you mean %g?", p, p/100)
	}
	return fmt.Errorf("must be a number between 0 and 1, is %g", p)
}

// CheckPayload says what is wrong with a variant's payload. Empty is none.
func CheckPayload(payload json.RawMessage) error {
	if len(payload) > MaxPayloadSize {
		return fmt.Errorf("must have at most 64 KiB, has %d bytes", len(payload))
	}
	if len(payload) == 0 {
		return nil
	}
	return CheckJSON(payload)
}

// CheckDescription says what is wrong with the description of a feature or test: it may
// have several lines.
func CheckDescription(text string) error {
	if len(text) > MaxDescriptionLength {
		return fmt.Errorf("must have at most %d bytes, has %d", MaxDescriptionLength, len(text))
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return errors.New("must be valid UTF-8 without NUL")
	}
	return nil
}

// CheckContact says what is wrong with the contact of a feature. Empty is none.
func CheckContact(contact string) error {
	if contact == "" {
		return nil
	}
	return CheckLabel(contact)
}

// CheckDate says what is wrong with a date in UTC. Empty is none.
func CheckDate(date string) error {
	if date == "" {
		return nil
	}
	if day, err := time.Parse(time.DateOnly, date); err != nil || day.Year() < 1 {
		return fmt.Errorf("must be a date such as 2027-01-31, is %q", date)
	}
	return nil
}

// CheckTime says what is wrong with the start or end of a test, or with an expiry.
func CheckTime(at time.Time) error {
	if at.Year() < 1970 || at.Year() > 9999 {
		return errors.New("must be given, and between the years 1970 and 9999")
	}
	return nil
}

// CheckPriority says what is wrong with the priority of a group.
func CheckPriority(priority int) error {
	if priority < math.MinInt32 || priority > MaxPriority {
		return fmt.Errorf("must be between %d and %d, is %d", math.MinInt32, MaxPriority, priority)
	}
	return nil
}

// CheckTags says all that is wrong with the tags of a feature. Their order is kept.
func CheckTags(tags []string) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("must have at most %d entries, has %d", MaxTags, len(tags))
	}
	var faults []string
	for i, tag := range tags {
		if slices.Contains(tags[:i], tag) {
			faults = append(faults, fmt.Sprintf("must differ from each other, %q is given twice", tag))
		}
		if len(tag) > MaxNameLength {
			faults = append(faults, fmt.Sprintf("must have at most %d bytes each, %q has %d", MaxNameLength, tag, len(tag)))
		} else if err := CheckSubjectID(tag); err != nil { // the same alphabet
			faults = append(faults, fmt.Sprintf("%q %v", tag, err))
		}
	}
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}
