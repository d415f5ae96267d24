package admin

import (
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// routes is every call of the admin, each with what it does and what can stand in
// its way. The calls that every service has (health, metrics, documentation) are
// web's.
func (a *service) routes() {
	a.describeNulls()
	create(a, "POST /v1/buckets", "Add buckets", a.addBuckets, bucketsAt)
	read(a, "GET /v1/buckets", "List buckets", a.listBuckets)

	create(a, "POST /v1/subjects", "Add subject", a.addSubject, subjectAt, model.SubjectExists, model.NoBuckets)
	read(a, "GET /v1/subjects", "List subjects", a.listSubjects)
	read(a, "GET /v1/subjects/{id}", "Get subject", a.getSubject, model.SubjectNotFound)
	change(a, "PUT /v1/subjects/{id}", "Set weight of subject", a.setWeight, model.SubjectNotFound)
	remove(a, "DELETE /v1/subjects/{id}", "Delete subject", a.deleteSubject, model.SubjectNotFound)
	a.importRoute("POST /v1/import/subjects", "Import subjects", model.NoBuckets)
	a.exportRoute("GET /v1/export/subjects", "Export subjects")

	create(a, "POST /v1/features", "Add feature", a.addFeature, featureAt, model.FeatureExists)
	read(a, "GET /v1/features", "List features", a.listFeatures)
	read(a, "GET /v1/features/{feature}", "Get feature", a.getFeature, model.FeatureNotFound)
	change(a, "PATCH /v1/features/{feature}", "Change feature", a.patchFeature, model.FeatureNotFound)
	remove(a, "DELETE /v1/features/{feature}", "Delete feature", a.deleteFeature, model.FeatureNotFound, model.FeatureHasVariants)
	create(a, "POST /v1/features/{feature}/variants", "Add variant", a.addVariant, variantAt, model.FeatureNotFound, model.VariantExists)
	change(a, "PATCH /v1/features/{feature}/variants/{variant}", "Change variant", a.patchVariant, model.FeatureNotFound, model.VariantNotFound)
	remove(a, "DELETE /v1/features/{feature}/variants/{variant}", "Delete variant", a.deleteVariant, model.FeatureNotFound, model.VariantNotFound, model.VariantInUse)
	create(a, "POST /v1/features/{feature}/disabling_variant", "Add disabling variant", a.addDisablingVariant, disablingVariantAt, model.FeatureNotFound, model.VariantExists)
	change(a, "PUT /v1/features/{feature}/default_variant", "Set default variant", a.setDefault, model.FeatureNotFound, model.VariantNotFound)
	remove(a, "DELETE /v1/features/{feature}/default_variant", "Delete default variant", a.deleteDefault, model.FeatureNotFound, model.VariantNotFound)

	create(a, "POST /v1/features/{feature}/rollout", "Add rollout", a.addRollout, rolloutAt, model.FeatureNotFound, model.VariantNotFound, model.RolloutExists)
	read(a, "GET /v1/features/{feature}/rollout", "Get rollout", a.getRollout, model.FeatureNotFound, model.RolloutNotFound)
	change(a, "PATCH /v1/features/{feature}/rollout", "Change rollout", a.patchRollout, model.FeatureNotFound, model.RolloutNotFound, model.VariantNotFound)
	remove(a, "DELETE /v1/features/{feature}/rollout", "Delete rollout", a.deleteRollout, model.FeatureNotFound, model.RolloutNotFound)

	create(a, "POST /v1/abtests", "Add abtest", a.addABTest, abTestAt, model.ABTestExists, model.FeatureNotFound, model.VariantNotFound, model.ABTestOverlap)
	read(a, "GET /v1/abtests", "List abtests", a.listABTests)
	read(a, "GET /v1/abtests/{test}", "Get abtest", a.getABTest, model.ABTestNotFound)
	change(a, "POST /v1/abtests/{test}/stop", "Stop abtest", a.stopABTest, model.ABTestNotFound)
	remove(a, "DELETE /v1/abtests/{test}", "Delete abtest", a.deleteABTest, model.ABTestNotFound, model.ABTestLive)

	create(a, "POST /v1/groups", "Add group", a.addGroup, groupAt, model.GroupExists)
	read(a, "GET /v1/groups", "List groups", a.listGroups)
	read(a, "GET /v1/groups/{group}", "Get group", a.getGroup, model.GroupNotFound)
	change(a, "PATCH /v1/groups/{group}", "Change group", a.patchGroup, model.GroupNotFound)
	remove(a, "DELETE /v1/groups/{group}", "Delete group", a.deleteGroup, model.GroupNotFound)
	read(a, "GET /v1/groups/{group}/subjects", "List members", a.listMembers, model.GroupNotFound)
	change(a, "PUT /v1/groups/{group}/subjects/{id}", "Add member", a.addMember, model.GroupNotFound, model.SubjectNotFound)
	remove(a, "DELETE /v1/groups/{group}/subjects/{id}", "Remove member", a.removeMember, model.GroupNotFound, model.SubjectNotFound, model.MemberNotFound)
	change(a, "PUT /v1/groups/{group}/overrides/{feature}", "Set override", a.setOverride, model.GroupNotFound, model.FeatureNotFound, model.VariantNotFound)
	remove(a, "DELETE /v1/groups/{group}/overrides/{feature}", "Delete override", a.deleteOverride, model.GroupNotFound, model.FeatureNotFound, model.OverrideNotFound)

	readAs(a, auth.Resolve, "GET /v1/subject/flags", "Get flags of subject", a.getFlags, model.SubjectNotFound)
	read(a, "GET /v1/subjects/{id}/explain", "Explain flags of subject", a.explain, model.SubjectNotFound)

	createAs(a, auth.Administer, "POST /v1/tokens", "Create token", a.createToken, tokenAt)
	readAs(a, auth.Administer, "GET /v1/tokens", "List tokens", a.listTokens)
	removeAs(a, auth.Administer, "DELETE /v1/tokens/{id}", "Revoke token", a.revokeToken, model.TokenNotFound)

	a.auditRoute("GET /v1/audit", "List audit entries")
	change(a, "POST /v1/audit/{revision}/revert", "Revert change", a.revert, model.RevisionNotFound, model.NotRevertible)
	read(a, "GET /v1/edges", "List edges", a.listEdges)
}
