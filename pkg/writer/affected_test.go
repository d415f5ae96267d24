package writer

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// seen is what one subject gets, and what it weighs.
type seen struct {
	flags  map[string]string
	weight int64
}

// everyone resolves for each subject there is.
func (w *fixture) everyone() map[string]seen {
	w.t.Helper()
	resolver, all := w.resolver(), map[string]seen{}
	err := w.db.Read(w.t.Context(), func(tx *postgres.Tx) error {
		for s, err := range tx.Subjects(w.t.Context(), postgres.SubjectFilter{}, "", 10_000) {
			if err != nil {
				return err
			}
			all[s.ID] = seen{resolver.Flags(s.Class(), tx.Now), s.Weight}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// differing finds by hand what Effect should say.
func differing(before, after map[string]seen) api.Effect {
	e := api.Effect{Changes: []api.FlagChange{}, Heaviest: []api.ChangedSubject{}}
	counted := map[string]*api.FlagChange{}
	all := maps.Clone(before)
	maps.Copy(all, after)
	for id, s := range all { // with its weight after the write
		b, now := before[id].flags, after[id].flags
		features := maps.Clone(b)
		if features == nil {
			features = map[string]string{}
		}
		maps.Copy(features, now)
		first := true
		for _, feature := range slices.Sorted(maps.Keys(features)) {
			if b[feature] == now[feature] {
				continue
			}
			from, to := orNil(b[feature]), orNil(now[feature])
			key := feature + " " + b[feature] + " " + now[feature]
			if counted[key] == nil {
				counted[key] = &api.FlagChange{Feature: feature, From: from, To: to}
			}
			counted[key].Subjects++
			counted[key].Weight += s.weight
			if first {
				first = false
				e.Affected.Subjects++
				e.Affected.Weight += s.weight
				e.Heaviest = append(e.Heaviest, api.ChangedSubject{ID: id, Weight: s.weight, Feature: feature, From: from, To: to})
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(counted)) {
		e.Changes = append(e.Changes, *counted[key])
	}
	slices.SortFunc(e.Heaviest, func(a, b api.ChangedSubject) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.ID, b.ID))
	})
	e.Heaviest = e.Heaviest[:min(len(e.Heaviest), 10)]
	return e
}

// What a dry run says is what the write then does, and what it counts is what
// one counts who asks for every subject before and after.
func TestAffectedIsTheDifference(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newFixture(t)
			ctx := t.Context()
			// A dry run of a new test or rollout can only foretell what it would do with
			// the salt that it draws.
			w.newSalt = func() model.Salt { return model.Salt{byte(seed)} }
			w.seed()
			r := &random{rand.New(rand.NewPCG(seed, 0))}
			for _, feature := range []string{"f1", "f2"} {
				must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: feature}))
				for _, variant := range []string{"A", "B"} {
					must[api.Variant](t)(w.AddVariant(ctx, feature, api.CreateVariant{Name: variant}))
				}
			}
			named := 0
			for step := range 100 {
				w.now = w.now.Add(time.Duration(r.IntN(10)) * time.Minute)
				name, try := r.write(w, step)
				before := w.everyone()
				dry, dryErr := try(DryRun())
				if got := w.everyone(); differing(before, got).Affected != (api.Affected{}) {
					t.Fatalf("step %d, %s: the dry run changed something", step, name)
				}
				real, err := try()
				if fmt.Sprint(err) != fmt.Sprint(dryErr) {
					t.Fatalf("step %d, %s: error %v, in the dry run %v", step, name, err, dryErr)
				}
				if err != nil {
					if model.CodeOf(err) == "" {
						t.Fatalf("step %d, %s: %v", step, name, err)
					}
					continue
				}
				want := differing(before, w.everyone())
				if dry.drawn || name == "import" {
					want.Heaviest = nil
				}
				if diff := gocmp.Diff(want, dry.effect); diff != "" {
					t.Fatalf("step %d, %s: effect (-want +got):\n%s", step, name, diff)
				}
				if !gocmp.Equal(real.effect, api.Effect{}) || real.dryRun || !dry.dryRun {
					t.Fatalf("step %d, %s: dry run marked wrongly", step, name)
				}
				if len(want.Heaviest) > 0 {
					named++
				}
			}
			if named < 6 {
				t.Errorf("only %d writes concerned anyone", named)
			}
		})
	}
}

