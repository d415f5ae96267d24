package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/model"
)

// TestFileHoldsAll writes random snapshots, reads them into another builder as
// after a restart, and goes on with changes and reloads from there.
func TestFileHoldsAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	rapid.Check(t, func(t *rapid.T) {
		data := &fixture{model.Position{Epoch: "e", Revision: 1, At: noon}, drawConfiguration(t, 5), map[string]model.Class{}}
		b := NewBuilder(Reject)
		s := must(t, b, nil, data.load(noon))
		s = must(t, b, s, data.change(t, noon))
		if rapid.Bool().Draw(t, "collisions") {
			weak := *s.index
			weak.collided = map[string]ClassID{"collided": s.ungrouped[1]}
			weak.count++
			data.subjects["collided"] = model.Class{Bucket: 1}
			s.index = &weak
		}
		if err := WriteFile(path, s); err != nil {
			t.Fatal(err)
		}
		b = NewBuilder(Reject)
		s, saved, err := b.ReadFile(path, noon)
		if err != nil {
			t.Fatal(err)
		}
		if saved.IsZero() {
			t.Fatal("the file does not say when it was written")
		}
		data.check(t, s, noon)
		if data.subjects["collided"].Bucket != 0 && s.Class("collided") != s.ungrouped[1] {
			t.Fatal("a collided subject is lost")
		}
		for range 3 {
			s = must(t, b, s, data.change(t, noon))
			data.check(t, s, noon)
		}
		s = must(t, b, s, data.load(noon))
		data.check(t, s, noon)
	})
}

// An edge that restarts under another name does not answer with the former one.
func TestFileHasNoEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	for _, name := range []string{"staging", "production"} {
		b := NewBuilder(Reject)
		b.NameEnvironment(name)
		s, _, err := b.ReadFile(path, noon)
		if errors.Is(err, fs.ErrNotExist) {
			s, err = b.Apply(nil, uniformFixture(1, "A", 1).load(noon))
		}
		if err != nil {
			t.Fatal(err)
		}
		_, all := s.OFREP(s.ungrouped[1], noon)
		if text := string(bytes.Join(all.Parts, nil)); !strings.HasSuffix(text, `"environment":"`+name+`"}}],"metadata":{"environment":"`+name+`"}}`) {
			t.Errorf("%s answers %s", name, text)
		}
		if err := WriteFile(path, s); err != nil {
			t.Fatal(err)
		}
	}
}

