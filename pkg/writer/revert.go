package writer

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// Revert undoes what one revision changed, by a new change: what was made goes,
// what was changed is as it was, what was deleted comes back. A subject comes back
// into the lightest bucket, a rollout over the buckets that it had.
//
// It undoes all of the revision or nothing. Fails with revision_not_found, or with
// not_revertible and the reason: something was changed again since, is in use, or
// cannot be undone at all, as buckets, imports and tokens.
func (w *Writer) Revert(ctx context.Context, revision int64, opts ...Option) (Result[api.Reverted], error) {
	found, err := read(ctx, w, func(tx *postgres.Tx) ([]postgres.AuditEntry, int64, error) {
		entries, err := tx.AuditOf(ctx, revision)
		return entries, 0, err
	})
	if err != nil {
		return Result[api.Reverted]{}, err
	}
	entries := found.Value // which never change
	if len(entries) == 0 {
		return Result[api.Reverted]{}, model.Errorf(model.RevisionNotFound, "there is no revision %d, the latest is %d", revision, found.Revision)
	}
	kind := configuration
	if path := strings.Split(entries[0].Resource, "/"); path[0] == "subjects" || len(path) == 4 && path[2] == "subjects" {
		kind = subjects
	}
	return write(ctx, w, kind, opts, func(c *change) (api.Reverted, error) {
		reverted := api.Reverted{Reverted: revision}
		if err := c.match(0); err != nil {
			return reverted, err
		}
		if c.comment == "" {
			c.comment = fmt.Sprintf("revert of revision %d", revision)
		}
		for _, e := range slices.Backward(entries) {
			u := undoing{Writer: w.part(c), change: c, entry: e}
			if err := u.undo(ctx); err != nil {
				return reverted, u.refused(err)
			}
		}
		c.version = 0
		for _, row := range c.audit {
			reverted.Changes = append(reverted.Changes, api.RevertedChange{
				Action: row.Action, Resource: row.Resource, Before: rawJSON(row.Before), After: rawJSON(row.After),
			})
		}
		return reverted, nil
	})
}

// undoing is one row of the audit that is being undone, by use cases that are
// parts of a change.
type undoing struct {
	*Writer
	change *change
	entry  postgres.AuditEntry
}

// undo finds out what the row is about. Each kind of resource first looks whether
// it still is as the row left it.
func (u undoing) undo(ctx context.Context) error {
	noted := len(u.change.audit)
	path := strings.Split(u.entry.Resource, "/")
	id, err := url.PathUnescape(path[len(path)-1])
	if err != nil {
		return err
	}
	switch kind := path[0]; {
	case kind == "features" && len(path) == 2:
		err = u.feature(ctx, id)
	case kind == "features" && path[2] == "variants":
		err = u.variant(ctx, path[1], id)
	case kind == "features" && path[2] == "default_variant":
		err = u.defaultVariant(ctx, path[1])
	case kind == "features" && path[2] == "rollout":
		err = u.rollout(ctx, path[1])
	case kind == "abtests":
		err = u.test(ctx, id)
	case kind == "groups" && len(path) == 2:
		err = u.group(ctx, id)
	case kind == "groups" && path[2] == "overrides":
		err = u.override(ctx, path[1], id)
	case kind == "groups" && path[2] == "subjects":
		err = u.member(ctx, path[1], id)
	case kind == "subjects" && len(path) == 2:
		err = u.subject(ctx, id)
	case kind == "subjects":
		return u.never("an import leaves no note of what was before. Import what was exported earlier")
	case kind == "buckets":
		return u.never("buckets are never removed")
	case kind == "tokens":
		return u.never("a secret that was shown or forgotten stays so. Revoke the token, or create one")
	default:
		return u.never("this version does not know " + u.entry.Resource)
	}
	if err == nil && len(u.change.audit) == noted {
		return u.changedSince()
	}
	return err
}

// refused makes one error of all reasons that a user can understand.
func (u undoing) refused(reason error) error {
	if model.CodeOf(reason) == "" {
		return reason
	}
	return model.Errorf(model.NotRevertible, "revision %d cannot be undone: %s", u.entry.Revision, reason)
}

func (u undoing) never(reason string) error { return model.Errorf(model.NotRevertible, "%s", reason) }

func (u undoing) changedSince() error {
	return u.never(u.entry.Resource + " was changed since. Look at its audit, and revert the later changes first, or set what you want")
}

