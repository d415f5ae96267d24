// Package api holds the types of the HTTP contract of both services: requests,
// answers, problem codes and header names. The OpenAPI documents are generated from
// them, and the client in package flaggery uses them. It promises stability: fields
// are added, never renamed.
package api

import (
	"strconv"
	"time"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// Header names.
const (
	// HeaderRevision is on every answer: the revision that a write made, or that a
	// read was answered from.
	HeaderRevision = "Flaggery-Revision"
	// HeaderSnapshotAge is on an edge's answers while it has no connection to its
	// database: the seconds since it was last in sync.
	HeaderSnapshotAge = "Flaggery-Snapshot-Age"
)

// ETag returns the header for a version of a resource, "" for 0.
func ETag(version int64) string {
	if version == 0 {
		return ""
	}
	return `"` + strconv.FormatInt(version, 10) + `"`
}

// Media types.
const (
	MediaJSON    = "application/json"
	MediaProblem = "application/problem+json"
	MediaNDJSON  = "application/x-ndjson"
	MediaYAML    = "application/yaml"
	MediaSchema  = "application/schema+json"
	MediaCSV     = "text/csv"
	MediaEvents  = "text/event-stream"
)

// Problem is the body of every answer that is no success (RFC 9457).
type Problem struct {
	Type   string             `json:"type" doc:"URI reference that identifies the kind of problem" example:"about:blank"`
	Title  string             `json:"title" doc:"Name of the HTTP status" example:"Unprocessable Entity"`
	Status int                `json:"status" doc:"HTTP status" example:"422"`
	Detail string             `json:"detail" doc:"What is wrong and what is accepted, for people"`
	Code   model.Code         `json:"code,omitempty" doc:"Kind of failure, for programs; absent for internal errors" example:"validation_failed"`
	Errors []model.FieldError `json:"errors,omitempty" doc:"The invalid fields and parameters"`
	model.Extension
}

func (p *Problem) Error() string {
	e := model.Error{Code: p.Code, Detail: p.Detail, Fields: p.Errors}
	return e.Error()
}

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Value of 'after' for the next page; absent on the last page"`
}

// DryRun is the answer to a dry run.
type DryRun[T any] struct {
	DryRun bool `json:"dry_run" doc:"Always true: nothing was stored"`
	Drawn  bool `json:"drawn,omitempty" doc:"Whether the write draws at random, as a new test or a new rollout does: the stored write will draw differently"`
	Effect
	Removes []string `json:"removes,omitempty" doc:"Resources that would be deleted, as paths below /v1/" example:"[\"features/foobar/rollout\"]"`
	Result  T        `json:"result" doc:"The answer that the write would have"`
}

// Effect is how a write changes the flags of subjects.
type Effect struct {
	Affected Affected     `json:"affected"`
	Changes  []FlagChange `json:"changes" doc:"The flags that would change, sorted by feature, from and to"`
	// Heaviest is nil if the write draws, or is an import.
	Heaviest []ChangedSubject `json:"heaviest,omitzero" doc:"The heaviest of the affected subjects, at most 10; absent for imports and for writes that draw"`
}

// FlagChange counts the subjects that get one variant of a feature instead of another.
type FlagChange struct {
	Feature  string  `json:"feature"`
	From     *string `json:"from" doc:"Variant; null for none"`
	To       *string `json:"to" doc:"Variant; null for none"`
	Subjects int64   `json:"subjects"`
	Weight   int64   `json:"weight"`
}

// ChangedSubject is a subject whose flags change, with the first changed feature.
type ChangedSubject struct {
	ID      string  `json:"id"`
	Weight  int64   `json:"weight"`
	Feature string  `json:"feature" doc:"The first feature by name whose variant changes"`
	From    *string `json:"from" doc:"Variant; null for none"`
	To      *string `json:"to" doc:"Variant; null for none"`
}

// Affected counts the subjects whose flags would change.
type Affected struct {
	Subjects int64 `json:"subjects" doc:"Number of subjects whose flags would change"`
	Weight   int64 `json:"weight" doc:"Sum of their weights"`
}

