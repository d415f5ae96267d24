package admin

// introduction is the description of the whole API.
const introduction = `The admin stores features with their variants, rollouts, A/B tests, groups and subjects. Edges serve them to applications.

**Authentication.** Send a token as ` + "`Authorization: Bearer <token>`" + `. Each operation lists the permission that the token's role must have. With a token that has a scope, a write fails with ` + "`forbidden`" + ` unless the scope includes every feature, test and group that it touches; writes of subjects and buckets always fail. Dry runs are not limited.

**Revisions.** Each change of the configuration makes a new revision. The header ` + "`Flaggery-Revision`" + ` holds the revision that a write made or that a read was answered from. A write that changes nothing makes none.

**Conditional writes.** The ` + "`ETag`" + ` of an answer is the version of the resource. A write with that tag in ` + "`If-Match`" + ` fails with 412 if the resource has changed since.

**Dry runs.** With ` + "`dry_run=true`" + ` a write is checked and not stored. The answer counts the subjects whose flags would change. Role viewer may run dry runs too, except of imports and tokens.

**Waiting for edges.** With ` + "`wait=2s`" + ` a write answers as soon as every edge serves it, or after that time. The write is stored in either case; ` + "`propagation`" + ` in the answer names the edges that are behind.

**Errors.** A failed request is answered with a problem document (RFC 9457): ` + "`code`" + ` is for programs, ` + "`detail`" + ` for people, and ` + "`errors`" + ` names the invalid fields. Each operation lists its codes by status. Unknown query parameters are rejected.

**Lists.** Lists come in pages of ` + "`limit`" + ` items. To read the next page, send its ` + "`next`" + ` as ` + "`after`" + `; the last page has none.`

// text describes an operation in the OpenAPI document. The description is left out
// if the summary, the parameters and the introduction say everything.
type text struct{ summary, description string }

