package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/lib/pq" // measured in part, and used to prepare the databases

	"github.com/flaggery/flaggery/pkg/pgserver"
)

// lab is the environment of measurements: a PostgreSQL with filled databases, our
// services as processes of their own, and references beside them. Everything stays
// for later measurements, until close.
type lab struct {
	size     size
	dir      string // for the programs, their logs and the database
	keep     bool   // the database is for the next run too
	progress *progress

	pg       *pgserver.Server
	admin    *sql.DB // of the server, to create databases
	filled   map[dataset]string
	edges    map[dataset]*process
	admins   map[dataset]*process
	programs string // folder of our services; "" until they are built
	started  int    // servers so far, to name them
	probed   map[int][2]probed

	requests []samples
	charts   []chart
}

// size is the scale of measurements: make bench or make bench-quick.
type size struct {
	subjects      int // on the edge that most figures are about
	many          int // for what must hold at scale
	subjectCounts []int
	featureCounts []int
	changeRates   []int // a second
	rounds        int
	round         time.Duration
	changes       int // in a measurement of how fast changes arrive
	edges         int // in a fleet
	imported      int
	past          int // changes
	console       dataset
	slider        dataset
}

var (
	full = size{
		subjects: 1_000_000, many: 10_000_000,
		subjectCounts: []int{10_000, 100_000, 1_000_000, 10_000_000},
		featureCounts: []int{5, 20, 100, 500},
		changeRates:   []int{0, 1, 10, 100},
		rounds:        5, round: 3 * time.Second,
		changes: 300, edges: 200, imported: 1_000_000, past: 1_000_000,
		console: dataset{subjects: 10_000_000, features: 10_000, buckets: 4096},
		slider:  dataset{subjects: 1_000_000, features: 500, buckets: 4096},
	}
	quick = size{
		subjects: 100_000, many: 1_000_000,
		subjectCounts: []int{10_000, 1_000_000},
		featureCounts: []int{5, 100},
		changeRates:   []int{0, 100},
		rounds:        3, round: 400 * time.Millisecond,
		changes: 50, edges: 50, imported: 100_000, past: 100_000,
		console: dataset{subjects: 1_000_000, features: 200, buckets: 4096},
		slider:  dataset{subjects: 100_000, features: 50, buckets: 4096},
	}
)

const standardFeatures = 20

// standard is the data of the first goal.
func (s size) standard() dataset { return dataset{subjects: s.subjects, features: standardFeatures} }