// Propagation says how far a write that waited has reached the edges.
type Propagation struct {
	Edges   int      `json:"edges" doc:"Number of edges: those connected, and those that lost their connection within the last 10 minutes"`
	Applied int      `json:"applied" doc:"Number of connected edges that serve the revision"`
	Seconds float64  `json:"seconds" doc:"Seconds that the write waited"`
	Behind  []string `json:"behind" doc:"Names of the edges that do not serve the revision yet" example:"[\"edge-eu-3\"]"`
}

// CreateBuckets adds buckets.
type CreateBuckets struct {
	Amount int `json:"amount" minimum:"1" maximum:"100000" doc:"Number of buckets to add" example:"10"`
}

// BucketIDs lists the added buckets.
type BucketIDs struct {
	BucketIDs []model.BucketID `json:"bucket_ids" doc:"Ids of the added buckets"`
}

// Bucket is a container of subjects.
type Bucket struct {
	ID       model.BucketID `json:"id"`
	Weight   int64          `json:"weight" doc:"Sum of the weights of its subjects"`
	Subjects int64          `json:"subjects" doc:"Number of subjects in it"`
}

// BucketColumns holds all buckets, in id order.
type BucketColumns struct {
	IDs      []model.BucketID `json:"ids" doc:"All ids, ascending"`
	Weights  []int64          `json:"weights" doc:"Weight of each bucket, in the order of ids"`
	Subjects []int64          `json:"subjects" doc:"Number of subjects in each bucket, in the order of ids"`
}

// CreateSubject creates a subject.
type CreateSubject struct {
	ID     string `json:"id" doc:"Any UTF-8 text of 1 to 256 bytes without control characters" example:"42"`
	Weight *int64 `json:"weight,omitempty" minimum:"0" maximum:"9007199254740991" doc:"Share of the traffic that the subject stands for, relative to other subjects; 1 if left out" example:"3"`
}

// Subject is an entity that flags are resolved for, such as a customer.
type Subject struct {
	ID       string         `json:"id"`
	Weight   int64          `json:"weight"`
	BucketID model.BucketID `json:"bucket_id" doc:"The bucket that the subject is in"`
	Groups   []string       `json:"groups" doc:"Names of its groups"`
}

// SubjectQuery selects and sorts subjects. The zero value selects all, by id.
type SubjectQuery struct {
	Prefix string         // of the id
	Bucket model.BucketID // 0 for any
	Sort   string         // [HeaviestFirst], or "" for the order of ids
}

// HeaviestFirst sorts subjects by descending weight, then by id.
const HeaviestFirst = "-weight"

// SubjectIDs lists many subjects.
type SubjectIDs struct {
	IDs []string `json:"ids" minItems:"1" maxItems:"10000" doc:"Ids of subjects, without duplicates" example:"[\"42\"]"`
}

// DeletedSubjects is the outcome of deleting many subjects.
type DeletedSubjects struct {
	Deleted int64    `json:"deleted" doc:"Number of deleted subjects"`
	Unknown []string `json:"unknown" doc:"Ids that no subject has"`
}

// SetWeight changes a subject's weight; the subject stays in its bucket.
type SetWeight struct {
	Weight int64 `json:"weight" minimum:"0" maximum:"9007199254740991"`
}

// ImportLine is one line of an import or export in NDJSON.
type ImportLine struct {
	ID     string   `json:"id"`
	Weight *int64   `json:"weight,omitempty"`
	Groups []string `json:"groups,omitzero" required:"false"` // nil leaves groups as they are
	// Number is the line in the file, from 1, for errors; 0 if that is the place in
	// the sequence.
	Number int64 `json:"-"`
}

// Imported is the outcome of an import.
type Imported struct {
	Created   int64 `json:"created" doc:"Number of new subjects"`
	Updated   int64 `json:"updated" doc:"Number of subjects whose weight or groups changed"`
	Unchanged int64 `json:"unchanged" doc:"Number of subjects in the import that did not change"`
	Deleted   int64 `json:"deleted" doc:"Number of deleted subjects: with absent=delete, those that no line has"`
}

