package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// saveInterval bounds the writing of snapshot files: one of ten million subjects is
// 160 MB.
const saveInterval = 30 * time.Second

// restore reads the snapshot file, if there is one. Its content is not served yet:
// the source is asked first what has changed since.
func (r *Replica) restore(ctx context.Context) {
	if r.file == "" {
		return
	}
	if err := snapshot.RemoveUnfinished(r.file); err != nil {
		r.log.WarnContext(ctx, "unfinished snapshot files cannot be removed", "error", err)
	}
	began := time.Now()
	s, saved, err := r.builder.ReadFile(r.file, began)
	if errors.Is(err, fs.ErrNotExist) {
		r.log.InfoContext(ctx, "no snapshot file yet", "file", r.file)
		return
	}
	if err == nil && r.tokens && !s.HasCredentials() {
		err = fmt.Errorf("the snapshot file %s has no tokens: it was written while everybody was let in", r.file)
	}
	r.observer.FileRead(err)
	if err != nil {
		r.log.ErrorContext(ctx, "the snapshot file cannot be used, everything is loaded from the database", "error", err)
		return
	}
	if !r.tokens {
		s.DropCredentials()
	}
	r.restored, r.restoredAt, r.saved = s, saved, s.Position
	r.log.InfoContext(ctx, "snapshot file read", "file", r.file, "revision", s.Revision, "saved", saved,
		"subjects", s.Stats().Subjects, "took", time.Since(began))
}

// serveRestored serves the content of the file until the source answers. The
// database's clock is not known yet, so the machine's takes its place.
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

// saveRegularly writes the snapshot file once in an interval if there is something
// new to write, and at the end.
func (r *Replica) saveRegularly(ctx context.Context) {
	interval := time.NewTicker(saveInterval)
	defer interval.Stop()
	saved, failing := r.saved, false
	for done := false; !done; {
		select {
		case <-interval.C:
		case <-ctx.Done():
			done = true
		}
		s := r.current.Load()
		if s == nil || s.Position == saved {
			continue
		}
		began := time.Now()
		err := snapshot.WriteFile(r.file, s)
		r.observer.FileWritten(err)
		if err != nil {
			if !failing { // one line however long it lasts
				failing = true
				r.log.ErrorContext(ctx, "the snapshot file is not written, serving goes on", "error", err)
			}
			continue
		}
		saved, failing = s.Position, false
		r.log.DebugContext(ctx, "snapshot file written", "file", r.file, "revision", s.Revision, "took", time.Since(began))
	}
}

// base is the snapshot that the next update is applied to, nil if there is none yet.
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