// openLab starts PostgreSQL with the settings of a small dedicated server. It is
// durable: the cost of writes includes flushing them to disk.
func openLab(ctx context.Context, s size, dir string, p *progress) (_ *lab, err error) {
	l := &lab{size: s, dir: dir, keep: dir != "", progress: p,
		filled: map[dataset]string{}, edges: map[dataset]*process{}, admins: map[dataset]*process{}, probed: map[int][2]probed{}}
	if !l.keep {
		if l.dir, err = os.MkdirTemp("", "flaggery-bench-"); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.dir, err = filepath.Abs(l.dir); err != nil {
		return nil, err
	}
	l.progress.step("starting PostgreSQL")
	l.pg, err = pgserver.Start(ctx, pgserver.Config{Dir: filepath.Join(l.dir, "postgres"), Settings: map[string]string{
		"max_connections":    "1000",
		"shared_buffers":     "1GB",
		"max_wal_size":       "8GB",
		"wal_init_zero":      "off",   // a server that has run for some time has segments to reuse
		"checkpoint_timeout": "30min", // not during a measurement
		"autovacuum":         "off",   // likewise
	}})
	if err != nil {
		return nil, err
	}
	l.admin, err = sql.Open("postgres", l.pg.URL("postgres"))
	return l, err
}

func (l *lab) close() error {
	l.stopServices()
	var errs []error
	if l.admin != nil {
		errs = append(errs, l.admin.Close())
	}
	if l.pg != nil {
		errs = append(errs, l.pg.Stop())
	}
	if !l.keep {
		errs = append(errs, os.RemoveAll(l.dir))
	}
	return errors.Join(errs...)
}

// stopServices stops the services of earlier measurements.
func (l *lab) stopServices() {
	for _, running := range []map[dataset]*process{l.edges, l.admins} {
		for _, p := range running {
			p.stop()
		}
		clear(running)
	}
}

// database is the URL of one that is filled with d.
func (l *lab) database(ctx context.Context, d dataset) (string, error) {
	if url, ok := l.filled[d]; ok {
		return url, nil
	}
	name := d.database()
	var exists bool
	if err := l.admin.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists); err != nil {
		return "", err
	}
	url := l.pg.URL(name)
	if exists {
		// An earlier version may have filled it.
		if err := migrate(ctx, url); err != nil {
			return "", err
		}
	} else {
		l.progress.step("filling a database: " + d.String())
		// Under another name until it is complete.
		if _, err := l.admin.ExecContext(ctx, `DROP DATABASE IF EXISTS filling WITH (FORCE)`); err != nil {
			return "", err
		}
		if _, err := l.admin.ExecContext(ctx, `CREATE DATABASE filling`); err != nil {
			return "", err
		}
		if err := d.fill(ctx, l.pg.URL("filling")); err != nil {
			return "", fmt.Errorf("fill a database with %s: %w", d, err)
		}
		if _, err := l.admin.ExecContext(ctx, `ALTER DATABASE filling RENAME TO `+name); err != nil {
			return "", err
		}
		// Flush the data to disk now, not during a measurement.
		if _, err := l.admin.ExecContext(ctx, `CHECKPOINT`); err != nil {
			return "", err
		}
	}
	l.filled[d] = url
	return url, nil
}

// drop forgets a database whose content has changed.
func (l *lab) drop(d dataset) error {
	for _, running := range []map[dataset]*process{l.edges, l.admins} {
		if p, ok := running[d]; ok {
			p.stop()
			delete(running, d)
		}
	}
	delete(l.filled, d)
	_, err := l.admin.Exec(`DROP DATABASE IF EXISTS ` + d.database() + ` WITH (FORCE)`)
	return err
}

// edge is a running one that serves d.
func (l *lab) edge(ctx context.Context, d dataset) (*process, error) {
	if p, ok := l.edges[d]; ok {
		return p, nil
	}
	p, err := l.startEdge(ctx, d)
	if err == nil {
		l.edges[d] = p
	}
	return p, err
}

// startEdge starts one that the caller stops. Its metrics are on, as in
// production.
func (l *lab) startEdge(ctx context.Context, d dataset, args ...string) (*process, error) {
	url, err := l.database(ctx, d)
	if err != nil {
		return nil, err
	}
	l.progress.step("starting an edge: " + d.String())
	args = append([]string{"serve", "--enable-prometheus"}, args...)
	return l.serve(ctx, "flaggery-edge", args, "FLAGGERY_DB_URL="+url)
}

const adminToken = "a-token-for-benchmarks-only"

// adminOf is a running admin on the database of d.
func (l *lab) adminOf(ctx context.Context, d dataset) (*process, error) {
	if p, ok := l.admins[d]; ok {
		return p, nil
	}
	url, err := l.database(ctx, d)
	if err != nil {
		return nil, err
	}
	p, err := l.serve(ctx, "flaggery-admin", []string{"serve"}, "FLAGGERY_DB_URL="+url, "FLAGGERY_ADMIN_TOKEN="+adminToken)
	if err == nil {
		l.admins[d] = p
	}
	return p, err
}

// serve starts one of our services on a port of its own.
func (l *lab) serve(ctx context.Context, program string, args []string, env ...string) (*process, error) {
	if l.programs == "" {
		l.progress.step("building the services")
		programs := filepath.Join(l.dir, "bin")
		root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/flaggery/flaggery").Output()
		if err != nil {
			return nil, fmt.Errorf("find the services' sources: %w", err)
		}
		build := exec.CommandContext(ctx, "go", "build", "-o", programs+"/", "./cmd/...")
		build.Dir = strings.TrimSpace(string(root)) // their module has their sources
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w: %s", err, out)
		}
		l.programs = programs
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	env = append(env, "FLAGGERY_HOST="+host, "FLAGGERY_PORT="+port, "FLAGGERY_LOG_LEVEL=warn")
	return startServer(ctx, l.dir, l.name(program), addr, "/readyz", env, filepath.Join(l.programs, program), args...)
}

