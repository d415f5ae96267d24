package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// probe is a measurement of the read model in a process of its own, so that its
// heap holds nothing else.
type probe struct {
	Subjects int
	Long     bool // ids of up to 200 bytes instead of 16
	Map      bool // of a Go map[string]uint32 instead
	File     bool // of reading a snapshot file instead
}

// probed is the result of a probe.
type probed struct {
	Lookup      float64       // nanoseconds from an id to its body, or to the map's value
	Allocations float64       // by such a lookup; a whole number, as testing.AllocsPerRun has it
	Bytes       float64       // of heap for each subject
	GC          time.Duration // one full collection
	Read        time.Duration // from a file to a snapshot
}

const lookups = 2_000_000

// runProbe carries out the probe on standard input.
func runProbe(context.Context) error {
	var p probe
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return err
	}
	if p.File {
		read, err := p.readFile()
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(probed{Read: read})
	}
	before := heap()
	find, err := p.build()
	if err != nil {
		return err
	}
	result := probed{Bytes: float64(heap()-before) / float64(p.Subjects)}
	var collections []float64
	for range 5 {
		start := time.Now()
		runtime.GC()
		collections = append(collections, float64(time.Since(start)))
	}
	result.GC = time.Duration(median(collections))
	if !p.Long {
		nothing, _ := p.lookUp(func(string) bool { return true })
		whole, allocations := p.lookUp(find)
		result.Lookup, result.Allocations = whole-nothing, allocations
	}
	runtime.KeepAlive(find)
	return json.NewEncoder(os.Stdout).Encode(result)
}

