package postgres

import (
	"context"
	"maps"
	"slices"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
)

// maxNoted limits the memory for the subjects that one write changes: each may be in
// thousands of groups.
const maxNoted = 16 << 20

// SubjectsOf reads the subjects that exist, in id order. Memberships are read by a
// statement of their own: looking them up for each subject took twice as long, while
// other writers wait.
func (tx *Tx) SubjectsOf(ctx context.Context, ids []string) (found []*Subject, err error) {
	byID := make(map[string]*Subject, len(ids))
	var s Subject
	err = tx.scan(ctx, "read subjects", `SELECT id, weight, bucket_id, born, label FROM subject WHERE id = ANY($1) ORDER BY id`,
		[]any{pq.Array(ids)}, func() error {
			found = append(found, new(s))
			byID[s.ID] = found[len(found)-1]
			return nil
		}, &s.ID, &s.Weight, &s.BucketID, &s.born, &s.Version)
	if err != nil {
		return nil, err
	}
	var (
		id, name string
		group    model.GroupID
		bytes    int
	)
	err = tx.scan(ctx, "read the groups of subjects", `
		SELECT m.subject_id, g.id, g.name FROM member m JOIN subject_group g ON g.id = m.group_id
		WHERE m.subject_id = ANY($1) ORDER BY g.name`, []any{pq.Array(ids)}, func() error {
		if bytes += len(name); bytes > maxNoted {
			return model.Errorf(model.ValidationFailed,
				"the names of the groups of all subjects must have at most %d bytes together: name fewer subjects", maxNoted)
		}
		s := byID[id]
		s.Groups, s.GroupIDs = append(s.Groups, name), append(s.GroupIDs, group)
		return nil
	}, &id, &group, &name)
	for _, s := range found {
		slices.Sort(s.GroupIDs)
	}
	return found, err
}

// InsertSubjects stores new subjects with their buckets and groups.
func (tx *Tx) InsertSubjects(ctx context.Context, added []*Subject) error {
	var (
		ids, members pq.StringArray
		weights      pq.Int64Array
		buckets      bucketIDs
		groups       pq.Int64Array
	)
	for _, s := range added {
		ids, weights, buckets = append(ids, s.ID), append(weights, s.Weight), append(buckets, s.BucketID)
		for _, group := range s.GroupIDs {
			groups, members = append(groups, int64(group)), append(members, s.ID)
		}
	}
	err := tx.exec(ctx, "insert subjects", `
		INSERT INTO subject (id, weight, bucket_id, born, label)
		SELECT id, weight, bucket_id, $4, $4 FROM unnest($1::text[], $2::bigint[], $3::integer[]) AS s (id, weight, bucket_id)`,
		ids, weights, buckets, tx.Label)
	if pq.As(err, pqerror.UniqueViolation) != nil {
		return taken(err, model.SubjectExists, "one of the subjects exists already")
	}
	if err != nil {
		return err
	}
	err = tx.exec(ctx, "insert members", `INSERT INTO member (group_id, subject_id) SELECT * FROM unnest($1::integer[], $2::text[])`, groups, members)
	if err != nil {
		return err
	}
	return tx.countSubjects(ctx, added, 1)
}

// DeleteSubjects removes subjects, their memberships and their weights, and leaves
// tombstones.
func (tx *Tx) DeleteSubjects(ctx context.Context, removed []*Subject) error {
	ids := idsOf(removed)
	// Members first: deleting subjects would search for them one by one.
	if err := tx.exec(ctx, "delete members", `DELETE FROM member WHERE subject_id = ANY($1)`, ids); err != nil {
		return err
	}
	err := tx.exec(ctx, "delete subjects", `
		WITH gone AS (DELETE FROM subject WHERE id = ANY($1) RETURNING id, born)
		INSERT INTO tombstone (subject_id, born, label) SELECT id, born, $2 FROM gone`, ids, tx.Label)
	if err != nil {
		return err
	}
	return tx.countSubjects(ctx, removed, -1)
}

// countSubjects adds subjects to the sums of their buckets and groups, or subtracts them.
func (tx *Tx) countSubjects(ctx context.Context, subjects []*Subject, sign int64) error {
	buckets, groups := map[model.BucketID]BucketChange{}, map[model.GroupID]int64{}
	for _, s := range subjects {
		sum := buckets[s.BucketID]
		buckets[s.BucketID] = BucketChange{s.BucketID, sum.Subjects + sign, sum.Weight + sign*s.Weight}
		for _, group := range s.GroupIDs {
			groups[group] += sign
		}
	}
	if err := tx.changeBuckets(ctx, slices.Collect(maps.Values(buckets))); err != nil {
		return err
	}
	return tx.changeGroups(ctx, groups)
}

// InsertMembers adds subjects to a group. It counts as a change of the subjects.
func (tx *Tx) InsertMembers(ctx context.Context, g *Group, joining []*Subject) error {
	return tx.changeMembers(ctx, "insert members", `INSERT INTO member (group_id, subject_id) SELECT $1, unnest($2::text[])`, g, joining, 1)
}

// DeleteMembers removes subjects from a group. It counts as a change of the subjects.
func (tx *Tx) DeleteMembers(ctx context.Context, g *Group, leaving []*Subject) error {
	return tx.changeMembers(ctx, "delete members", `DELETE FROM member WHERE group_id = $1 AND subject_id = ANY($2)`, g, leaving, -1)
}

func (tx *Tx) changeMembers(ctx context.Context, what, change string, g *Group, subjects []*Subject, sign int64) error {
	ids := idsOf(subjects)
	if err := tx.exec(ctx, what, change, g.ID, ids); err != nil {
		return err
	}
	if err := tx.exec(ctx, "change subjects", `UPDATE subject SET label = $2 WHERE id = ANY($1)`, ids, tx.Label); err != nil {
		return err
	}
	return tx.changeGroups(ctx, map[model.GroupID]int64{g.ID: sign * int64(len(subjects))})
}

func idsOf(subjects []*Subject) pq.StringArray {
	ids := make(pq.StringArray, len(subjects))
	for i, s := range subjects {
		ids[i] = s.ID
	}
	return ids
}
