package writer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// Revert reverts the changes of one revision by a new change: created resources are
// deleted, changed ones get their earlier content, deleted ones are created again. A
// deleted subject gets the lightest bucket, a deleted rollout the buckets that it had.
//
// It reverts all of the revision or nothing. Fails with revision_not_found, or with
// not_revertible and the reason: a resource was changed again since, is in use, or cannot
// be reverted at all, like buckets, imports, tokens, and the deletion of a test that had
// ended. Fails with edges_too_old if the change itself would.
func (w *Writer) Revert(ctx context.Context, revision int64, opts ...Option) (Result[api.Reverted], error) {
	found, err := read(ctx, w, func(tx *postgres.Tx) ([]postgres.AuditEntry, int64, error) {
		entries, err := tx.AuditOf(ctx, revision)
		return entries, 0, err
	})
	if err != nil {
		return Result[api.Reverted]{}, err
	}
	entries := found.Value // audit rows never change
	if len(entries) == 0 {
		return Result[api.Reverted]{Revision: found.Revision}, model.Errorf(model.RevisionNotFound, "there is no revision %d, the latest is %d", revision, found.Revision)
	}
	resources := make([]resource, len(entries))
	for i, e := range entries {
		if resources[i], err = parseResource(e.Resource); err != nil {
			return Result[api.Reverted]{Revision: found.Revision}, notRevertible(revision, err)
		}
	}
	if slices.ContainsFunc(entries, changesState) {
		if err := w.refuseOldEdges(ctx); err != nil {
			return Result[api.Reverted]{}, err
		}
	}
	return write(ctx, w, resources[0].kindOfChange(), opts, func(c *change) (api.Reverted, error) {
		if err := c.match(unversioned); err != nil {
			return api.Reverted{}, err
		}
		return c.revert(ctx, entries, resources)
	})
}

// revert reverts the rows of one revision, the last one first.
func (c *change) revert(ctx context.Context, entries []postgres.AuditEntry, resources []resource) (api.Reverted, error) {
	revision := entries[0].Revision
	if c.comment == "" {
		c.comment = fmt.Sprintf("revert of revision %d", revision)
	}
	switch err := c.revertRows(ctx, entries, resources); {
	case model.CodeOf(err) != "":
		return api.Reverted{}, notRevertible(revision, err)
	case err != nil:
		return api.Reverted{}, err
	}
	reverted := api.Reverted{Reverted: revision}
	for _, row := range c.audit {
		reverted.Changes = append(reverted.Changes, api.ResourceChange{
			Action: row.Action, Resource: row.Resource, Before: rawJSON(row.Before), After: rawJSON(row.After),
		})
	}
	return reverted, nil
}

func (c *change) revertRows(ctx context.Context, entries []postgres.AuditEntry, resources []resource) error {
	c.overlapsLast = true
	for i, entry := range slices.Backward(entries) {
		r := reverter{c, entry, resources[i]}
		if err := r.revertRow(ctx); err != nil {
			return err
		}
	}
	return c.refuseOverlaps(ctx)
}

// notRevertible returns the error with the reason.
func notRevertible(revision int64, reason error) error {
	return model.Errorf(model.NotRevertible, "revision %d cannot be reverted: %s", revision, reason)
}

// reverter reverts one row of the audit, as a part of a change.
type reverter struct {
	*change
	entry    postgres.AuditEntry
	resource resource
}

// revertRow reverts the row, if its resource still is as the row left it.
func (r reverter) revertRow(ctx context.Context) (err error) {
	noted, names := len(r.audit), r.resource.names
	switch r.resource.kind {
	case featureResource:
		err = r.revertFeature(ctx, names[0])
	case variantResource:
		err = r.revertVariant(ctx, names[0], names[1])
	case defaultVariantResource:
		err = r.revertDefaultVariant(ctx, names[0])
	case rolloutResource:
		err = r.revertRollout(ctx, names[0])
	case testResource:
		err = r.revertTest(ctx, names[0])
	case groupResource:
		err = r.revertGroup(ctx, names[0])
	case overrideResource:
		err = r.revertOverride(ctx, names[0], names[1])
	case memberResource:
		err = r.revertMember(ctx, names[0], names[1])
	case subjectResource:
		err = r.revertSubject(ctx, names[0])
	case membersResource:
		err = r.revertMembers(ctx, names[0])
	case subjectsResource:
		err = r.revertSubjects(ctx)
	case bucketsResource:
		return refuse("buckets are never removed")
	case tokenResource:
		return refuse("tokens cannot be reverted. Revoke the token, or create a new one")
	}
	if err == nil && len(r.audit) == noted {
		return r.changedSince()
	}
	return err
}

