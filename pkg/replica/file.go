package replica

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// restore reads the snapshot file, where there is one. What it holds is not
// served yet: the source is asked first what has changed since.
func (r *Replica) restore(ctx context.Context) {
	if r.file == "" {
		return
	}
	began := time.Now()
	s, saved, err := r.builder.ReadFile(r.file, began)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.log.InfoContext(ctx, "no snapshot file yet", "file", r.file)
	case err != nil:
		r.metrics.file.WithLabelValues("read", "error").Inc()
		r.log.ErrorContext(ctx, "the snapshot file cannot be used, everything is loaded from the database", "error", err)
	case r.tokens && !s.HasCredentials(): // saved while everybody was let in
		r.metrics.file.WithLabelValues("read", "error").Inc()
		r.log.ErrorContext(ctx, "the snapshot file has no tokens, everything is loaded from the database", "file", r.file)
	default:
		r.metrics.file.WithLabelValues("read", "ok").Inc()
		r.restored, r.saved = s, s.Position
		r.log.InfoContext(ctx, "snapshot file read", "file", r.file, "revision", s.Revision, "saved", saved,
			"subjects", s.Stats().Subjects, "took", time.Since(began))
		r.restoredAt = saved
	}
}

// serveRestored serves what the file holds, as the source does not answer. The
// database's clock is not known yet, so the machine's stands in.
func (r *Replica) serveRestored(ctx context.Context) {
	s := r.restored
	if s == nil || r.current.Load() != nil {
		return
	}
	now := time.Now()
	r.synced.Store(int64(r.restoredAt.Sub(r.began)))
	r.clock.Store(&clock{local: now, database: now})
	r.publish(s)
	r.log.WarnContext(ctx, "serving the snapshot file until the database answers", "revision", s.Revision, "saved", r.restoredAt)
}

// saveRegularly writes the snapshot file whenever there is something new to
// write, but not more often than told, and once more at the end.
func (r *Replica) saveRegularly(ctx context.Context) {
	every := time.NewTicker(r.saveEvery)
	defer every.Stop()
	saved, trouble := r.saved, false
	for done := false; !done; {
		select {
		case <-every.C:
		case <-ctx.Done():
			done = true
		}
		s := r.current.Load()
		if s == nil || s.Position == saved {
			continue
		}
		began := time.Now()
		if err := snapshot.WriteFile(r.file, s); err != nil {
			r.metrics.file.WithLabelValues("write", "error").Inc()
			if !trouble { // one line however long it lasts
				trouble = true
				r.log.ErrorContext(ctx, "the snapshot file is not written, serving goes on", "error", err)
			}
			continue
		}
		saved, trouble = s.Position, false
		r.metrics.file.WithLabelValues("write", "ok").Inc()
		r.log.DebugContext(ctx, "snapshot file written", "file", r.file, "revision", s.Revision, "took", time.Since(began))
	}
}

// base is what the next update is applied to, nil where there is nothing yet.
func (r *Replica) base() *snapshot.Snapshot {
	if s := r.current.Load(); s != nil {
		return s
	}
	return r.restored
}

// position is where the next question begins.
func (r *Replica) position() model.Position {
	if s := r.base(); s != nil && !r.reload {
		return s.Position
	}
	return model.Position{}
}
