package writer

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/state"
)

// ApplyOptions say how far ApplyState goes.
type ApplyOptions struct {
	Prune bool // archive features and delete groups and ended tests that the owner manages and the document lacks
	Force bool // take over what other owners manage
}

// ApplyState makes the configuration as a document says, in one revision, or none if it
// is so already. Objects that nobody manages are then managed by the owner of the
// document. Fails with managed_elsewhere, abtest_live, abtest_overlap, variant_in_use,
// feature_archived or edges_too_old, or with validation_failed, which names every fault
// of the document. In HTTP also with body_too_large.
func (w *Writer) ApplyState(ctx context.Context, doc *state.Document, how ApplyOptions, opts ...Option) (Result[api.AppliedState], error) {
	var before, after *model.Configuration
	result, err := write(ctx, w, configuration, opts, func(c *change) (applied api.AppliedState, err error) {
		if err := c.matchState(ctx, doc.Owner); err != nil {
			return applied, err
		}
		a := &application{change: c, doc: doc, how: how}
		if err := a.load(ctx); err != nil {
			return applied, err
		}
		if c.dryRun { // which counts itself
			return a.apply(ctx)
		}
		concerned := a.concerned()
		if before, err = a.tx.ConfigurationOf(ctx, concerned, postgres.KnownConfiguration{}); err != nil {
			return applied, err
		}
		if applied, err = a.apply(ctx); err == nil {
			after, err = a.tx.ConfigurationOf(ctx, concerned, postgres.KnownConfiguration{})
		}
		return applied, err
	})
	if err != nil || result.DryRun {
		return result, err
	}
	var affected api.Affected
	if len(result.Value.Changes) > 0 {
		affected, err = w.affectedBy(ctx, before, after)
	}
	if err != nil { // the document is applied nevertheless
		w.log.WarnContext(ctx, "counting who is affected by a document failed", "revision", result.Revision, "error", err)
		return result, nil
	}
	result.Value.Affected = &affected
	return result, nil
}

// affectedBy counts the subjects whose flags a change of the configuration made others,
// after its commit, so that other writes do not wait for that.
func (w *Writer) affectedBy(ctx context.Context, before, after *model.Configuration) (affected api.Affected, err error) {
	err = w.db.Read(ctx, func(tx *postgres.Tx) error {
		e := newEffect(tx.Now)
		_, err := w.affectClasses(ctx, tx, e, before, after)
		affected = e.affected
		return err
	})
	return affected, err
}

// matchState is match for what an owner manages, of which only the version before the
// change is computed.
func (c *change) matchState(ctx context.Context, owner string) error {
	if c.ifMatch == nil {
		return c.match(unversioned)
	}
	managed, err := readState(ctx, c.tx, owner)
	if err != nil {
		return err
	}
	version, err := versionOf(managed)
	if err != nil {
		return err
	}
	err = c.match(version)
	c.version = unversioned
	return err
}

// application applies a document, as a change. What is stored is by name, and nil for
// what does not exist.
type application struct {
	*change
	doc      *state.Document
	how      ApplyOptions
	features map[string]*model.Feature // those of the document, and those that it refers to
	groups   map[string]*postgres.Group
	tests    map[string]*model.ABTest
	dropped  []droppedObject
}

// apply adds and changes from features down to tests, and deletes in the other direction.
func (a *application) apply(ctx context.Context) (api.AppliedState, error) {
	if a.comment == "" && a.doc.Owner != "" {
		a.comment = "state of " + a.doc.Owner
	}
	a.overlapsLast = true
	for _, step := range []func(context.Context) error{
		a.checkOwners, a.check,
		a.applyFeatures, a.applyGroups, a.applyTests,
		a.prune, a.refuseOverlaps, a.deleteVariants, a.archive,
	} {
		if err := step(ctx); err != nil {
			return api.AppliedState{}, err
		}
	}
	return a.applied(ctx)
}

