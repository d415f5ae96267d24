package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
)

var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is the content of a database: the slow and obvious counterpart of a
// snapshot.
type fixture struct {
	position model.Position
	config   *model.Configuration
	subjects map[string]model.Class
}

func (data *fixture) load(now time.Time) *model.Update {
	return &model.Update{
		Position: data.position, Now: now, Full: true, Configuration: data.config, Count: int64(len(data.subjects)),
		Subjects: func(yield func(*model.SubjectUpdate, error) bool) {
			for id, class := range data.subjects {
				if !yield(&model.SubjectUpdate{ID: []byte(id), Bucket: class.Bucket, Groups: class.Groups}, nil) {
					return
				}
			}
		},
	}
}

// change applies some writes to the fixture, and returns the update with them.
func (data *fixture) change(t *rapid.T, now time.Time) *model.Update {
	data.position.Revision++
	u := &model.Update{Position: data.position, Now: now}
	if rapid.Bool().Draw(t, "configuration changes") {
		data.config = drawConfiguration(t, data.config.Buckets)
		u.Configuration = data.config
	}
	var updates []model.SubjectUpdate
	for i, id := range rapid.SliceOfNDistinct(rapid.SampledFrom(testIDs[:40]), 0, 15, rapid.ID).Draw(t, "changed subjects") {
		_, known := data.subjects[id]
		if known && i%3 == 0 {
			delete(data.subjects, id)
			updates = slices.Insert(updates, 0, model.SubjectUpdate{ID: []byte(id), Gone: true})
			if i%2 == 0 {
				continue
			}
			known = false // deleted and made again
		}
		class := drawSubject(t, data.config.Buckets)
		data.subjects[id] = class
		updates = append(updates, model.SubjectUpdate{ID: []byte(id), Bucket: class.Bucket, Groups: class.Groups, New: !known})
	}
	if len(updates) > 0 {
		u.Subjects = func(yield func(*model.SubjectUpdate, error) bool) {
			for i := range updates {
				if !yield(&updates[i], nil) {
					return
				}
			}
		}
	}
	return u
}

func drawSubject(t *rapid.T, buckets int) model.Class {
	groups := rapid.SliceOfNDistinct(rapid.Int32Range(1, 3), 0, 3, rapid.ID).Draw(t, "groups")
	class := model.Class{Bucket: model.BucketID(rapid.IntRange(1, buckets).Draw(t, "bucket"))}
	for _, g := range slices.Sorted(slices.Values(groups)) {
		class.Groups = append(class.Groups, model.GroupID(g))
	}
	return class
}

// drawConfiguration makes three features with a default, a rollout, a test or an
// override each, as chance has it.
func drawConfiguration(t *rapid.T, buckets int) *model.Configuration {
	c := &model.Configuration{Buckets: buckets, Groups: []model.Group{{ID: 1, Name: "g1", Overrides: map[string]string{}}, {ID: 2, Name: "g2", Priority: 1, Overrides: map[string]string{}}}}
	variant := rapid.SampledFrom([]string{"A", "B", model.DisablingVariant})
	for _, name := range []string{"alpha", "beta", "gamma"} {
		f := model.Feature{Name: name, Variants: []model.Variant{{Name: "A"}, {Name: "B"}, {Name: model.DisablingVariant}}}
		if rapid.Bool().Draw(t, "has default") {
			f.Default = variant.Draw(t, "default")
		}
		if rapid.Bool().Draw(t, "has rollout") {
			f.Rollout = &model.Rollout{Variant: variant.Draw(t, "rolled out")}
			for b := 1; b <= buckets; b += rapid.IntRange(1, 3).Draw(t, "stride") {
				f.Rollout.Buckets = append(f.Rollout.Buckets, model.BucketID(b))
			}
		}
		for i := range c.Groups {
			if rapid.Bool().Draw(t, "overrides") {
				c.Groups[i].Overrides[name] = variant.Draw(t, "override")
			}
		}
		c.Features = append(c.Features, f)
	}
	if rapid.Bool().Draw(t, "has test") {
		start := noon.Add(time.Duration(rapid.IntRange(-2, 2).Draw(t, "start")) * time.Minute)
		test := model.ABTest{Name: "test", Start: start, End: start.Add(2 * time.Minute), Groups: []model.TestGroup{
			{Name: "a", Variants: map[string]string{"beta": "A"}}, {Name: "b", Variants: map[string]string{"beta": "B"}}}}
		for b := 1; b <= buckets; b++ {
			g := &test.Groups[b%2]
			g.Buckets = append(g.Buckets, model.BucketID(b))
		}
		c.Tests = append(c.Tests, test)
	}
	return c
}

