package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// loaded is a source that hands over subjects 0 … n-1 and 20 features once.
type loaded struct{ n int }

func (l loaded) Update(_ context.Context, since model.Position, apply func(*model.Update) error) error {
	u := &model.Update{Position: model.Position{Epoch: "e", Revision: 123456}, Now: time.Now(), Received: time.Now()}
	if since != u.Position {
		u.Full, u.Count, u.Configuration = true, int64(l.n), &model.Configuration{Buckets: 100}
		for i := range 20 {
			u.Configuration.Features = append(u.Configuration.Features, model.Feature{
				Name: fmt.Sprintf("feature-number-%02d", i), Default: "treatment", Variants: []model.Variant{{Name: "treatment"}}})
		}
		u.Subjects = func(each func(*model.SubjectUpdate) error) error {
			for i := range l.n {
				if err := each(&model.SubjectUpdate{ID: fmt.Append(nil, i), Bucket: model.BucketID(1 + i%100)}); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return apply(u)
}

func (loaded) Listen(ctx context.Context, _ func(bool)) { <-ctx.Done() }
func (loaded) Report(model.Position, bool)              {}

func serving(t testing.TB, subjects int) *service {
	t.Helper()
	e := newService(Config{Unknown: "reject", Poll: time.Hour, Logger: slog.New(slog.DiscardHandler)}, loaded{subjects})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); e.replica.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	if err := e.replica.WaitFor(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return e
}

// discard is a ResponseWriter that costs nothing.
type discard struct {
	header http.Header
	status int
	bytes  int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { d.bytes += len(p); return len(p), nil }

func TestHotPathNoAlloc(t *testing.T) {
	e := serving(t, 1000)
	w := &discard{header: http.Header{}}
	r := httptest.NewRequest("GET", "/v1/subject/flags?subject_id=77", nil)
	if n := testing.AllocsPerRun(100, func() { e.ServeHTTP(w, r) }); n != 0 {
		t.Errorf("the handler allocates %v times", n)
	}
	if w.bytes == 0 {
		t.Error("nothing was answered")
	}
	r.Header.Set("If-None-Match", w.header.Get("ETag"))
	if n := testing.AllocsPerRun(100, func() { e.ServeHTTP(w, r) }); n != 0 {
		t.Errorf("the handler allocates %v times for a 304", n)
	}
	if w.status != http.StatusNotModified {
		t.Errorf("the status is %d", w.status)
	}
	dst, id, etag := make([]byte, 0, 4096), []byte("77"), []byte(w.header.Get("ETag"))
	if n := testing.AllocsPerRun(100, func() {
		if _, body, ok := e.answerShort(dst, id, nil); !ok || len(body) == 0 {
			t.Error("nothing was answered")
		}
		if _, body, ok := e.answerShort(dst, id, etag); !ok || len(body) != 0 {
			t.Error("304 expected")
		}
	}); n != 0 {
		t.Errorf("the shortcut allocates %v times", n)
	}
}

func BenchmarkHotPath(b *testing.B) {
	e := serving(b, 1_000_000)
	requests := make([]*http.Request, 1<<12)
	ids := make([][]byte, len(requests))
	for i := range requests {
		ids[i] = fmt.Append(nil, i*7919%1_000_000)
		requests[i] = httptest.NewRequest("GET", fmt.Sprintf("/v1/subject/flags?subject_id=%s", ids[i]), nil)
	}
	b.Run("handler", func(b *testing.B) {
		b.ReportAllocs()
		w := &discard{header: http.Header{}}
		for i := range b.N {
			e.ServeHTTP(w, requests[i&(1<<12-1)])
		}
	})
	b.Run("shortcut", func(b *testing.B) {
		b.ReportAllocs()
		dst := make([]byte, 0, 4096)
		for i := range b.N {
			if _, _, ok := e.answerShort(dst, ids[i&(1<<12-1)], nil); !ok {
				b.Fatal("not answered")
			}
		}
	})
}

// BenchmarkBatch tells the cost of a subject in batches of 1,000, HTTP left out.
func BenchmarkBatch(b *testing.B) {
	e := serving(b, 1_000_000)
	in := &struct{ Body api.BatchFlagsRequest }{}
	for i := range 1000 {
		in.Body.SubjectIDs = append(in.Body.SubjectIDs, fmt.Sprint(i*7919%1_000_000))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.postFlags(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/subject")
}
