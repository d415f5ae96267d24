package replica

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// live runs body with a replica that has a snapshot file, from the start of a process
// to its end.
func live(t *testing.T, f *fake, file string, body func(r *Replica)) {
	t.Helper()
	f.listening = make(chan func(bool), 1)
	r := New(f, Options{Unknown: snapshot.Reject, Poll: time.Second, File: file, Logger: slog.New(slog.DiscardHandler), Observer: f})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	synctest.Wait()
	body(r)
	cancel()
	<-ended
}

func TestStartFromFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	killed := file + ".123.tmp" // in the middle of a write
	if err := os.WriteFile(killed, []byte("FLAG"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fake{position: model.Position{Epoch: "e", Revision: 1, At: time.Now()}}
		live(t, f, file, func(r *Replica) { expect(t, r, 1) })
		if _, err := os.Stat(killed); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file of a killed write is left: %v", err)
		}
		time.Sleep(time.Hour)

		f.set(func() { f.fail = errors.New("the database is away") })
		live(t, f, file, func(r *Replica) {
			expect(t, r, 1)
			if age, stale := r.Age(time.Now()); !stale || age < time.Hour {
				t.Errorf("age %v, stale %v; the file was written an hour ago", age, stale)
			}
			if _, since := f.questions(); since.Revision != 1 {
				t.Errorf("asked for changes since %v, the file holds revision 1", since)
			}
			f.set(func() { f.fail, f.position.Revision = nil, 2 })
			time.Sleep(5 * time.Second)
			expect(t, r, 2)
			if age, stale := r.Age(time.Now()); stale || age > 2*time.Second {
				t.Errorf("age %v, stale %v, though in sync", age, stale)
			}
		})

		// If the database is reachable, the content of the file is never served unchecked.
		f.set(func() { f.answering = make(chan struct{}) })
		live(t, f, file, func(r *Replica) {
			if r.Snapshot() != nil {
				t.Error("serves the file before the database had time to answer")
			}
			close(f.answering)
			expect(t, r, 2)
		})

		f.set(func() { f.answering, f.position = nil, model.Position{Epoch: "restored", Revision: 1, At: time.Now()} })
		live(t, f, file, func(r *Replica) {
			expect(t, r, 1)
			if got := r.Snapshot().Epoch; got != "restored" {
				t.Errorf("serves epoch %s, the database has another one than the file", got)
			}
		})
	})
}

func TestFileIsWrittenInTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	synctest.Test(t, func(t *testing.T) {
		f := &fake{position: model.Position{Epoch: "e", Revision: 1, At: time.Now()}}
		live(t, f, file, func(r *Replica) {
			for range 100 { // a change a second
				time.Sleep(time.Second)
				f.set(func() { f.position.Revision++ })
			}
			synctest.Wait()
			if n := f.times("written"); n != 3 {
				t.Errorf("%v files written in 100 s, want one in %v", n, saveInterval)
			}
			time.Sleep(10 * saveInterval)
			synctest.Wait()
			if n := f.times("written"); n != 4 {
				t.Errorf("%v files written, want no more while nothing changes", n)
			}
		})
	})
}

func TestUnusableFile(t *testing.T) {
	directory := t.TempDir()
	damaged := filepath.Join(directory, "snapshot")
	if err := os.WriteFile(damaged, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{damaged, filepath.Join(directory, "no", "such", "folder")} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{position: model.Position{Epoch: "e", Revision: 1, At: time.Now()}}
			live(t, f, file, func(r *Replica) {
				expect(t, r, 1)
				time.Sleep(3 * saveInterval)
				expect(t, r, 1)
				if f.times("not read")+f.times("not written") == 0 {
					t.Errorf("%s: no error counted", file)
				}
			})
		})
	}
}
