package writer

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// maxBulk limits the number of subjects in one write, as other writers wait for it.
const maxBulk = 10_000

// checkIDs checks the ids of a write of many subjects. Repeated ids are errors, as in
// imports.
func checkIDs(f *model.Faults, ids []string) {
	if n := len(ids); n < 1 || n > maxBulk {
		f.Addf("body.ids", "must have between 1 and %d ids, has %d", maxBulk, n)
		return
	}
	first := make(map[string]int, len(ids))
	for i, id := range ids {
		location := fmt.Sprintf("body.ids[%d]", i)
		f.Check(location, model.CheckSubjectID(id))
		if before, twice := first[id]; twice {
			f.Addf(location, "is %q, as body.ids[%d] is already", id, before)
		} else {
			first[id] = i
		}
		if len(*f) >= maxBadLines {
			return
		}
	}
}

// notedSubjects is the audit's form of many subjects.
type notedSubjects struct {
	Subjects []api.Subject `json:"subjects"`
}

func (n notedSubjects) ids() []string {
	ids := make([]string, len(n.Subjects))
	for i, s := range n.Subjects {
		ids[i] = s.ID
	}
	return ids
}

// notedMembers is the audit's form of many changed memberships. Ids are in objects,
// where forgetting finds them.
type notedMembers struct {
	Subjects []notedMember `json:"subjects"`
}

type notedMember struct {
	ID string `json:"id"`
}

func subjectForms(subjects []*postgres.Subject) (n notedSubjects) {
	for _, s := range subjects {
		n.Subjects = append(n.Subjects, subjectForm(s))
	}
	return n
}

// unknownOf returns the ids that none of the subjects has, in their order.
func unknownOf(ids []string, found []*postgres.Subject) []string {
	known := make(map[string]bool, len(found))
	for _, s := range found {
		known[s.ID] = true
	}
	return slices.DeleteFunc(append([]string{}, ids...), func(id string) bool { return known[id] })
}

// DeleteSubjects removes up to 10,000 subjects and their memberships. Unknown ids are
// ignored.
func (w *Writer) DeleteSubjects(ctx context.Context, ids []string, opts ...Option) (Result[api.DeletedSubjects], error) {
	var f model.Faults
	checkIDs(&f, ids)
	if err := f.Err(); err != nil {
		return Result[api.DeletedSubjects]{}, err
	}
	return write(ctx, w, subjects, opts, func(c *change) (r api.DeletedSubjects, err error) {
		if err := c.match(unversioned); err != nil {
			return r, err
		}
		found, err := c.tx.SubjectsOf(ctx, ids)
		if err != nil {
			return r, err
		}
		r.Deleted, r.Unknown = int64(len(found)), unknownOf(ids, found)
		return r, c.deleteSubjects(ctx, found)
	})
}

func (c *change) deleteSubjects(ctx context.Context, found []*postgres.Subject) error {
	if len(found) == 0 {
		return nil
	}
	if err := c.tx.DeleteSubjects(ctx, found); err != nil {
		return err
	}
	for _, s := range found {
		class := s.Class()
		c.changesClass(s.ID, &class, nil, s.Weight)
	}
	return c.note(deleted, subjectsResource.of(), subjectForms(found), nil)
}