// TestChangesEqualFreshLoads applies random sequences of changes and reloads. After
// each, as time goes on, every subject gets the result of the resolution, both from
// the followed snapshot and from a freshly loaded one.
func TestChangesEqualFreshLoads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		buckets := rapid.IntRange(1, 9).Draw(t, "buckets")
		data := &fixture{model.Position{Epoch: "e", Revision: 1}, drawConfiguration(t, buckets), map[string]model.Class{}}
		b := NewBuilder(Reject)
		now := noon.Add(-5 * time.Minute)
		s, err := b.Apply(nil, data.load(now))
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			now = now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "seconds")) * time.Second)
			u := data.change(t, now)
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				u = data.load(now)
			}
			next, err := b.Apply(s, u)
			if err != nil {
				t.Fatal(err)
			}
			s.Replaced(next)
			s = next
			fresh, err := NewBuilder(Reject).Apply(nil, data.load(now))
			if err != nil {
				t.Fatal(err)
			}
			data.check(t, s, now)
			data.check(t, fresh, now)
		}
	})
}

func (data *fixture) check(t *rapid.T, s *Snapshot, now time.Time) {
	if s.Position != data.position || s.Stats().Subjects != len(data.subjects) {
		t.Fatalf("snapshot at %v with %d subjects, want %v with %d", s.Position, s.Stats().Subjects, data.position, len(data.subjects))
	}
	resolver, err := evaluation.Compile(data.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range testIDs[:40] {
		class, known := data.subjects[id]
		got := s.Class(id)
		if !known {
			if got != 0 {
				t.Fatalf("%s is unknown and has class %d", id, got)
			}
			continue
		}
		var answer struct{ Flags map[string]string }
		if err := json.Unmarshal(s.Body(got, now).JSON, &answer); err != nil {
			t.Fatal(err)
		}
		if want := resolver.Flags(class, now); !maps.Equal(answer.Flags, want) {
			t.Fatalf("%s gets %v at %v, want %v", id, answer.Flags, now, want)
		}
	}
}

// uniformFixture has features of which all subjects get variant.
func uniformFixture(revision int64, variant string, subjects int) *fixture {
	data := &fixture{position: model.Position{Epoch: "e", Revision: revision}, subjects: map[string]model.Class{}}
	data.config = &model.Configuration{Buckets: 7}
	for _, name := range []string{"one", "two"} {
		data.config.Features = append(data.config.Features, model.Feature{Name: name, Default: variant, Variants: []model.Variant{{Name: variant}}})
	}
	for i := range subjects {
		data.subjects[fmt.Sprint(i)] = model.Class{Bucket: model.BucketID(1 + i%7)}
	}
	return data
}

func mustApply(t testing.TB, b *Builder, base *Snapshot, u *model.Update) *Snapshot {
	t.Helper()
	s, err := b.Apply(base, u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBody(t *testing.T) {
	data := uniformFixture(1, "A", 1)
	s := mustApply(t, NewBuilder(Reject), nil, data.load(noon))
	b := s.Body(s.Class("0"), noon)
	if got, want := string(b.JSON), `{"flags":{"one":"A","two":"A"}}`; got != want {
		t.Errorf("the body is %s, want %s", got, want)
	}
	if got, want := string(b.Object()), `{"one":"A","two":"A"}`; got != want {
		t.Errorf("the object is %s, want %s", got, want)
	}
	// Frozen: edges of different builds answer 304 to each other's clients.
	if got, want := b.ETag[0], `"jw6h_mddFb93qDvh"`; got != want {
		t.Errorf("the ETag is %s, want %s", got, want)
	}
	if b.Length[0] != fmt.Sprint(len(b.JSON)) {
		t.Errorf("the length is %s", b.Length[0])
	}
	if again := s.Body(s.Class("0"), noon.Add(time.Hour)); again != b {
		t.Error("a second body was made")
	}
}

func TestUnknownSubjects(t *testing.T) {
	data := uniformFixture(1, "A", 3)
	data.config.Features[0].Variants = []model.Variant{{Name: "A"}, {Name: "B"}}
	data.config.Features[0].Rollout = &model.Rollout{Variant: "B", Buckets: []model.BucketID{1, 2, 3, 4, 5, 6, 7}}
	for unknown, want := range map[Unknown]string{
		Reject:   "",
		Defaults: `{"flags":{"one":"A","two":"A"}}`,
		Hash:     `{"flags":{"one":"B","two":"A"}}`,
	} {
		s := mustApply(t, NewBuilder(unknown), nil, data.load(noon))
		got := ""
		if class := s.Class("nobody"); class != 0 {
			got = string(s.Body(class, noon).JSON)
		}
		if got != want {
			t.Errorf("%s answers %q, want %q", unknown, got, want)
		}
	}
	s := mustApply(t, NewBuilder(Hash), nil, data.load(noon))
	if s.Class("") != 0 || s.Class("new\nline") != 0 || s.Class(strings.Repeat("x", 257)) != 0 {
		t.Error("what cannot be an id has a class")
	}
	if _, err := ParseUnknown("maybe"); err == nil {
		t.Error("maybe was accepted")
	}
}

func TestTestsBeginAndEndOnTime(t *testing.T) {
	data := uniformFixture(1, "A", 1)
	data.config.Features[0].Variants = []model.Variant{{Name: "A"}, {Name: "B"}}
	start, end := noon.Add(time.Minute), noon.Add(2*time.Minute)
	all := []model.BucketID{1, 2, 3, 4, 5, 6, 7}
	data.config.Tests = []model.ABTest{{Name: "t", Start: start, End: end, Groups: []model.TestGroup{
		{Name: "a", Variants: map[string]string{"one": "B"}, Buckets: all}, {Name: "b", Variants: map[string]string{"one": "A"}}}}}
	b := NewBuilder(Reject)
	s := mustApply(t, b, nil, data.load(noon))
	for _, step := range []struct {
		at   time.Time
		want string
	}{
		{noon, "A"}, {start.Add(-1), "A"}, {start, "B"}, {end.Add(-1), "B"},
		{start.Add(-1), "B"}, // the clock was set back: the period stays
		{end, "A"},
	} {
		if got := s.Body(s.Class("0"), step.at).Flags[0].Variant; got != step.want {
			t.Errorf("at %v the variant is %s, want %s", step.at, got, step.want)
		}
	}
	data.position.Revision++
	reloaded := mustApply(t, b, s, data.load(end.Add(-time.Millisecond)))
	if got := reloaded.Body(reloaded.Class("0"), end.Add(-time.Millisecond)).Flags[0].Variant; got != "A" {
		t.Errorf("a reload by a clock that is a little behind brought back %s", got)
	}
}

func TestRefusedUpdates(t *testing.T) {
	subject := func(s model.SubjectUpdate) iter.Seq2[*model.SubjectUpdate, error] {
		return func(yield func(*model.SubjectUpdate, error) bool) { yield(&s, nil) }
	}
	for name, c := range map[string]struct {
		want   Reason
		update func(u *model.Update)
	}{
		"an earlier revision":        {RevisionBack, func(u *model.Update) { u.Revision = 4 }},
		"a configuration with holes": {Inconsistent, func(u *model.Update) { u.Configuration.Features[0].Default = "gone" }},
		"no configuration":           {NotApplicable, func(u *model.Update) { u.Configuration = nil }},
		"too few subjects":           {Miscounted, func(u *model.Update) { u.Count++ }},
		"a bucket that is not there": {Dangling, func(u *model.Update) { u.Subjects = subject(model.SubjectUpdate{ID: []byte("x"), Bucket: 8}) }},
		"a change of nobody": {Unrecognised, func(u *model.Update) {
			u.Full = false
			u.Subjects = subject(model.SubjectUpdate{ID: []byte("x"), Bucket: 1})
		}},
		"a deletion of nobody": {Unrecognised, func(u *model.Update) {
			u.Full = false
			u.Subjects = subject(model.SubjectUpdate{ID: []byte("x"), Gone: true})
		}},
	} {
		b := NewBuilder(Reject)
		base := mustApply(t, b, nil, uniformFixture(5, "A", 3).load(noon))
		u := uniformFixture(6, "B", 3).load(noon)
		c.update(u)
		_, err := b.Apply(base, u)
		var refused *Refused
		if !errors.As(err, &refused) || refused.Reason != c.want {
			t.Errorf("%s: %v, want it refused for %s", name, err, c.want)
		}
		if got := base.Body(base.Class("2"), noon).Flags[0].Variant; got != "A" {
			t.Errorf("%s: the base serves %s", name, got)
		}
	}
	b := NewBuilder(Reject)
	if _, err := b.Apply(nil, &model.Update{}); err == nil {
		t.Error("changes were applied to nothing")
	}
	broken := uniformFixture(5, "A", 3).load(noon)
	all, lost := broken.Subjects, errors.New("the connection is lost")
	broken.Subjects = func(yield func(*model.SubjectUpdate, error) bool) {
		all(yield)
		yield(nil, lost)
	}
	if _, err := b.Apply(nil, broken); !errors.Is(err, lost) {
		t.Errorf("subjects that end with an error were applied: %v", err)
	}
	restored := uniformFixture(2, "A", 1)
	base := mustApply(t, b, nil, uniformFixture(5, "A", 3).load(noon))
	restored.position.Epoch = "another"
	if s := mustApply(t, b, base, restored.load(noon)); s.Revision != 2 || s.Class("2") != 0 {
		t.Error("a restored database was not taken over")
	}
}

// TestReadersDuringChanges has readers at full speed while configurations, subjects
// and periods change. An answer that mixed two revisions would show two variants.
// At the end every answer was counted once.
func TestReadersDuringChanges(t *testing.T) {
	const readers, answers, changes = 4, 5_000, 100
	b := NewBuilder(Reject)
	var current struct {
		sync.RWMutex
		s *Snapshot
	}
	load := func() *Snapshot {
		current.RLock()
		defer current.RUnlock()
		return current.s
	}
	atRevision := func(revision int64) *fixture {
		data := uniformFixture(revision, fmt.Sprintf("v%d", revision), 100)
		// A boundary a millisecond after each change, so that periods move on meanwhile.
		start := noon.Add(time.Duration(revision)*time.Second + time.Millisecond)
		data.config.Tests = []model.ABTest{{Name: "t", Start: start, End: start.Add(time.Millisecond), Groups: []model.TestGroup{
			{Name: "a", Variants: map[string]string{"one": data.config.Features[0].Default}, Buckets: []model.BucketID{1, 2, 3, 4, 5, 6, 7}},
			{Name: "b", Variants: map[string]string{"one": data.config.Features[0].Default}}}}}
		return data
	}
	current.s = mustApply(t, b, nil, atRevision(1).load(noon))
	var group sync.WaitGroup
	for r := range readers {
		group.Go(func() {
			revision := int64(0)
			for i := range answers {
				s := load()
				if s.Revision < revision {
					t.Errorf("revision %d after %d", s.Revision, revision)
					return
				}
				revision = s.Revision
				now := noon.Add(time.Duration(revision)*time.Second + time.Duration(i%3)*time.Millisecond)
				body := s.Body(s.Class(fmt.Sprint((i+r)%100)), now)
				body.CountServed()
				if body.Flags[0].Variant != body.Flags[1].Variant || body.Flags[0].Variant != fmt.Sprintf("v%d", revision) {
					t.Errorf("revision %d answers %v", revision, body.Flags)
					return
				}
			}
		})
	}
	group.Go(func() {
		for i := int64(2); i < changes; i++ {
			next := mustApply(t, b, load(), atRevision(i).load(noon.Add(time.Duration(i)*time.Second)))
			current.Lock()
			old := current.s
			current.s = next
			current.Unlock()
			old.Replaced(next)
			b.Answers().Totals(noon)
		}
	})
	group.Wait()
	sum := uint64(0)
	for flag, n := range b.Answers().Totals(noon) {
		if flag.Feature == "one" {
			sum += n
		}
	}
	if sum != readers*answers {
		t.Errorf("%d answers were counted, want %d", sum, readers*answers)
	}
}

// TestCountsOfDroppedBodies counts with a body of a replaced snapshot.
func TestCountsOfDroppedBodies(t *testing.T) {
	b := NewBuilder(Reject)
	data := uniformFixture(1, "A", 1)
	s := mustApply(t, b, nil, data.load(noon))
	class := s.Class("0")
	before := s.Body(class, noon)
	s.Replaced(mustApply(t, b, s, data.load(noon)))
	before.CountServed()
	s.Body(class, noon).CountServed() // a request that still holds the snapshot
	if n := b.Answers().Totals(noon)[Flag{"one", "A"}]; n != 2 {
		t.Errorf("%d answers were counted, want 2", n)
	}
}

// TestTotalsOfRemovedVariants removes a feature of two, and a variant of the other.
// Each total is read for another hour, and goes on if its variant returns in that
// time.
func TestTotalsOfRemovedVariants(t *testing.T) {
	b := NewBuilder(Reject)
	var s *Snapshot
	serve := func(variant string, features int) {
		data := uniformFixture(1, variant, 1)
		data.config.Features = data.config.Features[:features]
		next := mustApply(t, b, s, data.load(noon))
		next.Body(next.Class("0"), noon).CountServed()
		if s != nil {
			s.Replaced(next)
		}
		s = next
	}
	expect := func(minute int, want map[Flag]uint64) {
		t.Helper()
		if got := b.Answers().Totals(noon.Add(time.Duration(minute) * time.Minute)); !maps.Equal(got, want) {
			t.Errorf("after %d minutes the totals are %v, want %v", minute, got, want)
		}
	}
	oneA, twoA, oneB := Flag{"one", "A"}, Flag{"two", "A"}, Flag{"one", "B"}
	serve("A", 2)
	expect(0, map[Flag]uint64{oneA: 1, twoA: 1})
	serve("A", 1)
	expect(1, map[Flag]uint64{oneA: 2, twoA: 1})
	serve("B", 1)
	expect(31, map[Flag]uint64{oneA: 2, twoA: 1, oneB: 1})
	expect(60, map[Flag]uint64{oneA: 2, twoA: 1, oneB: 1})
	expect(61, map[Flag]uint64{oneA: 2, oneB: 1})
	serve("A", 1)
	serve("B", 1) // A was back, although no scrape saw it
	expect(91, map[Flag]uint64{oneA: 3, oneB: 2})
	expect(150, map[Flag]uint64{oneA: 3, oneB: 2})
	expect(151, map[Flag]uint64{oneB: 2})
	serve("A", 2)
	expect(152, map[Flag]uint64{oneA: 1, twoA: 1, oneB: 2})
}

// TestMoreClassesThanPlaces holds the cache to its bounds while classes compete.
func TestMoreClassesThanPlaces(t *testing.T) {
	data := uniformFixture(1, "A", 0)
	data.config.Buckets = 1000
	s := mustApply(t, NewBuilder(Hash), nil, data.load(noon))
	bodies := s.generation.period.Load().bodies
	bodies.slots = bodies.slots[:64]
	for round := range 3 {
		for class := range ClassID(1001) {
			b, _ := s.OFREP(class, noon)
			if b.class != class {
				t.Fatalf("class %d got the body of %d", class, b.class)
			}
			b.CountServed()
		}
		size := 0
		for i := range bodies.slots {
			size += bodies.slots[i].Load().size()
		}
		if size != bodies.bytes {
			t.Fatalf("the bodies weigh %d, counted as %d", size, bodies.bytes)
		}
		if n := s.generation.answers.Totals(noon)[Flag{"one", "A"}]; n != uint64(1001*(round+1)) {
			t.Fatalf("%d answers were counted", n)
		}
	}
}

// TestMoreClassesGetMorePlaces changes only subjects, into ever more classes.
func TestMoreClassesGetMorePlaces(t *testing.T) {
	data := uniformFixture(1, "A", 1)
	b := NewBuilder(Reject)
	s := mustApply(t, b, nil, data.load(noon))
	for group := range model.GroupID(4 * minBodies) {
		u := &model.Update{Position: data.position, Now: noon, Subjects: func(yield func(*model.SubjectUpdate, error) bool) {
			yield(&model.SubjectUpdate{ID: []byte("0"), Bucket: 1, Groups: []model.GroupID{group + 1}}, nil)
		}}
		next := mustApply(t, b, s, u)
		s.Replaced(next)
		s = next
	}
	if classes, places := s.Stats().Classes, len(s.generation.period.Load().bodies.slots); classes < 4*minBodies || places < classes {
		t.Errorf("%d classes have %d places", classes, places)
	}
}

// TestUnknownIDsTakeNoMemory queries very many of them.
func TestUnknownIDsTakeNoMemory(t *testing.T) {
	for _, unknown := range []Unknown{Reject, Defaults, Hash} {
		s := mustApply(t, NewBuilder(unknown), nil, uniformFixture(1, "A", 1000).load(noon))
		id := make([]byte, 0, 32)
		ask := func(n int) {
			for i := range n {
				id = strconv.AppendInt(append(id[:0], "visitor-"...), int64(i), 10)
				if class := s.classOf(id); class != 0 {
					s.Body(class, noon).CountServed()
				}
			}
		}
		ask(1000)
		if n := testing.AllocsPerRun(1, func() { ask(100_000) }); n > 100 { // what the runtime does meanwhile
			t.Errorf("%s: 100,000 unknown ids allocate %v times", unknown, n)
		}
	}
}

func largeFixture(n int) *fixture {
	data := &fixture{position: model.Position{Epoch: "e", Revision: 1}, config: &model.Configuration{Buckets: 100}}
	for i := range 20 {
		f := model.Feature{Name: fmt.Sprintf("feature-number-%02d", i), Default: "A", Variants: []model.Variant{{Name: "A"}, {Name: "B"}}}
		f.Rollout = &model.Rollout{Variant: "B"}
		for b := 1 + i%5; b <= 100; b += 5 {
			f.Rollout.Buckets = append(f.Rollout.Buckets, model.BucketID(b))
		}
		data.config.Features = append(data.config.Features, f)
	}
	return data
}

func largeUpdate(n int) *model.Update {
	u := largeFixture(n).load(noon)
	u.Count = int64(n)
	u.Subjects = func(yield func(*model.SubjectUpdate, error) bool) {
		var s model.SubjectUpdate
		for i := range n {
			s.ID, s.Bucket = fmt.Appendf(s.ID[:0], "%d", i), model.BucketID(1+i%100)
			if !yield(&s, nil) {
				return
			}
		}
	}
	return u
}

func TestResolveNoAlloc(t *testing.T) {
	s := mustApply(t, NewBuilder(Hash), nil, largeUpdate(1000))
	for _, id := range []string{"77", "nobody"} {
		s.Body(s.Class(id), noon)
		if n := testing.AllocsPerRun(100, func() { s.Body(s.Class(id), noon).CountServed() }); n != 0 {
			t.Errorf("resolving %s allocates %v times", id, n)
		}
	}
}

// BenchmarkResolve is the whole way in memory: id → body, and counted.
func BenchmarkResolve(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000, 10_000_000} {
		s := mustApply(b, NewBuilder(Reject), nil, largeUpdate(n))
		ids := make([]string, 1<<16)
		for i := range ids {
			ids[i] = fmt.Sprint(i * 7919 % n)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				s.Body(s.Class(ids[i&(1<<16-1)]), noon).CountServed()
			}
			b.ReportMetric(float64(s.Stats().Bytes)/float64(n), "B/subject")
		})
	}
}

