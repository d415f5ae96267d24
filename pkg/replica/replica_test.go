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

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// fake is a source whose answers a test sets. One subject, "s", gets variant vN at
// revision N.
type fake struct {
	sync.Mutex
	position  model.Position
	fail      error                   // of Update
	spoil     func(*model.Update)     // changes the update
	asked     []model.Position        // since which changes were queried
	answering chan struct{}           // not nil: Update waits for it
	listening chan func(changed bool) // the argument of Listen
	reports   []string
	observed
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
		u.Subjects = func(yield func(*model.SubjectUpdate, error) bool) {
			yield(&model.SubjectUpdate{ID: []byte("s"), Bucket: 1}, nil)
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

func (f *fake) Listen(ctx context.Context, notified func(changed bool)) {
	f.listening <- notified
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

// questions is how often Update was called, and its last position.
func (f *fake) questions() (times int, last model.Position) {
	f.Lock()
	defer f.Unlock()
	return len(f.asked), f.asked[len(f.asked)-1]
}

// follow runs body in a bubble with a replica of a fake source, which has loaded
// revision 1.
func follow(t *testing.T, body func(t *testing.T, f *fake, r *Replica, notify func(changed bool))) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{position: model.Position{Epoch: "e", Revision: 1, At: time.Now()}, listening: make(chan func(bool), 1)}
		r := New(f, Options{Unknown: snapshot.Reject, Poll: time.Second, Logger: slog.New(slog.DiscardHandler), Observer: f})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		synctest.Wait()
		body(t, f, r, <-f.listening)
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

func TestNotification(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, notify func(bool)) {
		expect(t, r, 1)
		waited := make(chan error)
		go func() { waited <- r.WaitFor(t.Context(), 2) }()
		synctest.Wait()
		f.set(func() { f.position.Revision = 2 })
		notify(true)
		if err := <-waited; err != nil {
			t.Error(err)
		}
		expect(t, r, 2)
		f.set(func() { f.position.Revision = 3 })
		notify(false)
		expect(t, r, 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := r.WaitFor(ctx, 4); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for a revision that never comes: %v", err)
		}
		time.Sleep(5 * time.Second)
		for event, want := range map[string]int{
			"notified": 1, "connected": 1, "unannounced": 0, "progressed": 1, "updated": 3, "propagated": 2, "failed": 0,
		} {
			if n := f.times(event); n != want {
				t.Errorf("%s %d times, want %d", event, n, want)
			}
		}
		if got, want := f.reported(), "[1 false 2 false 3 false]"; got != want {
			t.Errorf("reports are %s, want %s", got, want)
		}
	})
}

func TestBurstOfNotifications(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, notify func(bool)) {
		f.set(func() { f.answering = make(chan struct{}) })
		notify(true)
		synctest.Wait() // one query is in flight
		asked, _ := f.questions()
		for range 1000 {
			f.set(func() { f.position.Revision++ })
			notify(true)
		}
		close(f.answering)
		expect(t, r, 1001)
		if n, _ := f.questions(); n-asked != 1 {
			t.Errorf("1000 notifications during a question led to %d more, want 1", n-asked)
		}
	})
}

func TestLostNotification(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, notify func(bool)) {
		f.set(func() { f.position.Revision = 2 })
		time.Sleep(1001 * time.Millisecond)
		expect(t, r, 2)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := f.times("unannounced"); n != 1 {
			t.Errorf("%v changes count as unannounced, want 1", n)
		}
		// A notification that arrives a little after the poll is not lost.
		f.set(func() { f.position.Revision = 3 })
		time.Sleep(time.Second)
		synctest.Wait()
		notify(true)
		time.Sleep(3 * time.Second)
		if n := f.times("unannounced"); n != 1 {
			t.Errorf("%v changes count as unannounced, want 1", n)
		}
	})
}

func TestSourceAway(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, notify func(bool)) {
		f.set(func() { f.fail = errors.New("away") })
		time.Sleep(time.Hour)
		expect(t, r, 1)
		if age, stale := r.Age(time.Now()); !stale || age < time.Hour-time.Second {
			t.Errorf("after an hour: %v old, stale %v", age, stale)
		}
		asked, _ := f.questions()
		if asked < 1800 || asked > 14400 {
			t.Errorf("asked %d times in an hour", asked)
		}
		if n := f.times("failed"); n != asked-1 {
			t.Errorf("%d failures observed in an hour, want %d", n, asked-1)
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
		notify(false) // connected again: no need to wait
		expect(t, r, 8)
	})
}

func TestSourceAwayAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{position: model.Position{Epoch: "e", Revision: 1}, listening: make(chan func(bool), 1), fail: errors.New("away")}
		r := New(f, Options{Poll: time.Second, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if r.Snapshot() != nil {
			t.Error("there is a snapshot of nothing")
		}
		if n, _ := f.questions(); n < 120 || n > 1200 {
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
	follow(t, func(t *testing.T, f *fake, r *Replica, notify func(bool)) {
		f.set(func() {
			f.position.Revision = 2
			f.spoil = func(u *model.Update) {
				if u.Configuration != nil {
					u.Configuration.Features[0].Default = "nothing"
				}
			}
		})
		notify(true)
		expect(t, r, 1)
		if n := f.times(string(snapshot.Inconsistent)); n != 1 {
			t.Errorf("%v updates count as refused, want 1", n)
		}
		if got, want := f.reported(), "[1 false 1 true]"; got != want {
			t.Errorf("reports are %s, want %s", got, want)
		}
		time.Sleep(time.Minute)
		if _, stale := r.Age(time.Now()); !stale {
			t.Error("refusing, and not stale")
		}
		if _, last := f.questions(); last.Revision != 1 {
			t.Errorf("asks for what came after %v", last)
		}
		f.set(func() { f.spoil, f.position.Revision = nil, 3 })
		time.Sleep(maxDelay)
		expect(t, r, 3)

		// A revision that goes back within the epoch is not served, nor used as a base.
		f.set(func() { f.position.Revision, f.spoil = 2, func(u *model.Update) { u.Full = true } })
		time.Sleep(time.Minute)
		expect(t, r, 3)
		if n := f.times(string(snapshot.RevisionBack)); n < 10 {
			t.Errorf("%v updates count as refused", n)
		}
		// With a new epoch it is intended.
		f.set(func() { f.spoil, f.position.Epoch = nil, "restored" })
		time.Sleep(maxDelay)
		expect(t, r, 2)
	})
}

// TestBeforeLoad counts calls around full loads, one of which is rejected.
func TestBeforeLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, ended := 0, 0
		f := &fake{position: model.Position{Epoch: "e", Revision: 1}, listening: make(chan func(bool), 1)}
		f.spoil = func(u *model.Update) {
			if began != ended {
				t.Errorf("%d loads began and %d ended before the next update", began, ended)
			}
			if u.Full && began == 0 {
				u.Count++
			}
		}
		r := New(f, Options{Poll: time.Second, Logger: slog.New(slog.DiscardHandler), BeforeLoad: func() func() {
			began++
			return func() { ended++ }
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		time.Sleep(time.Minute)
		expect(t, r, 1)
		f.set(func() { f.position.Revision = 2 })
		time.Sleep(time.Minute)
		expect(t, r, 2)
		cancel()
		<-done
		if began != 2 || ended != 2 {
			t.Errorf("%d loads began and %d ended, want 2: the refused one and the next", began, ended)
		}
	})
}

// TestChangeThatDoesNotFit leads to a full load, as the snapshot must be wrong.
func TestChangeThatDoesNotFit(t *testing.T) {
	follow(t, func(t *testing.T, f *fake, r *Replica, notify func(bool)) {
		f.set(func() {
			f.position.Revision = 2
			f.spoil = func(u *model.Update) {
				if !u.Full {
					u.Subjects = func(yield func(*model.SubjectUpdate, error) bool) {
						yield(&model.SubjectUpdate{ID: []byte("nobody"), Bucket: 1}, nil)
					}
				}
			}
		})
		notify(true)
		time.Sleep(firstDelay)
		expect(t, r, 2)
		if _, last := f.questions(); last != (model.Position{}) {
			t.Errorf("asked for what came after %v, want everything", last)
		}
	})
}

// TestDatabaseTime uses a database whose clock is an hour ahead, and steps.
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
