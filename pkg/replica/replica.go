// Package replica keeps a snapshot fresh from a source.
//
// Whatever may mean that something changed leads to the same question: a bell, a
// new listening connection, the time of a poll. The question is "what changed
// since N?", N being the revision of the snapshot that is served, so it cannot
// run ahead of the data, and a lost bell costs a moment. At most one answer is
// worked on at a time, and however often the bell rang meanwhile, one more
// question finds all of it. Where anything fails, the snapshot stays and the same
// question is asked again.
package replica

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// Source is where updates come from. PostgreSQL is one; the seam is here for an
// engine that carries changes farther.
type Source interface {
	// Update hands apply what leads on from a position, in one consistent state, and
	// returns the error of apply or its own. At the last position already, it hands
	// over an update without changes; from the zero Position, a full one.
	Update(ctx context.Context, since model.Position, apply func(*model.Update) error) error
	// Listen calls heard with true on news, and with false whenever news may have
	// been missed, which includes its beginning. It returns when ctx is done.
	Listen(ctx context.Context, heard func(news bool))
	// Report makes known where in which history the snapshot is that is served, and
	// whether what followed was refused.
	Report(at model.Position, refusing bool)
}

// Options of a Replica.
type Options struct {
	Unknown snapshot.Unknown
	Poll    time.Duration // how often to ask though no news came
	// File is where the snapshot is kept for a start without the source, or "".
	// It is written at most once in SaveEvery, which is DefaultSaveEvery where 0.
	File      string
	SaveEvery time.Duration
	Tokens    bool // a file without them is not used
	Registry  prometheus.Registerer
	Logger    *slog.Logger
}

// Delays between failures grow from firstDelay with full jitter, as all edges
// fail in the same moment: up to maxDelay where what follows is cheap, so that an
// edge is back in sync soon after its database is, and up to maxLoadDelay where
// it is a full load.
const (
	firstDelay   = 500 * time.Millisecond
	maxDelay     = 2 * time.Second
	maxLoadDelay = 30 * time.Second
	// staleAfter is how long ago the last sync was where the snapshot counts as stale.
	// A busy machine misses a poll, an edge that is cut off misses all.
	staleAfter = 4 * time.Second

	// DefaultSaveEvery bounds the writing of snapshot files: one of ten million
	// subjects is 160 MB.
	DefaultSaveEvery = 30 * time.Second

	progressInterval = 5 * time.Second
)

// Replica follows a source.
type Replica struct {
	source  Source
	poll    time.Duration
	log     *slog.Logger
	builder *snapshot.Builder
	metrics *metrics

	file      string
	saveEvery time.Duration
	tokens    bool

	current atomic.Pointer[snapshot.Snapshot]
	clock   atomic.Pointer[clock]
	began   time.Time
	synced  atomic.Int64 // since began, of the last sync

	news      chan struct{} // a bell rang
	connected chan struct{} // bells may have been missed

	mu        sync.Mutex
	published chan struct{} // closed when the next snapshot is published

	// Of the goroutine of Run alone.
	restored    *snapshot.Snapshot // from the file, nil for none
	restoredAt  time.Time          // when that was written
	saved       model.Position     // of what the file held at the start
	reload      bool               // the snapshot is not to be built upon
	unannounced bool               // a poll found a change, and its bell did not ring yet
	trouble     string
}

// clock tells the database's time from the process's, whose steps do not count:
// a difference of two local times is monotonic.
type clock struct{ local, database time.Time }

// New makes a Replica that has nothing yet.
func New(source Source, o Options) *Replica {
	r := &Replica{
		source:    source,
		poll:      o.Poll,
		log:       o.Logger,
		file:      o.File,
		saveEvery: cmp.Or(o.SaveEvery, DefaultSaveEvery),
		tokens:    o.Tokens,
		builder:   snapshot.NewBuilder(o.Unknown),
		began:     time.Now(),
		news:      make(chan struct{}, 1),
		connected: make(chan struct{}, 1),
		published: make(chan struct{}),
	}
	r.metrics = newMetrics(o.Registry, r)
	return r
}

// Snapshot is the one to answer from, or nil before there is one.
func (r *Replica) Snapshot() *snapshot.Snapshot { return r.current.Load() }

// Counts is where what is served is counted.
func (r *Replica) Counts() *snapshot.Answers { return r.builder.Answers() }

// DatabaseTime is the database's time at a local one. There must be a snapshot.
func (r *Replica) DatabaseTime(local time.Time) time.Time {
	c := r.clock.Load()
	return c.database.Add(local.Sub(c.local))
}

// Age is how long before now the snapshot was last known to be the latest, and
// whether that is longer than polls can explain.
func (r *Replica) Age(now time.Time) (age time.Duration, stale bool) {
	age = now.Sub(r.began) - time.Duration(r.synced.Load())
	return age, age > staleAfter+r.poll
}

