package admin

import (
	"context"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/writer"
)

// GroupPath names a group in a path.
type GroupPath struct {
	Group string `path:"group" doc:"Name of the group" example:"friends"`
}

type addGroupInput struct {
	Writing
	Body api.CreateGroup
}

func (a *service) addGroup(ctx context.Context, in *addGroupInput, o ...writer.Option) (writer.Result[api.Group], error) {
	return a.writer.AddGroup(ctx, in.Body, o...)
}

func groupAt(_ *addGroupInput, g api.Group) string { return "/v1/groups/" + g.Name }

func (a *service) listGroups(ctx context.Context, in *struct{ Listing }) (writer.Result[api.Page[api.Group]], error) {
	return a.writer.Groups(ctx, in.page())
}

func (a *service) getGroup(ctx context.Context, in *GroupPath) (writer.Result[api.Group], error) {
	return a.writer.Group(ctx, in.Group)
}

type patchGroupInput struct {
	GroupPath
	Changing
	Body api.PatchGroup
}

func (a *service) patchGroup(ctx context.Context, in *patchGroupInput, o ...writer.Option) (writer.Result[api.Group], error) {
	return a.writer.PatchGroup(ctx, in.Group, in.Body, o...)
}

type deleteGroupInput struct {
	GroupPath
	Changing
}

func (a *service) deleteGroup(ctx context.Context, in *deleteGroupInput, o ...writer.Option) (writer.Result[api.Group], error) {
	return a.writer.DeleteGroup(ctx, in.Group, o...)
}

type listMembersInput struct {
	GroupPath
	Listing
	View string `query:"view" enum:"ids,subjects" default:"ids" doc:"ids: items are ids. subjects: items are subjects with their weights"`
}

// listedMember is an item in either view.
type listedMember struct{ item any }

func (m listedMember) MarshalJSON() ([]byte, error) { return model.EncodeJSON(m.item) }

// Schema implements [huma.SchemaProvider].
func (listedMember) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, r.Schema(reflect.TypeFor[api.Member](), true, "")}}
}

func (a *service) listMembers(ctx context.Context, in *listMembersInput) (writer.Result[api.Page[listedMember]], error) {
	if in.View == "subjects" {
		return listed(a.writer.MembersWithWeights(ctx, in.Group, in.page()))
	}
	return listed(a.writer.Members(ctx, in.Group, in.page()))
}

func listed[T any](r writer.Result[api.Page[T]], err error) (writer.Result[api.Page[listedMember]], error) {
	page := api.Page[listedMember]{Items: []listedMember{}, Next: r.Value.Next}
	for _, item := range r.Value.Items {
		page.Items = append(page.Items, listedMember{item})
	}
	return writer.Result[api.Page[listedMember]]{Value: page, Revision: r.Revision}, err
}

type changeMembersInput struct {
	GroupPath
	Writing
	Body api.ChangeMembers
}

func (a *service) changeMembers(ctx context.Context, in *changeMembersInput, o ...writer.Option) (writer.Result[api.ChangedMembers], error) {
	if in.Body.Leave {
		return a.writer.RemoveSubjectsFromGroup(ctx, in.Group, in.Body.IDs, o...)
	}
	return a.writer.AddSubjectsToGroup(ctx, in.Group, in.Body.IDs, o...)
}

type changeMemberInput struct {
	GroupPath
	SubjectPath
	Changing
}

func (a *service) addMember(ctx context.Context, in *changeMemberInput, o ...writer.Option) (writer.Result[api.Subject], error) {
	return a.writer.AddSubjectToGroup(ctx, in.Group, in.ID, o...)
}

func (a *service) removeMember(ctx context.Context, in *changeMemberInput, o ...writer.Option) (writer.Result[api.Subject], error) {
	return a.writer.RemoveSubjectFromGroup(ctx, in.Group, in.ID, o...)
}

type setOverrideInput struct {
	GroupPath
	FeaturePath
	Changing
	Body api.VariantReference
}

func (a *service) setOverride(ctx context.Context, in *setOverrideInput, o ...writer.Option) (writer.Result[api.VariantReference], error) {
	return a.writer.AddGroupOverride(ctx, in.Group, in.Feature, in.Body.Variant, o...)
}

type deleteOverrideInput struct {
	GroupPath
	FeaturePath
	Changing
}

func (a *service) deleteOverride(ctx context.Context, in *deleteOverrideInput, o ...writer.Option) (writer.Result[api.VariantReference], error) {
	return a.writer.DeleteGroupOverride(ctx, in.Group, in.Feature, o...)
}
