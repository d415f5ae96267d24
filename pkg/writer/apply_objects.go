package writer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/state"
)

func (a *application) applyFeatures(ctx context.Context) error {
	var added []*model.Feature
	for name, form := range sorted(a.doc.Features) {
		if a.features[name] == nil {
			added = append(added, a.newFeature(name, form))
		} else if err := a.changeFeature(ctx, name, form); err != nil {
			return err
		}
	}
	if len(added) == 0 {
		return nil
	}
	if slices.ContainsFunc(added, func(f *model.Feature) bool { return f.Off }) {
		if err := a.writer.refuseOldEdges(ctx); err != nil {
			return err
		}
	}
	for _, f := range added {
		a.features[f.Name] = f
	}
	return a.addFeatures(ctx, added...)
}

// newFeature is a feature to add, which is archived at the end if it shall be.
func (a *application) newFeature(name string, form *state.Feature) *model.Feature {
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
	return f
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
			if test := a.tests[name]; test != nil && !form.Start.Before(test.End) && form.End.After(a.tx.Now) {
				return model.Errorf(model.ABTestExists, "test %q ended at %s: one that starts later needs another name", name, test.End.Format(time.RFC3339))
			}
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
	case test.State(a.tx.Now) == model.Live && form.End.Before(a.tx.Now):
		return model.Errorf(model.ABTestLive, "test %q is live until %s, but ended at %s by the document: stop it, or write its end here", name, test.End.Format(time.RFC3339), form.End.Format(time.RFC3339))
	case sameGroups(test, wanted):
		description := form.Description.Or(test.Description)
		_, err := a.patchTest(ctx, test, a.ownerOf(form.Owner), api.PatchABTest{Start: &form.Start, End: &form.End, Description: &description})
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
