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

// saveInterval bounds how often the snapshot file is written: with ten million subjects
// it has 160 MB.
const saveInterval = 30 * time.Second

// restore reads the snapshot file, if there is one. Its content is not served yet: the
// changes since are queried first.
func (r *Replica) restore(ctx context.Context) {
	if r.file == "" {
		return
	}
	if err := snapshot.RemoveUnfinished(r.file); err != nil {
		r.log.WarnContext(ctx, "cannot remove unfinished snapshot files", "error", err)
	}
	began := time.Now()
	s, saved, err := r.builder.ReadFile(r.file, began)
	if errors.Is(err, fs.ErrNotExist) {
		r.log.InfoContext(ctx, "no snapshot file yet", "file", r.file)
		return
	}
	if err == nil && r.tokens && !s.HasCredentials() {
		err = fmt.Errorf("the snapshot file %s has no tokens: the edge that wrote it did not require any", r.file)
	}
	r.observer.FileRead(err)
	if err != nil {
		r.log.ErrorContext(ctx, "snapshot file unusable, loading everything from the database", "error", err)
		return
	}
	if !r.tokens {
		s.DropCredentials()
	}
	r.restored, r.restoredAt, r.saved = s, saved, s.Position
	r.log.InfoContext(ctx, "snapshot file read", "file", r.file, "revision", s.Revision, "saved", saved,
		"subjects", s.Stats().Subjects, "took", time.Since(began))
}

// serveRestored serves the content of the file until the source answers. The database's
// time is not known yet, so the local time is used instead.
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

// saveRegularly writes the snapshot file at intervals and at the end, if the snapshot
// has changed.
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
			if !failing { // log the first failure only
				failing = true
				r.log.ErrorContext(ctx, "cannot write the snapshot file, serving goes on", "error", err)
			}
			continue
		}
		saved, failing = s.Position, false
		r.log.DebugContext(ctx, "snapshot file written", "file", r.file, "revision", s.Revision, "took", time.Since(began))
	}
}

// base returns the snapshot that the next update is applied to, nil if there is none.
func (r *Replica) base() *snapshot.Snapshot {
	if s := r.current.Load(); s != nil {
		return s
	}
	return r.restored
}

// position is the one after which to query changes.
func (r *Replica) position() model.Position {
	if s := r.base(); s != nil && !r.reload {
		return s.Position
	}
	return model.Position{}
}
