package writer

import (
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddGroup adds a group without members. Fails with group_exists.
func (w *Writer) AddGroup(ctx context.Context, create api.CreateGroup, opts ...Option) (Result[api.Group], error) {
	var f model.Faults
	f.Check("body.name", model.CheckName(create.Name))
	checkPriority(&f, create.Priority)
	if err := f.Err(); err != nil {
		return Result[api.Group]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Group, error) {
		if err := c.match(absent); err != nil {
			return api.Group{}, err
		}
		return c.addGroup(ctx, &postgres.Group{Group: model.Group{Name: create.Name, Priority: create.Priority}})
	})
}

func (c *change) addGroup(ctx context.Context, g *postgres.Group) (api.Group, error) {
	g.Revision = c.tx.Revision
	if err := c.tx.InsertGroup(ctx, g); err != nil {
		return api.Group{}, err
	}
	after := groupForm(g)
	return after, c.note(created, groupResource.of(g.Name), nil, after)
}

// PatchGroup changes the given fields. Fails with group_not_found.
func (w *Writer) PatchGroup(ctx context.Context, name string, patch api.PatchGroup, opts ...Option) (Result[api.Group], error) {
	var f model.Faults
	f.Check("path.group", model.CheckName(name))
	if patch.Priority != nil {
		checkPriority(&f, *patch.Priority)
	}
	if err := f.Err(); err != nil {
		return Result[api.Group]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Group, error) {
		g, err := c.matchGroup(ctx, name)
		if err != nil {
			return api.Group{}, err
		}
		return c.patchGroup(ctx, g, patch)
	})
}

func (c *change) patchGroup(ctx context.Context, g *postgres.Group, patch api.PatchGroup) (api.Group, error) {
	was := *g
	if patch.Priority != nil {
		g.Priority = *patch.Priority
	}
	return c.updateGroup(ctx, &was, g)
}

// updateGroup stores the fields of a group itself, if they are not what they were.
func (c *change) updateGroup(ctx context.Context, was, g *postgres.Group) (api.Group, error) {
	before := groupForm(was)
	if g.Priority == was.Priority && g.Owner == was.Owner {
		return before, nil
	}
	g.Revision = c.tx.Revision
	if err := c.tx.UpdateGroup(ctx, g); err != nil {
		return api.Group{}, err
	}
	after := groupForm(g)
	return after, c.note(updated, groupResource.of(g.Name), before, after)
}

// DeleteGroup removes a group with its overrides and memberships. Fails with
// group_not_found, or with feature_archived if it overrides an archived feature.
func (w *Writer) DeleteGroup(ctx context.Context, name string, opts ...Option) (Result[api.Group], error) {
	if err := checkPath("group", model.CheckName(name)); err != nil {
		return Result[api.Group]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Group, error) {
		g, err := c.matchGroup(ctx, name)
		if err != nil {
			return api.Group{}, err
		}
		return c.deleteGroup(ctx, g)
	})
}

func (c *change) deleteGroup(ctx context.Context, g *postgres.Group) (api.Group, error) {
	for _, feature := range slices.Sorted(maps.Keys(g.Overrides)) {
		f, err := c.tx.Feature(ctx, feature)
		if err != nil {
			return api.Group{}, err
		}
		if err := refuseArchived(f); err != nil {
			return api.Group{}, err
		}
	}
	if err := c.tx.DeleteGroup(ctx, g); err != nil {
		return api.Group{}, err
	}
	before := groupForm(g)
	return before, c.note(deleted, groupResource.of(g.Name), before, nil)
}

// AddGroupOverride sets the variant that a group's members get. It takes precedence over
// tests, rollouts and defaults. Fails with group_not_found, feature_not_found,
// feature_archived or variant_not_found.
func (w *Writer) AddGroupOverride(ctx context.Context, group, feature, variant string, opts ...Option) (Result[api.VariantReference], error) {
	var f model.Faults
	f.Check("path.group", model.CheckName(group))
	f.Check("path.feature", model.CheckName(feature))
	f.Check("body.variant", model.CheckVariantReference(variant))
	if err := f.Err(); err != nil {
		return Result[api.VariantReference]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.VariantReference, error) {
		g, err := c.matchGroup(ctx, group)
		if err != nil {
			return api.VariantReference{}, err
		}
		return c.setOverride(ctx, g, feature, variant)
	})
}

