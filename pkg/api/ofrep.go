package api

import "encoding/json"

// The part of the OpenFeature Remote Evaluation Protocol, version 0.3.0, that edges
// support (github.com/open-feature/protocol).

// EvaluationRequest asks for the flags of one subject.
type EvaluationRequest struct {
	Context EvaluationContext `json:"context"`
}

// EvaluationContext names the subject. Flaggery ignores its other fields.
type EvaluationContext struct {
	TargetingKey string   `json:"targetingKey" doc:"Id of the subject" example:"42"`
	_            struct{} `additionalProperties:"true"`
}

// Evaluations holds all flags of a subject, in name order.
type Evaluations struct {
	Flags    []Evaluation         `json:"flags"`
	Metadata *EvaluationsMetadata `json:"metadata,omitempty" doc:"Absent if it would be empty"`
}

// EvaluationsMetadata says where flags come from.
type EvaluationsMetadata struct {
	UnknownSubject bool   `json:"unknownSubject,omitempty" doc:"Whether the subject is unknown, and so has no flags"`
	Environment    string `json:"environment,omitempty" doc:"Value of FLAGGERY_ENVIRONMENT; absent without one" example:"production"`
}

// Evaluation is one flag of a subject.
type Evaluation struct {
	Key      string             `json:"key"`
	Reason   string             `json:"reason" enum:"STATIC,SPLIT,TARGETING_MATCH,DISABLED"`
	Variant  string             `json:"variant"`
	Value    json.RawMessage    `json:"value,omitempty" doc:"Payload of the variant, or its name if it has no payload; absent if the flag is disabled"`
	Metadata EvaluationMetadata `json:"metadata"`
}

// EvaluationMetadata says what decided a flag.
type EvaluationMetadata struct {
	Revision  int64  `json:"revision" doc:"Revision of the last change to the feature, the test or the group that decided"`
	Step      string `json:"step" enum:"default,rollout,abtest,override,off" doc:"The step that decides"`
	Test      string `json:"test,omitempty"`
	TestGroup string `json:"test_group,omitempty"`
	Group     string `json:"group,omitempty"`
	Bucket    int64  `json:"bucket,omitempty"`

	Environment string `json:"environment,omitempty" doc:"Value of FLAGGERY_ENVIRONMENT; absent without one" example:"production"`
}

// EvaluationFailure says why there is no evaluation.
type EvaluationFailure struct {
	Key          string `json:"key,omitempty" doc:"The flag, if the request is for one"`
	ErrorCode    string `json:"errorCode" enum:"PARSE_ERROR,TARGETING_KEY_MISSING,INVALID_CONTEXT,FLAG_NOT_FOUND,GENERAL"`
	ErrorDetails string `json:"errorDetails"`
}
