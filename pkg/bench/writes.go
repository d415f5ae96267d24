package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/flaggery/flaggery/pkg/writer"
)

// changer makes changes whose arrival is visible on an edge.
type changer struct {
	*writer.Writer
	db       *sql.DB // for statements that no writer makes
	subjects int
	made     int
	guest    string
	random   *rand.Rand
}

// rolled is the feature whose rollout changes. It has no test and no override.
var rolled = featureName(4)

func (l *lab) writer(ctx context.Context, d dataset) (*changer, error) {
	url, err := l.database(ctx, d)
	if err != nil {
		return nil, err
	}
	w, err := writer.Open(ctx, url, writer.Options{})
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("postgres", url)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	c := &changer{Writer: w, db: db, subjects: d.subjects, random: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))}
	if _, err := w.SetRolloutProportion(ctx, rolled, 0); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *changer) Close() error { return errors.Join(c.Writer.Close(), c.db.Close()) }

// newEpoch sets a new epoch, like an operator after restoring a backup. Edges then
// reload everything.
func (c *changer) newEpoch(ctx context.Context) (revision int64, err error) {
	err = c.db.QueryRowContext(ctx, `
		WITH next AS (UPDATE state SET epoch = gen_random_uuid(), revision = revision + 1 RETURNING revision),
		     row AS (INSERT INTO change (revision, config, at) SELECT revision, true, now() FROM next)
		SELECT revision FROM next, pg_notify('flaggery', '')`).Scan(&revision)
	return revision, err
}

// change is a change to make.
type change struct {
	subject string // its flags change
	arrived func(body []byte) bool
	write   func(ctx context.Context) (revision int64, err error)
}

// next is in turns: a subject joins a group, a rollout goes to everyone, the
// subject leaves, the rollout goes to nobody.
func (c *changer) next() change {
	c.made++
	switch c.made % 4 {
	case 1:
		c.guest = c.anyone()
		return change{c.guest, contains(flagged(featureName(1), special)), func(ctx context.Context) (int64, error) {
			r, err := c.AddSubjectToGroup(ctx, guests, c.guest)
			return r.Revision, err
		}}
	case 3:
		return change{c.guest, func(body []byte) bool { return !bytes.Contains(body, []byte(special)) }, func(ctx context.Context) (int64, error) {
			r, err := c.RemoveSubjectFromGroup(ctx, guests, c.guest)
			return r.Revision, err
		}}
	default:
		proportion, variant := 1.0, treatment
		if c.made%4 == 0 {
			proportion, variant = 0, control
		}
		return change{c.anyone(), contains(flagged(rolled, variant)), func(ctx context.Context) (int64, error) {
			r, err := c.SetRolloutProportion(ctx, rolled, proportion)
			return r.Revision, err
		}}
	}
}

// anyone is a random subject that is no friend: friends' overrides would hide
// the guests'.
func (c *changer) anyone() string {
	at := c.random.IntN(c.subjects - 1)
	if at%1000 == 0 {
		at++
	}
	return subjectID(at)
}

func contains(text string) func(body []byte) bool {
	return func(body []byte) bool { return bytes.Contains(body, []byte(text)) }
}

func flagged(feature, variant string) string { return fmt.Sprintf("%q:%q", feature, variant) }

// keepChanging makes changes at a rate in the background. stop says how many a
// second there were.
func (c *changer) keepChanging(ctx context.Context, rate int) (stop func() (perSecond float64, err error)) {
	if rate == 0 {
		return func() (float64, error) { return 0, nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	made, start := 0, time.Now()
	go func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				done <- nil
				return
			case <-tick.C:
			}
			if _, err := c.next().write(ctx); err != nil && ctx.Err() == nil {
				done <- fmt.Errorf("change: %w", err)
				return
			}
			made++
		}
	}()
	return func() (float64, error) {
		cancel()
		err := <-done
		return float64(made) / time.Since(start).Seconds(), err
	}
}

