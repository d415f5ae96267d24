// Package api is what goes over the wire between Flaggery's two services and
// those who call them: requests, answers, problem codes and header names. The
// OpenAPI document is generated from these types, and the client in package
// flaggery speaks them. It promises stability: fields are added, never renamed.
package api

import (
	"strconv"
	"time"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// Header names.
const (
	// HeaderRevision is on every answer: on a write the revision that it made, on
	// a read the one that it was answered from.
	HeaderRevision = "Flaggery-Revision"
	// HeaderSnapshotAge is on an edge's answers while it is cut off from its
	// database: the seconds since it was last in sync.
	HeaderSnapshotAge = "Flaggery-Snapshot-Age"
)

// ETag is the header of a resource at a version; "" if it has none.
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
	MediaCSV     = "text/csv"
	MediaEvents  = "text/event-stream"
)

// Problem is every answer that is not a success (RFC 9457).
type Problem struct {
	Type   string             `json:"type" doc:"URI reference that identifies the kind of problem" example:"about:blank"`
	Title  string             `json:"title" doc:"The status in words"`
	Status int                `json:"status" doc:"The HTTP status"`
	Detail string             `json:"detail" doc:"What went wrong and what to do about it, for people"`
	Code   model.Code         `json:"code,omitempty" doc:"What went wrong, for machines" example:"validation_failed"`
	Errors []model.FieldError `json:"errors,omitempty" doc:"The fields at fault"`
	model.Extension
}

func (p *Problem) Error() string {
	e := model.Error{Code: p.Code, Detail: p.Detail, Fields: p.Errors}
	return e.Error()
}

// Page is one page of a list, in key order.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Value of 'after' for the next page; absent on the last one"`
}

// DryRun is the answer to a write that was only tried.
type DryRun[T any] struct {
	DryRun bool `json:"dry_run" doc:"Always true: nothing was stored"`
	Drawn  bool `json:"drawn,omitempty" doc:"The write draws by chance (a new test, the order of a new rollout): stored, it comes out differently"`
	Effect
	Removes []string `json:"removes,omitempty" doc:"What would be deleted: paths as in the audit, what follows /v1/" example:"[\"features/foobar/rollout\"]"`
	Result  T        `json:"result"`
}

// Effect is what a write does to the flags of subjects.
type Effect struct {
	Affected Affected     `json:"affected"`
	Changes  []FlagChange `json:"changes" doc:"Those flags, in the order of feature, from and to"`
	// Heaviest is nil if the write draws, or is an import.
	Heaviest []ChangedSubject `json:"heaviest,omitzero" doc:"The heaviest of those subjects, at most 10; absent if the write draws, and of imports"`
}

// FlagChange counts the subjects that get one variant of a feature instead of another.
type FlagChange struct {
	Feature  string  `json:"feature"`
	From     *string `json:"from" doc:"The variant; null for none"`
	To       *string `json:"to" doc:"The variant; null for none"`
	Subjects int64   `json:"subjects"`
	Weight   int64   `json:"weight"`
}

// ChangedSubject is a subject with the first of its features that change, by name.
type ChangedSubject struct {
	ID      string  `json:"id"`
	Weight  int64   `json:"weight"`
	Feature string  `json:"feature" doc:"The first of the subject's features that change, by name"`
	From    *string `json:"from" doc:"The variant; null for none"`
	To      *string `json:"to" doc:"The variant; null for none"`
}

// Affected counts the subjects whose flags would differ.
type Affected struct {
	Subjects int64 `json:"subjects" doc:"How many subjects would get other flags than now"`
	Weight   int64 `json:"weight" doc:"What those subjects weigh"`
}

// Propagation is the receipt of a write that waited for the edges.
type Propagation struct {
	Edges   int      `json:"edges" doc:"Edges connected, and edges that were within the last 10 minutes and did not leave"`
	Applied int      `json:"applied" doc:"Edges that serve the revision; none that is not connected"`
	Seconds float64  `json:"seconds" doc:"How long the write waited for them"`
	Behind  []string `json:"behind" doc:"The names of the others" example:"[\"edge-eu-3\"]"`
}