// changesState reports whether a row is about a feature that was switched or archived.
func changesState(e postgres.AuditEntry) bool {
	type state struct{ Off, Archived bool }
	before, errBefore := decode[state](e.Before)
	after, errAfter := decode[state](e.After)
	return errors.Join(errBefore, errAfter) == nil && before != after
}

func refuse(format string, args ...any) error {
	return model.Errorf(model.NotRevertible, format, args...)
}

func (r reverter) changedSince() error {
	return refuse("%s was changed since. See its audit and revert the later changes first, or change it directly", r.entry.Resource)
}

// decode parses one side of a row; "" is the zero value. T leaves out fields that change
// without a write of the resource, like effective weights and revisions.
func decode[T any](side string) (v T, err error) {
	if side == "" {
		return v, nil
	}
	if err := json.Unmarshal([]byte(side), &v); err != nil {
		return v, fmt.Errorf("read the audit: %w", err)
	}
	return v, nil
}

// previous returns the content before the row. Fails with not_revertible if now is not
// the content after it.
func previous[T any](r reverter, now T) (before T, err error) {
	after, err := decode[T](r.entry.After)
	if err != nil {
		return before, err
	}
	if !reflect.DeepEqual(now, after) {
		return before, r.changedSince()
	}
	return decode[T](r.entry.Before)
}

func (r reverter) revertFeature(ctx context.Context, name string) error {
	type own struct {
		Description      string
		Tags             []string
		Contact, Expires string
		Permanent        bool
		Owner            string
		Off, Archived    bool
	}
	if r.entry.Action == deleted {
		before, err := decode[own](r.entry.Before)
		if err != nil {
			return err
		}
		return r.addFeatures(ctx, &model.Feature{
			Name: name, Description: before.Description, Tags: before.Tags,
			Contact: before.Contact, Expires: before.Expires, Permanent: before.Permanent, Owner: before.Owner,
			Off: before.Off, Archived: before.Archived,
		})
	}
	f, err := r.tx.Feature(ctx, name)
	if err != nil {
		return err
	}
	before, err := previous(r, own{f.Description, f.Tags, f.Contact, f.Expires, f.Permanent, f.Owner, f.Off, f.Archived})
	if err != nil {
		return err
	}
	switch r.entry.Action {
	case created:
		_, err = r.deleteFeature(ctx, f)
	case archived, restored:
		_, err = r.archiveFeature(ctx, f, before.Archived)
	default:
		was := *f
		f.Description, f.Tags = before.Description, append([]string{}, before.Tags...)
		f.Contact, f.Expires, f.Permanent = before.Contact, before.Expires, before.Permanent
		f.Owner, f.Off = before.Owner, before.Off
		_, err = r.updateFeature(ctx, &was, f)
	}
	return err
}

func (r reverter) revertVariant(ctx context.Context, feature, name string) error {
	f, err := r.tx.Feature(ctx, feature)
	if err != nil {
		return err
	}
	var now notedVariant
	if r.entry.Action != deleted {
		v, err := variantOf(f, name)
		if err != nil {
			return err
		}
		if now, err = notedPayload(v, r.entry.After); err != nil {
			return err
		}
	}
	before, err := previous(r, now)
	if err != nil {
		return err
	}
	payload, err := payloadOf(before.Payload)
	if err != nil {
		return err
	}
	switch r.entry.Action {
	case created:
		_, err = r.deleteVariant(ctx, f, name)
	case updated:
		_, err = r.patchVariant(ctx, f, name, payload)
	default:
		err = r.addVariants(ctx, f, model.Variant{Name: name, Payload: payload})
	}
	return err
}

// notedVariant is the part of a variant in the audit that can be reverted.
type notedVariant struct{ Payload json.RawMessage }

// notedPayload returns the payload of a variant in the form that it has in noted, if both
// are the same: earlier versions wrote <, > and & as escapes.
func notedPayload(v model.Variant, noted string) (now notedVariant, err error) {
	if now.Payload = v.Payload; len(now.Payload) == 0 {
		now.Payload = json.RawMessage("null")
	}
	after, err := decode[notedVariant](noted)
	var escaped bytes.Buffer
	if json.HTMLEscape(&escaped, now.Payload); bytes.Equal(escaped.Bytes(), after.Payload) {
		now = after
	}
	return now, err
}

func (r reverter) revertDefaultVariant(ctx context.Context, feature string) error {
	f, err := r.tx.Feature(ctx, feature)
	if err != nil {
		return err
	}
	before, err := previous(r, api.VariantReference{Variant: f.Default})
	if err != nil {
		return err
	}
	if before.Variant != "" {
		if _, err := variantOf(f, before.Variant); err != nil {
			return err
		}
	}
	return r.setDefault(ctx, f, before.Variant)
}

