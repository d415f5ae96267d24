package edge

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// reloading is a source that returns all subjects for each query, at the next revision.
type reloading struct {
	subjects int
	during   func(revision int64) // called repeatedly during a load
}

func (r *reloading) Update(_ context.Context, since model.Position, apply func(*model.Update) error) error {
	return apply(&model.Update{
		Position: model.Position{Epoch: "e", Revision: since.Revision + 1}, Now: time.Now(), Received: time.Now(),
		Full: true, Count: int64(r.subjects), Configuration: &model.Configuration{Buckets: 100},
		Subjects: func(yield func(*model.SubjectUpdate, error) bool) {
			for i := range r.subjects {
				if i%(1<<12) == 0 {
					r.during(since.Revision + 1)
				}
				if !yield(&model.SubjectUpdate{ID: fmt.Append(nil, i), Bucket: model.BucketID(1 + i%100)}, nil) {
					return
				}
			}
		},
	})
}

func (*reloading) Listen(ctx context.Context, _ func(bool)) { <-ctx.Done() }
func (*reloading) Report(model.Position, bool)              {}

// reload follows the source until it has loaded everything several times.
func (r *reloading) reload(t testing.TB, times int64) *service {
	e := newService(Config{Unknown: "reject", Poll: time.Microsecond, Logger: slog.New(slog.DiscardHandler)}, r)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); e.replica.Run(ctx) }()
	if err := e.replica.WaitFor(t.Context(), times); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-ended
	return e
}

func readMetric(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// The setting belongs to the process, so this test runs alone.
func TestLoadsLowerGCPercent(t *testing.T) {
	const gogc = "/gc/gogc:percent"
	before := readMetric(gogc)
	during := uint64(0)
	source := &reloading{subjects: 1, during: func(int64) { during = readMetric(gogc) }}
	source.reload(t, 2)
	if want := min(before, loadGC); during != want {
		t.Errorf("GOGC is %d during a load, want %d", during, want)
	}
	restore, again := LowerGCPercent(), LowerGCPercent()
	again()
	if got, want := readMetric(gogc), min(before, loadGC); got != want {
		t.Errorf("GOGC is %d during the second of two loads, want %d", got, want)
	}
	restore()
	if got := readMetric(gogc); got != before {
		t.Errorf("GOGC is %d after all loads, want %d as before", got, before)
	}
}

// BenchmarkReload compares the peak memory of a reload of a million subjects with the
// memory of the loaded subjects.
func BenchmarkReload(b *testing.B) {
	const heap = "/memory/classes/heap/objects:bytes"
	peak := uint64(0)
	source := &reloading{subjects: 1_000_000, during: func(revision int64) {
		if revision > 1 {
			peak = max(peak, readMetric(heap))
		}
	}}
	for b.Loop() {
		e := source.reload(b, 5)
		runtime.GC()
		b.ReportMetric(float64(peak)/float64(readMetric(heap)), "peak/rest")
		runtime.KeepAlive(e)
	}
}