// CreateBuckets asks for more buckets.
type CreateBuckets struct {
	Amount int `json:"amount" minimum:"1" maximum:"100000" doc:"How many buckets to add" example:"10"`
}

// BucketIDs names the buckets that were added.
type BucketIDs struct {
	BucketIDs []model.BucketID `json:"bucket_ids"`
}

// Bucket is a container of subjects.
type Bucket struct {
	ID       model.BucketID `json:"id"`
	Weight   int64          `json:"weight" doc:"The sum over its subjects"`
	Subjects int64          `json:"subjects" doc:"How many subjects are in it"`
}

// BucketColumns is all buckets, in id order.
type BucketColumns struct {
	IDs      []model.BucketID `json:"ids"`
	Weights  []int64          `json:"weights" doc:"In the order of ids"`
	Subjects []int64          `json:"subjects" doc:"In the order of ids"`
}

// CreateSubject registers a subject.
type CreateSubject struct {
	ID     string `json:"id" doc:"Any UTF-8 text of 1 to 256 bytes without control characters" example:"42"`
	Weight *int64 `json:"weight,omitempty" minimum:"0" maximum:"9007199254740991" doc:"The traffic that the subject stands for; 1 when left out" example:"3"`
}

// Subject is whom flags are resolved for.
type Subject struct {
	ID       string         `json:"id"`
	Weight   int64          `json:"weight"`
	BucketID model.BucketID `json:"bucket_id"`
	Groups   []string       `json:"groups"`
}

// SubjectQuery selects subjects and orders them. The zero value is all, by id.
type SubjectQuery struct {
	Prefix string         // of the id
	Bucket model.BucketID // 0 for any
	Sort   string         // [HeaviestFirst], or "" for the order of ids
}

// HeaviestFirst sorts subjects by weight, the heaviest first, and equal ones by id.
const HeaviestFirst = "-weight"

// SubjectIDs names many subjects.
type SubjectIDs struct {
	IDs []string `json:"ids" minItems:"1" maxItems:"10000" doc:"Each once" example:"[\"42\"]"`
}

// DeletedSubjects is the outcome of deleting many subjects.
type DeletedSubjects struct {
	Deleted int64    `json:"deleted" doc:"How many were deleted"`
	Unknown []string `json:"unknown" doc:"The ids that no subject has"`
}

// SetWeight changes a subject's weight; the subject stays in its bucket.
type SetWeight struct {
	Weight int64 `json:"weight" minimum:"0" maximum:"9007199254740991"`
}

// ImportLine is one line of an import or export in NDJSON.
type ImportLine struct {
	ID     string   `json:"id"`
	Weight *int64   `json:"weight,omitempty"`
	Groups []string `json:"groups,omitzero" required:"false"` // nil says nothing of groups
	// Number is its line in the file, from 1, to name it where it is at fault; 0
	// where that is its place in the sequence.
	Number int64 `json:"-"`
}

// Imported is the outcome of an import.
type Imported struct {
	Created   int64 `json:"created"`
	Updated   int64 `json:"updated" doc:"Subjects with another weight or other groups than before"`
	Unchanged int64 `json:"unchanged"`
	Deleted   int64 `json:"deleted" doc:"Subjects that no line has, with absent=delete"`
}

// CreateFeature makes a feature, in one revision with all that is given.
type CreateFeature struct {
	Name             string         `json:"name" example:"foobar"`
	Description      string         `json:"description,omitempty" maxLength:"4096"`
	Tags             []string       `json:"tags,omitempty" maxItems:"64"`
	Variants         []NewVariant   `json:"variants,omitempty" doc:"But for __DISABLE__, see disabling_variant"`
	DisablingVariant bool           `json:"disabling_variant,omitempty" doc:"Whether the feature has the variant __DISABLE__"`
	DefaultVariant   *string        `json:"default_variant,omitempty" example:"A"`
	Rollout          *CreateRollout `json:"rollout,omitempty"`
}