// CreateFeature creates a feature together with the given parts, in one revision.
type CreateFeature struct {
	Name             string         `json:"name" doc:"Name of the feature, which cannot be changed later" example:"foobar"`
	Description      string         `json:"description,omitempty" maxLength:"4096"`
	Tags             []string       `json:"tags,omitempty" maxItems:"64"`
	Contact          string         `json:"contact,omitempty" maxLength:"128" doc:"Who answers for the feature" example:"team-checkout"`
	Expires          string         `json:"expires,omitempty" doc:"Date from which the feature should be gone, in UTC; none if left out" example:"2027-01-31"`
	Permanent        bool           `json:"permanent,omitempty" doc:"Whether the feature stays for good: its stage is never settled or expired"`
	Variants         []NewVariant   `json:"variants,omitempty" doc:"Variants except __DISABLE__, see disabling_variant"`
	DisablingVariant bool           `json:"disabling_variant,omitempty" doc:"Whether to add the variant __DISABLE__"`
	DefaultVariant   *string        `json:"default_variant,omitempty" doc:"One of the variants; none if left out" example:"A"`
	Rollout          *CreateRollout `json:"rollout,omitempty"`
}

// NewVariant is a variant of a new feature.
type NewVariant struct {
	Name    string `json:"name" example:"A"`
	Payload any    `json:"payload,omitempty" doc:"Any JSON value of at most 64 KiB"`
}

// CreateRollout is the rollout of a new feature.
type CreateRollout struct {
	Variant    string  `json:"variant" doc:"One of the variants" example:"A"`
	Proportion float64 `json:"proportion,omitempty" minimum:"0" maximum:"1" doc:"Share of the total weight, 0 if left out" example:"0.1"`
}

// PatchFeature changes the given fields.
type PatchFeature struct {
	Description *string   `json:"description,omitempty" maxLength:"4096"`
	Tags        *[]string `json:"tags,omitempty" maxItems:"64"`
	Contact     *string   `json:"contact,omitempty" maxLength:"128" doc:"Who answers for the feature" example:"team-checkout"`
	Expires     *string   `json:"expires,omitempty" doc:"Date from which the feature should be gone, in UTC; empty for none" example:"2027-01-31"`
	Permanent   *bool     `json:"permanent,omitempty" doc:"Whether the feature stays for good: its stage is never settled or expired"`
	Off         *bool     `json:"off,omitempty" doc:"true: every subject gets __DISABLE__, whatever else applies. false: the rest applies again"`
}

// Feature is a feature with its variants and its rollout.
type Feature struct {
	Name           string    `json:"name"`
	Description    string    `json:"description"`
	Tags           []string  `json:"tags"`
	Contact        string    `json:"contact" doc:"Who answers for the feature; empty for nobody"`
	Expires        *string   `json:"expires" doc:"Date from which the feature should be gone, in UTC; null for none" example:"2027-01-31"`
	Permanent      bool      `json:"permanent" doc:"Whether the feature stays for good: its stage is never settled or expired"`
	Owner          *string   `json:"owner" doc:"The state document that manages the feature; null for none"`
	Variants       []Variant `json:"variants"`
	DefaultVariant *string   `json:"default_variant" doc:"Variant of subjects that nothing else applies to; null for none"`
	Rollout        *Rollout  `json:"rollout"`
	Off            bool      `json:"off" doc:"Whether every subject gets __DISABLE__, whatever else applies"`
	Archived       bool      `json:"archived" doc:"Whether the feature is kept, but not served"`
	Revision       int64     `json:"revision" doc:"Revision of the last change"`
}

// FeatureSummary is a feature in a list: who gets which variant, and its last change.
type FeatureSummary struct {
	Name           string             `json:"name"`
	Description    string             `json:"description"`
	Tags           []string           `json:"tags"`
	State          model.FeatureState `json:"state" enum:"default,rolling,testing,everyone,off,archived" doc:"The first of these that applies: archived; off; testing (a test is live); everyone (the rollout has proportion 1); rolling (the rollout has a proportion between 0 and 1); default"`
	Stage          model.FeatureStage `json:"stage" enum:"new,rolling,testing,settled,off,expired,archived" doc:"The first of these that applies: archived; expired (its date has come, and it is not permanent); off; testing (a test is live); settled (for 14 days its default, rollout and overrides have given everybody the same variant, no test was live or is scheduled, and it is not permanent); new (it has given nothing but its default since its creation); rolling"`
	SettledOn      *time.Time         `json:"settled_on" doc:"Since when a settled feature has given everybody the same variant; null in other stages"`
	Contact        string             `json:"contact" doc:"Who answers for the feature; empty for nobody"`
	Expires        *string            `json:"expires" doc:"Date from which the feature should be gone, in UTC; null for none" example:"2027-01-31"`
	Permanent      bool               `json:"permanent" doc:"Whether the feature stays for good: its stage is never settled or expired"`
	Owner          *string            `json:"owner" doc:"The state document that manages the feature; null for none"`
	Variants       []string           `json:"variants" doc:"Names of the variants, in order"`
	DefaultVariant *string            `json:"default_variant"`
	Rollout        *RolloutSummary    `json:"rollout"`
	Test           *TestSummary       `json:"test" doc:"The live test; null for none"`
	NextTest       *TestSummary       `json:"next_test" doc:"The next scheduled test; null for none"`
	Overrides      int                `json:"overrides" doc:"Number of groups that override the feature"`
	Shares         []VariantShare     `json:"shares" doc:"What each step gives, without steps that apply to no subject"`
	Changed        LastChange         `json:"changed"`
}