// WaitFor returns nil once a snapshot of the revision or a later one is served,
// or the error of ctx.
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

// Published is closed when the next snapshot is published.
func (r *Replica) Published() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.published
}

// Run follows the source until ctx is done.
func (r *Replica) Run(ctx context.Context) {
	r.restore(ctx)
	var others sync.WaitGroup
	others.Go(func() { r.source.Listen(ctx, r.heard) })
	if r.file != "" {
		others.Go(func() { r.saveRegularly(ctx) })
	}
	defer others.Wait()
	limit, polled := firstDelay, false
	for ctx.Err() == nil {
		before := r.position()
		if err := r.refresh(ctx); err != nil {
			r.failed(ctx, err)
			r.serveRestored(ctx)
			r.waitAfterFailure(ctx, rand.N(limit))
			limit = min(2*limit, r.maxDelay())
			continue
		}
		if r.trouble != "" {
			r.log.InfoContext(ctx, "in sync again", "revision", r.current.Load().Revision)
			r.trouble = ""
		}
		limit = firstDelay
		r.unannounced = polled && r.position() != before
		polled = r.wait(ctx)
	}
}

// heard is called by the source, which must not be held up.
func (r *Replica) heard(news bool) {
	to := r.connected
	if news {
		r.metrics.bells.Inc()
		to = r.news
	} else {
		r.metrics.connections.Inc()
	}
	select {
	case to <- struct{}{}:
	default: // the question that is still to be asked will find this too
	}
}

// wait returns when it is time to ask, and whether only because time has passed.
func (r *Replica) wait(ctx context.Context) (polled bool) {
	poll := time.NewTimer(r.poll)
	defer poll.Stop()
	select {
	case <-ctx.Done():
	case <-r.news:
	case <-r.connected:
	case <-poll.C:
		if r.unannounced { // a whole poll later the bell is not on its way any more
			r.metrics.unannounced.Inc()
		}
		return true
	}
	return false
}

// waitAfterFailure returns when it is time to ask again. A new connection to the
// source cuts the wait short; news do not, as those of a source whose updates
// are refused would have them read without a pause.
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

// refresh asks once and publishes what comes.
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
		defer beThrifty()()
	}
	r.showProgress(ctx, u)
	next, err := r.builder.Apply(base, u)
	if err != nil {
		return err
	}
	first := r.current.Load() == nil
	if first {
		// Whoever sees a snapshot also sees a clock.
		r.clock.Store(&clock{local: u.Received, database: u.Now})
	}
	r.publish(next)
	r.reload, r.restored = false, nil
	if base != nil {
		base.Replaced(next)
	}
	r.metrics.applied(u.Full, time.Since(asked))
	if u.Full {
		stats := next.Stats()
		r.log.InfoContext(ctx, "loaded", "revision", next.Revision, "subjects", stats.Subjects,
			"features", stats.Features, "buckets", stats.Buckets, "took", time.Since(asked))
	} else if !first { // what happened before the start did not travel so long
		r.metrics.propagation.Observe(max(0, r.DatabaseTime(time.Now()).Sub(next.At).Seconds()))
	}
	return nil
}

// publish serves a snapshot from now on.
func (r *Replica) publish(s *snapshot.Snapshot) {
	r.current.Store(s)
	r.mu.Lock()
	close(r.published)
	r.published = make(chan struct{})
	r.mu.Unlock()
	r.source.Report(s.Position, false)
}

// failed notes why there is no update. The log gets each reason once, metrics
// every time.
func (r *Replica) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	var refused *snapshot.Refused
	if errors.As(err, &refused) {
		r.metrics.refused.WithLabelValues(string(refused.Reason)).Inc()
		// A change that does not fit what it should change: what is here is wrong.
		r.reload = r.reload || refused.Reason == snapshot.Unrecognised
		if s := r.current.Load(); s != nil {
			r.source.Report(s.Position, true)
		}
	} else {
		r.metrics.failures.Inc()
	}
	level := slog.LevelDebug
	if text := err.Error(); text != r.trouble {
		r.trouble, level = text, slog.LevelError
	}
	r.log.Log(ctx, level, "not in sync, the last good snapshot stays", "error", err)
}

// showProgress logs how far a long load is.
func (r *Replica) showProgress(ctx context.Context, u *model.Update) {
	if !u.Full || u.Subjects == nil {
		return
	}
	all := u.Subjects
	u.Subjects = func(each func(*model.SubjectUpdate) error) error {
		n, told := int64(0), time.Now()
		defer r.metrics.loading.Set(0)
		return all(func(s *model.SubjectUpdate) error {
			if n++; n%(1<<16) == 0 {
				r.metrics.loading.Set(float64(n))
				if time.Since(told) > progressInterval {
					told = time.Now()
					r.log.InfoContext(ctx, "loading", "subjects", n, "of", u.Count)
				}
			}
			return each(s)
		})
	}
}