func (a *application) load(ctx context.Context) error {
	a.features, a.groups, a.tests = map[string]*model.Feature{}, map[string]*postgres.Group{}, map[string]*model.ABTest{}
	for f, err := range a.tx.FeaturesNamed(ctx, slices.Collect(maps.Keys(a.namedFeatures()))) {
		if err != nil {
			return err
		}
		a.features[f.Name] = f
	}
	for name := range a.doc.Groups {
		g, err := a.tx.Group(ctx, name)
		if err != nil && model.CodeOf(err) != model.GroupNotFound {
			return err
		}
		a.groups[name] = g
	}
	tests, err := a.tx.AllABTests(ctx)
	for i := range tests {
		a.tests[tests[i].Name] = &tests[i]
	}
	if err == nil {
		a.dropped, err = a.findDropped(ctx)
	}
	return err
}

// concerned are the features whose flags the document may change. The priority of a
// group changes those of all features that it overrides.
func (a *application) concerned() []string {
	names := a.namedFeatures()
	overridden := func(g *postgres.Group) {
		if g != nil {
			for feature := range g.Overrides {
				names[feature] = true
			}
		}
	}
	for _, g := range a.groups {
		overridden(g)
	}
	for _, d := range a.dropped {
		overridden(d.group)
		if d.resource.kind == featureResource {
			names[d.resource.names[0]] = true
		}
	}
	return slices.Collect(maps.Keys(names))
}

// namedFeatures are the features that the document describes or refers to.
func (a *application) namedFeatures() map[string]bool {
	names := map[string]bool{}
	for name := range a.doc.Features {
		names[name] = true
	}
	for _, g := range a.doc.Groups {
		for name := range g.Overrides {
			names[name] = true
		}
	}
	for _, t := range a.doc.ABTests {
		for _, g := range t.Groups {
			for name := range g.Variants {
				names[name] = true
			}
		}
	}
	return names
}

// ownerOf is the owner that an object shall have.
func (a *application) ownerOf(own state.Field[string]) string { return own.Or(a.doc.Owner) }

