package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// job is load of one kind: some clients that work until the end.
type job struct {
	stats
	writes bool
	once   sync.Once
	stop   chan struct{}
	group  sync.WaitGroup
}

func (j *job) end() {
	j.once.Do(func() { close(j.stop) })
	j.group.Wait()
}

// every calls one again and again, with a pause between, until the end. Each worker
// has its own random choices. In quick runs readers are slower, because tests run
// in parallel.
func (f *fixture) every(workers int, pause time.Duration, writes bool, one func(worker int, r *rand.Rand, j *job) func()) *job {
	if !writes {
		pause *= fullOr[time.Duration](1, 4)
	}
	j := &job{writes: writes, stop: make(chan struct{})}
	for i := range workers {
		r := rand.New(rand.NewPCG(f.random.Uint64(), uint64(i)))
		work := one(i, r, j)
		j.group.Go(func() {
			tick := time.NewTimer(0)
			defer tick.Stop()
			for {
				select {
				case <-j.stop:
					return
				case <-tick.C:
				}
				work()
				tick.Reset(pause)
			}
		})
	}
	f.jobs = append(f.jobs, j)
	return j
}

// read starts readers of edges, and passes their answers to the checker.
func (f *fixture) read(workers int, pause time.Duration, edges ...*service) *job {
	return f.every(workers, pause, false, func(i int, r *rand.Rand, j *job) func() {
		reader := &reader{edge: edges[i%len(edges)], check: f.check, random: r, tags: map[string]tagged{}}
		reader.client.addr = reader.edge.addr
		return func() { reader.once(j) }
	})
}

// reader asks one edge for flags of subjects, by every call.
type reader struct {
	edge   *service
	client client
	check  *checker
	random *rand.Rand
	tags   map[string]tagged // by subject
}

// tagged is an ETag and its answer.
type tagged struct{ tag, flags string }

func (r *reader) subject() string {
	if r.random.IntN(2) == 0 {
		return fmt.Sprintf("%s%d", steady, r.random.IntN(subjects))
	}
	return fmt.Sprintf("%s%d", watched, r.random.IntN(subjects+1)) // one id is never used
}

func (r *reader) once(j *job) {
	edge := identity(r.edge)
	floor := r.check.floor(edge)
	began := time.Now()
	flags, revision, err := r.ask()
	ended := time.Now()
	if err == nil && revision < 0 {
		err = errNoRevision
	}
	if edge != identity(r.edge) {
		return // restarted meanwhile: it is unknown which of the two answered
	}
	j.add(ended.Sub(began), err)
	if err == nil {
		r.check.note(edge, floor, revision, flags, moment{began, ended})
	}
}

func (r *reader) ask() (map[string]string, int64, error) {
	subject := r.subject()
	switch r.random.IntN(8) {
	case 0:
		ids := []string{subject}
		for range 7 {
			ids = append(ids, r.subject())
		}
		body, err := json.Marshal(map[string][]string{"subject_ids": ids})
		if err != nil {
			return nil, 0, err
		}
		a, err := r.client.do("POST", "/v1/subjects/flags", body, "")
		if err != nil {
			return nil, 0, err
		}
		flags, err := parseBatch(a)
		return flags, a.revision, err
	case 1:
		return r.conditional(subject)
	case 2:
		return r.plain(subject, "/v1/subjects/"+subject+"/flags")
	default:
		return r.plain(subject, "/v1/subject/flags?subject_id="+subject)
	}
}

func (r *reader) plain(subject, target string) (map[string]string, int64, error) {
	a, err := r.client.get(target)
	if err != nil {
		return nil, 0, err
	}
	return r.single(subject, a)
}

func (r *reader) single(subject string, a answer) (map[string]string, int64, error) {
	flags, err := parseFlags(a)
	if err != nil {
		return nil, 0, err
	}
	if tag := a.header.Get("ETag"); tag != "" {
		r.tags[subject] = tagged{tag, flags}
	}
	return map[string]string{subject: flags}, a.revision, nil
}

// conditional asks with the last ETag. A 304 means that the flags of that answer
// still hold.
func (r *reader) conditional(subject string) (map[string]string, int64, error) {
	known, ok := r.tags[subject]
	if !ok {
		return r.plain(subject, "/v1/subject/flags?subject_id="+subject)
	}
	a, err := r.client.do("GET", "/v1/subject/flags?subject_id="+subject, nil, "If-None-Match: "+known.tag+"\r\n")
	if err != nil {
		return nil, 0, err
	}
	if a.status == 304 {
		return map[string]string{subject: known.flags}, a.revision, nil
	}
	return r.single(subject, a)
}