// NewVariant is a variant of a feature that is made.
type NewVariant struct {
	Name    string `json:"name" example:"A"`
	Payload any    `json:"payload,omitempty" doc:"Any JSON value of at most 64 KiB"`
}

// CreateRollout is the rollout of a feature that is made.
type CreateRollout struct {
	Variant    string  `json:"variant" example:"A"`
	Proportion float64 `json:"proportion,omitempty" minimum:"0" maximum:"1" example:"0.1"`
}

// PatchFeature changes what is given.
type PatchFeature struct {
	Description *string   `json:"description,omitempty" maxLength:"4096"`
	Tags        *[]string `json:"tags,omitempty" maxItems:"64"`
	Off         *bool     `json:"off,omitempty" doc:"true: every subject gets __DISABLE__, whatever else holds. false: what holds applies again"`
}

// Feature is what is switched.
type Feature struct {
	Name           string    `json:"name"`
	Description    string    `json:"description"`
	Tags           []string  `json:"tags"`
	Variants       []Variant `json:"variants"`
	DefaultVariant *string   `json:"default_variant"`
	Rollout        *Rollout  `json:"rollout"`
	Off            bool      `json:"off" doc:"Every subject gets __DISABLE__, whatever else holds"`
	Archived       bool      `json:"archived" doc:"Kept, but not served"`
	Revision       int64     `json:"revision" doc:"The revision that last changed it"`
}

// FeatureSummary is a feature in a list: who gets what of it, and its last change.
type FeatureSummary struct {
	Name           string             `json:"name"`
	Description    string             `json:"description"`
	Tags           []string           `json:"tags"`
	State          model.FeatureState `json:"state" enum:"default,rolling,testing,everyone,off,archived" doc:"The first that applies: archived; off; testing (a test is live); everyone (the rollout has the proportion 1); rolling (it has one between 0 and 1); default"`
	DefaultVariant *string            `json:"default_variant"`
	Rollout        *RolloutSummary    `json:"rollout"`
	Test           *TestSummary       `json:"test" doc:"The one that is live"`
	NextTest       *TestSummary       `json:"next_test" doc:"The next one that is scheduled"`
	Overrides      int                `json:"overrides" doc:"How many groups override the feature"`
	Shares         []VariantShare     `json:"shares" doc:"Variant by step, without those that nobody gets"`
	Changed        LastChange         `json:"changed"`
}

// RolloutSummary is a rollout without its buckets.
type RolloutSummary struct {
	Variant             string  `json:"variant"`
	Proportion          float64 `json:"proportion" doc:"As asked for"`
	EffectiveProportion float64 `json:"effective_proportion" doc:"What the assigned buckets amount to"`
}

// TestSummary is a test without its groups.
type TestSummary struct {
	Name  string    `json:"name"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// VariantShare is what one step gives of a feature.
type VariantShare struct {
	Variant  *string `json:"variant" doc:"null for nothing"`
	Step     string  `json:"step" enum:"nothing,default,rollout,abtest,override,off,archived"`
	Weight   int64   `json:"weight"`
	Subjects int64   `json:"subjects"`
}

// LastChange is the last change of a feature, its variants, its default or its rollout.
type LastChange struct {
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"`
	Revision int64     `json:"revision"`
}

// Shares is what each step of a feature decides for. The sums over all steps are the
// totals.
type Shares struct {
	Revision      int64       `json:"revision" doc:"Of the configuration: of a moment of the past the last one made until then, else the current one. Subjects are always those of now"`
	TotalWeight   int64       `json:"total_weight"`
	TotalSubjects int64       `json:"total_subjects"`
	Steps         []StepShare `json:"steps" doc:"In the order of the resolution: each beats the ones before it. A step that the feature has is listed also if it decides for nobody"`
}

