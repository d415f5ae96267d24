package snapshot

import (
	"slices"
	"strconv"
	"time"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

// OFREP is what a Body says in the form of the OpenFeature Remote Evaluation
// Protocol, version 0.3.0 (github.com/open-feature/protocol). It never changes.
type OFREP struct {
	JSON []byte   // {"flags":[…]}, features in name order
	ETag []string // strong: a hash of JSON, the same on every edge

	keys  []string // of the flags
	flags [][]byte // the items of JSON
}

// Flag is the evaluation of a single flag; false if the subject has none of that
// name.
func (o *OFREP) Flag(key string) ([]byte, bool) {
	i, found := slices.BinarySearch(o.keys, key)
	if !found {
		return nil, false
	}
	return o.flags[i], true
}

func (o *OFREP) size() int { return 128 + len(o.JSON) + len(o.flags)*40 }

// renderOFREP makes the form of a class.
func renderOFREP(resolver *evaluation.Resolver, class model.Class, at time.Time) *OFREP {
	o := &OFREP{JSON: []byte(`{"flags":[`)}
	var ends []int
	resolver.Decide(class, at, func(d evaluation.Decision) bool {
		if len(ends) > 0 {
			o.JSON = append(o.JSON, ',')
		}
		o.JSON = appendEvaluation(o.JSON, resolver, d, class.Bucket)
		o.keys, ends = append(o.keys, d.Feature), append(ends, len(o.JSON))
		return true
	})
	o.JSON = append(o.JSON, `]}`...)
	o.ETag = []string{ETag(o.JSON)}
	start := len(`{"flags":[`)
	for _, end := range ends {
		o.flags = append(o.flags, o.JSON[start:end])
		start = end + len(`,`)
	}
	return o
}

var ofrepReasons = map[evaluation.Reason]string{
	evaluation.Default:  "STATIC",
	evaluation.Rollout:  "SPLIT",
	evaluation.ABTest:   "SPLIT",
	evaluation.Override: "TARGETING_MATCH",
}

// appendEvaluation appends the success item of one flag. A flag that is disabled
// has no value, so that clients take the default of their code; a null would be a
// value of the wrong type to them.
func appendEvaluation(to []byte, resolver *evaluation.Resolver, d evaluation.Decision, bucket model.BucketID) []byte {
	field := func(start, text string) {
		to = append(append(append(to, start...), text...), '"')
	}
	disabled := d.Variant == model.DisablingVariant
	reason := ofrepReasons[d.Reason]
	if disabled {
		reason = "DISABLED"
	}
	field(`{"key":"`, d.Feature)
	field(`,"reason":"`, reason)
	field(`,"variant":"`, d.Variant)
	if payload, _ := resolver.Payload(d.Feature, d.Variant); len(payload) > 0 && !disabled {
		to = append(append(to, `,"value":`...), payload...)
	} else if !disabled {
		field(`,"value":"`, d.Variant)
	}
	to = strconv.AppendInt(append(to, `,"metadata":{"revision":`...), d.Revision, 10)
	field(`,"step":"`, string(d.Reason))
	switch d.Reason {
	case evaluation.ABTest:
		field(`,"test":"`, d.Test)
		field(`,"test_group":"`, d.TestGroup)
	case evaluation.Override:
		field(`,"group":"`, d.Group)
	}
	if bucket > 0 {
		to = strconv.AppendInt(append(to, `,"bucket":`...), int64(bucket), 10)
	}
	return append(to, `}}`...)
}