// texts are the texts of all operations, by id.
var texts = map[string]text{
	"add-buckets":  {"Add buckets", "Rollouts and A/B tests take their shares of the new buckets at once. Buckets cannot be deleted, and the change cannot be reverted."},
	"list-buckets": {"List buckets", ""},

	"add-subject":     {"Create a subject", "The subject is put into the lightest bucket. Fails with `no_buckets` if there is no bucket yet."},
	"list-subjects":   {"List subjects", ""},
	"delete-subjects": {"Delete many subjects", "Deletes up to 10,000 subjects in one revision, and removes them from their groups. Unknown ids are skipped and listed in the answer."},
	"get-subject":     {"Get a subject", ""},
	"set-weight-of-subject": {"Set the weight of a subject",
		"The subject stays in its bucket."},
	"delete-subject": {"Delete a subject", "Also removes it from its groups. Created again, it may come into another bucket."},
	"import-subjects": {"Import subjects", "Creates new subjects and updates known ones, in one revision. If a line is invalid, nothing is stored and the error lists the first 100 such lines. " +
		"Known subjects join the groups that their lines name; they leave other groups only with `groups=replace`. An import can be repeated safely. " +
		"The body is UTF-8 text in NDJSON or CSV, of any length. The header of a CSV sets the order of the columns and their separator: a comma, a semicolon or a tab. " +
		"At most four imports run at once; one more is answered 503 after 5 seconds."},
	"export-subjects": {"Export all subjects", "All lines are from one revision. An import accepts them. If the export fails, the connection is closed before the end of the body."},

	"add-feature":   {"Create a feature", "Creates the feature together with the given variants, default variant and rollout, in one revision."},
	"list-features": {"List features", "Without archived features, unless `archived=true`. With `view=summary`, items say who gets which variant instead of listing payloads and buckets. With `view=names`, they are names."},
	"get-feature":   {"Get a feature", "Includes its variants and its rollout."},
	"change-feature": {"Change a feature", "Changes the given fields only. " +
		"Switching off or on fails with `edges_too_old` while an edge of an earlier release, which cannot read this, is connected or was within the last 10 minutes."},
	"delete-feature": {"Delete a feature", "Fails with `feature_has_variants` if it still has variants, unless `cascade=true`. " +
		"With it, fails with `abtest_live` if a test that has not ended names the feature."},
	"get-shares-of-feature":    {"Get how many subjects get which variant", "Counts subjects and their weight by the step that decides: the default, the rollout, a test or an override."},
	"list-subjects-of-variant": {"List the subjects that get a variant", "For the current moment, in id order."},
	"archive-feature": {"Archive a feature", "Edges stop serving it. All of it is kept: its name stays taken, its rollout keeps its buckets, and its parts cannot be changed. " +
		"Fails with `abtest_live` if a test that has not ended names it."},
	"restore-feature":       {"Restore an archived feature", "Edges serve it again, to the same subjects as before."},
	"add-variant":           {"Create a variant", ""},
	"change-variant":        {"Replace the payload of a variant", ""},
	"delete-variant":        {"Delete a variant", "Fails with `variant_in_use` if the default, the rollout, a test or an override names it; the detail names all of them."},
	"add-disabling-variant": {"Create the disabling variant", "Adds the variant `__DISABLE__`, which switches the feature off for the subjects that get it. The body may be left out."},
	"set-default-variant":   {"Set the default variant", "The default applies to subjects that no rollout, test or override applies to."},
	"delete-default-variant": {"Remove the default variant",
		"The variant itself stays. A feature without a default is answered alike."},

	"get-overlap-of-features": {"Compare who gets two features", "Counts subjects and weight for each pair of variants of the two features."},

	"add-rollout":    {"Create a rollout", "The proportion is 0 at first: no subject gets the variant yet."},
	"get-rollout":    {"Get a rollout", ""},
	"change-rollout": {"Change a rollout", "Changes the given fields only. A larger proportion only adds buckets, a smaller one only removes buckets."},
	"delete-rollout": {"Delete a rollout", "Its subjects get what applies to them without it."},

	"add-abtest": {"Create an A/B test", "Draws a test group for each bucket. The test starts and ends at the given times by itself; a start in the past means now live. " +
		"Fails with `abtest_overlap` if another test names one of its features in the same period; the detail names that test."},
	"list-abtests":  {"List A/B tests", "In name order."},
	"get-abtest":    {"Get an A/B test", ""},
	"change-abtest": {"Change an A/B test", "Changes the given fields only: the start until the test is live, the end until the test has ended."},
	"stop-abtest":   {"Stop a live A/B test", "Sets its end to now. Fails with `validation_failed` if the test is not live."},
	"delete-abtest": {"Delete an A/B test", "Fails with `abtest_live` while the test is live: stop it first."},

	"add-group":             {"Create a group", "The group has no members at first."},
	"list-groups":           {"List groups", "In name order."},
	"get-group":             {"Get a group", "Includes its overrides."},
	"change-group":          {"Change the priority of a group", ""},
	"delete-group":          {"Delete a group", "Also deletes its overrides. Its members stay subjects. Fails with `feature_archived` if it overrides an archived feature."},
	"list-members":          {"List the members of a group", ""},
	"add-or-remove-members": {"Add or remove many members", "Changes up to 10,000 memberships in one revision. Unknown ids are skipped and listed in the answer."},
	"add-member":            {"Add a subject to a group", "Adding a member again changes nothing. If-Match takes the ETag of the subject."},
	"remove-member":         {"Remove a subject from a group", "The subject itself stays. If-Match takes the ETag of the subject."},
	"set-override":          {"Set an override", "The members of the group get this variant of the feature, whatever else applies to them. Replaces an earlier override. If-Match takes the ETag of the group."},
	"delete-override":       {"Delete an override", "If-Match takes the ETag of the group."},

	"get-flags-of-subject":     {"Get the flags of a subject", "Reads the database. Applications should query an edge, which answers from memory."},
	"explain-flags-of-subject": {"Explain the flags of a subject", "Lists, for each feature, all steps of the resolution and the one that decides. Fails with `history_unavailable` if `at` is before the recorded history."},

	"create-token": {"Create a token", "The answer is the only one with the secret: only its hash is stored. Only role editor can have a scope."},
	"list-tokens":  {"List tokens", "In id order, without secrets."},
	"revoke-token": {"Revoke a token", "Also revokes the sessions that were signed in to with it. Admins reject it at once, edges as soon as they serve the revision."},

	"list-audit-entries": {"List changes", "Newest first: who changed what, with the resource before and after. Changes of tokens are listed for role admin only. With `Accept: application/x-ndjson` the answer holds all entries, one a line."},
	"revert-change": {"Revert a change", "Reverts all that a revision changed, as a new revision, or nothing. " +
		"Fails with `not_revertible`, whose detail says why: something was changed again or is in use, or the change cannot be reverted, as those of buckets, imports and tokens."},
	"get-state": {"Get the configuration as a document", "Features, groups and tests that have not ended, sorted, so that two documents can be compared line by line. " +
		"Never in it: subjects, members, tokens, buckets and salts. The `ETag` is that of everything that the owner manages, for `If-Match` of a write with the same owner."},
	"apply-state": {"Apply a document", "Makes the configuration as the document says, in one revision, or in none if it is so already. " +
		"What is absent from the document stays as it is, `null` is none. An existing rollout keeps its buckets as far as its proportion allows. " +
		"Objects that no document manages are managed by the document's owner from then on; those of another owner fail with `managed_elsewhere`, which names them, unless `force=true`. " +
		"`validation_failed` names every fault of the document with its line."},
	"get-state-schema": {"Get the schema of documents", "A JSON Schema (2020-12), for editors that check documents while they are written."},
	"list-edges":       {"List edges", "Edges that are connected, and edges that lost their connection within the last 10 minutes."},
	"stream-events":    {"Stream changes and edges", "Server-sent events, until the client, the admin or the token ends. Reconnect with the last id as `Last-Event-ID`."},
	"get-caller":       {"Get the caller's name, role and scope", ""},
	"get-overview":     {"Get an overview of the installation", "Names the installation and counts what it has."},
	"search":           {"Search features, tests, groups and subjects", "Returns at most 20 matches; matches at the beginning of a name come first. Archived features are included."},
}