// BenchmarkBody is the first answer of each class after a change of the
// configuration, and the cost of dropping the previous answers.
func BenchmarkBody(b *testing.B) {
	const classes = 1000
	data := largeFixture(0)
	builder := NewBuilder(Hash)
	data.config.Buckets = classes
	s := mustApply(b, builder, nil, data.load(noon))
	b.ReportAllocs()
	for b.Loop() {
		u := data.load(noon)
		u.Full, u.Subjects = false, nil
		next := mustApply(b, builder, s, u)
		s.Replaced(next)
		s = next
		for _, class := range s.ungrouped[1:] {
			s.Body(class, noon).CountServed()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/classes, "ns/body")
}

// BenchmarkBuild loads a million subjects, loads them again, and changes one.
func BenchmarkBuild(b *testing.B) {
	const subjects = 1_000_000
	all := largeUpdate(subjects)
	builder := NewBuilder(Reject)
	base := mustApply(b, builder, nil, all)
	one := &model.Update{Position: all.Position, Now: noon, Subjects: func(yield func(*model.SubjectUpdate, error) bool) {
		yield(&model.SubjectUpdate{ID: []byte("77"), Bucket: 7}, nil)
	}}
	for _, kind := range []struct {
		name string
		base *Snapshot
		u    *model.Update
	}{{"load", nil, all}, {"reload", base, all}, {"change", base, one}} {
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s := mustApply(b, builder, kind.base, kind.u)
				if s.generation != base.generation {
					s.generation.retire()
				}
			}
			if kind.u.Full {
				b.ReportMetric(subjects*float64(b.N)/b.Elapsed().Seconds(), "subjects/s")
			}
		})
	}
}
