package admin

import (
	"reflect"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
)

// routes lists the admin's calls. Those of every service (health, metrics,
// documentation) are in package web. What a call does is described in texts.
func (a *service) routes() []route {
	return []route{
		{"POST /v1/buckets", "add-buckets", auth.Write, create(a.addBuckets, bucketsAt)},
		{"GET /v1/buckets", "list-buckets", auth.Read, readOneOf(a.listBuckets, reflect.TypeFor[api.Page[api.Bucket]](), reflect.TypeFor[api.BucketColumns]())},

		{"POST /v1/subjects", "add-subject", auth.Write, create(a.addSubject, subjectAt)},
		{"GET /v1/subjects", "list-subjects", auth.Read, read(a.listSubjects)},
		{"POST /v1/subjects/delete", "delete-subjects", auth.Write, change(a.deleteSubjects)},
		{"GET /v1/subjects/{id}", "get-subject", auth.Read, read(a.getSubject)},
		{"PUT /v1/subjects/{id}", "set-weight-of-subject", auth.Write, change(a.setWeight)},
		{"DELETE /v1/subjects/{id}", "delete-subject", auth.Write, remove(a.deleteSubject)},
		{"POST /v1/import/subjects", "import-subjects", auth.Import, change(a.importSubjects)},
		{"GET /v1/export/subjects", "export-subjects", auth.Read, export("One subject a line, in id order", a.exportSubjects)},

		{"POST /v1/features", "add-feature", auth.Write, create(a.addFeature, featureAt)},
		{"GET /v1/features", "list-features", auth.Read, readOneOf(a.listFeatures,
			reflect.TypeFor[api.Page[api.Feature]](), reflect.TypeFor[api.Page[api.FeatureSummary]](), reflect.TypeFor[api.Page[string]]())},
		{"GET /v1/features/{feature}", "get-feature", auth.Read, read(a.getFeature)},
		{"PATCH /v1/features/{feature}", "change-feature", auth.Write, change(a.patchFeature)},
		{"DELETE /v1/features/{feature}", "delete-feature", auth.Write, remove(a.deleteFeature)},
		{"GET /v1/features/{feature}/shares", "get-shares-of-feature", auth.Read, read(a.getShares)},
		{"GET /v1/features/{feature}/subjects", "list-subjects-of-variant", auth.Read, read(a.listFeatureSubjects)},
		{"POST /v1/features/{feature}/archive", "archive-feature", auth.Write, change(a.archiveFeature)},
		{"POST /v1/features/{feature}/restore", "restore-feature", auth.Write, change(a.restoreFeature)},
		{"POST /v1/features/{feature}/variants", "add-variant", auth.Write, create(a.addVariant, variantAt)},
		{"PATCH /v1/features/{feature}/variants/{variant}", "change-variant", auth.Write, change(a.patchVariant)},
		{"DELETE /v1/features/{feature}/variants/{variant}", "delete-variant", auth.Write, remove(a.deleteVariant)},
		{"POST /v1/features/{feature}/disabling_variant", "add-disabling-variant", auth.Write, create(a.addDisablingVariant, disablingVariantAt)},
		{"PUT /v1/features/{feature}/default_variant", "set-default-variant", auth.Write, change(a.setDefault)},
		{"DELETE /v1/features/{feature}/default_variant", "delete-default-variant", auth.Write, remove(a.deleteDefault)},

		{"GET /v1/overlap", "get-overlap-of-features", auth.Read, read(a.getOverlap)},

		{"POST /v1/features/{feature}/rollout", "add-rollout", auth.Write, create(a.addRollout, rolloutAt)},
		{"GET /v1/features/{feature}/rollout", "get-rollout", auth.Read, read(a.getRollout)},
		{"PATCH /v1/features/{feature}/rollout", "change-rollout", auth.Write, change(a.patchRollout)},
		{"DELETE /v1/features/{feature}/rollout", "delete-rollout", auth.Write, remove(a.deleteRollout)},

		{"POST /v1/abtests", "add-abtest", auth.Write, create(a.addABTest, abTestAt)},
		{"GET /v1/abtests", "list-abtests", auth.Read, read(a.listABTests)},
		{"GET /v1/abtests/{test}", "get-abtest", auth.Read, read(a.getABTest)},
		{"PATCH /v1/abtests/{test}", "change-abtest", auth.Write, change(a.patchABTest)},
		{"POST /v1/abtests/{test}/stop", "stop-abtest", auth.Write, change(a.stopABTest)},
		{"DELETE /v1/abtests/{test}", "delete-abtest", auth.Write, remove(a.deleteABTest)},

		{"POST /v1/groups", "add-group", auth.Write, create(a.addGroup, groupAt)},
		{"GET /v1/groups", "list-groups", auth.Read, read(a.listGroups)},
		{"GET /v1/groups/{group}", "get-group", auth.Read, read(a.getGroup)},
		{"PATCH /v1/groups/{group}", "change-group", auth.Write, change(a.patchGroup)},
		{"DELETE /v1/groups/{group}", "delete-group", auth.Write, remove(a.deleteGroup)},
		{"GET /v1/groups/{group}/subjects", "list-members", auth.Read, read(a.listMembers)},
		{"POST /v1/groups/{group}/subjects", "add-or-remove-members", auth.Write, change(a.changeMembers)},
		{"PUT /v1/groups/{group}/subjects/{id}", "add-member", auth.Write, change(a.addMember)},
		{"DELETE /v1/groups/{group}/subjects/{id}", "remove-member", auth.Write, remove(a.removeMember)},
		{"PUT /v1/groups/{group}/overrides/{feature}", "set-override", auth.Write, change(a.setOverride)},
		{"DELETE /v1/groups/{group}/overrides/{feature}", "delete-override", auth.Write, remove(a.deleteOverride)},

		{"GET /v1/subject/flags", "get-flags-of-subject", auth.Resolve, read(a.getFlags)},
		{"GET /v1/subjects/{id}/explain", "explain-flags-of-subject", auth.Read, read(a.explain)},

		{"GET /v1/state", "get-state", auth.Read, render(a.getState, api.MediaYAML, api.MediaJSON)},
		{"PUT /v1/state", "apply-state", auth.Write, change(a.applyState)},
		{"GET /v1/state/schema", "get-state-schema", auth.Read, render(a.getStateSchema, api.MediaSchema)},

		{"POST /v1/tokens", "create-token", auth.Administer, create(a.createToken, tokenAt)},
		{"GET /v1/tokens", "list-tokens", auth.Administer, read(a.listTokens)},
		{"DELETE /v1/tokens/{id}", "revoke-token", auth.Administer, remove(a.revokeToken)},

		{"GET /v1/audit", "list-audit-entries", auth.Read, readOrExport("Newest first", a.listAudit, a.exportAudit)},
		{"POST /v1/audit/{revision}/revert", "revert-change", auth.Write, change(a.revert)},
		{"GET /v1/edges", "list-edges", auth.Read, read(a.listEdges)},
		{"GET /v1/events", "stream-events", auth.Read, streamEvents},
		{"GET /v1/me", "get-caller", auth.Resolve, read(a.getMe)}, // every role has it
		{"GET /v1/about", "get-overview", auth.Read, read(a.getAbout)},
		{"GET /v1/search", "search", auth.Read, read(a.search)},
	}
}

func (a *service) addRoutes() {
	a.describeNulls()
	for _, r := range a.routes() {
		r.form(a, r)
	}
	a.describeImport()
	a.describeState()
}