// Between two dry runs subjects are counted again only if they changed.
func TestCountsAreKept(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	for _, id := range []string{"1", "2"} {
		must[api.Subject](t)(w.AddSubjectToGroup(ctx, "friends", id))
	}
	must[api.Rollout](t)(w.AddRollout(ctx, "foobar", "A"))
	try := func(want api.Affected, proportion float64) map[string]int64 {
		t.Helper()
		r := must[api.Rollout](t)(w.SetRolloutProportion(ctx, "foobar", proportion, DryRun()))
		if proportion == 1 && r.Affected != want {
			t.Errorf("affected %+v, want %+v", r.Affected, want)
		}
		revisions := map[string]int64{}
		for groups, counted := range w.counts.kept {
			revisions[groups] = counted.at.Revision
		}
		return revisions
	}
	everybody := api.Affected{Subjects: 100, Weight: 550}
	first := try(everybody, 1)
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "other"}))
	if !maps.Equal(try(everybody, 0.5), first) || !maps.Equal(try(everybody, 1), first) {
		t.Error("subjects that did not change were counted again")
	}
	must[api.Subject](t)(w.SetSubjectWeight(ctx, "1", 12))
	if maps.Equal(try(api.Affected{Subjects: 100, Weight: 560}, 1), first) {
		t.Error("a weight changed, and nothing was counted")
	}
	must[api.VariantReference](t)(w.AddGroupOverride(ctx, "friends", "foobar", "B"))
	second := try(api.Affected{Subjects: 98, Weight: 545}, 1)
	must[api.Subject](t)(w.RemoveSubjectFromGroup(ctx, "friends", "2"))
	if maps.Equal(try(api.Affected{Subjects: 99, Weight: 548}, 1), second) {
		t.Error("a member left, and nothing was counted")
	}
}

type outcome struct {
	effect        api.Effect
	dryRun, drawn bool
}

func outcomeOf[T any](r Result[T], err error) (outcome, error) {
	return outcome{r.Effect, r.DryRun, r.Drawn}, err
}

type random struct{ *rand.Rand }

func (r *random) pick(of ...string) string { return of[r.IntN(len(of))] }

