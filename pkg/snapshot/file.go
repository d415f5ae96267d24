package snapshot

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

// The snapshot file, all numbers little-endian (docs/snapshot-file.md is for its
// users):
//
//	magic          8 bytes, "FLAGGERY"
//	version        uint32
//	header         uint32 length, then JSON: fileHeader
//	collided       for each: uint32 length, id, uint32 class
//	shards         for each: uint32 used, uint32 capacity, capacity × 12 bytes
//	SHA-256        of all that comes before it
//
// It holds the key of the hash of ids, but no ids, except collided ones.
const (
	fileMagic   = "FLAGGERY"
	fileVersion = 2 // version 1 had no features that are off or archived
	entrySize   = 12
	// previousSuffix is added to the name of the file that the last write replaced.
	previousSuffix = ".previous"
	// temporarySuffix ends the names of files that are being written.
	temporarySuffix = ".tmp"
)

type fileHeader struct {
	Position      model.Position
	Saved         time.Time // on the clock of the machine that wrote
	Key           [2]uint64
	Subjects      int
	Collided      int
	Shards        int
	Classes       []model.Class // by ClassID
	Ungrouped     []ClassID     `json:"Plain"` // by bucket
	Configuration fileConfiguration
}

type fileConfiguration struct {
	*model.Configuration
	Tokens []auth.Credential // nil if they were not read
}

// WriteFile writes a snapshot to a temporary file, flushes it and renames it, so
// that path names a complete file even after a crash. The file before it is kept
// with the suffix ".previous".
func WriteFile(path string, s *Snapshot) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+temporarySuffix) // mode 0600: it holds the key
	if err != nil {
		return fmt.Errorf("write the snapshot file: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the snapshot file: %w", err)
			_ = temporary.Close()
			_ = os.Remove(temporary.Name()) // otherwise a full disk would stay full
		}
	}()
	if err := s.encode(temporary); err != nil {
		return err
	}
	if err := temporary.Sync(); err != nil {
		return err
	}
	// An unreadable file must not replace a readable one.
	info, err := temporary.Stat()
	if err != nil {
		return err
	}
	if _, _, err := readHeader(temporary, info.Size()); err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	// A link, not a rename: path names a complete file at every moment.
	_ = os.Remove(path + previousSuffix)
	if err := os.Link(path, path+previousSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// RemoveUnfinished removes the temporary files of a killed WriteFile. None may be
// running.
func RemoveUnfinished(path string) error {
	directory, base := filepath.Split(path)
	files, err := os.ReadDir(filepath.Dir(path))
	for _, file := range files {
		name, ours := strings.CutPrefix(file.Name(), base+".")
		number, unfinished := strings.CutSuffix(name, temporarySuffix)
		if ours && unfinished && strings.Trim(number, "0123456789") == "" {
			err = errors.Join(err, os.Remove(directory+file.Name()))
		}
	}
	return err
}

func (s *Snapshot) encode(to io.Writer) error {
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(to, sum), 1<<20)
	header, err := model.EncodeJSON(fileHeader{
		Position: s.Position, Saved: time.Now().UTC(), Key: [2]uint64{s.index.k0, s.index.k1},
		Subjects: s.index.count, Collided: len(s.index.collided), Shards: len(s.index.shards),
		Classes: s.classes, Ungrouped: s.ungrouped, Configuration: fileConfiguration{s.generation.configuration, s.tokens},
	})
	if err != nil {
		return err
	}
	var scratch []byte
	put := func(b []byte) { _, _ = w.Write(b) } // bufio keeps the first error for Flush
	number := func(n int) { scratch = binary.LittleEndian.AppendUint32(scratch[:0], uint32(n)); put(scratch) }
	put([]byte(fileMagic))
	number(fileVersion)
	number(len(header))
	put(header)
	for id, class := range s.index.collided {
		number(len(id))
		put([]byte(id))
		number(int(class))
	}
	for i := range s.index.shards {
		shard := &s.index.shards[i]
		number(shard.used)
		number(len(shard.entries))
		scratch = scratch[:0]
		for _, e := range shard.entries {
			scratch = binary.LittleEndian.AppendUint32(scratch, e.low)
			scratch = binary.LittleEndian.AppendUint32(scratch, e.high)
			scratch = binary.LittleEndian.AppendUint32(scratch, uint32(e.class))
		}
		put(scratch)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = to.Write(sum.Sum(nil))
	return err
}

// ReadFile returns the snapshot that WriteFile wrote, and its time. It must be the
// first snapshot of the Builder. If the file is damaged or of a newer version, the
// previous one is read; the error names the faults of both. If the file does not
// exist, the error is [fs.ErrNotExist].
func (b *Builder) ReadFile(path string, now time.Time) (*Snapshot, time.Time, error) {
	s, saved, err := b.readFile(path, now)
	if err == nil {
		return s, saved, nil
	}
	s, saved, errPrevious := b.readFile(path+previousSuffix, now)
	if errPrevious == nil {
		return s, saved, nil
	}
	if errors.Is(errPrevious, fs.ErrNotExist) {
		return nil, time.Time{}, err
	}
	return nil, time.Time{}, errors.Join(err, errPrevious)
}

func (b *Builder) readFile(path string, now time.Time) (_ *Snapshot, _ time.Time, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read the snapshot file %s: %w", path, err)
		}
	}()
	file, err := os.Open(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer func() { _ = file.Close() }() // opened for reading only
	info, err := file.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	return b.decode(file, info.Size(), now)
}