// write starts writers of the admins, each making random changes. Rejections of the
// contract (the subject already exists…) are normal answers.
func (f *fixture) write(workers int, pause time.Duration) *job {
	addrs := make([]string, len(f.admins))
	for i, s := range f.admins {
		addrs[i] = s.addr
	}
	return f.writeTo(workers, pause, addrs...)
}

func (f *fixture) writeTo(workers int, pause time.Duration, addrs ...string) *job {
	return f.every(workers, pause, true, func(i int, r *rand.Rand, j *job) func() {
		c := &client{addr: addrs[i%len(addrs)], token: token}
		return func() {
			release := func() {}
			method, target, body := randomWrite(r)
			if r.IntN(10) == 0 {
				method, target, body, release = f.growth.next()
			}
			began := time.Now()
			a, err := c.send(method, target, body)
			release()
			switch {
			case err != nil:
			case a.status >= 500:
				err = fmt.Errorf("%s %s: %d %s", method, target, a.status, a.body)
				if a.status != 503 {
					f.t.Error(err) // no fault excuses an unexpected error of a write
				}
			case a.status < 300:
				f.ack(a.revision)
			}
			j.add(time.Since(began), err)
		}
	})
}

func randomWrite(r *rand.Rand) (method, target string, body any) {
	feature := fmt.Sprintf("/v1/features/f%d", r.IntN(features))
	group := fmt.Sprintf("/v1/groups/g%d", r.IntN(groups))
	mortal := fmt.Sprintf("%s%d", watched, r.IntN(subjects))
	anyone := mortal
	if r.IntN(2) == 0 {
		anyone = fmt.Sprintf("%s%d", steady, r.IntN(subjects))
	}
	variant := []string{"A", "B", "__DISABLE__"}[r.IntN(3)]
	switch r.IntN(12) {
	case 0, 1, 2:
		return "PATCH", feature + "/rollout", object{"proportion": float64(r.IntN(101)) / 100}
	case 3:
		return "PATCH", feature + "/rollout", object{"variant": variant}
	case 4:
		return "PUT", feature + "/default_variant", object{"variant": variant}
	case 5:
		return "DELETE", feature + "/default_variant", nil
	case 6:
		return "PUT", group + "/subjects/" + anyone, nil
	case 7:
		return "DELETE", group + "/subjects/" + anyone, nil
	case 8:
		return "PUT", group + "/overrides/" + feature[len("/v1/features/"):], object{"variant": variant}
	case 9:
		return "DELETE", group + "/overrides/" + feature[len("/v1/features/"):], nil
	case 10:
		return "POST", "/v1/subjects", object{"id": mortal, "weight": 1 + r.IntN(10)}
	default:
		return "DELETE", "/v1/subjects/" + mortal, nil
	}
}

// growth raises the proportion of the growing rollout, one writer at a time: two at
// once could arrive out of order.
type growth struct {
	turn    chan struct{}
	percent int
}

func (g *growth) next() (method, target string, body any, release func()) {
	g.turn <- struct{}{}
	g.percent = min(g.percent+1, 100)
	return "PATCH", "/v1/features/" + growing + "/rollout", object{"proportion": float64(g.percent) / 100}, func() { <-g.turn }
}

// flagsOf asks an address for one subject's flags.
func flagsOf(addr string) func() error {
	c := client{addr: addr}
	return func() error {
		a, err := c.get("/v1/subject/flags?subject_id=" + steady + "0")
		if err == nil && a.status != 200 {
			err = fmt.Errorf("status %d: %s", a.status, a.body)
		}
		return err
	}
}

// readOwn starts readers that ask for at least the last acknowledged revision, like
// a client that has just written. Every answer must have it, even that a subject is
// unknown.
func (f *fixture) readOwn(workers int, pause time.Duration, edges ...*service) *job {
	return f.every(workers, pause, false, func(i int, r *rand.Rand, j *job) func() {
		c := &client{addr: edges[i%len(edges)].addr}
		return func() {
			least := f.acked.Load()
			subject := fmt.Sprintf("%s%d", watched, r.IntN(2*subjects)) // half of them never existed
			began := time.Now()
			a, err := c.get(fmt.Sprintf("/v1/subject/flags?subject_id=%s&min_revision=%d&wait=5s", subject, least))
			if err == nil && (a.status != 200 && a.status != 404 || a.revision < least) {
				err = fmt.Errorf("%s at revision %d or later: status %d at revision %d", subject, least, a.status, a.revision)
			}
			j.add(time.Since(began), err)
		}
	})
}

// asking repeats a request to one address and times it.
func (f *fixture) asking(workers int, pause time.Duration, question func(addr string) func() error, addr string) *job {
	return f.every(workers, pause, false, func(_ int, _ *rand.Rand, j *job) func() {
		ask := question(addr)
		return func() {
			began := time.Now()
			err := ask()
			j.add(time.Since(began), err)
		}
	})
}
