package snapshot

import (
	"fmt"
	"maps"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// weaken leaves 6 bits of the hash, so that almost every id collides with some
// other, and shards, homes and the exact map are all used.
const weaken = 0xe000_0000_0000_0000 | 0xe000_0000

func TestEntriesAreTwelveBytes(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size != 12 {
		t.Fatalf("an entry takes %d bytes", size)
	}
}

// TestIndexAgainstMap applies random changes and reloads and compares each index
// with a map, and every earlier index with its original content.
func TestIndexAgainstMap(t *testing.T) {
	for _, mask := range []uint64{^uint64(0), weaken} {
		t.Run(fmt.Sprintf("mask %x", mask), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				ix := newIndex(key{1}, 0)
				ix.mask = mask
				want := map[string]ClassID{}
				type past struct {
					ix   *index
					want map[string]ClassID
				}
				var history []past
				ids := rapid.SampledFrom(testIDs)
				for range rapid.IntRange(1, 12).Draw(t, "steps") {
					if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
						want = rapid.MapOfN(ids, rapid.Custom(drawClass), 0, 400).Draw(t, "all")
						ix = reloaded(t, ix, want)
					} else {
						ix, want = changed(t, ix, want, rapid.MapOfN(ids, rapid.Custom(drawChange), 0, 60).Draw(t, "changes"))
					}
					history = append(history, past{ix, maps.Clone(want)})
					for _, h := range history {
						checkIndex(t, h.ix, h.want)
					}
				}
			})
		})
	}
}

var testIDs = func() []string {
	ids := make([]string, 600)
	for i := range ids {
		ids[i] = fmt.Sprintf("subject-%d", i)
	}
	return ids
}()

func drawClass(t *rapid.T) ClassID  { return ClassID(rapid.IntRange(1, 9).Draw(t, "class")) }
func drawChange(t *rapid.T) ClassID { return ClassID(rapid.IntRange(0, 9).Draw(t, "class or gone")) }

func reloaded(t *rapid.T, base *index, want map[string]ClassID) *index {
	d := newDraft(base, true, len(want))
	for id, class := range want {
		if err := d.put([]byte(id), class, false); err != nil {
			t.Fatalf("reload %s: %v", id, err)
		}
	}
	return d.finish()
}

func changed(t *rapid.T, base *index, want, changes map[string]ClassID) (*index, map[string]ClassID) {
	d := newDraft(base, false, 0)
	want = maps.Clone(want)
	for id, class := range changes {
		_, known := want[id]
		switch {
		case class != 0:
			if err := d.put([]byte(id), class, known); err != nil {
				t.Fatalf("put %s: %v", id, err)
			}
			want[id] = class
		case known:
			if err := d.remove([]byte(id)); err != nil {
				t.Fatalf("remove %s: %v", id, err)
			}
			delete(want, id)
		}
	}
	return d.finish(), want
}

func checkIndex(t *rapid.T, ix *index, want map[string]ClassID) {
	if ix.count != len(want) {
		t.Fatalf("the index counts %d subjects, want %d", ix.count, len(want))
	}
	for _, id := range testIDs {
		got := ix.lookup([]byte(id))
		if class, known := want[id]; known && got != class {
			t.Fatalf("%s has class %d, want %d", id, got, class)
		} else if !known && got != 0 && ix.mask == ^uint64(0) {
			t.Fatalf("%s is unknown and has class %d", id, got)
		}
	}
	used := len(ix.collided)
	for _, s := range ix.shards {
		n := 0
		for _, e := range s.entries {
			if e.class != 0 {
				n++
			}
		}
		if n != s.used {
			t.Fatalf("a shard counts %d entries and has %d", s.used, n)
		}
		used += n
	}
	if used != ix.count {
		t.Fatalf("the index counts %d subjects and has %d", ix.count, used)
	}
}

func TestChangesThatDoNotFit(t *testing.T) {
	base := newIndex(key{}, 0)
	d := newDraft(base, false, 0)
	if err := d.put([]byte("a"), 1, true); err != errNotKnown {
		t.Errorf("a change of an unknown subject: %v", err)
	}
	if err := d.remove([]byte("a")); err != errNotKnown {
		t.Errorf("the removal of an unknown subject: %v", err)
	}
}

// TestReloadOfTheSameCopiesNothing bounds the memory of reloads by the size of the
// change.
func TestReloadOfTheSameCopiesNothing(t *testing.T) {
	const n = 100_000
	d := newDraft(newIndex(newKey(), n), true, n)
	put := func(d *draft, except int) {
		for i := range n {
			class := ClassID(1 + i%7)
			if i == except {
				class++
			}
			if err := d.put(fmt.Appendf(nil, "%d", i), class, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(d, -1)
	base := d.finish()
	for except, want := range map[int]int{-1: 0, 5: 1} {
		d = newDraft(base, true, n)
		put(d, except)
		next := d.finish()
		copied := 0
		for i := range next.shards {
			if &next.shards[i].entries[0] != &base.shards[i].entries[0] {
				copied++
			}
		}
		if copied != want {
			t.Errorf("a reload with subject %d changed copied %d of %d shards, want %d", except, copied, len(next.shards), want)
		}
	}
}

// TestMemoryPerSubject counts what the index allocates, first loaded at once and
// then grown by changes.
func TestMemoryPerSubject(t *testing.T) {
	const n = 150_000
	k := key{1, 2} // decides which shards have just grown, and so the second figure
	size := func(ix *index) float64 {
		bytes := 0
		for _, s := range ix.shards {
			bytes += int(unsafe.Sizeof(s)) + cap(s.entries)*int(unsafe.Sizeof(entry{}))
		}
		return float64(bytes) / float64(ix.count)
	}
	d := newDraft(newIndex(k, 0), true, n)
	for i := range n {
		_ = d.put(fmt.Appendf(nil, "%d", i), 1, false)
	}
	loaded := d.finish()
	d = newDraft(newIndex(k, 0), false, 0)
	for i := range n {
		_ = d.put(fmt.Appendf(nil, "%d", i), 1, false)
	}
	grown := d.finish()
	t.Logf("loaded %.2f bytes a subject, grown %.2f", size(loaded), size(grown))
	// Shards that grew are of any size, which the allocator rounds up; the next load
	// that finds many more subjects than shards makes up for it.
	if size(loaded) > 16 || size(grown) > 18 {
		t.Errorf("loaded %.2f bytes a subject, grown %.2f", size(loaded), size(grown))
	}
}

func TestLookupNoAlloc(t *testing.T) {
	d := newDraft(newIndex(newKey(), 1), false, 0)
	id, nobody := fmt.Appendf(nil, "%0256d", 7), []byte("nobody")
	if err := d.put(id, 3, false); err != nil {
		t.Fatal(err)
	}
	ix := d.finish()
	if n := testing.AllocsPerRun(100, func() {
		if ix.lookup(id) != 3 || ix.lookup(nobody) != 0 {
			t.Fatal("wrong class")
		}
	}); n != 0 {
		t.Errorf("a lookup allocates %v times", n)
	}
}

func BenchmarkIndexLookup(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000, 10_000_000} {
		d := newDraft(newIndex(newKey(), 0), true, n)
		for i := range n {
			_ = d.put(fmt.Appendf(nil, "%d", i), ClassID(1+i%100), false)
		}
		ix := d.finish()
		ids := make([][]byte, 1<<16) // drawn from all over the index
		for i := range ids {
			ids[i] = fmt.Append(nil, i*7919%n)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if ix.lookup(ids[i&(1<<16-1)]) == 0 {
					b.Fatal("lost a subject")
				}
			}
		})
	}
}