// measureArrival follows single changes from their commit to the first correct
// answer of an edge, which is polled without pause.
func (l *lab) measureArrival(ctx context.Context) ([]figure, error) {
	var figures []figure
	var medians []float64
	for _, subjects := range []int{l.size.subjectCounts[0], l.size.subjects} {
		d := dataset{subjects: subjects, features: standardFeatures}
		arrivals, err := l.arrivals(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d, err)
		}
		p50, p99 := milliseconds(quantile(arrivals, 0.50)), milliseconds(quantile(arrivals, 0.99))
		medians = append(medians, p50)
		if subjects == l.size.subjects {
			of := fmt.Sprintf(", %s subjects", count(subjects))
			figures = append(figures,
				figure{label: "p50" + of, value: p50, unit: "ms", limit: atMost(3)},
				figure{label: "p99" + of, value: p99, unit: "ms", limit: atMost(15)},
				figure{label: "p50" + of, value: p50, unit: "ms", reference: medians[0], against: count(l.size.subjectCounts[0]) + " subjects",
					ratio: p50 / medians[0], limit: atMostTimes(1 + noise)})
		}
	}
	return figures, nil
}

// arrivals are times from the end of a write's commit to the first correct answer;
// 0 if the answer came first.
func (l *lab) arrivals(ctx context.Context, d dataset) ([]time.Duration, error) {
	edge, err := l.edge(ctx, d)
	if err != nil {
		return nil, err
	}
	w, err := l.writer(ctx, d)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var arrivals []time.Duration
	for i := range l.size.changes {
		if i%10 == 0 {
			l.progress.step(fmt.Sprintf("changes on their way, %s: %d of %d", d, i, l.size.changes))
		}
		took, err := w.follow(ctx, edge)
		if err != nil {
			return nil, err
		}
		arrivals = append(arrivals, took)
	}
	return arrivals, nil
}

// follow makes a change and waits for it on an edge.
func (c *changer) follow(ctx context.Context, edge *process) (time.Duration, error) {
	change := c.next()
	address := "http://" + edge.addr + "/v1/subject/flags?subject_id=" + url.QueryEscape(change.subject)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type sighting struct {
		at  time.Time
		err error
	}
	seen := make(chan sighting, 1)
	if before, err := getBody(ctx, address); err != nil {
		return 0, err
	} else if change.arrived(before) {
		return 0, fmt.Errorf("subject %s got its new flags before the change: %.200s", change.subject, before)
	}
	go func() {
		for {
			body, err := getBody(ctx, address)
			if err != nil || change.arrived(body) {
				seen <- sighting{time.Now(), err}
				return
			}
			time.Sleep(50 * time.Microsecond) // leaves a processor for the edge and PostgreSQL
		}
	}()
	if _, err := change.write(ctx); err != nil {
		return 0, err
	}
	committed := time.Now()
	s := <-seen
	return max(s.at.Sub(committed), 0), s.err
}

func getBody(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", response.StatusCode, body)
	}
	return body, err
}

// measureWrites compares single writes through the admin, one after the other, with
// the smallest possible transaction.
func (l *lab) measureWrites(ctx context.Context) ([]figure, error) {
	d := l.size.standard()
	admin, err := l.adminOf(ctx, d)
	if err != nil {
		return nil, err
	}
	// A new weight: a write without a change would cost nothing.
	body := fmt.Sprintf(`{"weight":%d}`, 100+rand.IntN(1e9))
	j := job{Method: "PUT", Path: "/v1/subjects/{id}", Body: body, Subjects: d.subjects, Connections: 1,
		Header: map[string]string{"Authorization": "Bearer " + adminToken}}
	ours, bare := samples{what: "single writes, one at a time", server: "admin"}, []float64(nil)
	for round := range l.size.rounds {
		l.progress.step(fmt.Sprintf("single writes, round %d of %d", round+1, l.size.rounds))
		perSecond, err := l.bareWrites(ctx)
		if err != nil {
			return nil, err
		}
		o, err := l.load(ctx, target{"admin", admin, j})
		if err != nil {
			return nil, err
		}
		ours.turns, bare = append(ours.turns, o), append(bare, perSecond)
	}
	l.requests = append(l.requests, ours)
	f := figure{value: ours.median(rate), unit: "writes/s", reference: median(bare), against: "bare loop",
		ratio: ratio(ours.each(rate), bare), limit: atLeastTimes(0.5)}
	f.errors, f.remark = ours.errors()
	return []figure{f}, nil
}

