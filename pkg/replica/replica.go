// Package replica keeps a snapshot fresh from a source.
//
// A notification, a new listening connection and a poll all lead to the same query:
// the changes since revision N. N is the revision of the served snapshot, so it cannot
// run ahead of the data, and the next poll makes up for a lost notification. One query
// runs at a time; a single further one finds the changes of all notifications that
// arrive during it. If anything fails, the snapshot stays and the same query is
// repeated.
package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flaggery/flaggery/pkg/backoff"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// Source provides updates. PostgreSQL is one; another one could relay changes.
type Source interface {
	// Update passes the changes since a position to apply, from one consistent state,
	// and returns the error of apply or its own. Since the last position there are no
	// changes; since the zero Position the update is a full one.
	Update(ctx context.Context, since model.Position, apply func(*model.Update) error) error
	// Listen calls notified with true at a change, and with false if notifications may
	// have been missed: at the start and after each interruption. It returns when ctx is
	// done.
	Listen(ctx context.Context, notified func(changed bool))
	// Report publishes which position is served, and whether the update after it was
	// rejected.
	Report(at model.Position, refusing bool)
}

// Options of a Replica.
type Options struct {
	Unknown snapshot.Unknown
	Poll    time.Duration // how often to query changes without a notification
	File    string        // the snapshot file, for starts without the source; "" for none
	Tokens  bool          // updates have tokens, and a snapshot file without is not used
	Logger  *slog.Logger

	// Environment is in the metadata of OFREP; "" for none.
	Environment string

	Observer Observer // may be nil
	// BeforeLoad is called before a full load, and the function that it returns after
	// it. It may be nil.
	BeforeLoad func() (after func())
}

// Delays after failures have full jitter, as all edges fail at the same moment. They
// grow up to maxDelay if the next update is cheap, so that an edge is in sync soon after
// its database is back, and up to maxLoadDelay if it is a full load.
const (
	firstDelay   = 500 * time.Millisecond
	maxDelay     = 2 * time.Second
	maxLoadDelay = 30 * time.Second

	// A snapshot is stale once it is older than the poll interval plus staleAfter. On a
	// busy machine a poll may be late; without a connection all of them fail.
	staleAfter = 4 * time.Second

	progressInterval = 5 * time.Second
)

// Replica follows a source.
type Replica struct {
	source     Source
	poll       time.Duration
	file       string
	tokens     bool
	log        *slog.Logger
	observer   Observer
	beforeLoad func() (after func())
	builder    *snapshot.Builder

	current atomic.Pointer[snapshot.Snapshot]
	clock   atomic.Pointer[clock]
	began   time.Time
	synced  atomic.Int64 // since began, of the last sync

	changed   chan struct{} // a notification arrived
	connected chan struct{} // notifications may have been missed

	mu        sync.Mutex
	published chan struct{} // closed when the next snapshot is published

	// For the goroutine of Run only.
	restored    *snapshot.Snapshot // from the file, nil for none
	restoredAt  time.Time          // when the file was written
	saved       model.Position     // of the file at the start
	reload      bool               // the snapshot is wrong: load everything
	unannounced bool               // a poll found a change whose notification has not arrived yet
	failure     string             // the last one logged, "" if in sync
}

// clock maps local times to the database's. Steps of the local clock do not matter, as
// the difference of two local times is monotonic.
type clock struct{ local, database time.Time }

// New makes a Replica without a snapshot.
func New(source Source, o Options) *Replica {
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if o.BeforeLoad == nil {
		o.BeforeLoad = func() func() { return func() {} }
	}
	builder := snapshot.NewBuilder(o.Unknown)
	builder.NameEnvironment(o.Environment)
	return &Replica{
		source:     source,
		poll:       o.Poll,
		file:       o.File,
		tokens:     o.Tokens,
		log:        o.Logger,
		observer:   o.Observer,
		beforeLoad: o.BeforeLoad,
		builder:    builder,
		began:      time.Now(),
		changed:    make(chan struct{}, 1),
		connected:  make(chan struct{}, 1),
		published:  make(chan struct{}),
	}
}

// Snapshot returns the snapshot to answer from, nil before the first load.
func (r *Replica) Snapshot() *snapshot.Snapshot { return r.current.Load() }

// Counts returns the counters of served variants.
func (r *Replica) Counts() *snapshot.Answers { return r.builder.Answers() }

// DatabaseTime converts a local time to the database's. There must be a snapshot.
func (r *Replica) DatabaseTime(local time.Time) time.Time {
	c := r.clock.Load()
	return c.database.Add(local.Sub(c.local))
}

// Age returns the time since the snapshot was last known to be the latest, and whether
// that is longer than polling explains.
func (r *Replica) Age(now time.Time) (age time.Duration, stale bool) {
	age = now.Sub(r.began) - time.Duration(r.synced.Load())
	return age, age > staleAfter+r.poll
}

