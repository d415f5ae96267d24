package writer

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestGroups(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	_, err := w.AddGroup(ctx, api.CreateGroup{Name: "friends"})
	wantError(t, err, model.GroupExists)
	must[api.Group](t)(w.AddGroup(ctx, api.CreateGroup{Name: "first", Priority: -1}))
	for _, id := range []string{"7", "42", "41"} {
		must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", id))
	}
	label := w.one(`SELECT label FROM subject WHERE id = '42'`)
	revision := must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", "42")).Revision
	if w.one(`SELECT label FROM subject WHERE id = '42'`) != label {
		t.Error("joining twice changed the subject")
	}
	must[api.Subject](t)(w.AddSubjectToGroup(ctx, "first", "42"))
	if !slices.Equal(w.column(`SELECT config FROM change WHERE revision > $1`, revision), []string{"false"}) {
		t.Error("a membership is no change of the subject alone")
	}

	p := must[api.Page[string]](t)(w.Members(ctx, "friends", Page{Limit: 2})).Value
	if !slices.Equal(p.Items, []string{"41", "42"}) || p.Next != "42" {
		t.Errorf("members %+v", p)
	}
	p = must[api.Page[string]](t)(w.Members(ctx, "friends", Page{Limit: 2, After: p.Next})).Value
	if !slices.Equal(p.Items, []string{"7"}) || p.Next != "" {
		t.Errorf("more members %+v", p)
	}

	// Overrides, and who wins.
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "A"))
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "first", "foobar", "A"))
	if got := must[map[string]string](t)(w.SubjectVariants(ctx, "42")).Value["foobar"]; got != "B" {
		t.Errorf("42 gets %s", got)
	}
	g := must[api.Group](t)(w.PatchGroup(ctx, "first", api.PatchGroup{Priority: ptr(0)})).Value
	if g.Members != 1 || !maps.Equal(g.Overrides, map[string]string{"foobar": "A"}) {
		t.Errorf("group %+v", g)
	}
	if got := must[map[string]string](t)(w.SubjectVariants(ctx, "42")).Value["foobar"]; got != "A" {
		t.Errorf("42 gets %s, of equal groups the name that sorts first wins", got)
	}

	for name, c := range map[string]struct {
		err  error
		code model.Code
	}{
		"no group":          {second(w.Group(ctx, "none")), model.GroupNotFound},
		"patch":             {second(w.PatchGroup(ctx, "none", api.PatchGroup{})), model.GroupNotFound},
		"delete":            {second(w.DeleteGroup(ctx, "none")), model.GroupNotFound},
		"members":           {second(w.Members(ctx, "none", Page{})), model.GroupNotFound},
		"join no group":     {second(w.AddSubjectToGroup(ctx, "none", "42")), model.GroupNotFound},
		"join nobody":       {second(w.AddSubjectToGroup(ctx, "friends", "none")), model.SubjectNotFound},
		"leave":             {second(w.RemoveSubjectFromGroup(ctx, "friends", "1")), model.MemberNotFound},
		"override feature":  {second(w.AddGroupOverride(ctx, "friends", "none", "A")), model.FeatureNotFound},
		"override variant":  {second(w.AddGroupOverride(ctx, "friends", "foobar", "none")), model.VariantNotFound},
		"override group":    {second(w.AddGroupOverride(ctx, "none", "foobar", "A")), model.GroupNotFound},
		"no override":       {second(w.DeleteGroupOverride(ctx, "friends", "none")), model.OverrideNotFound},
		"priority":          {second(w.AddGroup(ctx, api.CreateGroup{Name: "x", Priority: math.MaxInt32 + 1})), model.ValidationFailed},
		"patch priority":    {second(w.PatchGroup(ctx, "first", api.PatchGroup{Priority: ptr(math.MinInt32 - 1)})), model.ValidationFailed},
		"name":              {second(w.AddGroup(ctx, api.CreateGroup{Name: "."})), model.ValidationFailed},
		"subject id":        {second(w.AddSubjectToGroup(ctx, "friends", "\x00")), model.ValidationFailed},
		"variant reference": {second(w.AddGroupOverride(ctx, "friends", "foobar", "'")), model.ValidationFailed},
	} {
		if c.err == nil {
			t.Errorf("%s: no error", name)
		} else {
			wantError(t, c.err, c.code)
		}
	}

	must[api.Subject](t)(w.RemoveSubjectFromGroup(ctx, "friends", "7"))
	label = w.one(`SELECT label FROM subject WHERE id = '42'`)
	if g := must[api.Group](t)(w.DeleteGroup(ctx, "friends")).Value; g.Members != 2 {
		t.Errorf("deleted %+v", g)
	}
	if w.one(`SELECT label FROM subject WHERE id = '42'`) != label {
		t.Error("deleting a group changed its members")
	}
	if s := must[api.Subject](t)(w.Subject(ctx, "42")).Value; !slices.Equal(s.Groups, []string{"first"}) {
		t.Errorf("42 is in %q", s.Groups)
	}
	if p := must[api.Page[api.Group]](t)(w.Groups(ctx, Page{})).Value; len(p.Items) != 1 {
		t.Errorf("groups %+v", p)
	}
}
