package writer

import (
	"context"
	"math"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// touched is a subject, or some of one kind, whose class a change moves. Before
// or after is nil where they come or go.
type touched struct {
	before, after    *model.Class
	subjects, weight int64
}

// dryRun gathers in the transaction what it needs to count whose flags would
// differ, and counts when the transaction is over: others wait for that one.
type dryRun struct {
	configurations [2]*model.Configuration // before and after
}

func (d *dryRun) before(ctx context.Context, c *change) (err error) {
	d.configurations[0], err = postgres.LoadConfiguration(ctx, c.Tx)
	return err
}

func (d *dryRun) after(ctx context.Context, c *change) (err error) {
	d.configurations[1] = d.configurations[0]
	if c.kind == configuration && len(c.audit) > 0 {
		d.configurations[1], err = postgres.LoadConfiguration(ctx, c.Tx)
	}
	return err
}

// affected counts by class, as all subjects of a class get the same. A change of
// the configuration moves no subject, so it meets those there are, and where a
// subject changes, the configuration does not.
func (d *dryRun) affected(ctx context.Context, w *Writer, c *change) (a api.Affected, err error) {
	if len(c.audit) == 0 {
		return a, nil
	}
	var resolvers [2]*evaluation.Resolver
	for i, configuration := range d.configurations {
		if resolvers[i], err = evaluation.Compile(configuration); err != nil {
			return a, err
		}
	}
	flags := func(i int, class *model.Class) func(func(evaluation.Decision) bool) {
		return func(yield func(evaluation.Decision) bool) {
			if class != nil {
				resolvers[i].Decide(*class, c.Now, yield)
			}
		}
	}
	count := func(t touched) {
		if !sameFlags(flags(0, t.before), flags(1, t.after)) {
			a.Subjects += t.subjects
			a.Weight = addWeights(a.Weight, t.weight)
		}
	}
	for _, t := range c.touched {
		count(t)
	}
	if c.kind == configuration {
		err = w.db.Read(ctx, func(tx *postgres.Tx) error {
			return tx.Classes(ctx, func(k postgres.ClassCount) error {
				count(touched{&k.Class, &k.Class, k.Subjects, k.Weight})
				return nil
			})
		})
	}
	return a, err
}

// addWeights stops at the largest weight there is: an import that replaces many
// weights may touch more than that in sum.
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