// addSubjects adds subjects with their groups, the heaviest first, each to the lightest
// bucket.
func (c *change) addSubjects(ctx context.Context, create []api.Subject) error {
	buckets, err := c.tx.Buckets(ctx)
	if err != nil {
		return err
	}
	groups, err := c.tx.GroupIDs(ctx)
	if err != nil {
		return err
	}
	placer := bucketing.NewPlacer(buckets)
	added := make([]*postgres.Subject, len(create))
	for i, s := range slices.SortedStableFunc(slices.Values(create), func(a, b api.Subject) int { return cmp.Compare(b.Weight, a.Weight) }) {
		added[i] = &postgres.Subject{Subject: model.Subject{ID: s.ID, Weight: s.Weight, BucketID: placer.Place(s.Weight), Groups: s.Groups}}
		for _, name := range s.Groups {
			id, ok := groups[name]
			if !ok {
				return model.Errorf(model.GroupNotFound, "there is no group %q", name)
			}
			added[i].GroupIDs = append(added[i].GroupIDs, id)
		}
		slices.Sort(added[i].GroupIDs)
	}
	if err := c.tx.InsertSubjects(ctx, added); err != nil {
		return err
	}
	for _, s := range added {
		class := s.Class()
		c.changesClass(s.ID, nil, &class, s.Weight)
	}
	slices.SortFunc(added, func(a, b *postgres.Subject) int { return cmp.Compare(a.ID, b.ID) })
	return c.note(created, subjectsResource.of(), nil, subjectForms(added))
}

// AddSubjectsToGroup makes up to 10,000 subjects members of a group. Unknown ids are
// ignored. Fails with group_not_found.
func (w *Writer) AddSubjectsToGroup(ctx context.Context, group string, ids []string, opts ...Option) (Result[api.ChangedMembers], error) {
	return w.changeMembers(ctx, group, ids, false, opts)
}

// RemoveSubjectsFromGroup removes up to 10,000 subjects from a group. Unknown ids are
// ignored. Fails with group_not_found.
func (w *Writer) RemoveSubjectsFromGroup(ctx context.Context, group string, ids []string, opts ...Option) (Result[api.ChangedMembers], error) {
	return w.changeMembers(ctx, group, ids, true, opts)
}

func (w *Writer) changeMembers(ctx context.Context, group string, ids []string, leave bool, opts []Option) (Result[api.ChangedMembers], error) {
	var f model.Faults
	f.Check("path.group", model.CheckName(group))
	checkIDs(&f, ids)
	if err := f.Err(); err != nil {
		return Result[api.ChangedMembers]{}, err
	}
	return write(ctx, w, subjects, opts, func(c *change) (api.ChangedMembers, error) {
		if err := c.match(unversioned); err != nil {
			return api.ChangedMembers{}, err
		}
		return c.changeMembers(ctx, group, ids, leave)
	})
}

func (c *change) changeMembers(ctx context.Context, group string, ids []string, leave bool) (r api.ChangedMembers, err error) {
	g, err := c.tx.Group(ctx, group)
	if err != nil {
		return r, err
	}
	found, err := c.tx.SubjectsOf(ctx, ids)
	if err != nil {
		return r, err
	}
	r.Unknown = unknownOf(ids, found)
	changing := slices.DeleteFunc(slices.Clone(found), func(s *postgres.Subject) bool { return slices.Contains(s.Groups, group) != leave })
	n := int64(len(changing))
	if r.Already = int64(len(found)) - n; n == 0 {
		return r, nil
	}
	var noted notedMembers
	for _, s := range changing {
		noted.Subjects = append(noted.Subjects, notedMember{s.ID})
		c.changesClass(s.ID, new(s.Class()), classWith(s, g.ID, leave), s.Weight)
	}
	if leave {
		r.Left = n
		if err := c.tx.DeleteMembers(ctx, g, changing); err != nil {
			return r, err
		}
		return r, c.note(deleted, membersResource.of(group), noted, nil)
	}
	r.Joined = n
	if err := c.tx.InsertMembers(ctx, g, changing); err != nil {
		return r, err
	}
	return r, c.note(created, membersResource.of(group), nil, noted)
}

// classWith returns the class of a subject after it has joined or left a group.
func classWith(s *postgres.Subject, group model.GroupID, leave bool) *model.Class {
	class := s.Class()
	class.Groups = slices.DeleteFunc(slices.Clone(class.Groups), func(id model.GroupID) bool { return id == group })
	if !leave {
		class.Groups = append(class.Groups, group)
		slices.Sort(class.Groups)
	}
	return &class
}