func (r reverter) revertRollout(ctx context.Context, feature string) error {
	type share struct {
		Variant    string
		Proportion float64
	}
	f, err := r.tx.Feature(ctx, feature)
	if err != nil {
		return err
	}
	var now share
	if f.Rollout != nil {
		now = share{f.Rollout.Variant, f.Rollout.Proportion}
	}
	before, err := previous(r, now)
	if err != nil {
		return err
	}
	switch r.entry.Action {
	case created:
		_, err = r.deleteRollout(ctx, f)
	case updated:
		_, err = r.patchRollout(ctx, f, api.PatchRollout{Proportion: &before.Proportion, Variant: &before.Variant})
	default:
		err = r.restoreRollout(ctx, f, before.Variant, before.Proportion)
	}
	return err
}

// restoreRollout adds a deleted rollout with the salt and the buckets that it had, so
// that the same subjects get it again. Buckets added since join it.
func (r reverter) restoreRollout(ctx context.Context, f *model.Feature, variant string, proportion float64) error {
	had, err := decode[struct{ Buckets []model.BucketID }](r.entry.Before)
	if err != nil {
		return err
	}
	salt, count, err := r.tx.DeletedRollout(ctx, f.Name, r.entry.Revision)
	if err != nil {
		return err
	}
	buckets, err := r.allBuckets(ctx)
	if err != nil {
		return err
	}
	var added []model.BucketID
	for _, b := range buckets[count:] {
		added = append(added, b.ID)
	}
	assigned := bucketing.Join(salt, had.Buckets, added, proportion)
	_, err = r.insertRollout(ctx, f, &model.Rollout{Variant: variant, Proportion: proportion, Salt: salt, Buckets: assigned}, buckets)
	return err
}

func (r reverter) revertTest(ctx context.Context, name string) error {
	type own struct {
		Start, End      time.Time
		Description     string
		Owner           string
		DeletedFeatures []string `json:"deleted_features"`
	}
	switch r.entry.Action {
	case deleted:
		before, err := decode[api.CreateABTest](r.entry.Before)
		if err != nil {
			return err
		}
		if !r.entry.At.Before(before.Start) {
			return refuse("test %q had ended, and who was in which of its groups was deleted with it", name)
		}
		test, err := newTest(before)
		if err != nil {
			return err
		}
		had, err := decode[own](r.entry.Before)
		if err != nil {
			return err
		}
		test.Owner = had.Owner
		_, err = r.addTest(ctx, test)
		return err
	case stopped:
		return refuse("a stopped test cannot be resumed, as its subjects have had other variants since. Add a new test")
	}
	test, err := r.tx.ABTest(ctx, name)
	if err != nil {
		return err
	}
	now := own{test.Start, test.End, test.Description, test.Owner, test.DeletedFeatures()}
	before, err := previous(r, now)
	if err != nil {
		return err
	}
	switch r.entry.Action {
	case created:
		_, err = r.deleteTest(ctx, test)
	case recorded:
		err = r.moveFeature(ctx, name, added(before.DeletedFeatures, now.DeletedFeatures), restored)
	case restored:
		err = r.moveFeature(ctx, name, added(now.DeletedFeatures, before.DeletedFeatures), recorded)
	default:
		_, err = r.patchTest(ctx, test, before.Owner, api.PatchABTest{Start: &before.Start, End: &before.End, Description: &before.Description})
	}
	return err
}

// added is the name that is in after and not in before.
func added(before, after []string) string {
	return after[slices.IndexFunc(after, func(name string) bool { return !slices.Contains(before, name) })]
}

func (r reverter) revertGroup(ctx context.Context, name string) error {
	type own struct {
		Priority int
		Owner    string
	}
	if r.entry.Action == deleted {
		return r.restoreGroup(ctx, name)
	}
	g, err := r.tx.Group(ctx, name)
	if err != nil {
		return err
	}
	if r.entry.Action == created && (g.Members > 0 || len(g.Overrides) > 0) {
		return refuse("group %q has members (%d) or overrides (%d) by now", name, g.Members, len(g.Overrides))
	}
	before, err := previous(r, own{g.Priority, g.Owner})
	if err != nil {
		return err
	}
	if r.entry.Action == created {
		_, err = r.deleteGroup(ctx, g)
	} else {
		was := *g
		g.Priority, g.Owner = before.Priority, before.Owner
		_, err = r.updateGroup(ctx, &was, g)
	}
	return err
}