// heap is the memory in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // the second one frees what the first one finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// lookUp is the mean time of a lookup of a random subject, what makes the ids
// included, and its allocations.
func (p *probe) lookUp(find func(id string) bool) (nanoseconds, allocations float64) {
	// A request's id lies in a buffer that was just read: in the cache, unlike
	// what it leads to.
	buffer := []byte(subjectID(0))
	id := unsafe.String(&buffer[0], len(buffer))
	// Bodies are made when they are first asked for.
	for i := range min(2*buckets, p.Subjects) {
		putDigits(buffer[len(idPrefix):], i)
		find(id)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	for range lookups {
		putDigits(buffer[len(idPrefix):], random.IntN(p.Subjects))
		if !find(id) {
			panic(id + " is missing")
		}
	}
	elapsed := time.Since(start)
	runtime.ReadMemStats(&after)
	return float64(elapsed) / lookups, float64((after.Mallocs - before.Mallocs) / lookups)
}

// build returns a lookup in a new read model.
func (p *probe) build() (find func(id string) bool, err error) {
	if p.Map {
		m := make(map[string]uint32, p.Subjects)
		for i := range p.Subjects {
			m[p.id(i)] = uint32(i)
		}
		return func(id string) bool { _, ok := m[id]; return ok }, nil
	}
	s, err := snapshot.NewBuilder(snapshot.Reject).Apply(nil, p.update())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return func(id string) bool {
		class := s.Class(id)
		return class != 0 && len(s.Body(class, now).JSON) > 0
	}, nil
}

// readFile is how long it takes to read a file that was just written, from the
// kernel's memory.
func (p *probe) readFile() (time.Duration, error) {
	dir, err := os.MkdirTemp("", "flaggery-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "snapshot")
	s, err := snapshot.NewBuilder(snapshot.Reject).Apply(nil, p.update())
	if err != nil {
		return 0, err
	}
	if err := snapshot.WriteFile(path, s); err != nil {
		return 0, err
	}
	runtime.GC()
	start := time.Now()
	read, _, err := snapshot.NewBuilder(snapshot.Reject).ReadFile(path, start)
	elapsed := time.Since(start)
	if err == nil && read.Class(p.id(0)) == 0 {
		err = errors.New("the file does not hold what was written")
	}
	return elapsed, err
}

func (p *probe) id(i int) string {
	id := subjectID(i)
	if p.Long {
		id += strings.Repeat("x", i%(200-len(id)))
	}
	return id
}

// update is the update of a database with standardFeatures.
func (p *probe) update() *model.Update {
	c := &model.Configuration{Buckets: buckets}
	for i := range standardFeatures {
		f := model.Feature{Name: featureName(i), Default: control,
			Variants: []model.Variant{{Name: control}, {Name: treatment}}}
		f.Rollout = &model.Rollout{Variant: treatment, Proportion: 0.5}
		for b := 1 + i%2; b <= buckets; b += 2 {
			f.Rollout.Buckets = append(f.Rollout.Buckets, model.BucketID(b))
		}
		c.Features = append(c.Features, f)
	}
	return &model.Update{
		Position:      model.Position{Epoch: "bench", Revision: 1},
		Now:           time.Now(),
		Full:          true,
		Configuration: c,
		Count:         int64(p.Subjects),
		Subjects: func(yield func(*model.SubjectUpdate, error) bool) {
			for i := range p.Subjects {
				if !yield(&model.SubjectUpdate{ID: []byte(p.id(i)), Bucket: model.BucketID(1 + i%buckets)}, nil) {
					return
				}
			}
		},
	}
}

func (l *lab) measureLookup(ctx context.Context) ([]figure, error) {
	var figures []figure
	for _, subjects := range []int{l.size.subjects, l.size.many} {
		ours, reference, err := l.probes(ctx, subjects)
		if err != nil {
			return nil, err
		}
		most := atMost(150)
		if subjects > 1_000_000 {
			most = atMost(400)
		}
		of := count(subjects) + " subjects"
		figures = append(figures,
			figure{label: of, value: ours.Lookup, unit: "ns", reference: reference.Lookup,
				against: "Go map, no body", ratio: ours.Lookup / reference.Lookup, limit: most},
			figure{label: of, value: ours.Allocations, unit: "allocations", limit: atMost(0).counted()})
	}
	return figures, nil
}

func (l *lab) measureMemory(ctx context.Context) ([]figure, error) {
	ours, reference, err := l.probes(ctx, l.size.many)
	if err != nil {
		return nil, err
	}
	l.progress.step("memory: long ids")
	long, err := callSelf[probed](ctx, "probe", probe{Subjects: l.size.many, Long: true})
	if err != nil {
		return nil, err
	}
	of := count(l.size.many)
	bytes := func(label string, p probed) figure {
		return figure{label: label, value: p.Bytes, unit: "B a subject", reference: reference.Bytes, against: "Go map",
			ratio: p.Bytes / reference.Bytes, limit: atMost(16).counted()}
	}
	return []figure{
		bytes(of+" ids of 16 B", ours),
		bytes(of+" ids of 16 to 199 B", long),
		{label: "full GC, " + of + " subjects", value: milliseconds(ours.GC), unit: "ms", reference: milliseconds(reference.GC),
			against: "Go map", ratio: float64(ours.GC) / float64(reference.GC), limit: atMost(20)},
	}, nil
}

// probes are medians over the rounds of the read model and of a Go map in turns.
func (l *lab) probes(ctx context.Context, subjects int) (ours, reference probed, err error) {
	if both, ok := l.probed[subjects]; ok {
		return both[0], both[1], nil
	}
	var all [2][]probed
	for round := range 3 {
		for i, kind := range []string{"read model", "Go map"} {
			l.progress.step(fmt.Sprintf("%s: %s subjects, round %d of 3", kind, count(subjects), round+1))
			found, err := callSelf[probed](ctx, "probe", probe{Subjects: subjects, Map: i == 1})
			if err != nil {
				return ours, reference, err
			}
			all[i] = append(all[i], found)
		}
	}
	var both [2]probed
	for i := range both {
		of := func(pick func(probed) float64) float64 {
			var values []float64
			for _, p := range all[i] {
				values = append(values, pick(p))
			}
			return median(values)
		}
		both[i] = probed{
			Lookup:      of(func(p probed) float64 { return p.Lookup }),
			Allocations: of(func(p probed) float64 { return p.Allocations }),
			Bytes:       of(func(p probed) float64 { return p.Bytes }),
			GC:          time.Duration(of(func(p probed) float64 { return float64(p.GC) })),
		}
	}
	l.probed[subjects] = both
	return both[0], both[1], nil
}
