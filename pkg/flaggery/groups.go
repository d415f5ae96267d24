package flaggery

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"github.com/flaggery/flaggery/pkg/api"
)

// AddGroup creates a group without members. Fails with group_exists.
func (a *Admin) AddGroup(ctx context.Context, create api.CreateGroup, opts ...WriteOption) (Result[api.Group], error) {
	return write[api.Group](ctx, &a.client, http.MethodPost, at("groups"), create, opts)
}

// Groups yields all groups by name.
func (a *Admin) Groups(ctx context.Context) iter.Seq2[api.Group, error] {
	return list[api.Group](ctx, &a.client, at("groups"), nil, largeItems)
}

// Group reads one group with its overrides. Fails with group_not_found.
func (a *Admin) Group(ctx context.Context, name string) (Result[api.Group], error) {
	return read[api.Group](ctx, &a.client, at("groups", name), nil)
}

// PatchGroup changes the given fields. Fails with group_not_found.
func (a *Admin) PatchGroup(ctx context.Context, name string, patch api.PatchGroup, opts ...WriteOption) (Result[api.Group], error) {
	return write[api.Group](ctx, &a.client, http.MethodPatch, at("groups", name), patch, opts)
}

// DeleteGroup removes a group with its overrides; its members stay subjects.
// Fails with group_not_found, or with feature_archived if it overrides an archived
// feature.
func (a *Admin) DeleteGroup(ctx context.Context, name string, opts ...WriteOption) (Receipt, error) {
	return remove(ctx, &a.client, at("groups", name), opts)
}

// Members yields the ids of a group's subjects. Fails with group_not_found.
func (a *Admin) Members(ctx context.Context, group string) iter.Seq2[string, error] {
	return list[string](ctx, &a.client, at("groups", group, "subjects"), nil, smallItems)
}

// AddSubjectToGroup adds a subject to a group; adding it again is no error. Fails
// with group_not_found or subject_not_found.
func (a *Admin) AddSubjectToGroup(ctx context.Context, group, id string, opts ...WriteOption) (Result[api.Subject], error) {
	return write[api.Subject](ctx, &a.client, http.MethodPut, at("groups", group, "subjects", id), nil, opts)
}

// RemoveSubjectFromGroup removes a subject from a group. Fails with
// group_not_found, subject_not_found or member_not_found.
func (a *Admin) RemoveSubjectFromGroup(ctx context.Context, group, id string, opts ...WriteOption) (Receipt, error) {
	return remove(ctx, &a.client, at("groups", group, "subjects", id), opts)
}

// MembersWithWeights yields a group's subjects with their weights. Fails with
// group_not_found.
func (a *Admin) MembersWithWeights(ctx context.Context, group string) iter.Seq2[api.Member, error] {
	return list[api.Member](ctx, &a.client, at("groups", group, "subjects"), url.Values{"view": {"subjects"}}, smallItems)
}

// AddSubjectsToGroup adds up to 10,000 subjects to a group, in one revision. Unknown ids
// are skipped. Fails with group_not_found.
func (a *Admin) AddSubjectsToGroup(ctx context.Context, group string, ids []string, opts ...WriteOption) (Result[api.ChangedMembers], error) {
	return a.changeMembers(ctx, group, ids, false, opts)
}

// RemoveSubjectsFromGroup removes up to 10,000 subjects from a group, in one revision.
// Unknown ids are skipped. Fails with group_not_found.
func (a *Admin) RemoveSubjectsFromGroup(ctx context.Context, group string, ids []string, opts ...WriteOption) (Result[api.ChangedMembers], error) {
	return a.changeMembers(ctx, group, ids, true, opts)
}

func (a *Admin) changeMembers(ctx context.Context, group string, ids []string, leave bool, opts []WriteOption) (Result[api.ChangedMembers], error) {
	change := api.ChangeMembers{SubjectIDs: api.SubjectIDs{IDs: ids}, Leave: leave}
	return write[api.ChangedMembers](ctx, &a.client, http.MethodPost, at("groups", group, "subjects"), change, opts)
}

// AddGroupOverride sets the variant of a feature that the members of a group get,
// whatever else applies. It replaces an earlier one. Fails with group_not_found,
// feature_not_found, feature_archived or variant_not_found.
func (a *Admin) AddGroupOverride(ctx context.Context, group, feature, variant string, opts ...WriteOption) (Result[api.VariantReference], error) {
	return write[api.VariantReference](ctx, &a.client, http.MethodPut, at("groups", group, "overrides", feature), api.VariantReference{Variant: variant}, opts)
}

// DeleteGroupOverride removes an override. Fails with group_not_found,
// override_not_found or feature_archived.
func (a *Admin) DeleteGroupOverride(ctx context.Context, group, feature string, opts ...WriteOption) (Receipt, error) {
	return remove(ctx, &a.client, at("groups", group, "overrides", feature), opts)
}