// checkOwners fails with managed_elsewhere if another owner manages an object of the
// document, and names all of them. The document may hand over what its owner manages.
func (a *application) checkOwners(context.Context) error {
	if a.how.Force {
		return nil
	}
	var reasons []string
	check := func(r resource, owner string, own state.Field[string]) {
		if owner != "" && owner != a.doc.Owner && owner != a.ownerOf(own) {
			reasons = append(reasons, fmt.Sprintf("%s is managed by %q", r, owner))
		}
	}
	for name, form := range sorted(a.doc.Features) {
		if f := a.features[name]; f != nil {
			check(featureResource.of(name), f.Owner, form.Owner)
		}
	}
	for name, form := range sorted(a.doc.Groups) {
		if g := a.groups[name]; g != nil {
			check(groupResource.of(name), g.Owner, form.Owner)
		}
	}
	for name, form := range sorted(a.doc.ABTests) {
		if t := a.tests[name]; t != nil {
			check(testResource.of(name), t.Owner, form.Owner)
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return model.Errorf(model.ManagedElsewhere, "%s: change that document instead, or take over with force=true", strings.Join(reasons, "; "))
}

// check finds every reference of the document that leads nowhere, and every archived
// feature that it does not restore.
func (a *application) check(context.Context) error {
	var faults model.Faults
	refer := func(feature, variant, path string) {
		switch {
		case a.features[feature] == nil && a.doc.Features[feature] == nil:
			a.doc.Fault(&faults, path, "there is no feature %q", feature)
		case !a.willHave(feature, variant):
			a.doc.Fault(&faults, path, "feature %q has no variant %q", feature, variant)
		}
	}
	if a.how.Prune && a.doc.Owner == "" {
		a.doc.Fault(&faults, "owner", "must be given to prune")
	}
	for name, form := range sorted(a.doc.Features) {
		if f := a.features[name]; f != nil && f.Archived && !form.Archived.Given {
			a.doc.Fault(&faults, state.Path("features", name), "is archived: write archived: false to restore it, or archived: true to leave it so")
		}
		if variant := form.Default.Value; variant != nil {
			refer(name, *variant, state.Path("features", name, "default"))
		}
		if r := form.Rollout.Value; r != nil {
			refer(name, r.Variant, state.Path("features", name, "rollout", "variant"))
		}
	}
	for name, form := range sorted(a.doc.Groups) {
		for feature, variant := range sorted(form.Overrides) {
			if variant != nil {
				refer(feature, *variant, state.Path("groups", name, "overrides", feature))
			}
		}
	}
	for name, form := range sorted(a.doc.ABTests) {
		if a.ended(name, form) {
			continue
		}
		for i, g := range form.Groups {
			group := fmt.Sprintf("%s[%d]", state.Path("abtests", name, "groups"), i)
			for feature, variant := range sorted(g.Variants) {
				refer(feature, variant, group+"."+state.Path("variants", feature))
			}
		}
	}
	return faults.Err()
}

// willHave reports whether a feature has a variant once the document is applied.
func (a *application) willHave(feature, variant string) bool {
	if form := a.doc.Features[feature]; form != nil {
		if v, named := form.Variants[variant]; named {
			return v != nil
		}
	}
	f := a.features[feature]
	if f == nil {
		return false
	}
	_, has := f.Variant(variant)
	return has
}

// applied sums up the audit: one change of each resource, whose content after it is that
// at the end.
func (a *application) applied(ctx context.Context) (api.AppliedState, error) {
	result := api.AppliedState{Changes: []api.ResourceChange{}, Unmanaged: []api.UnmanagedResource{}}
	places := map[string]int{}
	for _, row := range a.audit {
		next := api.ResourceChange{Action: row.Action, Resource: row.Resource, Before: rawJSON(row.Before), After: rawJSON(row.After)}
		place, again := places[row.Resource]
		if !again {
			places[row.Resource] = len(result.Changes)
			result.Changes = append(result.Changes, next)
			continue
		}
		first := &result.Changes[place]
		first.After = next.After
		if first.Action == deleted {
			first.Action = updated // it was deleted and added
		}
	}
	for i := range result.Changes {
		if err := a.completeForm(ctx, &result.Changes[i]); err != nil {
			return api.AppliedState{}, err
		}
	}
	a.addUnmanaged(&result)
	return result, nil
}

// completeForm puts the parts of a feature and of a group into their form, which were
// added after it.
func (a *application) completeForm(ctx context.Context, k *api.ResourceChange) error {
	r, err := parseResource(k.Resource)
	if err != nil || k.After == nil {
		return err
	}
	switch r.kind {
	case featureResource:
		buckets, err := a.allBuckets(ctx)
		if err != nil {
			return err
		}
		k.After = featureForm(a.features[r.names[0]], buckets)
	case groupResource:
		k.After = groupForm(a.groups[r.names[0]])
	}
	return nil
}

// addUnmanaged adds what the document's owner manages and the document lacks: objects,
// and of its objects variants and overrides.
func (a *application) addUnmanaged(result *api.AppliedState) {
	add := func(r resource, prune string) {
		result.Unmanaged = append(result.Unmanaged, api.UnmanagedResource{Resource: r.String(), Prune: orNil(prune)})
	}
	for _, d := range a.dropped {
		if !a.how.Prune || d.prune == "" {
			add(d.resource, d.prune)
		}
	}
	for name, form := range sorted(a.doc.Features) {
		for _, v := range a.features[name].Variants {
			if _, named := form.Variants[v.Name]; form.Variants != nil && !named {
				add(variantResource.of(name, v.Name), "")
			}
		}
	}
	for name, form := range sorted(a.doc.Groups) {
		for feature := range sorted(a.groups[name].Overrides) {
			if _, named := form.Overrides[feature]; form.Overrides != nil && !named {
				add(overrideResource.of(name, feature), "")
			}
		}
	}
}

// sorted yields a map in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