// RolloutSummary is a rollout without its buckets.
type RolloutSummary struct {
	Variant             string  `json:"variant"`
	Proportion          float64 `json:"proportion" doc:"The share of the total weight that was set"`
	EffectiveProportion float64 `json:"effective_proportion" doc:"The share of the total weight that the assigned buckets have"`
}

// TestSummary is a test without its groups.
type TestSummary struct {
	Name  string    `json:"name"`
	Start time.Time `json:"start" doc:"Start of the test, inclusive"`
	End   time.Time `json:"end" doc:"End of the test, exclusive"`
}

// VariantShare counts the subjects that get a variant by one step.
type VariantShare struct {
	Variant  *string `json:"variant" doc:"Variant; null for none"`
	Step     string  `json:"step" enum:"nothing,default,rollout,abtest,override,off,archived" doc:"The step that decides"`
	Weight   int64   `json:"weight"`
	Subjects int64   `json:"subjects"`
}

// LastChange is the last change of a feature, its variants, its default or its rollout.
type LastChange struct {
	At       time.Time `json:"at"`
	Actor    string    `json:"actor" doc:"Name of the token or person"`
	Revision int64     `json:"revision"`
}

// Shares counts the subjects that each step of a feature decides for. The sums over
// all steps are the totals.
type Shares struct {
	Revision      int64       `json:"revision" doc:"Revision of the configuration: for a past moment the one of that moment, otherwise the current one. Subjects are always the current ones"`
	TotalWeight   int64       `json:"total_weight"`
	TotalSubjects int64       `json:"total_subjects"`
	Steps         []StepShare `json:"steps" doc:"In the order of resolution: later steps override earlier ones. Includes steps that decide for no subject"`
}

// StepShare is one step of a feature and the subjects that it decides for.
type StepShare struct {
	Step      string  `json:"step" enum:"nothing,default,rollout,abtest,override,off,archived" doc:"The step that decides"`
	Variant   *string `json:"variant" doc:"Variant; null for none"`
	TestGroup *string `json:"test_group" doc:"Test group of the step abtest; null for other steps"`
	Group     *string `json:"group" doc:"Group of the step override; null for other steps"`
	Weight    int64   `json:"weight"`
	Subjects  int64   `json:"subjects"`
}

// FeatureSubject is a subject that gets the variant in question.
type FeatureSubject struct {
	ID     string `json:"id"`
	Weight int64  `json:"weight"`
	Step   string `json:"step" enum:"default,rollout,abtest,override,off" doc:"The step that decides"`
}

// Overlap counts who gets which variants of two features.
type Overlap struct {
	TotalWeight int64         `json:"total_weight"`
	Cells       []OverlapCell `json:"cells" doc:"Sorted by the names of the variants, without pairs that no subject gets"`
}

// OverlapCell counts the subjects that get one variant of each feature.
type OverlapCell struct {
	A        *string `json:"a" doc:"Variant of the first feature; null for none"`
	B        *string `json:"b" doc:"Variant of the second feature; null for none"`
	Weight   int64   `json:"weight"`
	Subjects int64   `json:"subjects"`
}

// CreateVariant adds a variant to a feature.
type CreateVariant struct {
	Name        string `json:"name" example:"A"`
	Payload     any    `json:"payload,omitempty" doc:"Any JSON value of at most 64 KiB"`
	MakeDefault bool   `json:"make_default,omitempty" doc:"Whether to make it the default variant too"`
}

