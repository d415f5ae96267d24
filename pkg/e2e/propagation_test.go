package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// BenchmarkPropagation measures how soon an edge serves a change: write-p50-ms from
// sending the write to the edge's first answer with it, notification-p50-ms from
// the admin's answer on.
//
//	go test -run '^$' -bench Propagation -benchtime 100x ./pkg/e2e
func BenchmarkPropagation(b *testing.B) {
	ctx := b.Context()
	admin, edge := startClients(b, flaggery.Timeout(20*time.Second))
	must[flaggery.Result[api.BucketIDs]](b)(admin.IncreaseBuckets(ctx, 100))
	lines := func(yield func(api.ImportLine, error) bool) {
		for i := range 1000 {
			if !yield(api.ImportLine{ID: fmt.Sprintf("subject-%d", i)}, nil) {
				return
			}
		}
	}
	must[flaggery.Result[api.Imported]](b)(admin.ImportSubjects(ctx, lines))
	must[flaggery.Result[api.Subject]](b)(admin.AddSubject(ctx, api.CreateSubject{ID: "42"}))
	must[flaggery.Result[api.Feature]](b)(admin.AddFeature(ctx, api.CreateFeature{Name: "foobar"}))
	must[flaggery.Result[api.Variant]](b)(admin.AddVariant(ctx, "foobar", api.CreateVariant{Name: "A", MakeDefault: true}))
	must[flaggery.Result[api.Variant]](b)(admin.AddVariant(ctx, "foobar", api.CreateVariant{Name: "B"}))

	var write, notification []time.Duration
	for b.Loop() {
		variant := []string{"A", "B"}[(len(write)+1)%2]
		sent := time.Now()
		written := must[flaggery.Result[api.VariantReference]](b)(admin.SetDefaultVariant(ctx, "foobar", variant))
		answered := time.Now()
		flags := must[flaggery.Flags](b)(edge.Flags(ctx, "42", flaggery.MinRevision(written.Revision, 10*time.Second)))
		write, notification = append(write, time.Since(sent)), append(notification, time.Since(answered))
		if got := flags.Variant("foobar"); got != variant {
			b.Fatalf("the edge says %s, want %s", got, variant)
		}
	}
	for name, took := range map[string][]time.Duration{"write": write, "notification": notification} {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2])/1e6, name+"-p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100])/1e6, name+"-p99-ms")
	}
}
