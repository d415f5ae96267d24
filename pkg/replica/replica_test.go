package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// fake is a source that is told what to answer. One subject, "s", gets variant
// vN at revision N.
type fake struct {
	sync.Mutex
	position  model.Position
	fail      error                // of Update
	spoil     func(*model.Update)  // what is handed over
	asked     []model.Position     // since where
	answering chan struct{}        // not nil: Update waits for it
	heard     chan func(news bool) // of Listen
	reports   []string
}

func (f *fake) Update(_ context.Context, since model.Position, apply func(*model.Update) error) error {
	f.Lock()
	f.asked = append(f.asked, since)
	at, fail, spoil, answering := f.position, f.fail, f.spoil, f.answering
	f.Unlock()
	if answering != nil {
		<-answering
	}
	if fail != nil {
		return fail
	}
	u := &model.Update{Position: at, Now: time.Now().Add(time.Hour), Received: time.Now()}
	variant := fmt.Sprintf("v%d", at.Revision)
	if since.Epoch != at.Epoch {
		u.Full, u.Count = true, 1
		u.Subjects = func(each func(*model.SubjectUpdate) error) error {
			return each(&model.SubjectUpdate{ID: []byte("s"), Bucket: 1})
		}
	}
	if since != at {
		u.Configuration = &model.Configuration{Buckets: 1, Features: []model.Feature{
			{Name: "f", Default: variant, Variants: []model.Variant{{Name: variant}}}}}
	}
	if spoil != nil {
		spoil(u)
	}
	return apply(u)
}

func (f *fake) Listen(ctx context.Context, heard func(news bool)) {
	f.heard <- heard
	<-ctx.Done()
}

func (f *fake) Report(at model.Position, refusing bool) {
	f.Lock()
	defer f.Unlock()
	f.reports = append(f.reports, fmt.Sprint(at.Revision, refusing))
}

// set changes what the source does.
func (f *fake) set(change func()) {
	f.Lock()
	defer f.Unlock()
	change()
}

func (f *fake) reported() string {
	f.Lock()
	defer f.Unlock()
	return fmt.Sprint(f.reports)
}

// told is how often Update was called, and since where last.
func (f *fake) told() (times int, last model.Position) {
	f.Lock()
	defer f.Unlock()
	return len(f.asked), f.asked[len(f.asked)-1]
}

// follow runs body in a bubble with a replica of a fake source, which has loaded
// revision 1.
func follow(t *testing.T, body func(t *testing.T, f *fake, r *Replica, heard func(news bool))) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{position: model.Position{Epoch: "e", Revision: 1, At: time.Now()}, heard: make(chan func(bool), 1)}
		r := New(f, Options{Unknown: snapshot.Reject, Poll: time.Second, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		synctest.Wait()
		body(t, f, r, <-f.heard)
		cancel()
		<-ended
	})
}

func expect(t *testing.T, r *Replica, revision int64) {
	t.Helper()
	synctest.Wait()
	s := r.Snapshot()
	if s == nil || s.Revision != revision {
		t.Fatalf("serves %v, want revision %d", s, revision)
	}
	want := fmt.Sprintf("v%d", revision)
	if got := s.Body(s.Class("s"), r.DatabaseTime(time.Now())).Flags[0].Variant; got != want {
		t.Fatalf("serves %s, want %s", got, want)
	}
}

func TestBell(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, heard func(bool)) {
		expect(t, r, 1)
		waited := make(chan error)
		go func() { waited <- r.WaitFor(t.Context(), 2) }()
		synctest.Wait()
		f.set(func() { f.position.Revision = 2 })
		heard(true)
		if err := <-waited; err != nil {
			t.Error(err)
		}
		expect(t, r, 2)
		f.set(func() { f.position.Revision = 3 })
		heard(false)
		expect(t, r, 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := r.WaitFor(ctx, 4); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for a revision that never comes: %v", err)
		}
		time.Sleep(5 * time.Second)
		if n := testutil.ToFloat64(r.metrics.unannounced); n != 0 {
			t.Errorf("%v changes count as unannounced", n)
		}
		if got, want := f.reported(), "[1 false 2 false 3 false]"; got != want {
			t.Errorf("reports are %s, want %s", got, want)
		}
	})
}

func TestBurstOfBells(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, heard func(bool)) {
		f.set(func() { f.answering = make(chan struct{}) })
		heard(true)
		synctest.Wait() // one question is under way
		asked, _ := f.told()
		for range 1000 {
			f.set(func() { f.position.Revision++ })
			heard(true)
		}
		close(f.answering)
		expect(t, r, 1001)
		if n, _ := f.told(); n-asked != 1 {
			t.Errorf("1000 bells during a question led to %d more, want 1", n-asked)
		}
	})
}

func TestLostBell(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, heard func(bool)) {
		f.set(func() { f.position.Revision = 2 })
		time.Sleep(1001 * time.Millisecond)
		expect(t, r, 2)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := testutil.ToFloat64(r.metrics.unannounced); n != 1 {
			t.Errorf("%v changes count as unannounced, want 1", n)
		}
		// A bell that comes a little after the poll is not lost.
		f.set(func() { f.position.Revision = 3 })
		time.Sleep(time.Second)
		synctest.Wait()
		heard(true)
		time.Sleep(3 * time.Second)
		if n := testutil.ToFloat64(r.metrics.unannounced); n != 1 {
			t.Errorf("%v changes count as unannounced, want 1", n)
		}
	})
}

