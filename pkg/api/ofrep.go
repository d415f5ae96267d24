package api

import "encoding/json"

// The OpenFeature Remote Evaluation Protocol, version 0.3.0, as far as an edge
// speaks it (github.com/open-feature/protocol).

// EvaluationRequest asks for the flags of one subject.
type EvaluationRequest struct {
	Context EvaluationContext `json:"context"`
}

// EvaluationContext says whose flags. What else it has means nothing to Flaggery.
type EvaluationContext struct {
	TargetingKey string   `json:"targetingKey" doc:"The subject's id" example:"42"`
	_            struct{} `additionalProperties:"true"`
}

// Evaluations are all flags of a subject, in name order.
type Evaluations struct {
	Flags []Evaluation `json:"flags"`
}

// Evaluation is one flag of a subject.
type Evaluation struct {
	Key      string             `json:"key"`
	Reason   string             `json:"reason" enum:"STATIC,SPLIT,TARGETING_MATCH,DISABLED"`
	Variant  string             `json:"variant"`
	Value    json.RawMessage    `json:"value,omitempty" doc:"The variant's payload, or its name where it has none; left out where the flag is disabled"`
	Metadata EvaluationMetadata `json:"metadata"`
}

// EvaluationMetadata says how a flag came about.
type EvaluationMetadata struct {
	Revision  int64  `json:"revision" doc:"Of the last change to what decided: the feature, the test or the group"`
	Step      string `json:"step" enum:"default,rollout,abtest,override"`
	Test      string `json:"test,omitempty"`
	TestGroup string `json:"test_group,omitempty"`
	Group     string `json:"group,omitempty"`
	Bucket    int64  `json:"bucket,omitempty"`
}

// EvaluationFailure says why there is no evaluation.
type EvaluationFailure struct {
	Key          string `json:"key,omitempty" doc:"Where one flag was asked for"`
	ErrorCode    string `json:"errorCode" enum:"PARSE_ERROR,TARGETING_KEY_MISSING,INVALID_CONTEXT,FLAG_NOT_FOUND,GENERAL"`
	ErrorDetails string `json:"errorDetails"`
}
