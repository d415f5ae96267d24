package writer

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

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

// changesFeatures notes which features a row of the audit says something of: no other's
// flags can change. New buckets have no subjects, and tokens no flags.
func (c *change) changesFeatures(r resource, forms ...any) {
	switch r.kind {
	case featureResource, variantResource, defaultVariantResource, rolloutResource:
		c.features = append(c.features, r.names[0])
	case overrideResource:
		c.features = append(c.features, r.names[1])
	}
	for _, form := range forms {
		switch form := form.(type) {
		case api.ABTest:
			c.features = slices.AppendSeq(c.features, maps.Keys(form.Groups[0].Variants)) // the same in each
		case api.Group:
			c.features = slices.AppendSeq(c.features, maps.Keys(form.Overrides))
		}
	}
}

// maxHeaviest is how many of the subjects concerned a dry run names.
const maxHeaviest = 10

// try makes a change, undoes it, and finds out whose flags it would make others. It
// reads what there was, and counts, last: others who write the same rows wait until the
// change is undone.
func (c *change) try(ctx context.Context, do func() error) (api.Effect, error) {
	var after *model.Configuration
	err := c.tx.Undo(ctx, func() (err error) {
		if err = do(); err == nil && len(c.features) > 0 {
			after, err = c.tx.ConfigurationOf(ctx, c.features, postgres.KnownConfiguration{})
		}
		return err
	})
	e := newEffect(c.tx.Now)
	switch {
	case err != nil:
	case len(c.features) > 0:
		err = c.affectConfiguration(ctx, e, after)
	case len(c.classChanges) > 0:
		err = c.affectSubjects(ctx, e)
	}
	if c.drawn || c.rows != nil {
		e.heaviest = nil
	}
	return e.form(), err
}

// affectConfiguration adds up what a change of the configuration does, and names the
// heaviest subjects that it affects.
func (c *change) affectConfiguration(ctx context.Context, e *effect, after *model.Configuration) error {
	before, err := c.tx.ConfigurationOf(ctx, c.features, postgres.KnownConfiguration{})
	if err != nil {
		return err
	}
	a, err := c.writer.affectClasses(ctx, c.tx, e, before, after)
	if err != nil || c.drawn {
		return err
	}
	heaviest, err := c.tx.HeaviestOf(ctx, a.groups, a.classes, a.order, maxHeaviest)
	for _, s := range heaviest {
		class := s.Class()
		e.name(classChange{id: s.ID, before: &class, after: &class, weight: s.Weight})
	}
	return err
}

// affectedClasses are the classes whose flags a change of the configuration changes.
type affectedClasses struct {
	groups  []model.GroupID // that make a difference
	classes []postgres.ClassCount
	order   []model.BucketID // as in counted
}

// affectClasses adds up the difference between two configurations: every subject stays in
// its class, and all of a class get the same.
func (w *Writer) affectClasses(ctx context.Context, tx *postgres.Tx, e *effect, before, after *model.Configuration) (a affectedClasses, err error) {
	if err := e.compile(before, after); err != nil {
		return a, err
	}
	a.groups = slices.Compact(idsOf(slices.Concat(before.Groups, after.Groups)))
	counted, err := w.counts.of(ctx, tx, a.groups, true)
	if err != nil {
		return a, err
	}
	a.order = counted.order
	counted.each(a.groups, func(k postgres.ClassCount) {
		if e.add(classChange{before: &k.Class, after: &k.Class, subjects: k.Subjects, weight: k.Weight}) {
			a.classes = append(a.classes, k)
		}
	})
	return a, nil
}