// left reads what a row left, or where it left nothing, the zero value. What the
// type does not have (effective weights, revisions) changes by itself.
func left[T any](text string) (v T, err error) {
	if text == "" {
		return v, nil
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return v, fmt.Errorf("read the audit: %w", err)
	}
	return v, nil
}

// sides are what a row changed and what it left, where now is the same as that.
func sides[T any](u undoing, now T) (before T, err error) {
	after, err := left[T](u.entry.After)
	if err != nil {
		return before, err
	}
	if !reflect.DeepEqual(now, after) {
		return before, u.changedSince()
	}
	return left[T](u.entry.Before)
}

func (u undoing) feature(ctx context.Context, name string) error {
	type wishes struct {
		Description string
		Tags        []string
	}
	var now wishes
	if u.entry.Action != deleted {
		f, err := u.change.Feature(ctx, name)
		if err != nil {
			return err
		}
		now = wishes{f.Description, f.Tags}
	}
	before, err := sides(u, now)
	if err != nil {
		return err
	}
	switch u.entry.Action {
	case created:
		_, err = u.DeleteFeature(ctx, name)
	case updated:
		_, err = u.PatchFeature(ctx, name, api.PatchFeature{Description: &before.Description, Tags: &before.Tags})
	default:
		_, err = u.AddFeature(ctx, api.CreateFeature{Name: name, Description: before.Description, Tags: before.Tags})
	}
	return err
}

func (u undoing) variant(ctx context.Context, feature, name string) error {
	type wishes struct{ Payload json.RawMessage }
	var now wishes
	if u.entry.Action != deleted {
		f, err := u.change.Feature(ctx, feature)
		if err != nil {
			return err
		}
		v, err := variantOf(f, name)
		if err != nil {
			return err
		}
		now.Payload = json.RawMessage("null")
		if v.Payload != nil {
			now.Payload = v.Payload
		}
	}
	before, err := sides(u, now)
	switch {
	case err != nil:
	case u.entry.Action == created:
		_, err = u.DeleteVariant(ctx, feature, name)
	case u.entry.Action == updated:
		_, err = u.PatchVariant(ctx, feature, name, api.PatchVariant{Payload: before.Payload})
	case name == model.DisablingVariant:
		_, err = u.AddDisablingVariant(ctx, feature, api.CreateDisablingVariant{})
	default:
		_, err = u.AddVariant(ctx, feature, api.CreateVariant{Name: name, Payload: before.Payload})
	}
	return err
}

func (u undoing) defaultVariant(ctx context.Context, feature string) error {
	f, err := u.change.Feature(ctx, feature)
	if err != nil {
		return err
	}
	before, err := sides(u, api.VariantReference{Variant: f.Default})
	switch {
	case err != nil:
	case before.Variant == "":
		_, err = u.DeleteDefaultVariant(ctx, feature)
	default:
		_, err = u.SetDefaultVariant(ctx, feature, before.Variant)
	}
	return err
}

func (u undoing) rollout(ctx context.Context, feature string) error {
	type wishes struct {
		Variant    string
		Proportion float64
	}
	f, err := u.change.Feature(ctx, feature)
	if err != nil {
		return err
	}
	var now wishes
	if f.Rollout != nil {
		now = wishes{f.Rollout.Variant, f.Rollout.Proportion}
	}
	before, err := sides(u, now)
	switch {
	case err != nil:
	case u.entry.Action == created:
		_, err = u.DeleteRollout(ctx, feature)
	case u.entry.Action == updated:
		_, err = u.PatchRollout(ctx, feature, api.PatchRollout{Proportion: &before.Proportion, Variant: &before.Variant})
	default:
		if _, err = u.AddRollout(ctx, feature, before.Variant); err == nil {
			err = u.restoreBuckets(ctx, feature, before.Proportion)
		}
	}
	return err
}

