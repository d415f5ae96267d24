package postgres

import (
	"context"
	"database/sql"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
)

// Group is a group as stored.
type Group struct {
	model.Group
	Members int64
}

// Group reads one group, or fails with group_not_found.
func (tx *Tx) Group(ctx context.Context, name string) (*Group, error) {
	groups, err := tx.groups(ctx, `WHERE g.name = $1`, name)
	if err != nil {
		return nil, err
	}
	if len(groups) == 0 {
		return nil, model.Errorf(model.GroupNotFound, "there is no group %q", name)
	}
	return &groups[0], nil
}

// Groups reads at most limit groups in name order, those after a name.
func (tx *Tx) Groups(ctx context.Context, after string, limit int) ([]Group, error) {
	return tx.groups(ctx, `WHERE g.name > $1 ORDER BY g.name LIMIT $2`, after, limit)
}

func (tx *Tx) groups(ctx context.Context, which string, args ...any) ([]Group, error) {
	var groups []Group
	err := scanJSON(ctx, tx, selectGroups+` `+which, func(text []byte) error {
		g, err := readGroup(text)
		groups = append(groups, g)
		return err
	}, args...)
	return groups, err
}

// GroupIDs reads the ids of all groups by their names.
func (tx *Tx) GroupIDs(ctx context.Context) (map[string]model.GroupID, error) {
	ids := map[string]model.GroupID{}
	err := scanAll(ctx, tx, `SELECT name, id FROM subject_group`, func(rows *sql.Rows) error {
		var (
			name string
			id   model.GroupID
		)
		err := rows.Scan(&name, &id)
		ids[name] = id
		return err
	})
	return ids, err
}

// InsertGroup stores a group without members and gives it its id, or fails with
// group_exists.
func (tx *Tx) InsertGroup(ctx context.Context, g *Group) error {
	err := tx.QueryRowContext(ctx, `INSERT INTO subject_group (name, priority, revision) VALUES ($1, $2, $3) RETURNING id`,
		g.Name, g.Priority, g.Revision).Scan(&g.ID)
	if pq.As(err, pqerror.UniqueViolation) != nil {
		return model.Errorf(model.GroupExists, "there is a group %q already", g.Name)
	}
	return err
}

// UpdateGroup stores what a group says of itself.
func (tx *Tx) UpdateGroup(ctx context.Context, g *Group) error {
	_, err := tx.ExecContext(ctx, `UPDATE subject_group SET priority = $2, revision = $3 WHERE id = $1`,
		g.ID, g.Priority, g.Revision)
	return err
}

// DeleteGroup removes a group with its overrides and memberships.
func (tx *Tx) DeleteGroup(ctx context.Context, g *Group) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM subject_group WHERE id = $1`, g.ID)
	return err
}

// SetOverride stores the variant that a group's members get, and counts it as a
// change of the group.
func (tx *Tx) SetOverride(ctx context.Context, g *Group, feature, variant string) error {
	_, err := tx.ExecContext(ctx, `
		WITH touched AS (UPDATE subject_group SET revision = $4 WHERE id = $1)
		INSERT INTO override (group_id, feature, variant) VALUES ($1, $2, $3)
		ON CONFLICT (group_id, feature) DO UPDATE SET variant = excluded.variant`, g.ID, feature, variant, tx.Revision)
	return err
}

// DeleteOverride removes what SetOverride stored.
func (tx *Tx) DeleteOverride(ctx context.Context, g *Group, feature string) error {
	_, err := tx.ExecContext(ctx, `
		WITH touched AS (UPDATE subject_group SET revision = $3 WHERE id = $1)
		DELETE FROM override WHERE group_id = $1 AND feature = $2`, g.ID, feature, tx.Revision)
	return err
}

// Members reads at most limit ids of a group's members in order, those after an
// id.
func (tx *Tx) Members(ctx context.Context, g *Group, after string, limit int) ([]string, error) {
	var ids []string
	err := tx.SelectContext(ctx, &ids,
		`SELECT subject_id FROM member WHERE group_id = $1 AND subject_id > $2 ORDER BY subject_id LIMIT $3`,
		g.ID, after, limit)
	return ids, err
}

// InsertMember adds a subject to a group, which is a change of the subject.
func (tx *Tx) InsertMember(ctx context.Context, g *Group, subject string) error {
	return tx.changeMember(ctx, `INSERT INTO member (group_id, subject_id) VALUES ($1, $2)`, g, subject, 1)
}

// DeleteMember takes a subject out of a group, which is a change of the subject.
func (tx *Tx) DeleteMember(ctx context.Context, g *Group, subject string) error {
	return tx.changeMember(ctx, `DELETE FROM member WHERE group_id = $1 AND subject_id = $2`, g, subject, -1)
}

func (tx *Tx) changeMember(ctx context.Context, change string, g *Group, subject string, difference int) error {
	_, err := tx.ExecContext(ctx, `
		WITH g AS (UPDATE subject_group SET members = members + $3 WHERE id = $1),
		s AS (UPDATE subject SET label = $4 WHERE id = $2) `+change, g.ID, subject, difference, tx.Label)
	return err
}
