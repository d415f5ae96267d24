package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// job is one measurement of a server under load. A process of its own carries it
// out, so that it does not disturb the server.
type job struct {
	Addr string // host:port
	PID  int    // the server's, to read its CPU time

	Method string
	Path   string            // "{id}" stands for a subject's id, another one in each request
	Header map[string]string // besides Host and what goes with a body
	Body   string            // "{id}" likewise, "{ids}" for IDs of them as JSON strings with commas between
	IDs    int

	Subjects    int           // ids are those of subjects 0 … Subjects-1
	Conditional bool          // learn the ETags of some subjects first, and send them
	Connections int           // all of them kept alive
	Duration    time.Duration // of the measurement; a shorter warm-up comes before
	Rate        float64       // requests a second over all connections; 0 for as many as go through
	Limit       int64         // largest number of requests; 0 for none
}

// outcome is the result of a job.
type outcome struct {
	Requests int64
	Errors   int64 // no answer, or none of 2xx and 304
	Bytes    int64 // of the bodies received
	Seconds  float64
	CPU      float64 // seconds of the server process
	P50, P99 time.Duration
	Error    string // an example
}

const (
	warmUp = 300 * time.Millisecond
	// learnt is the number of subjects of conditional requests.
	learnt  = 8192
	timeout = 10 * time.Second
)

