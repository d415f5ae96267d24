package model

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code names one kind of failure for machines. Codes are part of the HTTP
// contract: they are added, never renamed.
type Code string

// The codes of the contract.
const (
	SubjectNotFound  Code = "subject_not_found"
	FeatureNotFound  Code = "feature_not_found"
	VariantNotFound  Code = "variant_not_found"
	RolloutNotFound  Code = "rollout_not_found"
	ABTestNotFound   Code = "abtest_not_found"
	GroupNotFound    Code = "group_not_found"
	OverrideNotFound Code = "override_not_found"
	MemberNotFound   Code = "member_not_found"
	TokenNotFound    Code = "token_not_found"
	RevisionNotFound Code = "revision_not_found"

	SubjectExists      Code = "subject_exists"
	FeatureExists      Code = "feature_exists"
	VariantExists      Code = "variant_exists"
	RolloutExists      Code = "rollout_exists"
	ABTestExists       Code = "abtest_exists"
	GroupExists        Code = "group_exists"
	NoBuckets          Code = "no_buckets"
	FeatureHasVariants Code = "feature_has_variants"
	VariantInUse       Code = "variant_in_use"
	ABTestOverlap      Code = "abtest_overlap"
	ABTestLive         Code = "abtest_live"
	FeatureArchived    Code = "feature_archived"
	ManagedElsewhere   Code = "managed_elsewhere"
	EdgesTooOld        Code = "edges_too_old"
	NotRevertible      Code = "not_revertible"
	HistoryUnavailable Code = "history_unavailable"

	NotFound             Code = "not_found" // a path that does not exist
	MethodNotAllowed     Code = "method_not_allowed"
	UnsupportedMediaType Code = "unsupported_media_type"

	PreconditionFailed Code = "precondition_failed"
	BodyTooLarge       Code = "body_too_large"
	ValidationFailed   Code = "validation_failed"
	ReadOnly           Code = "read_only"
	RateLimited        Code = "rate_limited"
	NotReady           Code = "not_ready"
	Unauthenticated    Code = "unauthenticated"
	Forbidden          Code = "forbidden"
)

// Error is a failure that a user caused and can fix. Any other error is internal:
// it is logged with its cause and shown without it.
type Error struct {
	Code   Code
	Detail string
	Fields []FieldError // the invalid parts of the request, if parts are invalid
	Extension
}

// Extension is what an Error says to programs beside its code. Which members are set
// depends on the code.
type Extension struct {
	Current   string         `json:"current,omitempty" doc:"precondition_failed: the ETag that the resource has now" example:"\"17\""`
	Changed   *Changed       `json:"changed,omitempty" doc:"precondition_failed: the change that left the resource with this ETag, if the audit has it"`
	Conflicts []Conflict     `json:"conflicts,omitempty" doc:"abtest_overlap: all tests that share a moment and a feature with this one"`
	UsedBy    []VariantPlace `json:"used_by,omitempty" doc:"variant_in_use: all places that name the variant"`
}

// Changed says who changed a resource.
type Changed struct {
	Revision int64     `json:"revision"`
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"`
}

// Conflict is a test that stands in the way of another one.
type Conflict struct {
	Test     string    `json:"test"`
	Features []string  `json:"features" doc:"Those that both tests are about"`
	Start    time.Time `json:"start" doc:"Of the test that is there"`
	End      time.Time `json:"end" doc:"Of the test that is there"`
}

// VariantPlace is a place that names a variant.
type VariantPlace struct {
	Place     string `json:"place" enum:"default,rollout,test,group"`
	Path      string `json:"path" doc:"The resource that names the variant, as in the audit: what follows /v1/" example:"groups/friends/overrides/foobar"`
	TestGroup string `json:"test_group,omitempty" doc:"Of a test: the group that gets the variant"`
}

// FieldError names one part of a request and what is wrong with it. Location is
// a path into the request as its sender wrote it: "body.weight",
// "query.limit", "line 17".
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

func (e *Error) Error() string {
	if len(e.Fields) == 0 {
		return e.Detail
	}
	faults := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		faults[i] = f.Location + " " + f.Message
	}
	return e.Detail + ": " + strings.Join(faults, "; ")
}

// Errorf makes an Error whose detail a person can act on.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// CodeOf is the code of the first Error in err's chain, or "" if err is nil or
// internal.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Faults collects field errors, so that an answer lists all of them at once. The
// zero value is ready to use.
type Faults []FieldError

// Addf notes one fault.
func (f *Faults) Addf(location, format string, args ...any) {
	*f = append(*f, FieldError{location, fmt.Sprintf(format, args...)})
}

// Check notes err as a fault of location, and nothing if err is nil.
func (f *Faults) Check(location string, err error) {
	if err != nil {
		f.Addf(location, "%s", err.Error())
	}
}

// Err is nil, or one validation_failed Error with all faults.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return &Error{Code: ValidationFailed, Detail: "the request is not valid", Fields: f}
}
