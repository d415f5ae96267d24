package writer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

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
// of the document. In HTTP also with body_too_large and unsupported_media_type.
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
		if before, err = a.tx.ConfigurationOf(ctx, a.concerned()); err != nil {
			return applied, err
		}
		if applied, err = a.apply(ctx); err == nil {
			after, err = a.tx.ConfigurationOf(ctx, a.concerned())
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
		_, _, _, err := w.affectClasses(ctx, tx, e, before, after)
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
	for _, step := range []func(context.Context) error{
		a.checkOwners, a.check,
		a.applyFeatures, a.applyGroups, a.applyTests,
		a.prune, a.deleteVariants, a.archive,
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

// concerned are the features whose flags the document may change.
func (a *application) concerned() []string {
	names := a.namedFeatures()
	for _, d := range a.dropped {
		switch {
		case d.resource.kind == featureResource:
			names[d.resource.names[0]] = true
		case d.group != nil:
			for feature := range d.group.Overrides {
				names[feature] = true
			}
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
// document, and names all of them.
func (a *application) checkOwners(context.Context) error {
	if a.how.Force {
		return nil
	}
	var reasons []string
	check := func(r resource, owner string, own state.Field[string]) {
		if owner != "" && owner != a.ownerOf(own) {
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

func (a *application) applyFeatures(ctx context.Context) error {
	for name, form := range sorted(a.doc.Features) {
		apply := a.changeFeature
		if a.features[name] == nil {
			apply = a.createFeature
		}
		if err := apply(ctx, name, form); err != nil {
			return err
		}
	}
	return nil
}

// createFeature adds a feature, which is archived at the end if it shall be.
func (a *application) createFeature(ctx context.Context, name string, form *state.Feature) (err error) {
	f := &model.Feature{Name: name}
	a.setFields(f, form)
	for variant, v := range sorted(form.Variants) {
		if v != nil {
			f.Variants = append(f.Variants, model.Variant{Name: variant, Payload: v.Payload.Or(nil)})
		}
	}
	f.Default = form.Default.Or("")
	if r := form.Rollout.Value; r != nil {
		f.Rollout = &model.Rollout{Variant: r.Variant, Proportion: r.Proportion.Or(0)}
	}
	if f.Off {
		if err := a.writer.refuseOldEdges(ctx); err != nil {
			return err
		}
	}
	a.features[name], _, err = a.addWholeFeature(ctx, f)
	return err
}

func (a *application) changeFeature(ctx context.Context, name string, form *state.Feature) error {
	f := a.features[name]
	if f.Archived && !form.Archived.Or(true) {
		if err := a.setArchived(ctx, f, false); err != nil {
			return err
		}
	}
	was := *f
	a.setFields(f, form)
	if f.Off != was.Off {
		if err := a.writer.refuseOldEdges(ctx); err != nil {
			return err
		}
	}
	if _, err := a.updateFeature(ctx, &was, f); err != nil {
		return err
	}
	for variant, v := range sorted(form.Variants) {
		if v != nil {
			if err := a.applyVariant(ctx, f, variant, v); err != nil {
				return err
			}
		}
	}
	if variant := form.Default.Or(f.Default); variant != f.Default {
		if err := a.setDefault(ctx, f, variant); err != nil {
			return err
		}
	}
	return a.applyRollout(ctx, f, form.Rollout)
}

// setFields sets the fields of the feature itself that the document manages.
func (a *application) setFields(f *model.Feature, form *state.Feature) {
	f.Owner = a.ownerOf(form.Owner)
	f.Description = form.Description.Or(f.Description)
	f.Tags = append([]string{}, form.Tags.Or(f.Tags)...)
	f.Contact = form.Contact.Or(f.Contact)
	f.Expires = form.Expires.Or(f.Expires)
	f.Permanent = form.Permanent.Or(f.Permanent)
	f.Off = form.Off.Or(f.Off)
}

func (a *application) applyVariant(ctx context.Context, f *model.Feature, name string, form *state.Variant) error {
	v, exists := f.Variant(name)
	if !exists {
		return a.addVariants(ctx, f, model.Variant{Name: name, Payload: form.Payload.Or(nil)})
	}
	payload := form.Payload.Or(v.Payload)
	same, err := state.SamePayload(payload, v.Payload)
	if err != nil || same {
		return err
	}
	_, err = a.patchVariant(ctx, f, name, payload)
	f.Variants[slices.IndexFunc(f.Variants, func(v model.Variant) bool { return v.Name == name })].Payload = payload
	return err
}

// applyRollout never moves a subject that the document does not: an existing rollout
// keeps its salt, and its proportion if the document does not manage it.
func (a *application) applyRollout(ctx context.Context, f *model.Feature, form state.Field[state.Rollout]) (err error) {
	r := form.Value
	switch {
	case !form.Given, r == nil && f.Rollout == nil:
	case r == nil:
		_, err = a.deleteRollout(ctx, f)
	case f.Rollout == nil:
		_, err = a.addRollout(ctx, f, r.Variant, r.Proportion.Or(0))
	case r.Variant != f.Rollout.Variant || r.Proportion.Or(f.Rollout.Proportion) != f.Rollout.Proportion:
		_, err = a.patchRollout(ctx, f, api.PatchRollout{Variant: &r.Variant, Proportion: r.Proportion.Value})
	}
	return err
}

func (a *application) applyGroups(ctx context.Context) error {
	for name, form := range sorted(a.doc.Groups) {
		if err := a.applyGroup(ctx, name, form); err != nil {
			return err
		}
	}
	return nil
}

func (a *application) applyGroup(ctx context.Context, name string, form *state.Group) (err error) {
	g := a.groups[name]
	if g == nil {
		g = &postgres.Group{Group: model.Group{Name: name, Priority: form.Priority.Or(0), Overrides: map[string]string{}}, Owner: a.ownerOf(form.Owner)}
		a.groups[name] = g
		_, err = a.addGroup(ctx, g)
	} else {
		was := *g
		g.Priority, g.Owner = form.Priority.Or(g.Priority), a.ownerOf(form.Owner)
		_, err = a.updateGroup(ctx, &was, g)
	}
	if err != nil {
		return err
	}
	for feature, variant := range sorted(form.Overrides) {
		now, exists := g.Overrides[feature]
		switch {
		case variant == nil && exists:
			_, err = a.deleteOverride(ctx, g, feature)
		case variant != nil && *variant != now:
			_, err = a.setOverride(ctx, g, feature, *variant)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *application) applyTests(ctx context.Context) error {
	for name, form := range sorted(a.doc.ABTests) {
		if a.ended(name, form) {
			continue
		}
		if err := a.applyTest(ctx, name, form); err != nil {
			return a.located(err, state.Path("abtests", name))
		}
	}
	return nil
}

// ended reports whether a test has ended, or would have if it were added.
func (a *application) ended(name string, form *state.ABTest) bool {
	if test := a.tests[name]; test != nil {
		return test.State(a.tx.Now) == model.Ended
	}
	return !a.tx.Now.Before(form.End)
}

func (a *application) applyTest(ctx context.Context, name string, form *state.ABTest) error {
	create := api.CreateABTest{Name: name, Description: form.Description.Or(""), Start: form.Start, End: form.End}
	for _, g := range form.Groups {
		create.Groups = append(create.Groups, api.CreateTestGroup{Name: g.Name, Proportion: g.Proportion, Variants: g.Variants})
	}
	wanted, err := newTest(create)
	if err != nil {
		return err
	}
	test := a.tests[name]
	switch {
	case test == nil:
	case sameGroups(test, wanted):
		_, err := a.patchTest(ctx, test, a.ownerOf(form.Owner), api.PatchABTest{Start: &form.Start, End: &form.End, Description: form.Description.Value})
		return err
	case test.State(a.tx.Now) == model.Live:
		return model.Errorf(model.ABTestLive, "test %q is live until %s, its groups cannot change: stop it first", name, test.End.Format(time.RFC3339))
	default: // nobody has been in it
		wanted.Description = form.Description.Or(test.Description)
		if _, err := a.deleteTest(ctx, test); err != nil {
			return err
		}
	}
	wanted.Owner = a.ownerOf(form.Owner)
	_, err = a.addTest(ctx, wanted)
	return err
}

// sameGroups reports whether the groups of two tests are the same, but for their buckets.
func sameGroups(a, b *model.ABTest) bool {
	return slices.EqualFunc(a.Groups, b.Groups, func(a, b model.TestGroup) bool {
		return a.Name == b.Name && a.Proportion == b.Proportion && maps.Equal(a.Variants, b.Variants)
	})
}

// prune archives and deletes what the owner manages and the document lacks.
func (a *application) prune(ctx context.Context) error {
	if !a.how.Prune {
		return nil
	}
	for _, d := range slices.Backward(a.dropped) {
		if err := a.pruneOne(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (a *application) pruneOne(ctx context.Context, d droppedObject) error {
	name := d.resource.names[0]
	switch {
	case d.prune == "":
		return nil
	case d.resource.kind == testResource:
		_, err := a.deleteTest(ctx, a.tests[name])
		return err
	case d.resource.kind == groupResource:
		_, err := a.deleteGroup(ctx, d.group)
		return err
	default:
		f, err := a.feature(ctx, name)
		if err == nil {
			err = a.setArchived(ctx, f, true)
		}
		return err
	}
}

// feature is one that the document may not refer to.
func (a *application) feature(ctx context.Context, name string) (f *model.Feature, err error) {
	if a.features[name] == nil {
		a.features[name], err = a.tx.Feature(ctx, name)
	}
	return a.features[name], err
}

// droppedObject is an object that the owner of the document manages and the document
// lacks.
type droppedObject struct {
	resource resource
	prune    string          // archived or deleted: what pruning does with it; "" if it stays
	group    *postgres.Group // nil if it is none
}

// findDropped lists the features, then the groups, then the tests.
func (a *application) findDropped(ctx context.Context) (dropped []droppedObject, err error) {
	if a.doc.Owner == "" {
		return nil, nil
	}
	managed, err := a.tx.ManagedBy(ctx, a.doc.Owner)
	if err != nil {
		return nil, err
	}
	for _, name := range managed.Features {
		if a.doc.Features[name] == nil {
			dropped = append(dropped, droppedObject{featureResource.of(name), archived, nil})
		}
	}
	for _, name := range managed.Groups {
		if a.doc.Groups[name] == nil {
			g, err := a.tx.Group(ctx, name)
			if err != nil {
				return nil, err
			}
			dropped = append(dropped, droppedObject{groupResource.of(name), deleted, g})
		}
	}
	for _, name := range managed.ABTests {
		if a.doc.ABTests[name] == nil {
			d := droppedObject{resource: testResource.of(name)}
			if a.tests[name].State(a.tx.Now) == model.Ended {
				d.prune = deleted
			}
			dropped = append(dropped, d)
		}
	}
	return dropped, nil
}

func (a *application) deleteVariants(ctx context.Context) error {
	for name, form := range sorted(a.doc.Features) {
		f := a.features[name]
		for variant, v := range sorted(form.Variants) {
			if _, exists := f.Variant(variant); v != nil || !exists {
				continue
			}
			if _, err := a.deleteVariant(ctx, f, variant); err != nil {
				return err
			}
			f.Variants = slices.DeleteFunc(f.Variants, func(v model.Variant) bool { return v.Name == variant })
		}
	}
	return nil
}

func (a *application) archive(ctx context.Context) error {
	for name, form := range sorted(a.doc.Features) {
		if f := a.features[name]; form.Archived.Or(false) && !f.Archived {
			if err := a.setArchived(ctx, f, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *application) setArchived(ctx context.Context, f *model.Feature, archive bool) error {
	if err := a.writer.refuseOldEdges(ctx); err != nil {
		return err
	}
	_, err := a.archiveFeature(ctx, f, archive)
	return err
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
		g, err := a.tx.Group(ctx, r.names[0])
		if err != nil {
			return err
		}
		k.After = groupForm(g)
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

// located moves the faults of an ordinary request to their place in the document.
func (a *application) located(err error, path string) error {
	var refused *model.Error
	if !errors.As(err, &refused) || len(refused.Fields) == 0 {
		return err
	}
	var faults model.Faults
	for _, field := range refused.Fields {
		a.doc.Fault(&faults, path+strings.TrimPrefix(field.Location, "body"), "%s", field.Message)
	}
	return faults.Err()
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