// StepShare is one step of a feature and the subjects that it decides for.
type StepShare struct {
	Step      string  `json:"step" enum:"nothing,default,rollout,abtest,override,off,archived"`
	Variant   *string `json:"variant" doc:"null for nothing"`
	TestGroup *string `json:"test_group" doc:"Of the step abtest, else null"`
	Group     *string `json:"group" doc:"Of the step override, else null"`
	Weight    int64   `json:"weight"`
	Subjects  int64   `json:"subjects"`
}

// FeatureSubject is a subject that gets a variant.
type FeatureSubject struct {
	ID     string `json:"id"`
	Weight int64  `json:"weight"`
	Step   string `json:"step" enum:"default,rollout,abtest,override,off" doc:"What decides for it"`
}

// Overlap is who gets which variants of two features.
type Overlap struct {
	TotalWeight int64         `json:"total_weight"`
	Cells       []OverlapCell `json:"cells" doc:"By the variants' names, without those that nobody gets"`
}

// OverlapCell counts the subjects that get one variant of each feature.
type OverlapCell struct {
	A        *string `json:"a" doc:"Variant of the first feature, null for nothing"`
	B        *string `json:"b" doc:"Variant of the second feature, null for nothing"`
	Weight   int64   `json:"weight"`
	Subjects int64   `json:"subjects"`
}

// CreateVariant adds a variant to a feature.
type CreateVariant struct {
	Name        string `json:"name" example:"A"`
	Payload     any    `json:"payload,omitempty" doc:"Any JSON value of at most 64 KiB"`
	MakeDefault bool   `json:"make_default,omitempty"`
}

// CreateDisablingVariant adds the variant __DISABLE__ to a feature.
type CreateDisablingVariant struct {
	MakeDefault bool `json:"make_default,omitempty"`
}

// PatchVariant replaces a variant's payload; null removes it.
type PatchVariant struct {
	Payload any `json:"payload" doc:"Any JSON value of at most 64 KiB; null for none"`
}

// Variant is one of the things that a feature can resolve to.
type Variant struct {
	Name      string `json:"name"`
	Disabling bool   `json:"disabling"`
	Payload   any    `json:"payload"`
}

// VariantReference names a variant of the feature in the path.
type VariantReference struct {
	Variant string `json:"variant" example:"B"`
}

// PatchRollout changes a rollout's share, its variant or both.
type PatchRollout struct {
	Proportion *float64 `json:"proportion,omitempty" minimum:"0" maximum:"1" example:"0.25"`
	Variant    *string  `json:"variant,omitempty" example:"B"`
}

// Rollout is a variant for a share of the traffic.
type Rollout struct {
	Feature             string           `json:"feature"`
	Variant             string           `json:"variant"`
	Proportion          float64          `json:"proportion" doc:"As asked for"`
	EffectiveProportion float64          `json:"effective_proportion" doc:"What the assigned buckets amount to"`
	EffectiveWeight     int64            `json:"effective_weight"`
	TotalWeight         int64            `json:"total_weight"`
	Buckets             []model.BucketID `json:"buckets"`
}

// CreateABTest makes a test.
type CreateABTest struct {
	Name        string            `json:"name" example:"checkout-2027"`
	Description string            `json:"description,omitempty" maxLength:"4096"`
	Start       time.Time         `json:"start" doc:"The first moment at which it is live"`
	End         time.Time         `json:"end" doc:"The first moment at which it is live no longer"`
	Groups      []CreateTestGroup `json:"groups" minItems:"2" maxItems:"64"`
}