func (l *lab) name(program string) string {
	l.started++
	return fmt.Sprintf("%s-%d", program, l.started)
}

// bare is a reference that gives one recorded answer to everything. The caller
// stops it.
func (l *lab) bare(ctx context.Context, answer recorded) (*process, error) {
	return l.reference(ctx, reference{Answer: answer})
}

// reference starts a reference server on an address of its own. The caller stops
// it.
func (l *lab) reference(ctx context.Context, r reference) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	r.Addr = addr
	config, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	name := l.name("reference")
	path := filepath.Join(l.dir, name+".json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, l.dir, name, addr, "/healthz", nil, self, "reference", path)
}

// target is a server under load.
type target struct {
	name string
	*process
	job job
}

// samples are the outcomes of all rounds for one target.
type samples struct {
	what, server string
	turns        []outcome
}

// each is one aspect of all turns.
func (s samples) each(of func(outcome) float64) []float64 {
	var values []float64
	for _, o := range s.turns {
		values = append(values, of(o))
	}
	return values
}

func (s samples) median(of func(outcome) float64) float64 { return median(s.each(of)) }

// errors is how many requests failed in all turns, and one of the reasons.
func (s samples) errors() (n int64, example string) {
	for _, o := range s.turns {
		n += o.Errors
		example = cmp.Or(example, o.Error)
	}
	return n, example
}

// against is the median of the ratios to a reference, turn by turn.
func (s samples) against(reference samples, of func(outcome) float64) float64 {
	return ratio(s.each(of), reference.each(of))
}

// The aspects of an outcome.
func cpu(o outcome) float64      { return o.CPU / float64(o.Requests) * 1e6 } // seconds for a million requests
func rate(o outcome) float64     { return float64(o.Requests) / o.Seconds }
func p50(o outcome) float64      { return milliseconds(o.P50) }
func p99(o outcome) float64      { return milliseconds(o.P99) }
func bodySize(o outcome) float64 { return float64(o.Bytes) / float64(o.Requests) }

// compare puts the targets under load in turns, A B A B …, so that disturbances of
// the machine affect all of them.
func (l *lab) compare(ctx context.Context, what string, targets ...target) ([]samples, error) {
	all := make([]samples, len(targets))
	for round := range l.size.rounds {
		for i, t := range targets {
			l.progress.step(fmt.Sprintf("%s: %s, round %d of %d", what, t.name, round+1, l.size.rounds))
			o, err := l.load(ctx, t)
			if err != nil {
				return nil, err
			}
			all[i] = samples{what, t.name, append(all[i].turns, o)}
		}
	}
	l.requests = append(l.requests, all...)
	return all, nil
}

// load measures a target once, for a round.
func (l *lab) load(ctx context.Context, t target) (outcome, error) {
	j := t.job
	j.Addr, j.PID = t.addr, t.pid()
	if j.Duration == 0 {
		j.Duration = l.size.round
	}
	if j.Connections == 0 {
		j.Connections = connections
	}
	o, err := callSelf[outcome](ctx, "load", j)
	if err == nil && o.Requests == 0 {
		err = errors.New("no request was answered")
	}
	if err == nil && o.Requests == o.Errors {
		err = errors.New(o.Error)
	}
	if err != nil {
		return o, fmt.Errorf("%s: %w (%s)", t.name, err, strings.TrimSpace(lastLines(t.log)))
	}
	return o, nil
}

// connections is the number of concurrent clients.
const connections = 64

// ratio is the median over the rounds of ours to the reference's.
func ratio(ours, reference []float64) float64 {
	var each []float64
	for i := range ours {
		each = append(each, ours[i]/reference[i])
	}
	return median(each)
}
