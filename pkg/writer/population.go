package writer

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// population is how many subjects there are of each class, if some groups are all there
// are.
type population struct {
	buckets []model.Bucket
	members []postgres.ClassCount // of the groups
}

func idsOf(groups []model.Group) []model.GroupID {
	ids := make([]model.GroupID, len(groups))
	for i, g := range groups {
		ids[i] = g.ID
	}
	slices.Sort(ids)
	return ids
}

// each yields the subjects by class, of the groups that override one of the features:
// other groups change nothing about what subjects get.
func (p *population) each(config *model.Configuration, features []string, yield func(postgres.ClassCount)) {
	var overriding []model.GroupID
	for _, g := range config.Groups {
		if slices.ContainsFunc(features, func(name string) bool { return g.Overrides[name] != "" }) {
			overriding = append(overriding, g.ID)
		}
	}
	rest := p.buckets
	if len(overriding) > 0 {
		rest = slices.Clone(rest)
		for _, c := range p.members {
			if slices.ContainsFunc(c.Groups, func(id model.GroupID) bool { return slices.Contains(overriding, id) }) {
				yield(c)
				b := &rest[c.Bucket-1]
				b.Weight, b.Subjects = b.Weight-c.Weight, b.Subjects-c.Subjects
			}
		}
	}
	for _, b := range rest {
		yield(postgres.ClassCount{Class: model.Class{Bucket: b.ID}, Subjects: b.Subjects, Weight: b.Weight})
	}
}

// total is over all subjects.
func (p *population) total() (weight, subjects int64) {
	for _, b := range p.buckets {
		weight, subjects = weight+b.Weight, subjects+b.Subjects
	}
	return weight, subjects
}

// counts keeps what members of large groups were counted to, as a million takes
// seconds, until subjects change. The zero value is ready to use.
type counts struct {
	mutex sync.Mutex
	kept  map[string]count // by the ids of the groups
	size  int              // how many classes are kept
}

type count struct {
	at      model.Position
	classes []postgres.ClassCount
}

// Bounds of what is kept.
const (
	largeGroups = 1000    // subjects: fewer are counted in milliseconds
	maxKept     = 200_000 // classes, of about 64 bytes each
)

// of counts the members of groups by class, as if there were no other groups.
func (c *counts) of(ctx context.Context, tx *postgres.Tx, groups []model.GroupID) ([]postgres.ClassCount, error) {
	key := fmt.Sprint(groups)
	c.mutex.Lock()
	last, found := c.kept[key]
	c.mutex.Unlock()
	if found {
		changed, err := tx.SubjectsChanged(ctx, last.at)
		if err != nil || !changed {
			return last.classes, err
		}
	}
	classes, err := tx.ClassesOf(ctx, groups)
	if err != nil {
		return nil, err
	}
	subjects := int64(0)
	for _, class := range classes {
		subjects += class.Subjects
	}
	if subjects < largeGroups {
		return classes, nil
	}
	m, err := tx.LastMoment(ctx)
	if err != nil {
		return nil, err
	}
	c.keep(key, count{model.Position{Epoch: tx.Epoch, Revision: tx.Revision, At: m.At}, classes})
	return classes, nil
}

func (c *counts) keep(key string, now count) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.size += len(now.classes) - len(c.kept[key].classes)
	if c.kept == nil || c.size > maxKept {
		c.kept, c.size = map[string]count{}, len(now.classes)
	}
	c.kept[key] = now
}