// PatchABTest changes what is given.
type PatchABTest struct {
	Start       *time.Time `json:"start,omitempty" doc:"The first moment at which it is live; it stays once the test is live"`
	End         *time.Time `json:"end,omitempty" doc:"The end of the test, exclusive: not before now; it stays once the test has ended"`
	Description *string    `json:"description,omitempty" maxLength:"4096"`
}

// CreateTestGroup is one arm of a test.
type CreateTestGroup struct {
	Name       string            `json:"name" example:"control"`
	Proportion *float64          `json:"proportion,omitempty" minimum:"0" maximum:"1" doc:"Left out in all groups: equal shares"`
	Variants   map[string]string `json:"variants" doc:"Variant by feature; the same features in every group"`
}

// ABTest compares variants over a period.
type ABTest struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Start       time.Time       `json:"start"`
	End         time.Time       `json:"end"`
	State       model.TestState `json:"state" enum:"scheduled,live,ended"`
	Groups      []TestGroup     `json:"groups"`
	Revision    int64           `json:"revision" doc:"The revision that last changed it"`
	// DeletedFeatures are in variants too, for the record.
	DeletedFeatures []string `json:"deleted_features,omitempty" doc:"Features that the test was about and that were deleted since: of them, 'variants' is a record"`
	// Design is how buckets came to groups.
	Design   int              `json:"design" doc:"How buckets came to groups: 2 by a draw; 1, of earlier tests, by their weight"`
	Aside    []model.BucketID `json:"aside" doc:"Buckets too heavy to be drawn: they are in groups for balance, and no part of a comparison"`
	Warnings []Warning        `json:"warnings,omitempty" doc:"Why little can be concluded from it"`
}

// Warning is something that was done as asked and may not be what was wanted.
type Warning struct {
	Code    string `json:"code" example:"few_buckets"`
	Message string `json:"message"`
}

// TestGroup is one arm of a test with what it amounts to.
type TestGroup struct {
	Name                string            `json:"name"`
	Proportion          float64           `json:"proportion"`
	Variants            map[string]string `json:"variants"`
	EffectiveProportion float64           `json:"effective_proportion"`
	EffectiveWeight     int64             `json:"effective_weight"`
	Subjects            int64             `json:"subjects" doc:"How many subjects are in its buckets"`
	Chance              *float64          `json:"chance" doc:"The probability with which each drawn bucket came into the group; null if design is 1"`
	Buckets             []model.BucketID  `json:"buckets"`
}

// CreateGroup makes a group of subjects.
type CreateGroup struct {
	Name     string `json:"name" example:"friends"`
	Priority int    `json:"priority,omitempty" minimum:"-2147483648" maximum:"2147483647" doc:"The higher wins where two groups of a subject override the same feature"`
}

// PatchGroup changes what is given.
type PatchGroup struct {
	Priority *int `json:"priority,omitempty" minimum:"-2147483648" maximum:"2147483647"`
}

// ChangeMembers has many subjects join a group, or leave it.
type ChangeMembers struct {
	SubjectIDs
	Leave bool `json:"leave,omitempty" doc:"Whether they leave the group"`
}

// ChangedMembers is the outcome of ChangeMembers.
type ChangedMembers struct {
	Joined  int64    `json:"joined" doc:"How many are members now and were not"`
	Already int64    `json:"already" doc:"How many were members before; of those to leave, how many were not"`
	Left    int64    `json:"left" doc:"How many are members no more"`
	Unknown []string `json:"unknown" doc:"The ids that no subject has"`
}

// Member is a subject in a group.
type Member struct {
	ID     string `json:"id"`
	Weight int64  `json:"weight"`
}

// Group is a set of subjects with overrides.
type Group struct {
	Name      string            `json:"name"`
	Priority  int               `json:"priority"`
	Members   int64             `json:"members"`
	Overrides map[string]string `json:"overrides" doc:"Variant by feature"`
}

// Flags is what one subject gets, features in name order.
type Flags struct {
	Flags map[string]string `json:"flags" doc:"Variant by feature; a feature that resolves to nothing is absent"`
}

