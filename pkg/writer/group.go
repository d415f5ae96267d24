package writer

import (
	"context"
	"math"
	"net/url"
	"slices"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddGroup makes a group without members. Fails with group_exists.
func (w *Writer) AddGroup(ctx context.Context, create api.CreateGroup, opts ...Option) (Result[api.Group], error) {
	var f model.Faults
	f.Check("body.name", model.CheckName(create.Name))
	checkPriority(&f, create.Priority)
	if err := f.Err(); err != nil {
		return Result[api.Group]{}, err
	}
	return write(ctx, w, configuration, opts, func(c *change) (api.Group, error) {
		if err := c.match(0); err != nil {
			return api.Group{}, err
		}
		g := &postgres.Group{Group: model.Group{Name: create.Name, Priority: create.Priority, Revision: c.Revision}}
		if err := c.InsertGroup(ctx, g); err != nil {
			return api.Group{}, err
		}
		c.version = c.Revision
		after := groupForm(g)
		return after, c.note(created, groupPath(g.Name), nil, after)
	})
}

// PatchGroup changes what is given. Fails with group_not_found.
func (w *Writer) PatchGroup(ctx context.Context, name string, patch api.PatchGroup, opts ...Option) (Result[api.Group], error) {
	var f model.Faults
	f.Check("path.group", model.CheckName(name))
	if patch.Priority != nil {
		checkPriority(&f, *patch.Priority)
	}
	if err := f.Err(); err != nil {
		return Result[api.Group]{}, err
	}
	return changeGroup(ctx, w, name, opts, func(c *change, g *postgres.Group) (api.Group, error) {
		before := groupForm(g)
		if patch.Priority == nil || *patch.Priority == g.Priority {
			return before, nil
		}
		g.Priority, g.Revision = *patch.Priority, c.Revision
		if err := c.UpdateGroup(ctx, g); err != nil {
			return before, err
		}
		after := groupForm(g)
		return after, c.note(updated, groupPath(name), before, after)
	})
}

// DeleteGroup removes a group with its overrides; its members stay as they are
// otherwise. Fails with group_not_found.
func (w *Writer) DeleteGroup(ctx context.Context, name string, opts ...Option) (Result[api.Group], error) {
	if err := checkPath("group", model.CheckName(name)); err != nil {
		return Result[api.Group]{}, err
	}
	return changeGroup(ctx, w, name, opts, func(c *change, g *postgres.Group) (api.Group, error) {
		before := groupForm(g)
		if err := c.DeleteGroup(ctx, g); err != nil {
			return before, err
		}
		return before, c.note(deleted, groupPath(name), before, nil)
	})
}

// AddGroupOverride sets the variant that a group's members get, whatever else
// applies. Fails with group_not_found, feature_not_found or variant_not_found.
func (w *Writer) AddGroupOverride(ctx context.Context, group, feature, variant string, opts ...Option) (Result[api.VariantReference], error) {
	var f model.Faults
	f.Check("path.group", model.CheckName(group))
	f.Check("path.feature", model.CheckName(feature))
	f.Check("body.variant", model.CheckVariantReference(variant))
	if err := f.Err(); err != nil {
		return Result[api.VariantReference]{}, err
	}
	return changeGroup(ctx, w, group, opts, func(c *change, g *postgres.Group) (after api.VariantReference, err error) {
		f, err := c.Feature(ctx, feature)
		if err != nil {
			return after, err
		}
		if _, err := variantOf(f, variant); err != nil {
			return after, err
		}
		after.Variant = variant
		before, exists := g.Overrides[feature]
		if before == variant {
			return after, nil
		}
		if err := c.SetOverride(ctx, g, feature, variant); err != nil {
			return after, err
		}
		if !exists {
			return after, c.note(created, overridePath(group, feature), nil, after)
		}
		return after, c.note(updated, overridePath(group, feature), api.VariantReference{Variant: before}, after)
	})
}

// DeleteGroupOverride removes what AddGroupOverride set. Fails with
// group_not_found or override_not_found.
func (w *Writer) DeleteGroupOverride(ctx context.Context, group, feature string, opts ...Option) (Result[api.VariantReference], error) {
	var f model.Faults
	f.Check("path.group", model.CheckName(group))
	f.Check("path.feature", model.CheckName(feature))
	if err := f.Err(); err != nil {
		return Result[api.VariantReference]{}, err
	}
	return changeGroup(ctx, w, group, opts, func(c *change, g *postgres.Group) (before api.VariantReference, err error) {
		variant, exists := g.Overrides[feature]
		if !exists {
			return before, model.Errorf(model.OverrideNotFound, "group %q does not override feature %q", group, feature)
		}
		before.Variant = variant
		if err := c.DeleteOverride(ctx, g, feature); err != nil {
			return before, err
		}
		return before, c.note(deleted, overridePath(group, feature), before, nil)
	})
}

// changeGroup is write for what concerns one group.
func changeGroup[T any](ctx context.Context, w *Writer, name string, opts []Option, body func(*change, *postgres.Group) (T, error)) (Result[T], error) {
	return write(ctx, w, configuration, opts, func(c *change) (value T, err error) {
		g, err := c.Group(ctx, name)
		if err != nil {
			return value, err
		}
		if err := c.match(g.Revision); err != nil {
			return value, err
		}
		value, err = body(c, g)
		if len(c.audit) > 0 {
			c.version = c.Revision
		}
		return value, err
	})
}

// AddSubjectToGroup makes a subject a member. Joining twice changes nothing.
// Fails with group_not_found or subject_not_found.
func (w *Writer) AddSubjectToGroup(ctx context.Context, group, id string, opts ...Option) (Result[api.Subject], error) {
	return w.changeMember(ctx, group, id, opts, func(c *change, g *postgres.Group, s *postgres.Subject) error {
		if slices.Contains(s.Groups, group) {
			return nil
		}
		before := s.Class()
		if err := c.InsertMember(ctx, g, id); err != nil {
			return err
		}
		s.Groups = append(s.Groups, group)
		slices.Sort(s.Groups)
		s.GroupIDs = append(slices.Clone(s.GroupIDs), g.ID)
		slices.Sort(s.GroupIDs)
		after := s.Class()
		c.touch(&before, &after, s.Weight)
		return c.note(created, memberPath(group, id), nil, subjectForm(s))
	})
}

// RemoveSubjectFromGroup ends a membership. Fails with group_not_found,
// subject_not_found or member_not_found.
func (w *Writer) RemoveSubjectFromGroup(ctx context.Context, group, id string, opts ...Option) (Result[api.Subject], error) {
	return w.changeMember(ctx, group, id, opts, func(c *change, g *postgres.Group, s *postgres.Subject) error {
		if !slices.Contains(s.Groups, group) {
			return model.Errorf(model.MemberNotFound, "subject %q is not in group %q", id, group)
		}
		class, before := s.Class(), subjectForm(s)
		if err := c.DeleteMember(ctx, g, id); err != nil {
			return err
		}
		s.Groups = slices.DeleteFunc(slices.Clone(s.Groups), func(name string) bool { return name == group })
		s.GroupIDs = slices.DeleteFunc(slices.Clone(s.GroupIDs), func(id model.GroupID) bool { return id == g.ID })
		after := s.Class()
		c.touch(&class, &after, s.Weight)
		return c.note(deleted, memberPath(group, id), before, nil)
	})
}

// changeMember is changeSubject for what concerns a group too. The version is
// the subject's.
func (w *Writer) changeMember(ctx context.Context, group, id string, opts []Option, body func(*change, *postgres.Group, *postgres.Subject) error) (Result[api.Subject], error) {
	var f model.Faults
	f.Check("path.group", model.CheckName(group))
	f.Check("path.id", model.CheckSubjectID(id))
	if err := f.Err(); err != nil {
		return Result[api.Subject]{}, err
	}
	return w.changeSubject(ctx, id, opts, func(c *change, s *postgres.Subject) error {
		g, err := c.Group(ctx, group)
		if err != nil {
			return err
		}
		return body(c, g, s)
	})
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
	return list(ctx, w, page, func(g api.Group) string { return g.Name },
		func(tx *postgres.Tx, limit int) ([]postgres.Group, error) { return tx.Groups(ctx, page.After, limit) },
		each(func(g postgres.Group) api.Group { return groupForm(&g) }))
}

// Members lists the ids of a group's members in bytewise order. Fails with
// group_not_found.
func (w *Writer) Members(ctx context.Context, group string, page Page) (Result[api.Page[string]], error) {
	if err := checkPath("group", model.CheckName(group)); err != nil {
		return Result[api.Page[string]]{}, err
	}
	self := func(id string) string { return id }
	return list(ctx, w, page, self, func(tx *postgres.Tx, limit int) ([]string, error) {
		g, err := tx.Group(ctx, group)
		if err != nil {
			return nil, err
		}
		return tx.Members(ctx, g, page.After, limit)
	}, each(self))
}

func checkPriority(f *model.Faults, priority int) {
	if priority < math.MinInt32 || priority > model.MaxPriority {
		f.Addf("body.priority", "must be between %d and %d, is %d", math.MinInt32, model.MaxPriority, priority)
	}
}

func groupForm(g *postgres.Group) api.Group {
	overrides := g.Overrides
	if overrides == nil {
		overrides = map[string]string{}
	}
	return api.Group{Name: g.Name, Priority: g.Priority, Members: g.Members, Overrides: overrides}
}

func groupPath(name string) string              { return "groups/" + name }
func memberPath(group, id string) string        { return groupPath(group) + "/subjects/" + url.PathEscape(id) }
func overridePath(group, feature string) string { return groupPath(group) + "/overrides/" + feature }
