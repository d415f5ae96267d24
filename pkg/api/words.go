package api

import (
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// Types of requests and answers from other packages, for programs outside: package
// model promises no stability.
type (
	// Code names one kind of failure.
	Code = model.Code
	// FieldError names one part of a request and what is wrong with it.
	FieldError = model.FieldError
	// Extension holds details of a problem for programs, besides its code.
	Extension = model.Extension
	// Changed says who changed a resource.
	Changed = model.Changed
	// Conflict is a test that overlaps with a new one.
	Conflict = model.Conflict
	// VariantPlace is a place where a variant is used.
	VariantPlace = model.VariantPlace
	// BucketID counts up from 1 without gaps.
	BucketID = model.BucketID
	// TestState is the state of an A/B test: Scheduled, Live or Ended.
	TestState = model.TestState
	// FeatureState summarizes who gets a feature.
	FeatureState = model.FeatureState
	// FeatureStage says how far a feature is on the way to its removal.
	FeatureStage = model.FeatureStage
	// Role says what a caller may do.
	Role = auth.Role
)

// DisablingVariant is the reserved name of the variant that switches a feature
// off.
const DisablingVariant = model.DisablingVariant

// The states of an A/B test.
const (
	Scheduled = model.Scheduled
	Live      = model.Live
	Ended     = model.Ended
)

// The states of a feature. The first one that applies is its state.
const (
	StateArchived = model.StateArchived
	StateOff      = model.StateOff
	StateTesting  = model.StateTesting
	StateEveryone = model.StateEveryone
	StateRolling  = model.StateRolling
	StateDefault  = model.StateDefault
)

// The stages of a feature. The first one that applies is its stage.
const (
	StageArchived = model.StageArchived
	StageExpired  = model.StageExpired
	StageOff      = model.StageOff
	StageTesting  = model.StageTesting
	StageSettled  = model.StageSettled
	StageNew      = model.StageNew
	StageRolling  = model.StageRolling
)

// The roles. Editors may do all that viewers may, and admins all that editors may.
// Clients may only query flags.
const (
	ClientRole = auth.ClientRole
	ViewerRole = auth.ViewerRole
	EditorRole = auth.EditorRole
	AdminRole  = auth.AdminRole
)

// The codes of the contract.
const (
	SubjectNotFound  = model.SubjectNotFound
	FeatureNotFound  = model.FeatureNotFound
	VariantNotFound  = model.VariantNotFound
	RolloutNotFound  = model.RolloutNotFound
	ABTestNotFound   = model.ABTestNotFound
	GroupNotFound    = model.GroupNotFound
	OverrideNotFound = model.OverrideNotFound
	MemberNotFound   = model.MemberNotFound
	TokenNotFound    = model.TokenNotFound
	RevisionNotFound = model.RevisionNotFound

	SubjectExists      = model.SubjectExists
	FeatureExists      = model.FeatureExists
	VariantExists      = model.VariantExists
	RolloutExists      = model.RolloutExists
	ABTestExists       = model.ABTestExists
	GroupExists        = model.GroupExists
	NoBuckets          = model.NoBuckets
	FeatureHasVariants = model.FeatureHasVariants
	VariantInUse       = model.VariantInUse
	ABTestOverlap      = model.ABTestOverlap
	ABTestLive         = model.ABTestLive
	FeatureArchived    = model.FeatureArchived
	ManagedElsewhere   = model.ManagedElsewhere
	EdgesTooOld        = model.EdgesTooOld
	NotRevertible      = model.NotRevertible
	HistoryUnavailable = model.HistoryUnavailable

	UnsupportedMediaType = model.UnsupportedMediaType

	PreconditionFailed = model.PreconditionFailed
	BodyTooLarge       = model.BodyTooLarge
	ValidationFailed   = model.ValidationFailed
	ReadOnly           = model.ReadOnly
	RateLimited        = model.RateLimited
	NotReady           = model.NotReady
	Unauthenticated    = model.Unauthenticated
	Forbidden          = model.Forbidden

	NotFound         = model.NotFound
	MethodNotAllowed = model.MethodNotAllowed
)
