package writer

import (
	"context"
	"math"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// classChange is a subject, or several alike, whose class a change replaces. before
// is nil if the change adds them, after if it deletes them.
type classChange struct {
	id               string // of the subject; "" for several
	before, after    *model.Class
	subjects, weight int64
}

// changesClass notes for a dry run what the change does to the class of a subject.
// A revert may do that in several steps, which count as one.
func (c *change) changesClass(id string, before, after *model.Class, weight int64) {
	if last := len(c.classChanges) - 1; last >= 0 && c.classChanges[last].id == id {
		before = c.classChanges[last].before
		c.classChanges = c.classChanges[:last]
	}
	c.classChanges = append(c.classChanges, classChange{id, before, after, 1, weight})
}

// try makes a change, undoes it, and counts whose flags it would make others. It counts
// last, as others who write the same rows wait until it is undone.
func (c *change) try(ctx context.Context, do func() error) (api.Affected, error) {
	before, err := c.tx.Configuration(ctx)
	if err != nil {
		return api.Affected{}, err
	}
	after := before
	err = c.tx.Undo(ctx, func() (err error) {
		if err = do(); err == nil && c.kind == configuration && len(c.audit) > 0 {
			after, err = c.tx.Configuration(ctx)
		}
		return err
	})
	if err != nil || len(c.audit) == 0 {
		return api.Affected{}, err
	}
	return c.affected(ctx, before, after)
}

// affected counts by class, as all subjects of a class get the same. A change of
// the configuration leaves every subject in its class, and a change of subjects
// leaves the configuration as it is.
func (c *change) affected(ctx context.Context, before, after *model.Configuration) (a api.Affected, err error) {
	var resolvers [2]*evaluation.Resolver
	for i, configuration := range []*model.Configuration{before, after} {
		if resolvers[i], err = compile(configuration); err != nil {
			return a, err
		}
	}
	flags := func(i int, class *model.Class) func(func(evaluation.Decision) bool) {
		return func(yield func(evaluation.Decision) bool) {
			if class != nil {
				resolvers[i].Decide(*class, c.tx.Now, yield)
			}
		}
	}
	count := func(k classChange) {
		if !sameFlags(flags(0, k.before), flags(1, k.after)) {
			a.Subjects += k.subjects
			a.Weight = addWeights(a.Weight, k.weight)
		}
	}
	for _, k := range c.classChanges {
		count(k)
	}
	if c.kind == configuration {
		err = c.tx.Classes(ctx, func(k postgres.ClassCount) error {
			count(classChange{before: &k.Class, after: &k.Class, subjects: k.Subjects, weight: k.Weight})
			return nil
		})
	}
	return a, err
}

// addWeights stops at the largest number: the weights that an import replaces may
// sum to more.
func addWeights(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// sameFlags walks two resolutions side by side; both are in name order.
func sameFlags(a, b func(func(evaluation.Decision) bool)) bool {
	var flags []evaluation.Decision
	a(func(d evaluation.Decision) bool {
		flags = append(flags, d)
		return true
	})
	same := true
	b(func(d evaluation.Decision) bool {
		same = len(flags) > 0 && flags[0].Feature == d.Feature && flags[0].Variant == d.Variant
		if same {
			flags = flags[1:]
		}
		return same
	})
	return same && len(flags) == 0
}