// generate carries out the job on standard input and prints its outcome.
func generate(ctx context.Context) error {
	// The server under test needs the other processors more.
	runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	o, err := j.run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

func (j *job) run(ctx context.Context) (outcome, error) {
	workers := make([]*worker, j.Connections)
	for i := range workers {
		workers[i] = newWorker(j, i)
		defer workers[i].close()
	}
	all := func(do func(w *worker)) {
		var wg sync.WaitGroup
		for _, w := range workers {
			wg.Go(func() { do(w) })
		}
		wg.Wait()
	}
	all(func(w *worker) {
		if j.Conditional {
			w.learn()
		}
		w.work(ctx, time.Now().Add(min(warmUp, j.Duration/2)), 0)
		w.reset()
	})

	before, err := cpuSeconds(j.PID)
	if err != nil {
		return outcome{}, err
	}
	start := time.Now()
	limit := (j.Limit + int64(len(workers)) - 1) / int64(len(workers))
	all(func(w *worker) { w.work(ctx, start.Add(j.Duration), limit) })
	o := outcome{Seconds: time.Since(start).Seconds()}
	after, err := cpuSeconds(j.PID)
	if err != nil {
		return outcome{}, err
	}
	o.CPU = after - before

	var h histogram
	for _, w := range workers {
		h.merge(&w.histogram)
		o.Errors += w.errors
		o.Bytes += w.bytes
		if w.firstError != nil && o.Error == "" {
			o.Error = w.firstError.Error()
		}
	}
	o.Requests, o.P50, o.P99 = int64(h.total), h.quantile(0.5), h.quantile(0.99)
	return o, ctx.Err()
}

// worker is one connection with its client.
type worker struct {
	job      *job
	number   int
	conn     net.Conn
	reader   *bufio.Reader
	random   *rand.Rand
	template []byte   // the request
	holes    []int    // the positions of an id's digits in it
	learnt   [][]byte // requests that name the ETag they expect
	etag     []byte   // of the last answer

	histogram  histogram
	errors     int64
	bytes      int64
	firstError error
}

func newWorker(j *job, number int) *worker {
	w := &worker{job: j, number: number, random: rand.New(rand.NewPCG(uint64(number), 1))}
	w.template = j.render()
	for i := 0; ; {
		next := bytes.Index(w.template[i:], []byte(idPrefix))
		if next < 0 {
			return w
		}
		i += next + len(idPrefix)
		w.holes = append(w.holes, i)
	}
}

// render is the bytes of a request. As ids are of one length, requests differ in
// their digits only, which are filled in as they are sent.
func (j *job) render() []byte {
	id := subjectID(0)
	ids := strings.TrimSuffix(strings.Repeat(strconv.Quote(id)+",", j.IDs), ",")
	body := strings.NewReplacer("{ids}", ids, "{id}", id).Replace(j.Body)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", j.Method, strings.ReplaceAll(j.Path, "{id}", id), j.Addr)
	for name, value := range j.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// conditional is a request with a condition.
func conditional(request []byte, etag string) []byte {
	const end = "\r\n\r\n"
	return bytes.Replace(request, []byte(end), []byte("\r\nIf-None-Match: "+etag+end), 1)
}

// next is the request to send.
func (w *worker) next() []byte {
	if len(w.learnt) > 0 {
		return w.learnt[w.random.IntN(len(w.learnt))]
	}
	return w.of(func() int { return w.random.IntN(w.job.Subjects) })
}

// of is the request for given subjects.
func (w *worker) of(subject func() int) []byte {
	for _, at := range w.holes {
		putDigits(w.template[at:at+idDigits], subject())
	}
	return w.template
}

// learn asks for this worker's share of the subjects and keeps requests with
// their ETags.
func (w *worker) learn() {
	for i := w.number; i < min(learnt, w.job.Subjects); i += w.job.Connections {
		if w.exchange(w.of(func() int { return i })) != nil {
			continue // it will fail again in the measurement
		}
		w.learnt = append(w.learnt, conditional(w.template, string(w.etag)))
	}
}

func (w *worker) reset() {
	w.histogram, w.errors, w.bytes, w.firstError = histogram{}, 0, 0, nil
}

// work sends one request after the other until the deadline or the limit. At a
// given rate, a request's time counts from when it was due, so delays by a stalled
// server count for all waiting requests.
func (w *worker) work(ctx context.Context, deadline time.Time, limit int64) {
	start := time.Now()
	var every time.Duration
	if w.job.Rate > 0 {
		every = time.Duration(float64(w.job.Connections) / w.job.Rate * float64(time.Second))
		start = start.Add(every * time.Duration(w.number) / time.Duration(w.job.Connections))
	}
	for n := int64(0); limit == 0 || n < limit; n++ {
		if every > 0 {
			time.Sleep(time.Until(start))
		}
		if start.After(deadline) || ctx.Err() != nil {
			return
		}
		if err := w.exchange(w.next()); err != nil {
			w.errors++
			if w.firstError == nil {
				w.firstError = err
			}
		}
		now := time.Now()
		w.histogram.add(now.Sub(start))
		if every > 0 {
			start = start.Add(every)
		} else {
			start = now
		}
	}
}

func (w *worker) close() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

// exchange sends a request and reads its answer. A connection that failed is
// replaced at the next one.
func (w *worker) exchange(request []byte) error {
	if w.conn == nil {
		conn, err := net.DialTimeout("tcp", w.job.Addr, timeout)
		if err != nil {
			return err
		}
		w.conn, w.reader = conn, bufio.NewReaderSize(conn, 64<<10)
		// A server that hangs must not hang the measurement. One deadline is
		// enough: no measurement lasts as long.
		if err := conn.SetDeadline(time.Now().Add(w.job.Duration + 2*timeout)); err != nil {
			return err
		}
	}
	if _, err := w.conn.Write(request); err != nil {
		w.close()
		return err
	}
	status, err := w.answer()
	if err != nil {
		w.close()
		return err
	}
	if status/100 != 2 && status != 304 {
		return fmt.Errorf("status %d", status)
	}
	return nil
}

var errAnswer = errors.New("malformed answer")

// answer reads as much of HTTP/1.1 as it takes to find the end of the answer.
func (w *worker) answer() (status int, err error) {
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < len("HTTP/1.1 200") {
		return 0, errAnswer
	}
	status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	length, chunked := int64(0), false
	for {
		if line, err = w.reader.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		switch line[0] | 0x20 {
		case 'c':
			if value, ok := header(line, "Content-Length"); ok {
				if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
					return 0, errAnswer
				}
			}
		case 'e':
			if value, ok := header(line, "ETag"); ok {
				w.etag = append(w.etag[:0], value...)
			}
		case 't':
			if value, ok := header(line, "Transfer-Encoding"); ok {
				chunked = string(value) == "chunked"
			}
		}
	}
	if status == 204 || status == 304 {
		return status, nil
	}
	if !chunked {
		return status, w.skip(length)
	}
	for {
		if line, err = w.reader.ReadSlice('\n'); err != nil {
			return 0, err
		}
		length, err = strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return 0, errAnswer
		}
		if err := w.skip(length); err != nil {
			return 0, err
		}
		if _, err := w.reader.Discard(2); err != nil {
			return 0, err
		}
		if length == 0 {
			return status, nil
		}
	}
}

func (w *worker) skip(length int64) error {
	n, err := w.reader.Discard(int(length))
	w.bytes += int64(n)
	return err
}

// header is the value in a line, if the line is of that header.
func header(line []byte, name string) ([]byte, bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name)+1:]), true
}