// CreateDisablingVariant adds the variant __DISABLE__ to a feature.
type CreateDisablingVariant struct {
	MakeDefault bool `json:"make_default,omitempty" doc:"Whether to make it the default variant too"`
}

// PatchVariant replaces a variant's payload; null removes it.
type PatchVariant struct {
	Payload any `json:"payload" doc:"Any JSON value of at most 64 KiB; null removes the payload"`
}

// Variant is a value that a feature can resolve to.
type Variant struct {
	Name      string `json:"name"`
	Disabling bool   `json:"disabling" doc:"Whether it is __DISABLE__, which switches the feature off"`
	Payload   any    `json:"payload" doc:"Any JSON value; null for none"`
}

// VariantReference names a variant of the feature in the path.
type VariantReference struct {
	Variant string `json:"variant" doc:"A variant of the feature" example:"B"`
}

// PatchRollout changes a rollout's proportion, its variant or both.
type PatchRollout struct {
	Proportion *float64 `json:"proportion,omitempty" minimum:"0" maximum:"1" doc:"Share of the total weight" example:"0.25"`
	Variant    *string  `json:"variant,omitempty" example:"B"`
}

// Rollout gives a variant to a share of the traffic.
type Rollout struct {
	Feature             string           `json:"feature"`
	Variant             string           `json:"variant"`
	Proportion          float64          `json:"proportion" doc:"The share of the total weight that was set"`
	EffectiveProportion float64          `json:"effective_proportion" doc:"The share of the total weight that the assigned buckets have"`
	EffectiveWeight     int64            `json:"effective_weight" doc:"Sum of the weights of the assigned buckets"`
	TotalWeight         int64            `json:"total_weight" doc:"Sum of the weights of all subjects"`
	Buckets             []model.BucketID `json:"buckets" doc:"The assigned buckets"`
}

// CreateABTest creates a test.
type CreateABTest struct {
	Name        string            `json:"name" example:"checkout-2027"`
	Description string            `json:"description,omitempty" maxLength:"4096"`
	Start       time.Time         `json:"start" doc:"Start of the test, inclusive"`
	End         time.Time         `json:"end" doc:"End of the test, exclusive"`
	Groups      []CreateTestGroup `json:"groups" minItems:"2" maxItems:"64"`
}

// PatchABTest changes the given fields.
type PatchABTest struct {
	Start       *time.Time `json:"start,omitempty" doc:"Start of the test, inclusive. It can be changed until the test is live"`
	End         *time.Time `json:"end,omitempty" doc:"End of the test, exclusive, not in the past. It can be changed until the test has ended"`
	Description *string    `json:"description,omitempty" maxLength:"4096"`
}

// CreateTestGroup is a group of a new test.
type CreateTestGroup struct {
	Name       string            `json:"name" example:"control"`
	Proportion *float64          `json:"proportion,omitempty" minimum:"0" maximum:"1" doc:"Share of the total weight; give it for all groups, or for none to make them equal"`
	Variants   map[string]string `json:"variants" doc:"Variant by feature. All groups must have the same features"`
}

// ABTest compares variants during a period.
type ABTest struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Start       time.Time       `json:"start" doc:"Start of the test, inclusive"`
	End         time.Time       `json:"end" doc:"End of the test, exclusive"`
	State       model.TestState `json:"state" enum:"scheduled,live,ended"`
	Groups      []TestGroup     `json:"groups"`
	Owner       *string         `json:"owner" doc:"The state document that manages the test; null for none"`
	Revision    int64           `json:"revision" doc:"Revision of the last change"`
	// DeletedFeatures are listed in variants too, as a record.
	DeletedFeatures []string `json:"deleted_features,omitempty" doc:"Features of the test that were deleted later: 'variants' still lists them, as a record"`
	// Design says how buckets were assigned to groups.
	Design   int              `json:"design" doc:"How buckets were assigned to groups: 2, by a draw; 1, for tests of earlier releases, by weight"`
	Aside    []model.BucketID `json:"aside" doc:"Buckets too heavy to be drawn. They were assigned to groups for balance: leave them out of comparisons"`
	Warnings []Warning        `json:"warnings,omitempty" doc:"Why the test may be inconclusive"`
}