// verify checks the checksum at the end, before any other byte is used.
func verify(file io.ReaderAt, size int64) error {
	body := size - sha256.Size
	if body < int64(len(fileMagic)) {
		return errors.New("the file is too short")
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(file, 0, body)); err != nil {
		return err
	}
	want := make([]byte, sha256.Size)
	if _, err := file.ReadAt(want, body); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return errors.New("the file is damaged: its checksum does not match")
	}
	return nil
}

// fileReader reads numbers and bytes, at most as many as the file has, and keeps
// the first error.
type fileReader struct {
	*bufio.Reader
	left    int64
	err     error
	scratch []byte
}

// bytes are the next n, valid until the next call.
func (r *fileReader) bytes(n int64) []byte {
	if r.err == nil && (n < 0 || n > r.left) {
		r.err = io.ErrUnexpectedEOF
	}
	if r.err != nil {
		return nil
	}
	r.left -= n
	if int64(cap(r.scratch)) < n {
		r.scratch = make([]byte, n)
	}
	r.scratch = r.scratch[:n]
	_, r.err = io.ReadFull(r.Reader, r.scratch)
	return r.scratch
}

func (r *fileReader) number() int {
	b := r.bytes(4)
	if r.err != nil {
		return 0
	}
	return int(binary.LittleEndian.Uint32(b))
}

func (b *Builder) decode(file io.ReaderAt, size int64, now time.Time) (*Snapshot, time.Time, error) {
	r, header, err := readHeader(file, size)
	if err != nil {
		return nil, time.Time{}, err
	}
	if err := header.check(); err != nil {
		return nil, time.Time{}, err
	}
	ix, err := r.index(header)
	if err != nil {
		return nil, time.Time{}, err
	}
	s, err := b.restore(header, ix, now)
	return s, header.Saved, err
}

// readHeader verifies the checksum of a whole file and reads its header. It leaves
// the reader at the first subject.
func readHeader(file io.ReaderAt, size int64) (*fileReader, *fileHeader, error) {
	if err := verify(file, size); err != nil {
		return nil, nil, err
	}
	body := io.NewSectionReader(file, 0, size-sha256.Size)
	r := &fileReader{Reader: bufio.NewReaderSize(body, 1<<20), left: body.Size()}
	if magic := r.bytes(int64(len(fileMagic))); string(magic) != fileMagic {
		return nil, nil, errors.New("this is no snapshot file")
	}
	if version := r.number(); r.err == nil && (version < 1 || version > fileVersion) {
		return nil, nil, fmt.Errorf("the format has version %d, this program reads 1 to %d", version, fileVersion)
	}
	header := &fileHeader{}
	text := r.bytes(int64(r.number()))
	if r.err != nil {
		return nil, nil, r.err
	}
	if err := json.Unmarshal(text, header); err != nil {
		return nil, nil, fmt.Errorf("the header is damaged: %w", err)
	}
	return r, header, nil
}