// restoreGroup adds a deleted group with the overrides that it had.
func (r reverter) restoreGroup(ctx context.Context, name string) error {
	had, err := decode[api.Group](r.entry.Before)
	if err != nil {
		return err
	}
	if had.Members > 0 {
		return refuse("the audit does not have the members of group %q, of which there were %d", name, had.Members)
	}
	g := &postgres.Group{Group: model.Group{Name: name, Priority: had.Priority, Overrides: map[string]string{}}, Owner: orNone(had.Owner)}
	if _, err := r.addGroup(ctx, g); err != nil {
		return err
	}
	for _, feature := range slices.Sorted(maps.Keys(had.Overrides)) {
		if _, err := r.setOverride(ctx, g, feature, had.Overrides[feature]); err != nil {
			return err
		}
	}
	return nil
}

func (r reverter) revertOverride(ctx context.Context, group, feature string) error {
	g, err := r.tx.Group(ctx, group)
	if err != nil {
		return err
	}
	before, err := previous(r, api.VariantReference{Variant: g.Overrides[feature]})
	if err != nil {
		return err
	}
	if before.Variant == "" {
		_, err = r.deleteOverride(ctx, g, feature)
	} else {
		_, err = r.setOverride(ctx, g, feature, before.Variant)
	}
	return err
}

func (r reverter) revertMember(ctx context.Context, group, id string) error {
	s, err := r.tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	if r.entry.Action == created {
		_, err = r.removeMember(ctx, group, s)
	} else {
		_, err = r.addMember(ctx, group, s)
	}
	return err
}

func (r reverter) revertSubject(ctx context.Context, id string) error {
	type traits struct {
		Weight int64
		Groups []string
	}
	for last, err := range r.tx.Audit(ctx, postgres.AuditFilter{Resource: r.entry.Resource}, 1) {
		if err != nil {
			return err
		}
		if last.Action == forgotten {
			return refuse("the subject was forgotten")
		}
	}
	if r.entry.Action == deleted {
		return r.restoreSubject(ctx, id)
	}
	s, err := r.tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	form := subjectForm(s)
	before, err := previous(r, traits{form.Weight, form.Groups})
	if err != nil {
		return err
	}
	if r.entry.Action == created {
		_, err = r.deleteSubject(ctx, s)
	} else {
		_, err = r.setWeight(ctx, s, before.Weight)
	}
	return err
}

func (r reverter) revertMembers(ctx context.Context, group string) error {
	side := r.entry.After
	if r.entry.Action == deleted {
		side = r.entry.Before
	}
	changed, err := decode[notedMembers](side)
	if err != nil {
		return err
	}
	ids := make([]string, len(changed.Subjects))
	for i, s := range changed.Subjects {
		ids[i] = s.ID
	}
	outcome, err := r.changeMembers(ctx, group, ids, r.entry.Action == created)
	if err == nil && outcome.Already+int64(len(outcome.Unknown)) > 0 {
		err = r.changedSince()
	}
	return err
}

func (r reverter) revertSubjects(ctx context.Context) error {
	switch r.entry.Action {
	case created:
		after, err := decode[notedSubjects](r.entry.After)
		if err != nil {
			return err
		}
		found, err := r.tx.SubjectsOf(ctx, after.ids())
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(subjectForms(found), after) {
			return r.changedSince()
		}
		return r.deleteSubjects(ctx, found)
	case deleted:
		before, err := decode[notedSubjects](r.entry.Before)
		if err != nil {
			return err
		}
		return r.restoreSubjects(ctx, before)
	}
	return refuse("the audit does not have the subjects before an import. Import an earlier export")
}

// restoreSubjects adds deleted subjects to the groups that they were in.
func (r reverter) restoreSubjects(ctx context.Context, had notedSubjects) error {
	ids := had.ids()
	gone, err := r.tx.Forgotten(ctx, ids)
	if err != nil {
		return err
	}
	if gone {
		return refuse("one of the subjects was forgotten")
	}
	found, err := r.tx.SubjectsOf(ctx, ids)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return model.Errorf(model.SubjectExists, "there is a subject %q already", found[0].ID)
	}
	return r.addSubjects(ctx, had.Subjects)
}

// restoreSubject adds a deleted subject to the groups that it was in.
func (r reverter) restoreSubject(ctx context.Context, id string) error {
	had, err := decode[api.Subject](r.entry.Before)
	if err != nil {
		return err
	}
	if _, err := r.addSubject(ctx, id, had.Weight); err != nil {
		return err
	}
	s, err := r.tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	for _, group := range had.Groups {
		if _, err := r.addMember(ctx, group, s); err != nil {
			return err
		}
	}
	return nil
}
