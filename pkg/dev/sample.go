package dev

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/writer"
)

// event is one write of the sample's past.
type event struct {
	days    float64 // before the start, at least 0.01 from any other event
	actor   string
	comment string
	do      step
}

// step carries a write out.
type step func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error

// addSampleData fills a new database with three weeks of an invented product. Each write
// is an ordinary one, by a clock that is set to its moment, so the audit, the history
// and tests of the past agree as those of any other database do.
func addSampleData(ctx context.Context, url string, now time.Time) (err error) {
	var clock time.Time
	db, err := postgres.Open(ctx, url, postgres.Options{Now: func() time.Time { return clock }})
	if err != nil {
		return err
	}
	w := writer.New(db, writer.Options{})
	defer func() { err = errors.Join(err, w.Close()) }()
	for i, e := range sampleEvents(now) {
		// Not all on the same second. The order stays, as events are at least 864 s apart.
		clock = before(now, e.days).Add(time.Duration(i*i%840) * time.Second)
		if err := e.do(ctx, w, writer.By(e.actor), writer.Comment(e.comment)); err != nil {
			return fmt.Errorf("%.2f days ago: %w", e.days, err)
		}
	}
	return nil
}

// before returns the moment some days before another one, or after it if they are negative.
func before(now time.Time, days float64) time.Time {
	return now.Add(-time.Duration(days * 24 * float64(time.Hour)))
}

// sampleEvents returns all events, the earliest first.
func sampleEvents(now time.Time) []event {
	events := sampleChanges(now)
	for _, f := range sampleFeatures {
		events = append(events, event{f.days, f.actor, "", f.add})
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(b.days, a.days) })
	return events
}

func (f feature) add(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
	create := api.CreateFeature{Name: f.name, Description: f.description, Tags: strings.Fields(f.tags)}
	for _, text := range strings.Split(f.variants, " | ") {
		name, payload, found := strings.Cut(text, " ")
		v := api.NewVariant{Name: name}
		if found {
			v.Payload = json.RawMessage(payload)
		}
		create.Variants = append(create.Variants, v)
	}
	if f.fallback == off {
		create.DisablingVariant = true
	}
	if f.fallback != "" {
		create.DefaultVariant = &f.fallback
	}
	if f.rollout != "" {
		create.Rollout = &api.CreateRollout{Variant: f.rollout}
	}
	return done(w.AddFeature(ctx, create, opts...))
}

// done drops the result of a write.
func done[T any](_ writer.Result[T], err error) error { return err }

func addBuckets(amount int) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.IncreaseBuckets(ctx, amount, opts...))
	}
}

func addGroup(name string, priority int) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.AddGroup(ctx, api.CreateGroup{Name: name, Priority: priority}, opts...))
	}
}

func importSubjects(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
	return done(w.ImportSubjects(ctx, sampleLines(), opts...))
}

func addSubject(id string, weight int64) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.AddSubject(ctx, api.CreateSubject{ID: id, Weight: &weight}, opts...))
	}
}

func join(group string, ids ...string) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.AddSubjectsToGroup(ctx, group, ids, opts...))
	}
}

func leave(group string, ids ...string) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.RemoveSubjectsFromGroup(ctx, group, ids, opts...))
	}
}

func setWeight(id string, weight int64) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.SetSubjectWeight(ctx, id, weight, opts...))
	}
}

func override(group, feature, variant string) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.AddGroupOverride(ctx, group, feature, variant, opts...))
	}
}

func rollOut(feature string, proportion float64) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.SetRolloutProportion(ctx, feature, proportion, opts...))
	}
}

func setDefault(feature, variant string) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.SetDefaultVariant(ctx, feature, variant, opts...))
	}
}

func patch(feature string, p api.PatchFeature) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.PatchFeature(ctx, feature, p, opts...))
	}
}

func switchOff(feature string) step { return patch(feature, api.PatchFeature{Off: new(true)}) }

func switchOn(feature string) step { return patch(feature, api.PatchFeature{Off: new(false)}) }

func archive(feature string) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.ArchiveFeature(ctx, feature, opts...))
	}
}

// testOf plans a test of a feature, whose groups have their variants in the given order.
func testOf(feature string, test api.CreateABTest, variants ...string) step {
	for i, variant := range variants {
		test.Groups[i].Variants = map[string]string{feature: variant}
	}
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.AddABTest(ctx, test, opts...))
	}
}

func stop(test string) step {
	return func(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
		return done(w.StopABTest(ctx, test, opts...))
	}
}

// revertLast reverts the event before it in time.
func revertLast(ctx context.Context, w *writer.Writer, opts ...writer.Option) error {
	revision, err := w.Revision(ctx)
	if err != nil {
		return err
	}
	return done(w.Revert(ctx, revision, opts...))
}