// restoreBuckets gives a new rollout the buckets of the deleted one, so that the
// same subjects have it again, and more or fewer where weights have moved since.
func (u undoing) restoreBuckets(ctx context.Context, feature string, proportion float64) error {
	had, err := left[struct{ Buckets []model.BucketID }](u.entry.Before)
	if err != nil {
		return err
	}
	f, err := u.change.Feature(ctx, feature)
	if err != nil {
		return err
	}
	buckets, err := u.change.Buckets(ctx)
	if err != nil {
		return err
	}
	before := rolloutForm(f, buckets)
	from := bucketing.Proportion(bucketing.Effective(buckets, had.Buckets))
	f.Rollout.Buckets = bucketing.Assign(f.Rollout.Salt, buckets, had.Buckets, from, proportion)
	f.Rollout.Proportion = proportion
	if err := u.change.UpdateRollout(ctx, feature, f.Rollout); err != nil {
		return err
	}
	return u.change.note(updated, rolloutPath(feature), before, rolloutForm(f, buckets))
}

func (u undoing) test(ctx context.Context, name string) error {
	switch u.entry.Action {
	case created:
		t, err := u.change.ABTest(ctx, name)
		if err != nil {
			return err
		}
		after, err := left[api.ABTest](u.entry.After)
		if err != nil {
			return err
		}
		if !t.End.Equal(after.End) {
			return u.changedSince()
		}
		_, err = u.DeleteABTest(ctx, name)
		return err
	case deleted:
		before, err := left[api.CreateABTest](u.entry.Before)
		if err != nil {
			return err
		}
		_, err = u.AddABTest(ctx, before)
		return err
	}
	return u.never("a test that was stopped does not go on, as its subjects have had something else since. Add a new one")
}

func (u undoing) group(ctx context.Context, name string) error {
	type wishes struct{ Priority int }
	var now wishes
	if u.entry.Action != deleted {
		g, err := u.change.Group(ctx, name)
		if err != nil {
			return err
		}
		if u.entry.Action == created && (g.Members > 0 || len(g.Overrides) > 0) {
			return u.never(fmt.Sprintf("group %q has %d members and %d overrides by now", name, g.Members, len(g.Overrides)))
		}
		now.Priority = g.Priority
	}
	before, err := sides(u, now)
	if err != nil {
		return err
	}
	switch u.entry.Action {
	case created:
		_, err = u.DeleteGroup(ctx, name)
		return err
	case updated:
		_, err = u.PatchGroup(ctx, name, api.PatchGroup{Priority: &before.Priority})
		return err
	}
	had, err := left[api.Group](u.entry.Before)
	if err != nil {
		return err
	}
	if had.Members > 0 {
		return u.never(fmt.Sprintf("nobody noted who the %d members of group %q were", had.Members, name))
	}
	if _, err := u.AddGroup(ctx, api.CreateGroup{Name: name, Priority: had.Priority}); err != nil {
		return err
	}
	for _, feature := range slices.Sorted(maps.Keys(had.Overrides)) {
		if _, err := u.AddGroupOverride(ctx, name, feature, had.Overrides[feature]); err != nil {
			return err
		}
	}
	return nil
}

func (u undoing) override(ctx context.Context, group, feature string) error {
	g, err := u.change.Group(ctx, group)
	if err != nil {
		return err
	}
	before, err := sides(u, api.VariantReference{Variant: g.Overrides[feature]})
	switch {
	case err != nil:
	case before.Variant == "":
		_, err = u.DeleteGroupOverride(ctx, group, feature)
	default:
		_, err = u.AddGroupOverride(ctx, group, feature, before.Variant)
	}
	return err
}

func (u undoing) member(ctx context.Context, group, id string) (err error) {
	if u.entry.Action == created {
		_, err = u.RemoveSubjectFromGroup(ctx, group, id)
	} else {
		_, err = u.AddSubjectToGroup(ctx, group, id)
	}
	return err
}

func (u undoing) subject(ctx context.Context, id string) error {
	type wishes struct {
		Weight int64
		Groups []string
	}
	var now wishes
	if u.entry.Action != deleted {
		s, err := u.change.Subject(ctx, id)
		if err != nil {
			return err
		}
		form := subjectForm(s)
		now = wishes{form.Weight, form.Groups}
	}
	before, err := sides(u, now)
	if err != nil {
		return err
	}
	switch u.entry.Action {
	case created:
		_, err = u.DeleteSubject(ctx, id)
		return err
	case updated:
		_, err = u.SetSubjectWeight(ctx, id, before.Weight)
		return err
	}
	if _, err := u.AddSubject(ctx, api.CreateSubject{ID: id, Weight: &before.Weight}); err != nil {
		return err
	}
	for _, group := range before.Groups {
		if _, err := u.AddSubjectToGroup(ctx, group, id); err != nil {
			return err
		}
	}
	return nil
}