func (c *change) setOverride(ctx context.Context, g *postgres.Group, feature, variant string) (api.VariantReference, error) {
	f, err := c.tx.Feature(ctx, feature)
	if err != nil {
		return api.VariantReference{}, err
	}
	if err := refuseArchived(f); err != nil {
		return api.VariantReference{}, err
	}
	if _, err := variantOf(f, variant); err != nil {
		return api.VariantReference{}, err
	}
	after := api.VariantReference{Variant: variant}
	before, exists := g.Overrides[feature]
	if before == variant {
		return after, nil
	}
	if err := c.tx.SetOverride(ctx, g, feature, variant); err != nil {
		return api.VariantReference{}, err
	}
	g.Overrides[feature] = variant
	r := overrideResource.of(g.Name, feature)
	if !exists {
		return after, c.note(created, r, nil, after)
	}
	return after, c.note(updated, r, api.VariantReference{Variant: before}, after)
}

// DeleteGroupOverride removes what AddGroupOverride set. Fails with
// group_not_found, override_not_found or feature_archived.
func (w *Writer) DeleteGroupOverride(ctx context.Context, group, feature string, opts ...Option) (Result[api.VariantReference], error) {
	var f model.Faults
	f.Check("path.group", model.CheckName(group))
	f.Check("path.feature", model.CheckName(feature))
	if err := f.Err(); err != nil {
		return Result[api.VariantReference]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.VariantReference, error) {
		g, err := c.matchGroup(ctx, group)
		if err != nil {
			return api.VariantReference{}, err
		}
		return c.deleteOverride(ctx, g, feature)
	})
}

func (c *change) deleteOverride(ctx context.Context, g *postgres.Group, feature string) (api.VariantReference, error) {
	variant, exists := g.Overrides[feature]
	if !exists {
		return api.VariantReference{}, model.Errorf(model.OverrideNotFound, "group %q does not override feature %q", g.Name, feature)
	}
	f, err := c.tx.Feature(ctx, feature)
	if err != nil {
		return api.VariantReference{}, err
	}
	if err := refuseArchived(f); err != nil {
		return api.VariantReference{}, err
	}
	if err := c.tx.DeleteOverride(ctx, g, feature); err != nil {
		return api.VariantReference{}, err
	}
	delete(g.Overrides, feature)
	before := api.VariantReference{Variant: variant}
	return before, c.note(deleted, overrideResource.of(g.Name, feature), before, nil)
}

// matchGroup loads the group that a write is about, and matches its version.
func (c *change) matchGroup(ctx context.Context, name string) (*postgres.Group, error) {
	g, err := c.tx.Group(ctx, name)
	if err != nil {
		return nil, err
	}
	return g, c.match(g.Revision)
}

// AddSubjectToGroup makes a subject a member; the version is the subject's.
// Joining twice changes nothing. Fails with group_not_found or subject_not_found.
func (w *Writer) AddSubjectToGroup(ctx context.Context, group, id string, opts ...Option) (Result[api.Subject], error) {
	if err := checkMember(group, id); err != nil {
		return Result[api.Subject]{}, err
	}
	return write(ctx, w, subjects, opts, func(c *change) (api.Subject, error) {
		s, err := c.matchSubject(ctx, id)
		if err != nil {
			return api.Subject{}, err
		}
		return c.addMember(ctx, group, s)
	})
}

func (c *change) addMember(ctx context.Context, group string, s *postgres.Subject) (api.Subject, error) {
	g, err := c.tx.Group(ctx, group)
	if err != nil {
		return api.Subject{}, err
	}
	if slices.Contains(s.Groups, group) {
		return subjectForm(s), nil
	}
	if err := c.tx.InsertMember(ctx, g, s.ID); err != nil {
		return api.Subject{}, err
	}
	before := s.Class()
	s.Groups = append(s.Groups, group)
	slices.Sort(s.Groups)
	s.GroupIDs = append(slices.Clone(s.GroupIDs), g.ID)
	slices.Sort(s.GroupIDs)
	class := s.Class()
	c.changesClass(s.ID, &before, &class, s.Weight)
	after := subjectForm(s)
	return after, c.note(created, memberResource.of(group, s.ID), nil, after)
}

