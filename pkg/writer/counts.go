package writer

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

func idsOf(groups []model.Group) []model.GroupID {
	ids := make([]model.GroupID, len(groups))
	for i, g := range groups {
		ids[i] = g.ID
	}
	slices.Sort(ids)
	return ids
}

// each yields every class that has subjects, as if there were no groups but these, which
// are some of those counted.
func (c counted) each(groups []model.GroupID, yield func(postgres.ClassCount)) {
	rest := c.buckets
	if len(groups) > 0 {
		rest = slices.Clone(rest)
		for _, k := range c.members {
			if slices.ContainsFunc(k.Groups, func(id model.GroupID) bool { return slices.Contains(groups, id) }) {
				yield(k)
				b := &rest[k.Bucket-1]
				b.Weight, b.Subjects = b.Weight-k.Weight, b.Subjects-k.Subjects
			}
		}
	}
	for _, b := range rest {
		if b.Subjects > 0 {
			yield(postgres.ClassCount{Class: model.Class{Bucket: b.ID}, Subjects: b.Subjects, Weight: b.Weight})
		}
	}
}

// total is over all subjects.
func (c counted) total() (weight, subjects int64) {
	for _, b := range c.buckets {
		weight, subjects = weight+b.Weight, subjects+b.Subjects
	}
	return weight, subjects
}

// counts keeps what subjects were counted to until they change: to count a million
// members takes seconds, and a slider asks at each move. The zero value is ready to use.
type counts struct {
	mutex    sync.Mutex
	kept     map[string]counted // by the ids of the groups
	size     int                // of all that is kept
	counting singleflight.Group
}

// counted is how many subjects there are of each class, at one state of the subjects and
// as if some groups were all that there are.
type counted struct {
	at      model.Position
	members []postgres.ClassCount // of the groups

	// Kept for dry runs, nil until needed. Buckets added since have no subjects.
	buckets []model.Bucket
	order   []model.BucketID // by the heaviest subject in none of the groups
}

func (c counted) size() int { return 1 + len(c.members) + len(c.buckets) }

// maxKept is how large what is kept may be, in classes: about 15 MiB.
const maxKept = 200_000

// of counts the members of groups by class, as if there were no other groups. Of those
// who ask for the same at once, one counts.
func (c *counts) of(ctx context.Context, tx *postgres.Tx, groups []model.GroupID, ordered bool) (now counted, err error) {
	if len(groups) == 0 && !ordered {
		return now, nil
	}
	key := fmt.Sprint(groups)
	for mine := false; !mine; {
		if now, err = c.last(ctx, tx, key); err != nil || now.at.Epoch != "" && (now.order != nil || !ordered) {
			return now, err
		}
		// The others look at the result, as theirs may be another state of the subjects.
		_, _, _ = c.counting.Do(key, func() (any, error) {
			mine = true
			if now, err = now.complete(ctx, tx, groups, ordered); err == nil {
				c.keep(key, now)
			}
			return nil, nil
		})
	}
	return now, err
}

// last is what was counted last, or zero if subjects changed since.
func (c *counts) last(ctx context.Context, tx *postgres.Tx, key string) (counted, error) {
	c.mutex.Lock()
	last := c.kept[key]
	c.mutex.Unlock()
	if last.at.Epoch != tx.Epoch {
		return counted{}, nil
	}
	if changed, err := tx.SubjectsChanged(ctx, last.at); err != nil || changed {
		return counted{}, err
	}
	return last, nil
}

// complete counts what is missing.
func (c counted) complete(ctx context.Context, tx *postgres.Tx, groups []model.GroupID, ordered bool) (_ counted, err error) {
	if c.at.Epoch == "" {
		m, err := tx.LastMoment(ctx)
		if err != nil {
			return c, err
		}
		c.at = model.Position{Epoch: tx.Epoch, Revision: m.Revision, At: m.At}
		if c.members, err = tx.ClassesOf(ctx, groups); err != nil {
			return c, err
		}
	}
	if ordered {
		if c.buckets, err = tx.Buckets(ctx); err == nil {
			c.order, err = tx.BucketsByHeaviest(ctx, groups)
		}
	}
	return c, err
}

func (c *counts) keep(key string, now counted) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if last, found := c.kept[key]; found {
		c.size -= last.size()
	}
	c.size += now.size()
	if c.kept == nil || c.size > maxKept {
		c.kept, c.size = map[string]counted{}, now.size()
	}
	c.kept[key] = now
}