// write draws a write, which need not be possible.
func (r *random) write(w *fixture, step int) (string, func(...Option) (outcome, error)) {
	ctx := w.t.Context()
	feature, variant := r.pick("foobar", "f1", "f2"), r.pick("A", "B")
	group, id := r.pick("friends", "g1", "g2"), fmt.Sprint(r.IntN(110))
	proportion := float64(r.IntN(11)) / 10
	priority := r.IntN(3)
	amount, off := 1+r.IntN(2), r.IntN(3) == 0
	// The last one: most others were changed again.
	revision := must[api.Page[api.Subject]](w.t)(w.Subjects(ctx, api.SubjectQuery{}, Page{Limit: 1})).Revision
	from, until := time.Duration(r.IntN(60)-30)*time.Minute, time.Duration(1+r.IntN(90))*time.Minute
	var imported []api.ImportLine
	for i := range 5 + r.IntN(20) {
		imported = append(imported, api.ImportLine{ID: fmt.Sprint(90 + r.IntN(10) + 10*i), Weight: ptr(r.Int64N(20))})
		if r.IntN(2) == 0 {
			imported[i].Groups = []string{r.pick("friends", "g1", "g2")}
		}
	}
	writes := map[string]func(...Option) (outcome, error){
		"add rollout":    func(o ...Option) (outcome, error) { return outcomeOf(w.AddRollout(ctx, feature, variant, o...)) },
		"delete rollout": func(o ...Option) (outcome, error) { return outcomeOf(w.DeleteRollout(ctx, feature, o...)) },
		"set proportion": func(o ...Option) (outcome, error) {
			return outcomeOf(w.SetRolloutProportion(ctx, feature, proportion, o...))
		},
		"set proportion2": func(o ...Option) (outcome, error) {
			return outcomeOf(w.SetRolloutProportion(ctx, feature, proportion, o...))
		},
		"patch rollout": func(o ...Option) (outcome, error) {
			return outcomeOf(w.PatchRollout(ctx, feature, api.PatchRollout{Variant: &variant, Proportion: &proportion}, o...))
		},
		"switch": func(o ...Option) (outcome, error) {
			return outcomeOf(w.PatchFeature(ctx, feature, api.PatchFeature{Off: &off}, o...))
		},
		"archive":        func(o ...Option) (outcome, error) { return outcomeOf(w.ArchiveFeature(ctx, feature, o...)) },
		"restore":        func(o ...Option) (outcome, error) { return outcomeOf(w.RestoreFeature(ctx, feature, o...)) },
		"revert":         func(o ...Option) (outcome, error) { return outcomeOf(w.Revert(ctx, revision, o...)) },
		"set default":    func(o ...Option) (outcome, error) { return outcomeOf(w.SetDefaultVariant(ctx, feature, variant, o...)) },
		"delete default": func(o ...Option) (outcome, error) { return outcomeOf(w.DeleteDefaultVariant(ctx, feature, o...)) },
		"add test": func(o ...Option) (outcome, error) {
			test := w.test(fmt.Sprintf("t%d", step), from, until)
			for i := range test.Groups {
				test.Groups[i].Variants = map[string]string{feature: []string{"A", "B"}[i]}
			}
			return outcomeOf(w.AddABTest(ctx, test, o...))
		},
		"stop test":   func(o ...Option) (outcome, error) { return outcomeOf(w.StopABTest(ctx, r.liveTest(w), o...)) },
		"add buckets": func(o ...Option) (outcome, error) { return outcomeOf(w.IncreaseBuckets(ctx, amount, o...)) },
		"add group": func(o ...Option) (outcome, error) {
			return outcomeOf(w.AddGroup(ctx, api.CreateGroup{Name: group}, o...))
		},
		"delete group": func(o ...Option) (outcome, error) { return outcomeOf(w.DeleteGroup(ctx, group, o...)) },
		"set override": func(o ...Option) (outcome, error) {
			return outcomeOf(w.AddGroupOverride(ctx, group, feature, variant, o...))
		},
		"delete override": func(o ...Option) (outcome, error) { return outcomeOf(w.DeleteGroupOverride(ctx, group, feature, o...)) },
		"set priority": func(o ...Option) (outcome, error) {
			return outcomeOf(w.PatchGroup(ctx, group, api.PatchGroup{Priority: &priority}, o...))
		},
		"join":  func(o ...Option) (outcome, error) { return outcomeOf(w.AddSubjectToGroup(ctx, group, id, o...)) },
		"join2": func(o ...Option) (outcome, error) { return outcomeOf(w.AddSubjectToGroup(ctx, group, id, o...)) },
		"leave": func(o ...Option) (outcome, error) { return outcomeOf(w.RemoveSubjectFromGroup(ctx, group, id, o...)) },
		"add subject": func(o ...Option) (outcome, error) {
			return outcomeOf(w.AddSubject(ctx, api.CreateSubject{ID: id}, o...))
		},
		"weigh subject": func(o ...Option) (outcome, error) { return outcomeOf(w.SetSubjectWeight(ctx, id, int64(step), o...)) },
		"delete subjects": func(o ...Option) (outcome, error) {
			return outcomeOf(w.DeleteSubjects(ctx, idsNear(id), o...))
		},
		"join many": func(o ...Option) (outcome, error) {
			return outcomeOf(w.AddSubjectsToGroup(ctx, group, idsNear(id), o...))
		},
		"leave many": func(o ...Option) (outcome, error) {
			return outcomeOf(w.RemoveSubjectsFromGroup(ctx, group, idsNear(id), o...))
		},
		"delete subject": func(o ...Option) (outcome, error) { return outcomeOf(w.DeleteSubject(ctx, id, o...)) },
		"import": func(o ...Option) (outcome, error) {
			return outcomeOf(w.ImportSubjects(ctx, linesOf(imported...), o...))
		},
	}
	name := r.pick(slices.Sorted(maps.Keys(writes))...)
	return name, writes[name]
}

func idsNear(id string) (ids []string) {
	for i := range 10 {
		ids = append(ids, id+fmt.Sprint(i))
	}
	return append(ids, id)
}

// liveTest is the name of the first live test, or of none.
func (r *random) liveTest(w *fixture) string {
	if items := must[api.Page[api.ABTest]](w.t)(w.ABTests(w.t.Context(), ABTestFilter{State: model.Live}, Page{})).Value.Items; len(items) > 0 {
		return items[0].Name
	}
	return "none"
}