// RemoveSubjectFromGroup ends a membership; the version is the subject's. Fails
// with group_not_found, subject_not_found or member_not_found.
func (w *Writer) RemoveSubjectFromGroup(ctx context.Context, group, id string, opts ...Option) (Result[api.Subject], error) {
	if err := checkMember(group, id); err != nil {
		return Result[api.Subject]{}, err
	}
	return write(ctx, w, subjects, opts, func(c *change) (api.Subject, error) {
		s, err := c.matchSubject(ctx, id)
		if err != nil {
			return api.Subject{}, err
		}
		return c.removeMember(ctx, group, s)
	})
}

func (c *change) removeMember(ctx context.Context, group string, s *postgres.Subject) (api.Subject, error) {
	g, err := c.tx.Group(ctx, group)
	if err != nil {
		return api.Subject{}, err
	}
	if !slices.Contains(s.Groups, group) {
		return api.Subject{}, model.Errorf(model.MemberNotFound, "subject %q is not in group %q", s.ID, group)
	}
	if err := c.tx.DeleteMember(ctx, g, s.ID); err != nil {
		return api.Subject{}, err
	}
	class, before := s.Class(), subjectForm(s)
	s.Groups = slices.DeleteFunc(slices.Clone(s.Groups), func(name string) bool { return name == group })
	s.GroupIDs = slices.DeleteFunc(slices.Clone(s.GroupIDs), func(id model.GroupID) bool { return id == g.ID })
	after := s.Class()
	c.changesClass(s.ID, &class, &after, s.Weight)
	return subjectForm(s), c.note(deleted, memberResource.of(group, s.ID), before, nil)
}

func checkMember(group, id string) error {
	var f model.Faults
	f.Check("path.group", model.CheckName(group))
	f.Check("path.id", model.CheckSubjectID(id))
	return f.Err()
}

// Group reads one group. Fails with group_not_found.
func (w *Writer) Group(ctx context.Context, name string) (Result[api.Group], error) {
	if err := checkPath("group", model.CheckName(name)); err != nil {
		return Result[api.Group]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (api.Group, int64, error) {
		g, err := tx.Group(ctx, name)
		if err != nil {
			return api.Group{}, 0, err
		}
		return groupForm(g), g.Revision, nil
	})
}

// Groups lists the groups in name order.
func (w *Writer) Groups(ctx context.Context, page Page) (Result[api.Page[api.Group]], error) {
	return list(ctx, w, page, func(g *postgres.Group) string { return g.Name },
		func(tx *postgres.Tx, limit int) iter.Seq2[*postgres.Group, error] {
			return tx.Groups(ctx, page.After, limit)
		},
		each(groupForm))
}

// Members lists the ids of a group's members in bytewise order. Fails with
// group_not_found.
func (w *Writer) Members(ctx context.Context, group string, page Page) (Result[api.Page[string]], error) {
	if err := checkPath("group", model.CheckName(group)); err != nil {
		return Result[api.Page[string]]{}, err
	}
	self := func(id string) string { return id }
	return list(ctx, w, page, self, func(tx *postgres.Tx, limit int) iter.Seq2[string, error] {
		g, err := tx.Group(ctx, group)
		if err != nil {
			return all[string](nil, err)
		}
		return all(tx.Members(ctx, g, page.After, limit))
	}, each(self))
}

// MembersWithWeights is Members with weights. Fails with group_not_found.
func (w *Writer) MembersWithWeights(ctx context.Context, group string, page Page) (Result[api.Page[api.Member]], error) {
	if err := checkPath("group", model.CheckName(group)); err != nil {
		return Result[api.Page[api.Member]]{}, err
	}
	return list(ctx, w, page, func(m postgres.Member) string { return m.ID }, func(tx *postgres.Tx, limit int) iter.Seq2[postgres.Member, error] {
		g, err := tx.Group(ctx, group)
		if err != nil {
			return all[postgres.Member](nil, err)
		}
		return all(tx.MembersWithWeights(ctx, g, page.After, limit))
	}, each(func(m postgres.Member) api.Member { return api.Member(m) }))
}

func checkPriority(f *model.Faults, priority int) {
	f.Check("body.priority", model.CheckPriority(priority))
}

func groupForm(g *postgres.Group) api.Group {
	overrides := g.Overrides
	if overrides == nil {
		overrides = map[string]string{}
	}
	return api.Group{Name: g.Name, Priority: g.Priority, Members: g.Members, Overrides: overrides, Owner: orNil(g.Owner)}
}