func must(t *rapid.T, b *Builder, base *Snapshot, u *model.Update) *Snapshot {
	s, err := b.Apply(base, u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writeFixture writes a small snapshot and returns the file's bytes.
func writeFixture(t testing.TB, path string, revision int64, subjects int) []byte {
	t.Helper()
	data := uniformFixture(revision, "A", subjects)
	if err := WriteFile(path, mustApply(t, NewBuilder(Reject), nil, data.load(noon))); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func read(raw []byte) (*Snapshot, error) {
	s, _, err := NewBuilder(Reject).decode(bytes.NewReader(raw), int64(len(raw)), noon)
	return s, err
}

func TestDamagedFilesAreRefused(t *testing.T) {
	raw := writeFixture(t, filepath.Join(t.TempDir(), "snapshot"), 1, 20)
	for n := range raw {
		if _, err := read(raw[:n]); err == nil {
			t.Fatalf("a file cut at byte %d of %d is read", n, len(raw))
		}
	}
	for n := range raw {
		for bit := range 8 {
			raw[n] ^= 1 << bit
			if _, err := read(raw); err == nil {
				t.Fatalf("a file with bit %d of byte %d flipped is read", bit, n)
			}
			raw[n] ^= 1 << bit
		}
	}
	if _, err := read(raw); err != nil {
		t.Fatalf("the sound file is refused: %v", err)
	}
	if _, err := read(append(raw, 0)); err == nil {
		t.Error("a file with a byte too many is read")
	}
}

// A complete file with impossible content is rejected, and none of its numbers is
// used as an index.
func TestNumbersOutOfRangeAreRefused(t *testing.T) {
	for what, change := range map[string]func(s *Snapshot){
		"revision":                func(s *Snapshot) { s.Revision = -1 },
		"subjects":                func(s *Snapshot) { s.index.count = -1 },
		"bucket of a class":       func(s *Snapshot) { s.classes[len(s.classes)-1].Bucket = 99 },
		"negative bucket":         func(s *Snapshot) { s.classes[1].Bucket = -1 },
		"class of a bucket":       func(s *Snapshot) { s.ungrouped[1] = ClassID(len(s.classes)) },
		"no class of a bucket":    func(s *Snapshot) { s.ungrouped[1] = 0 },
		"other bucket's class":    func(s *Snapshot) { s.ungrouped[1], s.ungrouped[2] = s.ungrouped[2], s.ungrouped[1] },
		"fewer classes":           func(s *Snapshot) { s.ungrouped = s.ungrouped[:2] },
		"no classes":              func(s *Snapshot) { s.classes = nil },
		"class of a collision":    func(s *Snapshot) { s.index.collided, s.index.count = map[string]ClassID{"x": 1 << 31}, s.index.count+1 },
		"no class of a collision": func(s *Snapshot) { s.index.collided, s.index.count = map[string]ClassID{"x": 0}, s.index.count+1 },
		"collision in no bucket": func(s *Snapshot) {
			s.index.collided, s.index.count = map[string]ClassID{"x": s.ungrouped[0]}, s.index.count+1
		},
		"buckets":          func(s *Snapshot) { s.generation.configuration.Buckets = 1 },
		"negative buckets": func(s *Snapshot) { s.generation.configuration.Buckets = -1 },
		"nothing":          func(*Snapshot) {},
	} {
		data := uniformFixture(1, "A", 20)
		s := mustApply(t, NewBuilder(Reject), nil, data.load(noon))
		change(s)
		var raw bytes.Buffer
		if err := s.encode(&raw); err != nil {
			t.Fatal(err)
		}
		if _, err := read(raw.Bytes()); (err == nil) != (what == "nothing") {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

func TestUnfinishedFilesAreRemoved(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "snapshot")
	for _, name := range []string{"snapshot", "snapshot.previous", "snapshot.123.tmp", "snapshot.4.tmp", "snapshot.other.tmp", "other.5.tmp", "snapshot.6.tmp.txt"} {
		if err := os.WriteFile(filepath.Join(directory, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveUnfinished(path); err != nil {
		t.Fatal(err)
	}
	var left []string
	files, err := os.ReadDir(directory)
	for _, file := range files {
		left = append(left, file.Name())
	}
	if want := []string{"other.5.tmp", "snapshot", "snapshot.6.tmp.txt", "snapshot.other.tmp", "snapshot.previous"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left %q, want %q (%v)", left, want, err)
	}
}

// resum gives damaged bytes a valid checksum, so that the code after the check is
// tested.
func resum(raw []byte) []byte {
	body := raw[:len(raw)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(body, sum[:]...)
}

func TestNewerVersionIsRefused(t *testing.T) {
	raw := writeFixture(t, filepath.Join(t.TempDir(), "snapshot"), 1, 20)
	binary.LittleEndian.PutUint32(raw[len(fileMagic):], fileVersion+1)
	if _, err := read(resum(raw)); err == nil || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("error %v, want one that names version 3", err)
	}
}

func TestPreviousFileStandsIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	writeFixture(t, path, 1, 20)
	writeFixture(t, path, 2, 20)
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := NewBuilder(Reject)
	s, _, err := b.ReadFile(path, noon)
	if err != nil || s.Revision != 1 {
		t.Fatalf("snapshot %v, error %v; want the previous one, of revision 1", s, err)
	}
	if err := os.WriteFile(path+previousSuffix, []byte("rubbish too"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.ReadFile(path, noon); err == nil || !strings.Contains(err.Error(), previousSuffix) {
		t.Errorf("error %v, want one that names both files", err)
	}
}

func TestNoFile(t *testing.T) {
	_, _, err := NewBuilder(Reject).ReadFile(filepath.Join(t.TempDir(), "none"), noon)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}

func TestFailedWriteLeavesTheFileAndNothingElse(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "snapshot")
	raw := writeFixture(t, path, 1, 20)
	data := uniformFixture(2, "A", 20)
	s := mustApply(t, NewBuilder(Reject), nil, data.load(noon))
	s.generation.configuration = &model.Configuration{Features: []model.Feature{{
		Variants: []model.Variant{{Payload: []byte("{")}}, // cannot be encoded, so the write fails in the middle
	}}}
	if err := WriteFile(path, s); err == nil {
		t.Fatal("the write does not fail")
	}
	files, err := os.ReadDir(directory)
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, error %v; want the old one alone", files, err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(raw) {
		t.Errorf("the old file changed (%v)", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; the key in the file is for its owner alone", info.Mode(), err)
	}
}

// TestRandomDamage overwrites stretches of a large file.
func TestRandomDamage(t *testing.T) {
	t.Parallel()
	raw := writeFixture(t, filepath.Join(t.TempDir(), "snapshot"), 1, 50_000)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	damages := 10_000
	if testing.Short() {
		damages = 50
	}
	damaged := make([]byte, len(raw))
	for range damages {
		copy(damaged, raw)
		at := random.IntN(len(raw))
		for i := at; i < min(at+1+random.IntN(64), len(raw)); i++ {
			damaged[i] ^= byte(1 + random.IntN(255))
		}
		if _, err := read(damaged); err == nil {
			t.Fatalf("a file damaged from byte %d on is read", at)
		}
	}
}

// FuzzReadFile gives any bytes a valid checksum. They must be rejected or accepted
// without a panic, and without allocating more memory than they have.
func FuzzReadFile(f *testing.F) {
	raw := writeFixture(f, filepath.Join(f.TempDir(), "snapshot"), 1, 20)
	f.Add(raw[:len(raw)-sha256.Size])
	f.Add([]byte(fileMagic + "\x01\x00\x00\x00\x02\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body)
		s, err := read(append(body[:len(body):len(body)], sum[:]...))
		if err == nil {
			s.Class("42")
			s.Body(s.ungrouped[0], noon)
		}
	})
}

func BenchmarkFile(b *testing.B) {
	const subjects = 1_000_000
	path := filepath.Join(b.TempDir(), "snapshot")
	s := mustApply(b, NewBuilder(Reject), nil, largeUpdate(subjects))
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			if err := WriteFile(path, s); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(subjects*float64(b.N)/b.Elapsed().Seconds(), "subjects/s")
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := NewBuilder(Reject).ReadFile(path, noon); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(subjects*float64(b.N)/b.Elapsed().Seconds(), "subjects/s")
	})
}

// If a payload of an earlier version cannot be decoded, the last valid file stays
// in place.
func TestUnreadableFileIsNotPutInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	write := func(revision int64, payload string) error {
		u := &model.Update{Position: model.Position{Epoch: "e", Revision: revision}, Now: noon, Full: true, Configuration: &model.Configuration{
			Buckets: 1, Features: []model.Feature{{Name: "f", Default: "v", Variants: []model.Variant{{Name: "v", Payload: []byte(payload)}}}},
		}}
		s, err := NewBuilder(Reject).Apply(nil, u)
		if err != nil {
			t.Fatal(err)
		}
		return WriteFile(path, s)
	}
	if err := write(1, `{"b": 1}`); err != nil {
		t.Fatal(err)
	}
	if err := write(2, deep); err == nil {
		t.Error("a file that cannot be read counts as written")
	}
	s, _, err := NewBuilder(Reject).ReadFile(path, noon)
	if err != nil || s.Revision != 1 {
		t.Errorf("revision %+v, error %v", s, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(left) != 1 {
		t.Errorf("files %v, error %v", left, err)
	}
}
