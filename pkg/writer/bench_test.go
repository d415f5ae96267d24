package writer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/state"
)

// BenchmarkWrites compares single writes with the least that any write could be:
// BEGIN, UPDATE, NOTIFY, COMMIT on one row, durably. Both run in turns, as machines are
// noisy: "of-bare" is the median of how many writes fit in the time of the least.
func BenchmarkWrites(b *testing.B) {
	w, err := Open(b.Context(), pgtest.Server(b).URL(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	ctx := b.Context()
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	check(second(w.IncreaseBuckets(ctx, 100)))
	check(second(w.ImportSubjects(ctx, lines(1000))))
	check(second(w.AddFeature(ctx, api.CreateFeature{Name: "f"})))
	check(second(w.AddVariant(ctx, "f", api.CreateVariant{Name: "A"})))
	check(second(w.AddRollout(ctx, "f", "A")))
	check(second(w.AddGroup(ctx, api.CreateGroup{Name: "g"})))
	conn, err := w.db.SQL().Conn(ctx)
	check(err)
	defer conn.Close()
	check(second(conn.ExecContext(ctx, `CREATE TABLE bare (n integer); INSERT INTO bare VALUES (0)`)))
	bare := func() {
		for _, statement := range []string{`BEGIN`, `UPDATE bare SET n = n + 1`, `NOTIFY bare`, `COMMIT`} {
			check(second(conn.ExecContext(ctx, statement)))
		}
	}
	for name, write := range map[string]func(i int) error{
		"weight": func(i int) error { return second(w.SetSubjectWeight(ctx, "42", int64(i+1_000_000))) },
		"subject": func(i int) error {
			return second(w.AddSubject(ctx, api.CreateSubject{ID: fmt.Sprint("new", i, time.Now().UnixNano())}))
		},
		"rollout": func(i int) error {
			return second(w.SetRolloutProportion(ctx, "f", float64(time.Now().Nanosecond())/1e9))
		},
		"override": func(i int) error { return second(w.PatchGroup(ctx, "g", api.PatchGroup{Priority: &i})) },
	} {
		b.Run(name, func(b *testing.B) {
			var ratios []float64
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				bare()
				middle := time.Now()
				check(write(i))
				ratios = append(ratios, middle.Sub(start).Seconds()/time.Since(middle).Seconds())
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "of-bare")
		})
	}
}

// BenchmarkApplyState applies a document of 1,000 features, then again, and exports it.
func BenchmarkApplyState(b *testing.B) {
	ctx := b.Context()
	features := map[string]*state.Feature{}
	for i := range 1000 {
		features[fmt.Sprintf("feature-%04d", i)] = &state.Feature{
			Description: state.Of("One of many"), Tags: state.Of([]string{"many"}),
			Variants: map[string]*state.Variant{"A": {}, "B": {}, model.DisablingVariant: {}},
			Default:  state.Of(model.DisablingVariant), Rollout: state.Of(state.Rollout{Variant: "A", Proportion: state.Of(0.5)}),
		}
	}
	doc := &state.Document{Version: state.Version, Owner: "bench", Features: features}
	for b.Loop() {
		b.StopTimer()
		w, err := Open(ctx, pgtest.Open(b), Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.IncreaseBuckets(ctx, 1000); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for _, step := range []struct {
			name string
			run  func() error
		}{
			{"new-s", func() error { return second(w.ApplyState(ctx, doc, ApplyOptions{})) }},
			{"again-s", func() error { return second(w.ApplyState(ctx, doc, ApplyOptions{})) }},
			{"export-s", func() error { return second(w.State(ctx, StateFilter{})) }},
		} {
			start := time.Now()
			if err := step.run(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(start).Seconds(), step.name)
		}
		b.StopTimer()
		_ = w.Close()
		b.StartTimer()
	}
}
