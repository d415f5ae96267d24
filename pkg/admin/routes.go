package admin

import (
	"reflect"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
)

// routes is every call of the admin. The calls that every service has (health,
// metrics, documentation) are web's.
func (a *service) routes() []route {
	return []route{
		{"POST /v1/buckets", "Add buckets", auth.Write, create(a.addBuckets, bucketsAt)},
		{"GET /v1/buckets", "List buckets", auth.Read, readOneOf(a.listBuckets, reflect.TypeFor[api.Page[api.Bucket]](), reflect.TypeFor[api.BucketColumns]())},

		{"POST /v1/subjects", "Add subject", auth.Write, create(a.addSubject, subjectAt)},
		{"GET /v1/subjects", "List subjects", auth.Read, read(a.listSubjects)},
		{"POST /v1/subjects/delete", "Delete subjects", auth.Write, change(a.deleteSubjects)},
		{"GET /v1/subjects/{id}", "Get subject", auth.Read, read(a.getSubject)},
		{"PUT /v1/subjects/{id}", "Set weight of subject", auth.Write, change(a.setWeight)},
		{"DELETE /v1/subjects/{id}", "Delete subject", auth.Write, remove(a.deleteSubject)},
		{"POST /v1/import/subjects", "Import subjects", auth.Import, change(a.importSubjects)},
		{"GET /v1/export/subjects", "Export subjects", auth.Read, export("One subject a line, in id order", a.exportSubjects)},

		{"POST /v1/features", "Add feature", auth.Write, create(a.addFeature, featureAt)},
		{"GET /v1/features", "List features", auth.Read, readOrSummarize(a.listFeatures, a.listFeatureSummaries)},
		{"GET /v1/features/{feature}", "Get feature", auth.Read, read(a.getFeature)},
		{"PATCH /v1/features/{feature}", "Change feature", auth.Write, change(a.patchFeature)},
		{"DELETE /v1/features/{feature}", "Delete feature", auth.Write, remove(a.deleteFeature)},
		{"GET /v1/features/{feature}/shares", "Get shares of feature", auth.Read, read(a.getShares)},
		{"GET /v1/features/{feature}/subjects", "List subjects of variant", auth.Read, read(a.listFeatureSubjects)},
		{"POST /v1/features/{feature}/archive", "Archive feature", auth.Write, change(a.archiveFeature)},
		{"POST /v1/features/{feature}/restore", "Restore feature", auth.Write, change(a.restoreFeature)},
		{"POST /v1/features/{feature}/variants", "Add variant", auth.Write, create(a.addVariant, variantAt)},
		{"PATCH /v1/features/{feature}/variants/{variant}", "Change variant", auth.Write, change(a.patchVariant)},
		{"DELETE /v1/features/{feature}/variants/{variant}", "Delete variant", auth.Write, remove(a.deleteVariant)},
		{"POST /v1/features/{feature}/disabling_variant", "Add disabling variant", auth.Write, create(a.addDisablingVariant, disablingVariantAt)},
		{"PUT /v1/features/{feature}/default_variant", "Set default variant", auth.Write, change(a.setDefault)},
		{"DELETE /v1/features/{feature}/default_variant", "Delete default variant", auth.Write, remove(a.deleteDefault)},

		{"GET /v1/overlap", "Get overlap of features", auth.Read, read(a.getOverlap)},

		{"POST /v1/features/{feature}/rollout", "Add rollout", auth.Write, create(a.addRollout, rolloutAt)},
		{"GET /v1/features/{feature}/rollout", "Get rollout", auth.Read, read(a.getRollout)},
		{"PATCH /v1/features/{feature}/rollout", "Change rollout", auth.Write, change(a.patchRollout)},
		{"DELETE /v1/features/{feature}/rollout", "Delete rollout", auth.Write, remove(a.deleteRollout)},

		{"POST /v1/abtests", "Add abtest", auth.Write, create(a.addABTest, abTestAt)},
		{"GET /v1/abtests", "List abtests", auth.Read, read(a.listABTests)},
		{"GET /v1/abtests/{test}", "Get abtest", auth.Read, read(a.getABTest)},
		{"PATCH /v1/abtests/{test}", "Change abtest", auth.Write, change(a.patchABTest)},
		{"POST /v1/abtests/{test}/stop", "Stop abtest", auth.Write, change(a.stopABTest)},
		{"DELETE /v1/abtests/{test}", "Delete abtest", auth.Write, remove(a.deleteABTest)},

		{"POST /v1/groups", "Add group", auth.Write, create(a.addGroup, groupAt)},
		{"GET /v1/groups", "List groups", auth.Read, read(a.listGroups)},
		{"GET /v1/groups/{group}", "Get group", auth.Read, read(a.getGroup)},
		{"PATCH /v1/groups/{group}", "Change group", auth.Write, change(a.patchGroup)},
		{"DELETE /v1/groups/{group}", "Delete group", auth.Write, remove(a.deleteGroup)},
		{"GET /v1/groups/{group}/subjects", "List members", auth.Read, read(a.listMembers)},
		{"POST /v1/groups/{group}/subjects", "Add or remove members", auth.Write, change(a.changeMembers)},
		{"PUT /v1/groups/{group}/subjects/{id}", "Add member", auth.Write, change(a.addMember)},
		{"DELETE /v1/groups/{group}/subjects/{id}", "Remove member", auth.Write, remove(a.removeMember)},
		{"PUT /v1/groups/{group}/overrides/{feature}", "Set override", auth.Write, change(a.setOverride)},
		{"DELETE /v1/groups/{group}/overrides/{feature}", "Delete override", auth.Write, remove(a.deleteOverride)},

		{"GET /v1/subject/flags", "Get flags of subject", auth.Resolve, read(a.getFlags)},
		{"GET /v1/subjects/{id}/explain", "Explain flags of subject", auth.Read, read(a.explain)},

		{"POST /v1/tokens", "Create token", auth.Administer, create(a.createToken, tokenAt)},
		{"GET /v1/tokens", "List tokens", auth.Administer, read(a.listTokens)},
		{"DELETE /v1/tokens/{id}", "Revoke token", auth.Administer, remove(a.revokeToken)},

		{"GET /v1/audit", "List audit entries", auth.Read, readOrExport("Newest first", a.listAudit, a.exportAudit)},
		{"POST /v1/audit/{revision}/revert", "Revert change", auth.Write, change(a.revert)},
		{"GET /v1/edges", "List edges", auth.Read, read(a.listEdges)},
		{"GET /v1/events", "Stream events", auth.Read, streamEvents},
		{"GET /v1/me", "Get caller", auth.Resolve, read(a.getMe)}, // every role has it
		{"GET /v1/about", "Get overview", auth.Read, read(a.getAbout)},
		{"GET /v1/search", "Search", auth.Read, read(a.search)},
	}
}

func (a *service) addRoutes() {
	a.describeNulls()
	for _, r := range a.routes() {
		r.form(a, r)
	}
	a.describeImport()
}