// affectSubjects adds up what a change of subjects does, which leaves the configuration
// as it is.
func (c *change) affectSubjects(ctx context.Context, e *effect) error {
	last, err := c.writer.lastResolved(c.tx.Epoch, c.tx.Revision-1)
	if err != nil { // another change was committed meanwhile
		last = nothingResolved
	}
	configuration, err := c.tx.ConfigurationAt(ctx, c.tx.Revision, last.KnownConfiguration)
	if err != nil {
		return err
	}
	if e.before, err = last.compile(configuration); err != nil {
		return err
	}
	e.after = e.before
	changed := slices.DeleteFunc(slices.Clone(c.classChanges), func(k classChange) bool { return !e.add(k) })
	slices.SortFunc(changed, func(a, b classChange) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.id, b.id))
	})
	for _, k := range changed[:min(len(changed), maxHeaviest)] {
		e.name(k)
	}
	return nil
}

// effect adds up how flags change.
type effect struct {
	now      time.Time
	before   *evaluation.Resolver
	after    *evaluation.Resolver
	affected api.Affected
	changes  map[flagChange]api.Affected
	heaviest []api.ChangedSubject
	flags    [2][]evaluation.Decision // of the last class, for their memory
}

func newEffect(now time.Time) *effect {
	return &effect{now: now, changes: map[flagChange]api.Affected{}, heaviest: []api.ChangedSubject{}}
}

// flagChange is one variant of a feature instead of another, "" being none.
type flagChange struct{ feature, from, to string }

func (e *effect) compile(before, after *model.Configuration) (err error) {
	if e.before, err = compile(before); err == nil {
		e.after, err = compile(after)
	}
	return err
}

// add counts the subjects of k if any of their flags change.
func (e *effect) add(k classChange) (changed bool) {
	for change := range e.difference(k) {
		e.changes[change] = plus(e.changes[change], k)
		changed = true
	}
	if changed {
		e.affected = plus(e.affected, k)
	}
	return changed
}

func plus(a api.Affected, k classChange) api.Affected {
	return api.Affected{Subjects: a.Subjects + k.subjects, Weight: addWeights(a.Weight, k.weight)}
}

// name lists a subject with the first of its flags that change.
func (e *effect) name(k classChange) {
	for change := range e.difference(k) {
		e.heaviest = append(e.heaviest, api.ChangedSubject{
			ID: k.id, Weight: k.weight, Feature: change.feature, From: orNil(change.from), To: orNil(change.to),
		})
		return
	}
}

// difference yields the flags that change, by feature. It walks two resolutions side by
// side; both are in that order.
func (e *effect) difference(k classChange) iter.Seq[flagChange] {
	decide := func(i int, r *evaluation.Resolver, class *model.Class) []evaluation.Decision {
		e.flags[i] = e.flags[i][:0]
		if class != nil {
			r.Decide(*class, e.now, func(d evaluation.Decision) bool {
				e.flags[i] = append(e.flags[i], d)
				return true
			})
		}
		return e.flags[i]
	}
	before, after := decide(0, e.before, k.before), decide(1, e.after, k.after)
	return func(yield func(flagChange) bool) {
		for len(before)+len(after) > 0 {
			var c flagChange
			if len(after) == 0 || len(before) > 0 && before[0].Feature <= after[0].Feature {
				c.feature, c.from, before = before[0].Feature, before[0].Variant, before[1:]
			}
			if len(after) > 0 && (c.feature == "" || c.feature == after[0].Feature) {
				c.feature, c.to, after = after[0].Feature, after[0].Variant, after[1:]
			}
			if c.from != c.to && !yield(c) {
				return
			}
		}
	}
}

func (e *effect) form() api.Effect {
	form := api.Effect{Affected: e.affected, Changes: []api.FlagChange{}, Heaviest: e.heaviest}
	order := func(a, b flagChange) int {
		return cmp.Or(cmp.Compare(a.feature, b.feature), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	}
	for _, c := range slices.SortedFunc(maps.Keys(e.changes), order) {
		n := e.changes[c]
		form.Changes = append(form.Changes, api.FlagChange{
			Feature: c.feature, From: orNil(c.from), To: orNil(c.to), Subjects: n.Subjects, Weight: n.Weight,
		})
	}
	return form
}

// addWeights stops at the largest number: the weights that an import replaces may
// sum to more.
func addWeights(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
