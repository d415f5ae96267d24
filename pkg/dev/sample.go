package dev

import (
	"context"
	"iter"
	"strconv"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/writer"
)

const (
	sampleBuckets  = 200
	sampleSubjects = 1000
)

// sampleFeature is a feature of the sample data alone.
const sampleFeature = "new-checkout"

// addSampleData creates an example of everything: a rollout, a test that is live
// for a month, and a group with an override. Subject 42 is in the group.
func addSampleData(ctx context.Context, w *writer.Writer, now time.Time) error {
	by := writer.By("sample data")
	proportion := func(p float64) *float64 { return &p }
	steps := []func() error{
		func() error { _, err := w.IncreaseBuckets(ctx, sampleBuckets, by); return err },
		func() error {
			_, err := w.AddGroup(ctx, api.CreateGroup{Name: "friends"}, by)
			return err
		},
		func() error { _, err := w.ImportSubjects(ctx, sampleLines(), by); return err },

		addFeature(ctx, w, sampleFeature, "The checkout on one page, on its way to everybody.", "on", by),
		func() error { _, err := w.AddRollout(ctx, sampleFeature, "on", by); return err },
		func() error { _, err := w.SetRolloutProportion(ctx, sampleFeature, 0.1, by); return err },

		addFeature(ctx, w, "search-ranking", "By meaning instead of by words, under test.", "semantic", by),
		func() error {
			_, err := w.AddABTest(ctx, api.CreateABTest{
				Name: "search-ranking-trial", Start: now, End: now.AddDate(0, 1, 0),
				Groups: []api.CreateTestGroup{
					{Name: "control", Proportion: proportion(0.8), Variants: map[string]string{"search-ranking": model.DisablingVariant}},
					{Name: "experiment", Proportion: proportion(0.2), Variants: map[string]string{"search-ranking": "semantic"}},
				},
			}, by)
			return err
		},

		addFeature(ctx, w, "dark-mode", "For our friends only, as yet.", "on", by),
		func() error { _, err := w.AddGroupOverride(ctx, "friends", "dark-mode", "on", by); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// addFeature creates a feature that is off by default.
func addFeature(ctx context.Context, w *writer.Writer, name, description, variant string, by writer.Option) func() error {
	return func() error {
		if _, err := w.AddFeature(ctx, api.CreateFeature{Name: name, Description: description}, by); err != nil {
			return err
		}
		if _, err := w.AddVariant(ctx, name, api.CreateVariant{Name: variant}, by); err != nil {
			return err
		}
		_, err := w.AddDisablingVariant(ctx, name, api.CreateDisablingVariant{MakeDefault: true}, by)
		return err
	}
}

// sampleLines are a business's clients: a few large ones and many small ones.
func sampleLines() iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		for i := int64(1); i <= sampleSubjects; i++ {
			weight := 1 + 300/(i+9)
			line := api.ImportLine{ID: strconv.FormatInt(i, 10), Weight: &weight}
			if i == 7 || i == 42 || i == 99 {
				line.Groups = []string{"friends"}
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}
