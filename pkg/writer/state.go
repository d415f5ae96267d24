package writer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/state"
)

// StateFilter selects the part of the configuration that State reads. The zero value
// selects all of it.
type StateFilter struct {
	Owner     string     // only what this document manages; "" for everything
	Features  auth.Scope // only these features, their overrides and the tests of them alone
	Promotion bool       // for another installation: no proportions, no tests, neither off nor archived features
}

// State reads the configuration as a document. Its version is that of all that the owner
// of the filter manages, whatever else the filter selects.
func (w *Writer) State(ctx context.Context, filter StateFilter) (Result[*state.Document], error) {
	var f model.Faults
	if filter.Owner != "" {
		f.Check("query.owner", model.CheckLabel(filter.Owner))
	}
	f.Check("query.features", auth.CheckScope(filter.Features, auth.EditorRole))
	if err := f.Err(); err != nil {
		return Result[*state.Document]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (*state.Document, int64, error) {
		whole, err := readState(ctx, tx, filter.Owner)
		if err != nil {
			return nil, 0, err
		}
		version, err := versionOf(whole)
		if err != nil {
			return nil, 0, err
		}
		if filter.Promotion {
			if whole, err = promoted(ctx, tx, whole); err != nil {
				return nil, 0, err
			}
		}
		selected := part(whole, filter.Features)
		shareOwner(selected)
		return selected, version, nil
	})
}

// readState reads what an owner manages, or everything for "". Each object has its owner.
func readState(ctx context.Context, tx *postgres.Tx, owner string) (*state.Document, error) {
	doc := &state.Document{Version: state.Version, Features: map[string]*state.Feature{}, Groups: map[string]*state.Group{}, ABTests: map[string]*state.ABTest{}}
	for f, err := range tx.FeaturesOf(ctx, owner) {
		if err != nil {
			return nil, err
		}
		doc.Features[f.Name] = featureState(f)
	}
	for g, err := range tx.GroupsOf(ctx, owner) {
		if err != nil {
			return nil, err
		}
		doc.Groups[g.Name] = groupState(g)
	}
	tests, err := tx.ABTestsOf(ctx, owner)
	if err != nil {
		return nil, err
	}
	for i := range tests {
		if t := &tests[i]; t.State(tx.Now) != model.Ended {
			doc.ABTests[t.Name] = testState(t)
		}
	}
	return doc, nil
}

func featureState(f *model.Feature) *state.Feature {
	form := &state.Feature{
		Owner:       orNull(f.Owner),
		Description: orNull(f.Description),
		Tags:        state.Of(f.Tags),
		Contact:     orNull(f.Contact),
		Expires:     orNull(f.Expires),
		Permanent:   state.Of(f.Permanent),
		Archived:    state.Of(f.Archived),
		Off:         state.Of(f.Off),
		Variants:    map[string]*state.Variant{},
		Default:     orNull(f.Default),
		Rollout:     state.Null[state.Rollout](),
	}
	for _, v := range f.Variants {
		form.Variants[v.Name] = &state.Variant{}
		if v.Payload != nil {
			form.Variants[v.Name].Payload = state.Of(v.Payload)
		}
	}
	if r := f.Rollout; r != nil {
		form.Rollout = state.Of(state.Rollout{Variant: r.Variant, Proportion: state.Of(r.Proportion)})
	}
	return form
}

func groupState(g *postgres.Group) *state.Group {
	form := &state.Group{Owner: orNull(g.Owner), Priority: state.Of(g.Priority), Overrides: map[string]*string{}}
	for feature, variant := range g.Overrides {
		form.Overrides[feature] = &variant
	}
	return form
}

func testState(t *model.ABTest) *state.ABTest {
	form := &state.ABTest{Owner: orNull(t.Owner), Description: orNull(t.Description), Start: t.Start, End: t.End}
	for _, g := range t.Groups {
		form.Groups = append(form.Groups, state.TestGroup{Name: g.Name, Proportion: &g.Proportion, Variants: g.Variants})
	}
	return form
}

func orNull(text string) state.Field[string] {
	if text == "" {
		return state.Null[string]()
	}
	return state.Of(text)
}

// shareOwner moves the owner to the top if all objects have the same.
func shareOwner(doc *state.Document) {
	var owners []*state.Field[string]
	for _, f := range doc.Features {
		owners = append(owners, &f.Owner)
	}
	for _, g := range doc.Groups {
		owners = append(owners, &g.Owner)
	}
	for _, t := range doc.ABTests {
		owners = append(owners, &t.Owner)
	}
	if len(owners) == 0 {
		return
	}
	shared := owners[0].Or("")
	if slices.ContainsFunc(owners, func(o *state.Field[string]) bool { return o.Or("") != shared }) {
		return
	}
	doc.Owner = shared
	for _, o := range owners {
		*o = state.Field[string]{}
	}
}

// promoted is what of a document another installation takes over: what exists, without
// who gets it.
func promoted(ctx context.Context, tx *postgres.Tx, doc *state.Document) (*state.Document, error) {
	features := map[string]*state.Feature{}
	for name, f := range doc.Features {
		if f.Archived.Or(false) {
			continue
		}
		f.Archived, f.Off = state.Field[bool]{}, state.Field[bool]{}
		if r := f.Rollout.Value; r != nil {
			f.Rollout = state.Of(state.Rollout{Variant: r.Variant})
		} else {
			f.Rollout = state.Field[state.Rollout]{} // null would end one that began there
		}
		features[name] = f
	}
	var overridden []string
	for _, g := range doc.Groups {
		overridden = slices.AppendSeq(overridden, maps.Keys(g.Overrides))
	}
	archived, err := archivedAmong(ctx, tx, overridden)
	if err != nil {
		return nil, err
	}
	for _, g := range doc.Groups {
		maps.DeleteFunc(g.Overrides, func(feature string, _ *string) bool { return archived[feature] })
	}
	return &state.Document{Version: doc.Version, Features: features, Groups: doc.Groups}, nil
}

// archivedAmong returns which of some features are archived.
func archivedAmong(ctx context.Context, tx *postgres.Tx, names []string) (map[string]bool, error) {
	archived := map[string]bool{}
	for f, err := range tx.FeaturesNamed(ctx, names) {
		if err != nil {
			return nil, err
		}
		if f.Archived {
			archived[f.Name] = true
		}
	}
	return archived, nil
}

// part is the part of a document about some features.
func part(doc *state.Document, features auth.Scope) *state.Document {
	if len(features) == 0 {
		return doc
	}
	maps.DeleteFunc(doc.Features, func(name string, _ *state.Feature) bool { return !features.Includes(name) })
	for _, g := range doc.Groups {
		maps.DeleteFunc(g.Overrides, func(feature string, _ *string) bool { return !features.Includes(feature) })
	}
	maps.DeleteFunc(doc.Groups, func(_ string, g *state.Group) bool { return len(g.Overrides) == 0 })
	maps.DeleteFunc(doc.ABTests, func(_ string, t *state.ABTest) bool {
		for feature := range t.Groups[0].Variants {
			if !features.Includes(feature) {
				return true
			}
		}
		return false
	})
	return doc
}

// versionOf is a version of a document, for IfMatch: a hash of its content.
func versionOf(doc *state.Document) (int64, error) {
	text, err := doc.JSON()
	if err != nil {
		return 0, fmt.Errorf("hash the state: %w", err)
	}
	sum := sha256.Sum256(text)
	return int64(binary.BigEndian.Uint64(sum[:])>>1 | 1), nil // positive, as versions are
}
