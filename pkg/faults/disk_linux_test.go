package faults

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// disk mounts a small file system of its own that a test can fill up.
func disk(t *testing.T, size string) string {
	t.Helper()
	needs(t, "root, to mount a small file system", os.Geteuid() == 0)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0755"); err != nil {
		needs(t, "the right to mount a small file system: "+err.Error(), false)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until the disk is full, and empty removes it.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<16); len(block) > 0; block = block[:len(block)/2] {
		for err = nil; err == nil; {
			_, err = file.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, io.ErrShortWrite) {
			t.Fatal(err)
		}
	}
	file.Close()
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// PostgreSQL's disk is full. Writes are refused, flags are served, and when there
// is room again everything goes on from a consistent state.
func TestDatabaseDiskFull(t *testing.T) {
	t.Parallel()
	dir := disk(t, "192m")
	db := newDatabase(t, dir, map[string]string{"shared_buffers": "16MB", "max_wal_size": "48MB", "min_wal_size": "32MB"})
	f := newFixture(t, db.url()).start(1)
	reads := f.read(2, 2*time.Millisecond, f.edges...)
	writes := f.write(2, 5*time.Millisecond)
	f.imports(0)
	elapse(300 * time.Millisecond)
	writes.next()

	empty := fill(t, dir)
	began := time.Now()
	refused := phase{}
	eventually(t, 2*waitLimit, "a write is refused", func() error {
		if refused = writes.next(); refused.failed == 0 {
			return errors.New("all writes succeed")
		}
		return nil
	})
	felt := time.Since(began)
	elapse(fullOr(30*time.Second, time.Second))
	empty()
	if !running(db) {
		db.start() // PostgreSQL stops if it cannot write its log and must be restarted
	}
	caughtUp := f.backInSync()
	served := reads.next()
	f.noFailure("PostgreSQL's disk full", served)
	answers := f.finish()
	f.whole()
	measured(t, "disk full, read-only snapshot path", figures{
		"how": "PostgreSQL's disk full", "first_write_refused_s": felt, "refusal": fmt.Sprint(refused.failure), "caught_up_s": caughtUp,
		"requests": served.requests, "errors": served.failed, "answers_checked": answers,
	})
}

func running(db *database) bool {
	select {
	case <-db.server.Done():
		return false
	default:
		return true
	}
}

// The disk of the snapshot file is full, then read-only.
func TestSnapshotDisk(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"full", "read-only"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			dir := disk(t, "1m")
			f := newFixture(t, pgtest.Open(t)).start(0)
			if how == "full" {
				fill(t, dir)
			} else if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			f.snapshotPathFails(filepath.Join(dir, "snapshot"), how)
		})
	}
}