// BatchFlagsRequest asks for many subjects at once.
type BatchFlagsRequest struct {
	SubjectIDs []string `json:"subject_ids" minItems:"1" maxItems:"10000"`
}

// BatchFlags is what many subjects get.
type BatchFlags struct {
	Flags   map[string]map[string]string `json:"flags" doc:"Flags by subject"`
	Unknown []string                     `json:"unknown" doc:"Ids that no subject has"`
}

// Explanation says of one subject why it gets what it gets.
type Explanation struct {
	Subject       ExplainedSubject             `json:"subject"`
	Revision      int64                        `json:"revision"`
	At            time.Time                    `json:"at"`
	Configuration ConfigurationMoment          `json:"configuration"`
	Features      map[string]ExplainedDecision `json:"features"`
}

// ExplainedSubject is a subject as it was at the revision of the configuration.
type ExplainedSubject struct {
	ID       string         `json:"id"`
	Weight   *int64         `json:"weight,omitempty" doc:"Left out of the past: nothing depends on it, so it is not recorded"`
	BucketID model.BucketID `json:"bucket_id"`
	Groups   []string       `json:"groups"`
}

// ConfigurationMoment says which configuration an explanation is of.
type ConfigurationMoment struct {
	Revision int64     `json:"revision" doc:"The last one made until the moment; of a moment to come the current one"`
	At       time.Time `json:"at" doc:"When that revision was made"`
}

// ExplainedDecision is the winning step of one feature and all steps.
type ExplainedDecision struct {
	Variant *string         `json:"variant" doc:"null where the feature resolves to nothing"`
	Reason  *string         `json:"reason" doc:"default, rollout, abtest or override; null where nothing applies"`
	Steps   []ExplainedStep `json:"steps"`
}

// ExplainedStep is one step of the resolution, the last that applies winning.
type ExplainedStep struct {
	Step      string `json:"step" enum:"default,rollout,abtest,override"`
	Variant   string `json:"variant,omitempty"`
	Test      string `json:"test,omitempty"`
	TestGroup string `json:"test_group,omitempty"`
	Group     string `json:"group,omitempty"`
	Applies   bool   `json:"applies"`
	Detail    string `json:"detail,omitempty"`
}

// AuditEntry is one change by one actor.
type AuditEntry struct {
	Revision  int64     `json:"revision"`
	At        time.Time `json:"at"`
	Actor     string    `json:"actor"`
	Action    string    `json:"action"`
	Resource  string    `json:"resource"`
	Before    any       `json:"before"`
	After     any       `json:"after"`
	Comment   string    `json:"comment,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	TokenID   int64     `json:"token_id,omitempty" doc:"The stored token that the actor showed"`
}

// Change is an AuditEntry in short.
type Change struct {
	Revision int64     `json:"revision"`
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"`
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
}

// Reload says that changes up to a revision were left out.
type Reload struct {
	Revision int64 `json:"revision"`
}

// Reverted is what undoing a revision changed.
type Reverted struct {
	Reverted int64            `json:"reverted" doc:"The revision that was undone"`
	Changes  []RevertedChange `json:"changes"`
}

// RevertedChange is one of the changes that undid a revision, as the audit has it.
type RevertedChange struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
	Before   any    `json:"before"`
	After    any    `json:"after"`
}

// NewToken makes a token.
type NewToken struct {
	Name      string     `json:"name" doc:"Who or what will show it, for the audit: any text of 1 to 128 bytes, all of whose characters show. Two may have the same name, as for a rotation" example:"ci"`
	Role      auth.Role  `json:"role" enum:"viewer,editor,admin,client"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"The first moment at which it is good no longer; never when left out"`
}