// bareWrites is how many transactions a second one connection makes that update
// a row and notify, for a round.
func (l *lab) bareWrites(ctx context.Context) (float64, error) {
	conn, err := l.admin.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	for _, statement := range []string{
		`CREATE TABLE IF NOT EXISTS bare (id integer PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50)`,
		`INSERT INTO bare SELECT i, 0 FROM generate_series(0, 999) i ON CONFLICT DO NOTHING`,
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return 0, err
		}
	}
	start, n := time.Now(), 0
	for ; time.Since(start) < l.size.round; n++ {
		if err := bareWrite(ctx, conn, n); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

func bareWrite(ctx context.Context, conn *sql.Conn, n int) error {
	for _, statement := range []string{`BEGIN`, fmt.Sprintf(`UPDATE bare SET n = n + 1 WHERE id = %d`, n%1000), `NOTIFY bare`, `COMMIT`} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// measureImport sends one large import to an admin, and single writes to
// another one meanwhile.
func (l *lab) measureImport(ctx context.Context) (_ []figure, err error) {
	d := dataset{subjects: 1001, features: 1 + 2 + 2} // used here only, as it grows
	admin, err := l.adminOf(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.drop(d)) }()
	w, err := l.writer(ctx, d)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	quiet, err := w.stalls(ctx, func() bool { return false }, 200)
	if err != nil {
		return nil, err
	}
	l.progress.step(fmt.Sprintf("import of %s subjects", count(l.size.imported)))
	var ended atomic.Bool
	type stalled struct {
		held []time.Duration
		err  error
	}
	others := make(chan stalled, 1)
	go func() {
		held, err := w.stalls(ctx, ended.Load, 0)
		others <- stalled{held, err}
	}()
	start := time.Now()
	err = importSubjects(ctx, admin, l.size.imported)
	elapsed := time.Since(start)
	ended.Store(true)
	o := <-others
	if err := errors.Join(err, o.err); err != nil {
		return nil, err
	}
	return []figure{
		{label: count(l.size.imported) + " lines", value: float64(l.size.imported) / elapsed.Seconds(), unit: "subjects/s", limit: atLeast(200_000)},
		{label: "longest of other writes meanwhile", value: milliseconds(quantile(o.held, 1)), unit: "ms",
			reference: milliseconds(quantile(quiet, 1)), against: "quiet",
			ratio: float64(quantile(o.held, 1)) / float64(quantile(quiet, 1)), limit: atMost(100)},
	}, nil
}

// stalls are the durations of single writes, one after the other, until there are n
// of them or ended returns true.
func (c *changer) stalls(ctx context.Context, ended func() bool, n int) (took []time.Duration, err error) {
	for !ended() && (n == 0 || len(took) < n) {
		start := time.Now()
		_, err := c.SetSubjectWeight(ctx, subjectID(c.random.IntN(c.subjects)), 100+c.random.Int64N(1e9))
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

// importSubjects streams n new subjects to an admin.
func importSubjects(ctx context.Context, admin *process, n int) error {
	lines, into := io.Pipe()
	go func() {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, `{"id":"imported-%08d","weight":%d}`+"\n", i, 1+i*7919%1000)
			if b.Len() > 1<<16 || i == n-1 {
				if _, err := b.WriteTo(into); err != nil {
					return // the reader has closed with an error
				}
			}
		}
		_ = into.Close() // always nil
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+admin.addr+"/v1/import/subjects", lines)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	request.Header.Set("Authorization", "Bearer "+adminToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf(`"created":%d`, n); response.StatusCode != http.StatusOK || !bytes.Contains(bytes.ReplaceAll(body, []byte(" "), nil), []byte(want)) {
		return fmt.Errorf("import: status %d: %.300s", response.StatusCode, body)
	}
	return nil
}