// WaitFor returns nil once the revision or a later one is served, or the error of ctx.
func (r *Replica) WaitFor(ctx context.Context, revision int64) error {
	for {
		published := r.Published()
		if s := r.current.Load(); s != nil && s.Revision >= revision {
			return nil
		}
		select {
		case <-published:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Published returns a channel that is closed when the next snapshot is published.
func (r *Replica) Published() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.published
}

// Run follows the source until ctx is done.
func (r *Replica) Run(ctx context.Context) {
	r.restore(ctx)
	var others sync.WaitGroup
	others.Go(func() { r.source.Listen(ctx, r.notified) })
	if r.file != "" {
		others.Go(func() { r.saveRegularly(ctx) })
	}
	defer others.Wait()
	delays, polled := backoff.Backoff{First: firstDelay}, false
	for ctx.Err() == nil {
		before := r.position()
		if err := r.refresh(ctx); err != nil {
			r.failed(ctx, err)
			r.serveRestored(ctx)
			delays.Max = r.maxDelay()
			r.waitAfterFailure(ctx, delays.Next())
			continue
		}
		if r.failure != "" {
			r.log.InfoContext(ctx, "in sync again", "revision", r.current.Load().Revision)
			r.failure = ""
		}
		delays.Reset()
		r.unannounced = polled && r.position() != before
		polled = r.wait(ctx)
	}
}

// notified is called by the source. It must not block.
func (r *Replica) notified(changed bool) {
	to := r.connected
	if changed {
		r.observer.Notified()
		to = r.changed
	} else {
		r.observer.Connected()
	}
	select {
	case to <- struct{}{}:
	default: // the pending query will find this change too
	}
}

// wait waits until changes should be queried. polled is true if no notification
// arrived.
func (r *Replica) wait(ctx context.Context) (polled bool) {
	poll := time.NewTimer(r.poll)
	defer poll.Stop()
	select {
	case <-ctx.Done():
	case <-r.changed:
	case <-r.connected:
	case <-poll.C:
		if r.unannounced { // a notification cannot be late by a whole poll interval: it was lost
			r.observer.Unannounced()
		}
		return true
	}
	return false
}

// waitAfterFailure waits until the query should be repeated. A new connection to the
// source ends it early. A notification does not: if updates are rejected, each change
// would cause the next query without a pause.
func (r *Replica) waitAfterFailure(ctx context.Context, delay time.Duration) {
	again := time.NewTimer(delay)
	defer again.Stop()
	select {
	case <-ctx.Done():
	case <-again.C:
	case <-r.connected:
	}
}

func (r *Replica) maxDelay() time.Duration {
	if r.position() == (model.Position{}) {
		return maxLoadDelay
	}
	return maxDelay
}

// refresh queries changes once and publishes the result.
func (r *Replica) refresh(ctx context.Context) error {
	asked := time.Now()
	return r.source.Update(ctx, r.position(), func(u *model.Update) error {
		base := r.base()
		if r.current.Load() == nil || u.Full || u.Position != base.Position {
			if err := r.apply(ctx, base, u, asked); err != nil {
				return err
			}
		}
		r.clock.Store(&clock{local: u.Received, database: u.Now})
		r.synced.Store(int64(u.Received.Sub(r.began)))
		return nil
	})
}

func (r *Replica) apply(ctx context.Context, base *snapshot.Snapshot, u *model.Update, asked time.Time) error {
	if u.Full {
		defer r.beforeLoad()()
		r.showProgress(ctx, u)
	}
	next, err := r.builder.Apply(base, u)
	if err != nil {
		return err
	}
	first := r.current.Load() == nil
	if first {
		// Before publishing: each goroutine that sees a snapshot also needs the clock.
		r.clock.Store(&clock{local: u.Received, database: u.Now})
	}
	r.publish(next)
	r.reload, r.restored = false, nil
	if base != nil {
		base.Replaced(next)
	}
	r.observer.Updated(u.Full, time.Since(asked))
	if u.Full {
		stats := next.Stats()
		r.log.InfoContext(ctx, "loaded", "revision", next.Revision, "subjects", stats.Subjects,
			"features", stats.Features, "buckets", stats.Buckets, "took", time.Since(asked))
	} else if !first { // changes before the start would count the time since then
		r.observer.Propagated(max(0, r.DatabaseTime(time.Now()).Sub(next.At)))
	}
	return nil
}

// publish makes a snapshot the served one.
func (r *Replica) publish(s *snapshot.Snapshot) {
	r.current.Store(s)
	r.mu.Lock()
	close(r.published)
	r.published = make(chan struct{})
	r.mu.Unlock()
	r.source.Report(s.Position, false)
}

// failed reports a failed update: to the observer every time, to the log if the reason
// is new.
func (r *Replica) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	r.observer.Failed(err)
	var refused *snapshot.Refused
	if errors.As(err, &refused) {
		// The change does not fit the snapshot, so the snapshot is wrong.
		r.reload = r.reload || refused.Reason == snapshot.Unrecognised
		if s := r.current.Load(); s != nil {
			r.source.Report(s.Position, true)
		}
	}
	level := slog.LevelDebug
	if text := err.Error(); text != r.failure {
		r.failure, level = text, slog.LevelError
	}
	r.log.Log(ctx, level, "update failed, keeping the last snapshot", "error", err)
}

// showProgress logs the progress of a long load.
func (r *Replica) showProgress(ctx context.Context, u *model.Update) {
	if u.Subjects == nil {
		return
	}
	all := u.Subjects
	u.Subjects = func(yield func(*model.SubjectUpdate, error) bool) {
		n, logged := int64(0), time.Now()
		defer r.observer.LoadProgressed(0)
		for s, err := range all {
			if n++; n%(1<<16) == 0 {
				r.observer.LoadProgressed(n)
				if time.Since(logged) > progressInterval {
					logged = time.Now()
					r.log.InfoContext(ctx, "loading", "subjects", n, "of", u.Count)
				}
			}
			if !yield(s, err) {
				return
			}
		}
	}
}
