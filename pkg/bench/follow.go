package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"time"

	"github.com/flaggery/flaggery/pkg/edge"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/replica"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// followers are replicas in a process of their own. It reads orders from standard
// input and writes replies to standard output, a line of JSON each.
type followers struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
	end io.Closer
}

// order is to wait until all replicas serve a revision, or else to look at the
// memory.
type order struct {
	Revision int64
	Settle   bool // first return unused memory and reset the peak
}

type reply struct {
	At     time.Time // when the last replica published the revision
	Memory memory
	Error  string
}

type crew struct {
	URL      string
	Replicas int
}

// follow is what the process does: first a crew, then orders.
func follow(ctx context.Context) error {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	var c crew
	if err := in.Decode(&c); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var all []*follower
	for i := range c.Replicas {
		f, err := newFollower(c.URL, fmt.Sprintf("bench-%d", i))
		if err != nil {
			return err
		}
		defer f.feed.Close()
		all = append(all, f)
		running.Go(func() { f.replica.Run(ctx) })
		running.Go(func() { f.watch(ctx) })
	}
	for {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r, err := o.carryOut(ctx, all)
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

func (o order) carryOut(ctx context.Context, all []*follower) (r reply, err error) {
	if o.Revision > 0 {
		for _, f := range all {
			at, err := f.waitFor(ctx, o.Revision)
			if err != nil {
				return r, err
			}
			if at.After(r.At) {
				r.At = at
			}
		}
		return r, nil
	}
	if o.Settle {
		debug.FreeOSMemory()
		if err := resetPeak(os.Getpid()); err != nil {
			return r, err
		}
	}
	r.Memory, err = residentMemory(os.Getpid())
	return r, err
}

// follower is one replica, and when it published what.
type follower struct {
	feed    *postgres.Feed
	replica *replica.Replica
	mu      sync.Mutex
	served  []served
	more    chan struct{} // closed when there is more in served
}

type served struct {
	revision int64
	at       time.Time
}

func newFollower(url, name string) (*follower, error) {
	feed, err := postgres.NewFeed(url, postgres.FeedOptions{Name: name, Logger: slog.Default()})
	if err != nil {
		return nil, err
	}
	return &follower{feed: feed, more: make(chan struct{}), replica: replica.New(feed, replica.Options{
		Unknown:    snapshot.Reject,
		Poll:       time.Second,
		Logger:     slog.Default(),
		BeforeLoad: edge.LowerGCPercent,
	})}, nil
}

// watch records the time of each publication. Observing only awaited revisions
// would be too late.
func (f *follower) watch(ctx context.Context) {
	for last := int64(-1); ; {
		published := f.replica.Published()
		if s := f.replica.Snapshot(); s != nil && s.Revision != last {
			last = s.Revision
			f.mu.Lock()
			f.served = append(f.served, served{last, time.Now()})
			close(f.more)
			f.more = make(chan struct{})
			f.mu.Unlock()
		}
		select {
		case <-published:
		case <-ctx.Done():
			return
		}
	}
}

// waitFor is when the replica first served the revision or a later one.
func (f *follower) waitFor(ctx context.Context, revision int64) (time.Time, error) {
	for {
		f.mu.Lock()
		more := f.more
		for i, s := range f.served {
			if s.revision >= revision {
				f.served = f.served[i:] // earlier ones are never requested
				f.mu.Unlock()
				return s.at, nil
			}
		}
		f.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// startFollowers starts the process and waits until all replicas serve.
func (l *lab) startFollowers(ctx context.Context, d dataset, replicas int) (*followers, error) {
	url, err := l.database(ctx, d)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "follow")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f := &followers{cmd, json.NewEncoder(stdin), json.NewDecoder(stdout), stdin}
	l.progress.step(fmt.Sprintf("starting %d replicas, %s", replicas, d))
	err = f.in.Encode(crew{url, replicas})
	if err == nil {
		_, err = f.send(order{Revision: 1})
	}
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

func (f *followers) send(o order) (r reply, err error) {
	if err := f.in.Encode(o); err != nil {
		return r, err
	}
	if err := f.out.Decode(&r); err != nil {
		return r, fmt.Errorf("the replicas' process: %w", err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

func (f *followers) stop() error {
	return errors.Join(f.end.Close(), f.cmd.Wait())
}

// measureFleet times single changes from their commit until the last replica of
// many serves them. The replicas share a process, and so two processors with
// PostgreSQL; each has its own connections and its own read model.
func (l *lab) measureFleet(ctx context.Context) (_ []figure, err error) {
	d := dataset{subjects: l.size.subjectCounts[0], features: standardFeatures}
	fleet, err := l.startFollowers(ctx, d, l.size.edges)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.stop()) }()
	w, err := l.writer(ctx, d)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var took []time.Duration
	for i := range max(l.size.changes/10, 10) {
		l.progress.step(fmt.Sprintf("a change to %d replicas, number %d", l.size.edges, i+1))
		revision, err := w.next().write(ctx)
		if err != nil {
			return nil, err
		}
		committed := time.Now()
		r, err := fleet.send(order{Revision: revision})
		if err != nil {
			return nil, err
		}
		took = append(took, max(r.At.Sub(committed), 0))
	}
	of := fmt.Sprintf("%d edges, ", l.size.edges)
	return []figure{
		{label: of + "median of changes", value: milliseconds(quantile(took, 0.5)), unit: "ms", limit: atMost(100)},
		{label: of + "slowest change", value: milliseconds(quantile(took, 1)), unit: "ms", limit: atMost(100)},
	}, nil
}

// measurePeak compares the resident memory of a replica at rest with its peak while
// it follows changes, and while it reloads all subjects.
func (l *lab) measurePeak(ctx context.Context) (_ []figure, err error) {
	d := dataset{subjects: l.size.many, features: standardFeatures}
	one, err := l.startFollowers(ctx, d, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, one.stop()) }()
	w, err := l.writer(ctx, d)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	changes := func() (revision int64, err error) {
		for range 20 {
			if revision, err = w.next().write(ctx); err != nil {
				return 0, err
			}
		}
		return revision, nil
	}
	var figures []figure
	for _, kind := range []struct {
		label string
		most  float64
		make  func() (revision int64, err error)
	}{
		{"20 changes, " + count(d.subjects) + " subjects", 1.1, changes},
		{"a reload of " + count(d.subjects) + " subjects", 1.35, func() (int64, error) { return w.newEpoch(ctx) }},
	} {
		l.progress.step("memory during " + kind.label)
		steady, err := one.send(order{Settle: true})
		if err != nil {
			return nil, err
		}
		revision, err := kind.make()
		if err != nil {
			return nil, err
		}
		if _, err := one.send(order{Revision: revision}); err != nil {
			return nil, err
		}
		peak, err := one.send(order{})
		if err != nil {
			return nil, err
		}
		now, most := float64(steady.Memory.Now)/(1<<20), float64(peak.Memory.Peak)/(1<<20)
		figures = append(figures, figure{label: kind.label, value: most, unit: "MiB", reference: now, against: "at rest",
			ratio: most / now, limit: atMostTimes(kind.most).counted()})
	}
	return figures, nil
}
