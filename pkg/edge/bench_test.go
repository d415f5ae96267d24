package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/shortcut"
	"github.com/flaggery/flaggery/pkg/web"
)

// source has subjects 0 … n-1 and 20 features, at the revision that it is set to.
type source struct {
	subjects int
	tokens   []auth.Credential
	revision atomic.Int64 // 0 while it is unreachable
}

func (s *source) Update(_ context.Context, since model.Position, apply func(*model.Update) error) error {
	revision := s.revision.Load()
	if revision == 0 {
		return errors.New("away")
	}
	u := &model.Update{Position: model.Position{Epoch: "e", Revision: revision}, Now: time.Now(), Received: time.Now()}
	if since != u.Position {
		u.Full, u.Count, u.Configuration, u.Tokens = true, int64(s.subjects), &model.Configuration{Buckets: 100}, s.tokens
		for i := range 20 {
			u.Configuration.Features = append(u.Configuration.Features, model.Feature{
				Name: fmt.Sprintf("feature-number-%02d", i), Default: "treatment", Variants: []model.Variant{{Name: "treatment"}}})
		}
		u.Subjects = func(yield func(*model.SubjectUpdate, error) bool) {
			for i := range s.subjects {
				if !yield(&model.SubjectUpdate{ID: fmt.Append(nil, i), Bucket: model.BucketID(1 + i%100)}, nil) {
					return
				}
			}
		}
	}
	return apply(u)
}

func (*source) Listen(ctx context.Context, _ func(bool)) { <-ctx.Done() }
func (*source) Report(model.Position, bool)              {}

// serving is an edge that serves a source's first revision, without a listener.
func serving(t testing.TB, from *source, change func(*Config)) *service {
	t.Helper()
	config := Config{Unknown: "reject", Poll: time.Second, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&config)
	}
	from.revision.Store(123456)
	e := newService(config, from)
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
	e := serving(t, &source{subjects: 1000}, nil)
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
	dst, vector, id, etag := make([]byte, 0, 4096), make([][]byte, 0, 1), []byte("77"), []byte(w.header.Get("ETag"))
	if n := testing.AllocsPerRun(100, func() {
		if _, body, ok := e.answerShort(dst, vector, shortcut.Request{Value: id}); !ok || len(body) == 0 {
			t.Error("nothing was answered")
		}
		if _, body, ok := e.answerShort(dst, vector, shortcut.Request{Value: id, IfNoneMatch: etag}); !ok || len(body) != 0 {
			t.Error("304 expected")
		}
	}); n != 0 {
		t.Errorf("the shortcut allocates %v times", n)
	}
}

// The name of the environment costs a request nothing: it is rendered before.
func TestEnvironmentNoAlloc(t *testing.T) {
	allocations := func(environment web.Environment, path string) float64 {
		e := serving(t, &source{subjects: 1000}, func(c *Config) { c.Environment = environment })
		dst, vector := make([]byte, 0, 4096), make([][]byte, 0, 1)
		r := shortcut.Request{Value: []byte(path), Body: []byte(`{"context":{"targetingKey":"77"}}`)}
		return testing.AllocsPerRun(100, func() {
			if _, body, ok := e.evaluateShort(dst, vector, r); !ok || len(body) == 0 {
				t.Error("nothing was answered")
			}
		})
	}
	for _, path := range []string{"", "/feature-number-01"} {
		if without, with := allocations("", path), allocations("production", path); with > without {
			t.Errorf("%q allocates %v times with an environment, %v times without", path, with, without)
		}
	}
}

func BenchmarkHotPath(b *testing.B) {
	e := serving(b, &source{subjects: 1_000_000}, nil)
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
		dst, vector := make([]byte, 0, 4096), make([][]byte, 0, 1)
		for i := range b.N {
			if _, _, ok := e.answerShort(dst, vector, shortcut.Request{Value: ids[i&(1<<12-1)]}); !ok {
				b.Fatal("not answered")
			}
		}
	})
}

// BenchmarkBatch measures the cost of a subject in batches of 1,000, without the
// network.
func BenchmarkBatch(b *testing.B) {
	e := serving(b, &source{subjects: 1_000_000}, nil)
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = strconv.Quote(strconv.Itoa(i * 7919 % 1_000_000))
	}
	body := `{"subject_ids":[` + strings.Join(ids, ",") + `]}`
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/v1/subjects/flags", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		e.ServeHTTP(w, r)
	}
	if w.status != http.StatusOK {
		b.Fatal("status", w.status)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/subject")
}

// BenchmarkEvaluation measures the cost of OFREP, without the network.
func BenchmarkEvaluation(b *testing.B) {
	e := serving(b, &source{subjects: 1_000_000}, nil)
	for name, path := range map[string]string{"all": evaluateFlags.Path, "one": evaluateFlags.Path + "/feature-number-07"} {
		b.Run(name, func(b *testing.B) {
			w := &discard{header: http.Header{}}
			body := strings.NewReader("")
			r := httptest.NewRequest("POST", path, body)
			b.ReportAllocs()
			for i := range b.N {
				text := `{"context":{"targetingKey":"` + strconv.Itoa(i*7919%1_000_000) + `"}}`
				body.Reset(text)
				r.Body, r.ContentLength = io.NopCloser(body), int64(len(text))
				e.ServeHTTP(w, r)
			}
		})
	}
}