// Warning names a problem of a write that was stored nevertheless.
type Warning struct {
	Code    string `json:"code" example:"few_buckets"`
	Message string `json:"message"`
}

// TestGroup is a group of a test with its buckets.
type TestGroup struct {
	Name                string            `json:"name"`
	Proportion          float64           `json:"proportion"`
	Variants            map[string]string `json:"variants" doc:"Variant by feature"`
	EffectiveProportion float64           `json:"effective_proportion"`
	EffectiveWeight     int64             `json:"effective_weight"`
	Subjects            int64             `json:"subjects" doc:"Number of subjects in its buckets"`
	Chance              *float64          `json:"chance" doc:"Probability that a drawn bucket came into this group; null if design is 1"`
	Buckets             []model.BucketID  `json:"buckets"`
}

// CreateGroup creates a group of subjects.
type CreateGroup struct {
	Name     string `json:"name" example:"friends"`
	Priority int    `json:"priority,omitempty" minimum:"-2147483648" maximum:"2147483647" doc:"If two groups of a subject override the same feature, the higher priority wins"`
}

// PatchGroup changes the given fields.
type PatchGroup struct {
	Priority *int `json:"priority,omitempty" minimum:"-2147483648" maximum:"2147483647"`
}

// ChangeMembers adds many subjects to a group, or removes them from it.
type ChangeMembers struct {
	SubjectIDs
	Leave bool `json:"leave,omitempty" doc:"true removes the subjects from the group, false adds them"`
}

// ChangedMembers is the outcome of a [ChangeMembers].
type ChangedMembers struct {
	Joined  int64    `json:"joined" doc:"Number of added members"`
	Already int64    `json:"already" doc:"Number of subjects that needed no change: members to add, or non-members to remove"`
	Left    int64    `json:"left" doc:"Number of removed members"`
	Unknown []string `json:"unknown" doc:"Ids that no subject has"`
}

// Member is a subject in a group.
type Member struct {
	ID     string `json:"id"`
	Weight int64  `json:"weight"`
}

// Group is a set of subjects with overrides.
type Group struct {
	Name      string            `json:"name"`
	Priority  int               `json:"priority" doc:"If two groups of a subject override the same feature, the higher priority wins"`
	Members   int64             `json:"members" doc:"Number of members"`
	Overrides map[string]string `json:"overrides" doc:"Variant by feature"`
	Owner     *string           `json:"owner" doc:"The state document that manages the group; null for none"`
}

// Flags are the flags of one subject, by feature in name order.
type Flags struct {
	Flags map[string]string `json:"flags" doc:"Variant by feature. Features that resolve to nothing are absent"`
}

// BatchFlagsRequest asks for the flags of many subjects.
type BatchFlagsRequest struct {
	SubjectIDs []string `json:"subject_ids" minItems:"1" maxItems:"10000" doc:"Ids of subjects" example:"[\"42\"]"`
}

// BatchFlags are the flags of many subjects.
type BatchFlags struct {
	Flags   map[string]map[string]string `json:"flags" doc:"By subject id: variant by feature"`
	Unknown []string                     `json:"unknown" doc:"Ids that no subject has"`
}

// Explanation says why a subject gets its flags.
type Explanation struct {
	Subject       ExplainedSubject             `json:"subject"`
	Revision      int64                        `json:"revision" doc:"The current revision, which the answer was read at"`
	At            time.Time                    `json:"at" doc:"The explained moment"`
	Configuration ConfigurationMoment          `json:"configuration"`
	Features      map[string]ExplainedDecision `json:"features"`
}

// ExplainedSubject is a subject as it was at the revision of the configuration.
type ExplainedSubject struct {
	ID       string         `json:"id"`
	Weight   *int64         `json:"weight,omitempty" doc:"Absent for past moments: history does not record it"`
	BucketID model.BucketID `json:"bucket_id"`
	Groups   []string       `json:"groups"`
}

// ConfigurationMoment names the configuration that an explanation uses.
type ConfigurationMoment struct {
	Revision int64     `json:"revision" doc:"The revision at the explained moment; for a future moment, the current one"`
	At       time.Time `json:"at" doc:"When that revision was made"`
}