// check rejects a header with inconsistent parts, so that every number in it is a
// valid index.
func (h *fileHeader) check() error {
	if h.Configuration.Configuration == nil {
		return errors.New("the configuration is missing")
	}
	if h.Position.Revision < 0 || h.Subjects < 0 || h.Collided < 0 {
		return fmt.Errorf("the header has revision %d, %d subjects and %d collisions", h.Position.Revision, h.Subjects, h.Collided)
	}
	if len(h.Ungrouped) <= h.Configuration.Buckets {
		return fmt.Errorf("the header has classes for %d of %d buckets", len(h.Ungrouped)-1, h.Configuration.Buckets)
	}
	for id, class := range h.Classes {
		if class.Bucket < 0 || int(class.Bucket) >= len(h.Ungrouped) {
			return fmt.Errorf("class %d has bucket %d of %d", id, class.Bucket, len(h.Ungrouped)-1)
		}
	}
	for bucket, id := range h.Ungrouped {
		if id == 0 || int(id) >= len(h.Classes) || int(h.Classes[id].Bucket) != bucket || len(h.Classes[id].Groups) > 0 {
			return fmt.Errorf("bucket %d has class %d of %d, which is not its own", bucket, id, len(h.Classes))
		}
	}
	return nil
}

// checkSubject rejects a class that no subject can have.
func (h *fileHeader) checkSubject(class ClassID) error {
	if class == 0 || int(class) >= len(h.Classes) {
		return fmt.Errorf("a subject has class %d of %d", class, len(h.Classes))
	}
	if bucket := int(h.Classes[class].Bucket); bucket < 1 || bucket > h.Configuration.Buckets {
		return fmt.Errorf("a subject is in bucket %d of %d", bucket, h.Configuration.Buckets)
	}
	return nil
}

func (r *fileReader) index(header *fileHeader) (*index, error) {
	if r.left < int64(header.Shards)*8 || header.Shards < 1 || header.Shards > maxShards {
		return nil, fmt.Errorf("the header has %d shards", header.Shards)
	}
	ix := &index{
		k0: header.Key[0], k1: header.Key[1], mask: ^uint64(0),
		shards: make([]shard, header.Shards), count: header.Subjects,
	}
	for range header.Collided {
		id := string(r.bytes(int64(r.number())))
		class := ClassID(r.number())
		if r.err != nil {
			return nil, r.err
		}
		if err := header.checkSubject(class); err != nil {
			return nil, err
		}
		if ix.collided == nil {
			ix.collided = make(map[string]ClassID)
		}
		ix.collided[id] = class
	}
	entries := len(ix.collided)
	for i := range ix.shards {
		s := &ix.shards[i]
		s.used = r.number()
		capacity := r.number()
		raw := r.bytes(int64(capacity) * entrySize)
		if r.err != nil {
			return nil, r.err
		}
		used := 0
		s.entries = make([]entry, capacity)
		for j := range s.entries {
			e := raw[j*entrySize:]
			s.entries[j] = entry{
				binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint32(e[4:]), ClassID(binary.LittleEndian.Uint32(e[8:])),
			}
			if class := s.entries[j].class; class != 0 {
				used++
				if err := header.checkSubject(class); err != nil {
					return nil, err
				}
			}
		}
		// A probe ends at a free place, so there must be one.
		if used != s.used || used >= capacity {
			return nil, fmt.Errorf("a shard of %d entries has %d used, its header says %d", capacity, used, s.used)
		}
		entries += used
	}
	if entries != ix.count || r.left != 0 {
		return nil, fmt.Errorf("the file has %d subjects, its header says %d; %d bytes are left over", entries, ix.count, r.left)
	}
	return ix, nil
}

// restore makes the content of a file this Builder's last snapshot.
func (b *Builder) restore(header *fileHeader, ix *index, now time.Time) (*Snapshot, error) {
	configuration := header.Configuration.Configuration
	resolver, err := evaluation.Compile(configuration)
	if err != nil {
		return nil, fmt.Errorf("the configuration is inconsistent: %w", err)
	}
	classes := newClasses()
	classes.list, classes.ungrouped = header.Classes, header.Ungrouped
	for id, class := range classes.list {
		if len(class.Groups) > 0 {
			classes.ids[string(classes.keyOf(class.Bucket, class.Groups))] = ClassID(id)
		}
	}
	b.classes = classes
	return &Snapshot{
		Position: header.Position, index: ix, classes: classes.list, ungrouped: classes.ungrouped, unknown: b.unknown, environment: b.environment,
		generation:     newGeneration(resolver, configuration, len(classes.list), b.answers, now.UnixNano()),
		tokens:         header.Configuration.Tokens,
		RevisionHeader: revisionHeader(header.Position),
	}, nil
}
