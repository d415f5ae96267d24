package postgres

import (
	"context"
	"iter"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
)

// Group is a group as stored.
type Group struct {
	model.Group
	Members int64
	Owner   string // the state document that manages it, or "" for none or if it was not read
}

// Group reads one group, or fails with group_not_found.
func (tx *Tx) Group(ctx context.Context, name string) (*Group, error) {
	var group *Group
	err := tx.scanJSON(ctx, "read a group", selectOwnedGroups+` WHERE g.name = $1`, []any{name}, func(object []byte) (err error) {
		group, err = readGroup(object)
		return err
	})
	if err == nil && group == nil {
		err = model.Errorf(model.GroupNotFound, "there is no group %q", name)
	}
	return group, err
}

// Groups reads at most limit groups in name order, those after a name.
func (tx *Tx) Groups(ctx context.Context, after string, limit int) iter.Seq2[*Group, error] {
	return fetchJSON(ctx, tx.querier, "list groups", asJSON(selectOwnedGroups+` WHERE g.name > $1 ORDER BY g.name LIMIT $2`),
		[]any{after, limit}, readGroup)
}

// GroupsOf reads the groups that an owner manages, or all for "", in name order.
func (tx *Tx) GroupsOf(ctx context.Context, owner string) iter.Seq2[*Group, error] {
	return fetchJSON(ctx, tx.querier, "read the groups of an owner", asJSON(selectOwnedGroups+` WHERE $1 IN ('', g.owner) ORDER BY g.name`),
		[]any{owner}, readGroup)
}

// GroupIDs reads the ids of all groups by their names.
func (tx *Tx) GroupIDs(ctx context.Context) (map[string]model.GroupID, error) {
	ids := map[string]model.GroupID{}
	var (
		name string
		id   model.GroupID
	)
	err := tx.scan(ctx, "read the ids of groups", `SELECT name, id FROM subject_group`, nil, func() error {
		ids[name] = id
		return nil
	}, &name, &id)
	return ids, err
}

// InsertGroup stores a group without members and gives it its id, or fails with
// group_exists.
func (tx *Tx) InsertGroup(ctx context.Context, g *Group) error {
	err := tx.get(ctx, "insert a group", &g.ID,
		`INSERT INTO subject_group (name, priority, owner, revision) VALUES ($1, $2, $3, $4) RETURNING id`, g.Name, g.Priority, g.Owner, g.Revision)
	if pq.As(err, pqerror.UniqueViolation) != nil {
		return taken(err, model.GroupExists, "there is a group %q already", g.Name)
	}
	return err
}

// UpdateGroup stores the priority and the owner of a group.
func (tx *Tx) UpdateGroup(ctx context.Context, g *Group) error {
	return tx.exec(ctx, "update a group", `UPDATE subject_group SET priority = $2, owner = $3, revision = $4 WHERE id = $1`,
		g.ID, g.Priority, g.Owner, g.Revision)
}

// DeleteGroup removes a group with its overrides and memberships.
func (tx *Tx) DeleteGroup(ctx context.Context, g *Group) error {
	return tx.exec(ctx, "delete a group", `DELETE FROM subject_group WHERE id = $1`, g.ID)
}

// SetOverride stores the variant that a group's members get. It counts as a change of
// the group.
func (tx *Tx) SetOverride(ctx context.Context, g *Group, feature, variant string) error {
	return tx.exec(ctx, "set an override", `
		WITH revised AS (UPDATE subject_group SET revision = $4 WHERE id = $1)
		INSERT INTO override (group_id, feature, variant) VALUES ($1, $2, $3)
		ON CONFLICT (group_id, feature) DO UPDATE SET variant = excluded.variant`, g.ID, feature, variant, tx.Revision)
}

// DeleteOverride removes an override. It counts as a change of the group.
func (tx *Tx) DeleteOverride(ctx context.Context, g *Group, feature string) error {
	return tx.exec(ctx, "delete an override", `
		WITH revised AS (UPDATE subject_group SET revision = $3 WHERE id = $1)
		DELETE FROM override WHERE group_id = $1 AND feature = $2`, g.ID, feature, tx.Revision)
}

// Members reads at most limit ids of a group's members after an id, in order.
func (tx *Tx) Members(ctx context.Context, g *Group, after string, limit int) ([]string, error) {
	var ids []string
	err := tx.selectAll(ctx, "list the members of a group", &ids,
		`SELECT subject_id FROM member WHERE group_id = $1 AND subject_id > $2 ORDER BY subject_id LIMIT $3`,
		g.ID, after, limit)
	return ids, err
}

// Member is a subject in a group.
type Member struct {
	ID     string
	Weight int64
}

// MembersWithWeights is Members with the weights of the subjects.
func (tx *Tx) MembersWithWeights(ctx context.Context, g *Group, after string, limit int) ([]Member, error) {
	var members []Member
	err := tx.selectAll(ctx, "list the members of a group with their weights", &members, `
		SELECT s.id, s.weight FROM member m JOIN subject s ON s.id = m.subject_id
		WHERE m.group_id = $1 AND m.subject_id > $2 ORDER BY m.subject_id LIMIT $3`, g.ID, after, limit)
	return members, err
}

// InsertMember adds a subject to a group. It counts as a change of the subject.
func (tx *Tx) InsertMember(ctx context.Context, g *Group, subject string) error {
	return tx.changeMember(ctx, "insert a member", `INSERT INTO member (group_id, subject_id) VALUES ($1, $2)`, g, subject, 1)
}

// DeleteMember removes a subject from a group. It counts as a change of the subject.
func (tx *Tx) DeleteMember(ctx context.Context, g *Group, subject string) error {
	return tx.changeMember(ctx, "delete a member", `DELETE FROM member WHERE group_id = $1 AND subject_id = $2`, g, subject, -1)
}

// changeGroups adds to the member counts of groups; it ignores deleted groups.
func (tx *Tx) changeGroups(ctx context.Context, changes map[model.GroupID]int64) error {
	var ids, members pq.Int64Array
	for id, n := range changes {
		ids, members = append(ids, int64(id)), append(members, n)
	}
	return tx.exec(ctx, "update the members of groups", `
		UPDATE subject_group g SET members = g.members + c.members
		FROM unnest($1::integer[], $2::bigint[]) AS c (id, members) WHERE g.id = c.id`, ids, members)
}

func (tx *Tx) changeMember(ctx context.Context, what, change string, g *Group, subject string, difference int) error {
	return tx.exec(ctx, what, `
		WITH g AS (UPDATE subject_group SET members = members + $3 WHERE id = $1),
		s AS (UPDATE subject SET label = $4 WHERE id = $2) `+change, g.ID, subject, difference, tx.Label)
}