// ExplainedDecision is the deciding step of a feature, and all of its steps.
type ExplainedDecision struct {
	Variant *string         `json:"variant" doc:"null if the feature resolves to nothing"`
	Reason  *string         `json:"reason" doc:"The step that decides: default, rollout, abtest, override, off or archived; null if none applies"`
	Steps   []ExplainedStep `json:"steps"`
}

// ExplainedStep is one step of the resolution. The last one that applies decides.
type ExplainedStep struct {
	Step      string `json:"step" enum:"default,rollout,abtest,override,off,archived"`
	Variant   string `json:"variant,omitempty"`
	Test      string `json:"test,omitempty"`
	TestGroup string `json:"test_group,omitempty"`
	Group     string `json:"group,omitempty"`
	Applies   bool   `json:"applies" doc:"Whether the step applies to the subject. The last one that applies decides"`
	Detail    string `json:"detail,omitempty" doc:"Why it does or does not apply, for people"`
}

// AuditEntry is one change by one actor.
type AuditEntry struct {
	Revision  int64     `json:"revision"`
	At        time.Time `json:"at"`
	Actor     string    `json:"actor"`
	Action    string    `json:"action" doc:"What was done, such as create or update"`
	Resource  string    `json:"resource" doc:"Path of the resource below /v1/" example:"features/foobar/rollout"`
	Before    any       `json:"before" doc:"The resource before the change; null if there was none"`
	After     any       `json:"after" doc:"The resource after the change; null if there is none"`
	Comment   string    `json:"comment,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	TokenID   int64     `json:"token_id,omitempty" doc:"Id of the stored token that was used"`
}

// Change is a short form of an [AuditEntry].
type Change struct {
	Revision int64     `json:"revision"`
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"`
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
}

// Reload says that a stream skipped changes up to a revision.
type Reload struct {
	Revision int64 `json:"revision"`
}

// Reverted is the outcome of reverting a revision.
type Reverted struct {
	Reverted int64            `json:"reverted" doc:"The reverted revision"`
	Changes  []ResourceChange `json:"changes"`
}

// AppliedState is the outcome of applying a state document.
type AppliedState struct {
	Changes   []ResourceChange    `json:"changes" doc:"What the document changed, each resource once; empty if nothing, and then there is no new revision"`
	Unmanaged []UnmanagedResource `json:"unmanaged" doc:"What the document's owner manages and the document lacks"`
	Affected  *Affected           `json:"affected,omitempty" doc:"The subjects whose flags changed, counted just after the commit; absent if counting them failed. In a dry run it stands beside the result"`
}

// UnmanagedResource is a resource that a state document lacks.
type UnmanagedResource struct {
	Resource string  `json:"resource" doc:"Path of the resource" example:"features/old"`
	Prune    *string `json:"prune" enum:"archive,delete" doc:"What prune=true would do; null if it leaves the resource: write null in the document to delete a variant or an override, and wait for the end of a test"`
}

// ResourceChange is one of the changes of a write, as in the audit.
type ResourceChange struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
	Before   any    `json:"before"`
	After    any    `json:"after"`
}

// NewToken creates a token.
type NewToken struct {
	Name      string     `json:"name" doc:"Who or what will use it, for the audit: any text of 1 to 128 bytes in printable characters. Several tokens may have the same name, for rotation" example:"ci"`
	Role      auth.Role  `json:"role" enum:"viewer,editor,admin,client"`
	Scope     []string   `json:"scope,omitempty" maxItems:"32" doc:"For role editor: globs that limit what the token may write. Each feature, test and group that a write touches must match one: * is any number of any characters, ? is one. All may be written if empty" example:"[\"checkout.*\"]"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"End of its validity, exclusive; never if left out"`
}

// Token authenticates a caller. The secret is only in the answer that creates it.
type Token struct {
	ID        int64      `json:"id"`
	Name      string     `json:"name"`
	Role      auth.Role  `json:"role" enum:"viewer,editor,admin,client"`
	Scope     []string   `json:"scope,omitempty" doc:"Globs of the names that it may write; all if left out"`
	Prefix    string     `json:"prefix" doc:"First characters of the secret, to distinguish tokens"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at" doc:"End of its validity, exclusive; null for never"`
	UsedAt    *time.Time `json:"used_at" doc:"Time of the last use, to the minute; null for never"`
	Session   bool       `json:"session,omitempty" doc:"Whether it is the session of a sign-in"`
	Parent    int64      `json:"parent,omitempty" doc:"For sessions: id of the token that was used to sign in; the session ends with it"`
	Subject   string     `json:"subject,omitempty" doc:"For sessions of people: their id at the identity provider"`
	Token     string     `json:"token,omitempty" doc:"The secret: only in the answer that creates the token"`
}