func TestSourceAway(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, heard func(bool)) {
		f.set(func() { f.fail = errors.New("away") })
		time.Sleep(time.Hour)
		expect(t, r, 1)
		if age, stale := r.Age(time.Now()); !stale || age < time.Hour-time.Second {
			t.Errorf("after an hour: %v old, stale %v", age, stale)
		}
		if n, _ := f.told(); n < 1800 || n > 14400 {
			t.Errorf("asked %d times in an hour", n)
		}
		f.set(func() { f.fail, f.position.Revision = nil, 7 })
		time.Sleep(maxDelay)
		expect(t, r, 7)
		if age, stale := r.Age(time.Now()); stale {
			t.Errorf("back in sync: %v old and stale", age)
		}

		f.set(func() { f.fail = errors.New("away") })
		time.Sleep(time.Minute)
		synctest.Wait()
		f.set(func() { f.fail, f.position.Revision = nil, 8 })
		heard(false) // connected again: no need to wait
		expect(t, r, 8)
	})
}

func TestSourceAwayAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{position: model.Position{Epoch: "e", Revision: 1}, heard: make(chan func(bool), 1), fail: errors.New("away")}
		r := New(f, Options{Poll: time.Second, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if r.Snapshot() != nil {
			t.Error("there is a snapshot of nothing")
		}
		if n, _ := f.told(); n < 120 || n > 1200 {
			t.Errorf("asked %d times in an hour", n)
		}
		f.set(func() { f.fail = nil })
		time.Sleep(maxLoadDelay)
		expect(t, r, 1)
		cancel()
		<-ended
	})
}

func TestRefused(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, heard func(bool)) {
		f.set(func() {
			f.position.Revision = 2
			f.spoil = func(u *model.Update) {
				if u.Configuration != nil {
					u.Configuration.Features[0].Default = "nothing"
				}
			}
		})
		heard(true)
		expect(t, r, 1)
		if n := testutil.ToFloat64(r.metrics.refused.WithLabelValues(string(snapshot.Inconsistent))); n != 1 {
			t.Errorf("%v updates count as refused, want 1", n)
		}
		if got, want := f.reported(), "[1 false 1 true]"; got != want {
			t.Errorf("reports are %s, want %s", got, want)
		}
		time.Sleep(time.Minute)
		if _, stale := r.Age(time.Now()); !stale {
			t.Error("refusing, and not stale")
		}
		if _, last := f.told(); last.Revision != 1 {
			t.Errorf("asks for what came after %v", last)
		}
		f.set(func() { f.spoil, f.position.Revision = nil, 3 })
		time.Sleep(maxDelay)
		expect(t, r, 3)

		// The revision goes back within the epoch: not served, nor built upon.
		f.set(func() { f.position.Revision, f.spoil = 2, func(u *model.Update) { u.Full = true } })
		time.Sleep(time.Minute)
		expect(t, r, 3)
		if n := testutil.ToFloat64(r.metrics.refused.WithLabelValues(string(snapshot.RevisionBack))); n < 10 {
			t.Errorf("%v updates count as refused", n)
		}
		// A new epoch says that this is meant.
		f.set(func() { f.spoil, f.position.Epoch = nil, "restored" })
		time.Sleep(maxDelay)
		expect(t, r, 2)
	})
}

// TestChangeThatDoesNotFit leads to a full load, as what is here must be wrong.
func TestChangeThatDoesNotFit(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, heard func(bool)) {
		f.set(func() {
			f.position.Revision = 2
			f.spoil = func(u *model.Update) {
				if !u.Full {
					u.Subjects = func(each func(*model.SubjectUpdate) error) error {
						return each(&model.SubjectUpdate{ID: []byte("nobody"), Bucket: 1})
					}
				}
			}
		})
		heard(true)
		time.Sleep(firstDelay)
		expect(t, r, 2)
		if _, last := f.told(); last != (model.Position{}) {
			t.Errorf("asked for what came after %v, want everything", last)
		}
	})
}

// TestDatabaseTime has a database whose clock is an hour ahead, and steps.
func TestDatabaseTime(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, _ func(bool)) {
		time.Sleep(300 * time.Millisecond)
		now := time.Now()
		if got, want := r.DatabaseTime(now), now.Add(time.Hour); !got.Equal(want) {
			t.Errorf("the database's time is %v, want %v", got, want)
		}
		f.set(func() { f.spoil = func(u *model.Update) { u.Now = u.Now.Add(time.Minute) } })
		time.Sleep(time.Second)
		now = time.Now()
		if got, want := r.DatabaseTime(now), now.Add(time.Hour+time.Minute); !got.Equal(want) {
			t.Errorf("the database's time is %v, want %v", got, want)
		}
	})
}

// TestMetricNames keeps what dashboards and alerts rely on.
func TestMetricNames(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	r := New(&fake{}, Options{Registry: registry, Logger: slog.New(slog.DiscardHandler)})
	r.Counts().Add([]snapshot.Flag{{Feature: "f", Variant: "A"}})
	for _, name := range []string{
		"flaggery_edge_revision", "flaggery_edge_subjects", "flaggery_edge_features", "flaggery_edge_buckets",
		"flaggery_edge_snapshot_age_seconds", "flaggery_edge_stale", "flaggery_edge_updates_refused_total",
		"flaggery_edge_update_duration_seconds", "flaggery_edge_propagation_seconds", "flaggery_edge_bells_total",
		"flaggery_edge_unannounced_changes_total", "flaggery_edge_variant_served_total",
	} {
		if n, err := testutil.GatherAndCount(registry, name); n == 0 || err != nil {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
	if problems, err := testutil.GatherAndLint(registry); len(problems) > 0 || err != nil {
		t.Error(problems, err)
	}
}