// Token is what its bearer shows to say who it is.
type Token struct {
	ID        int64      `json:"id"`
	Name      string     `json:"name"`
	Role      auth.Role  `json:"role" enum:"viewer,editor,admin,client"`
	Prefix    string     `json:"prefix" doc:"How the secret begins, to tell tokens apart"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at" doc:"null for never"`
	UsedAt    *time.Time `json:"used_at" doc:"The last use, to the minute; null for never"`
	Session   bool       `json:"session,omitempty" doc:"Whether signing in made it"`
	Parent    int64      `json:"parent,omitempty" doc:"Of a session: the id of the token that was shown to sign in, whose end is the session's"`
	Subject   string     `json:"subject,omitempty" doc:"Of a person's session: who that is at the identity provider"`
	Token     string     `json:"token,omitempty" doc:"The secret: shown once, in the answer that creates it"`
}

// Me is who is calling.
type Me struct {
	Name      string        `json:"name" doc:"As the audit names the caller"`
	Role      auth.Role     `json:"role" enum:"viewer,editor,admin,client"`
	Scope     []string      `json:"scope" doc:"The names that the caller may write; empty for all"`
	ExpiresAt *time.Time    `json:"expires_at" doc:"When the token or the session expires; null for never"`
	Provider  auth.Provider `json:"provider" enum:"token,setting,oidc" doc:"Where the name and the role come from: a stored token; the setting FLAGGERY_ADMIN_TOKEN; the OpenID Connect provider. Of who signed in by a token, the same as of that token"`
}

// About is what there is, and where.
type About struct {
	Environment     string           `json:"environment" doc:"FLAGGERY_ENVIRONMENT; empty for none"`
	Colour          string           `json:"colour" doc:"FLAGGERY_ENVIRONMENT_COLOUR, a colour of CSS; empty for none" example:"#d55e00"`
	Version         string           `json:"version" doc:"Of the admin"`
	EdgeURL         string           `json:"edge_url" doc:"FLAGGERY_EDGE_URL, where applications reach the edges; empty for not known"`
	Subjects        int64            `json:"subjects"`
	TotalWeight     int64            `json:"total_weight" doc:"The sum over all subjects"`
	Buckets         int64            `json:"buckets"`
	Features        int64            `json:"features" doc:"Archived ones too"`
	Groups          int64            `json:"groups"`
	Tests           TestCounts       `json:"tests"`
	HeaviestSubject *WeightedSubject `json:"heaviest_subject" doc:"The first by id of equal ones; null without subjects"`
	HeaviestBucket  *Bucket          `json:"heaviest_bucket" doc:"The first of equal ones; null without buckets"`
	LightestBucket  *Bucket          `json:"lightest_bucket" doc:"The first of equal ones; null without buckets"`
}

// TestCounts are the numbers of A/B tests that have not ended.
type TestCounts struct {
	Live      int64 `json:"live"`
	Scheduled int64 `json:"scheduled"`
}

// WeightedSubject is a subject and what it weighs.
type WeightedSubject struct {
	ID     string `json:"id"`
	Weight int64  `json:"weight"`
}

// Found is something that was searched for.
type Found struct {
	Kind string `json:"kind" enum:"feature,test,group,subject"`
	Name string `json:"name" doc:"Of a subject its id"`
}

// Edge is an edge that is connected, or that was within the last 10 minutes and did
// not leave.
type Edge struct {
	Name           string     `json:"name" doc:"A long one is shortened"`
	Revision       int64      `json:"revision" doc:"Of an edge that is away, the one that it served at last_seen"`
	LagRevisions   int64      `json:"lag_revisions"`
	ConnectedSince *time.Time `json:"connected_since" doc:"null if the edge is away, or if the admin's database role may not see it"`
	LastSeen       time.Time  `json:"last_seen" doc:"When it was last connected; of an edge that is away, to 10 seconds"`
	State          string     `json:"state" enum:"loading,serving,refusing,leaving,away" doc:"away: it is not connected"`
	Version        string     `json:"version" doc:"Its first 10 characters; empty for edges of earlier releases"`
}