// Me is the caller.
type Me struct {
	Name      string        `json:"name" doc:"Name of the caller in the audit"`
	Role      auth.Role     `json:"role" enum:"viewer,editor,admin,client"`
	Scope     []string      `json:"scope" doc:"Globs of the names that the caller may write; empty for all"`
	ExpiresAt *time.Time    `json:"expires_at" doc:"When the token or the session expires; null for never"`
	Provider  auth.Provider `json:"provider" enum:"token,setting,oidc" doc:"Source of the name and the role: a stored token (token), FLAGGERY_ADMIN_TOKEN (setting), or the OpenID Connect provider (oidc). A session that began with a token has the source of that token"`
}

// About describes the installation and counts what it has.
type About struct {
	Environment     string           `json:"environment" doc:"Value of FLAGGERY_ENVIRONMENT; empty for none"`
	Colour          string           `json:"colour" doc:"Value of FLAGGERY_ENVIRONMENT_COLOUR, a CSS colour; empty for none" example:"#d55e00"`
	Environments    []Environment    `json:"environments" doc:"Other installations, from FLAGGERY_ENVIRONMENTS in its order"`
	Version         string           `json:"version" doc:"Version of the admin"`
	EdgeURL         string           `json:"edge_url" doc:"Value of FLAGGERY_EDGE_URL, the URL of the edges for applications; empty if not set"`
	Subjects        int64            `json:"subjects"`
	TotalWeight     int64            `json:"total_weight" doc:"Sum of the weights of all subjects"`
	Buckets         int64            `json:"buckets"`
	Features        int64            `json:"features" doc:"Number of features, including archived ones"`
	Groups          int64            `json:"groups"`
	Tests           TestCounts       `json:"tests"`
	HeaviestSubject *WeightedSubject `json:"heaviest_subject" doc:"The first by id of the heaviest; null if there are no subjects"`
	HeaviestBucket  *Bucket          `json:"heaviest_bucket" doc:"The first by id of the heaviest; null if there are no buckets"`
	LightestBucket  *Bucket          `json:"lightest_bucket" doc:"The first by id of the lightest; null if there are no buckets"`
}

// Environment is another installation, which the console links to.
type Environment struct {
	Name string `json:"name" example:"staging"`
	URL  string `json:"url" doc:"URL of its admin" example:"https://flags.staging.example.com"`
}

// TestCounts counts the A/B tests that have not ended.
type TestCounts struct {
	Live      int64 `json:"live"`
	Scheduled int64 `json:"scheduled"`
}

// WeightedSubject is a subject with its weight.
type WeightedSubject struct {
	ID     string `json:"id"`
	Weight int64  `json:"weight"`
}

// Found is a match of a search.
type Found struct {
	Kind string `json:"kind" enum:"feature,test,group,subject"`
	Name string `json:"name" doc:"Name; for subjects, the id"`
}

// Edge is an edge that is connected, or that lost its connection within the last 10
// minutes.
type Edge struct {
	Name           string     `json:"name" doc:"Name of the edge; long names are shortened"`
	Revision       int64      `json:"revision" doc:"The revision that it serves; if it is away, the one that it served at last_seen"`
	LagRevisions   int64      `json:"lag_revisions" doc:"How many revisions it is behind the current one"`
	ConnectedSince *time.Time `json:"connected_since" doc:"null if the edge is away, or if the admin's database role lacks the right to see it"`
	LastSeen       time.Time  `json:"last_seen" doc:"When it was last connected; if it is away, to within 10 seconds"`
	State          string     `json:"state" enum:"loading,serving,refusing,leaving,away" doc:"loading: it has no snapshot yet; refusing: it keeps its revision because the next one is invalid; leaving: it is shutting down; away: it is not connected"`
	Version        string     `json:"version" doc:"First 10 characters of its version; empty for edges of earlier releases"`
}
