package api

// Calls maps the calls of a service, by method and path, to the codes that they fail
// with. Rows leave out common codes, unless a call has a reason of its own for one.
// Common are validation_failed and not_ready for all calls; unauthenticated,
// forbidden and rate_limited for calls with a token; body_too_large for calls with a
// JSON body; unsupported_media_type for calls with any body; and precondition_failed
// for calls with If-Match.
type Calls map[string][]Code

// AdminCalls are the calls of the admin.
var AdminCalls = Calls{
	"POST /v1/buckets": {},
	"GET /v1/buckets":  {},

	"POST /v1/subjects":             {SubjectExists, NoBuckets},
	"GET /v1/subjects":              {},
	"POST /v1/subjects/delete":      {},
	"GET /v1/subjects/{id}":         {SubjectNotFound},
	"PUT /v1/subjects/{id}":         {SubjectNotFound},
	"DELETE /v1/subjects/{id}":      {SubjectNotFound},
	"GET /v1/subjects/{id}/explain": {SubjectNotFound, HistoryUnavailable},
	"GET /v1/subject/flags":         {SubjectNotFound},
	"POST /v1/import/subjects":      {NoBuckets, GroupNotFound}, // a group is deleted while the import runs
	"GET /v1/export/subjects":       {},

	"POST /v1/features":                                {FeatureExists},
	"GET /v1/features":                                 {},
	"GET /v1/features/{feature}":                       {FeatureNotFound},
	"PATCH /v1/features/{feature}":                     {FeatureNotFound, EdgesTooOld},
	"DELETE /v1/features/{feature}":                    {FeatureNotFound, FeatureHasVariants, ABTestLive},
	"GET /v1/features/{feature}/shares":                {FeatureNotFound, HistoryUnavailable},
	"GET /v1/features/{feature}/subjects":              {FeatureNotFound, VariantNotFound},
	"POST /v1/features/{feature}/archive":              {FeatureNotFound, ABTestLive, EdgesTooOld},
	"POST /v1/features/{feature}/restore":              {FeatureNotFound, EdgesTooOld},
	"POST /v1/features/{feature}/variants":             {FeatureNotFound, VariantExists, FeatureArchived},
	"PATCH /v1/features/{feature}/variants/{variant}":  {FeatureNotFound, VariantNotFound, FeatureArchived},
	"DELETE /v1/features/{feature}/variants/{variant}": {FeatureNotFound, VariantNotFound, VariantInUse, FeatureArchived},
	"POST /v1/features/{feature}/disabling_variant":    {FeatureNotFound, VariantExists, FeatureArchived},
	"PUT /v1/features/{feature}/default_variant":       {FeatureNotFound, VariantNotFound, FeatureArchived},
	"DELETE /v1/features/{feature}/default_variant":    {FeatureNotFound, FeatureArchived},

	"GET /v1/overlap": {FeatureNotFound},

	"POST /v1/features/{feature}/rollout":   {FeatureNotFound, VariantNotFound, RolloutExists, FeatureArchived},
	"GET /v1/features/{feature}/rollout":    {FeatureNotFound, RolloutNotFound},
	"PATCH /v1/features/{feature}/rollout":  {FeatureNotFound, RolloutNotFound, VariantNotFound, FeatureArchived},
	"DELETE /v1/features/{feature}/rollout": {FeatureNotFound, RolloutNotFound, FeatureArchived},

	"POST /v1/abtests":             {ABTestExists, FeatureNotFound, VariantNotFound, ABTestOverlap, FeatureArchived},
	"GET /v1/abtests":              {},
	"GET /v1/abtests/{test}":       {ABTestNotFound},
	"PATCH /v1/abtests/{test}":     {ABTestNotFound, ABTestOverlap},
	"POST /v1/abtests/{test}/stop": {ABTestNotFound},
	"DELETE /v1/abtests/{test}":    {ABTestNotFound, ABTestLive},

	"POST /v1/groups":                               {GroupExists},
	"GET /v1/groups":                                {},
	"GET /v1/groups/{group}":                        {GroupNotFound},
	"PATCH /v1/groups/{group}":                      {GroupNotFound},
	"DELETE /v1/groups/{group}":                     {GroupNotFound, FeatureArchived},
	"GET /v1/groups/{group}/subjects":               {GroupNotFound},
	"POST /v1/groups/{group}/subjects":              {GroupNotFound},
	"PUT /v1/groups/{group}/subjects/{id}":          {GroupNotFound, SubjectNotFound},
	"DELETE /v1/groups/{group}/subjects/{id}":       {GroupNotFound, SubjectNotFound, MemberNotFound},
	"PUT /v1/groups/{group}/overrides/{feature}":    {GroupNotFound, FeatureNotFound, VariantNotFound, FeatureArchived},
	"DELETE /v1/groups/{group}/overrides/{feature}": {GroupNotFound, OverrideNotFound, FeatureArchived},

	"GET /v1/state":        {},
	"PUT /v1/state":        {ManagedElsewhere, ABTestLive, ABTestOverlap, VariantInUse, FeatureArchived, EdgesTooOld, BodyTooLarge},
	"GET /v1/state/schema": {},

	"POST /v1/tokens":        {},
	"GET /v1/tokens":         {},
	"DELETE /v1/tokens/{id}": {TokenNotFound},

	"GET /v1/audit":                    {},
	"POST /v1/audit/{revision}/revert": {RevisionNotFound, NotRevertible, EdgesTooOld},
	"GET /v1/edges":                    {},
	"GET /v1/events":                   {},
	"GET /v1/me":                       {},
	"GET /v1/about":                    {},
	"GET /v1/search":                   {},
}

// EdgeCalls are the calls of an edge. All other calls of the admin fail there with
// read_only. Calls fail with not_ready before the first snapshot is loaded, and if
// min_revision does not arrive in time. OFREP has additional failures, see
// [EvaluationFailure].
var EdgeCalls = Calls{
	"GET /v1/subject/flags":       {SubjectNotFound, NotReady},
	"GET /v1/subjects/{id}/flags": {SubjectNotFound, NotReady},
	"POST /v1/subjects/flags":     {NotReady},

	"POST /ofrep/v1/evaluate/flags":       {BodyTooLarge, UnsupportedMediaType},
	"POST /ofrep/v1/evaluate/flags/{key}": {BodyTooLarge, UnsupportedMediaType},
}
