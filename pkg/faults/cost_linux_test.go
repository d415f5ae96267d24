package faults

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// newLargeAnswers starts an edge with long answers: 250 bytes for each feature, for
// any id. payload is the payload of each feature.
func newLargeAnswers(t *testing.T, features int, payload string, env ...string) (*fixture, *service) {
	t.Helper()
	f := newFixture(t, pgtest.Open(t)).start(0)
	mustExec(t, f.db, `
		WITH features AS (
			INSERT INTO feature (name, revision) SELECT repeat('f', 110) || lpad(i::text, 6, '0'), 1 FROM generate_series(1, $1) AS i RETURNING name
		)
		INSERT INTO variant (feature, name, payload) SELECT name, repeat('v', 120), $2::json FROM features`, features, payload)
	mustExec(t, f.db, `UPDATE feature SET default_variant = repeat('v', 120) WHERE name LIKE 'ff%'`)
	edge := f.newEdge(f.url, append([]string{"FLAGGERY_UNKNOWN_SUBJECTS=defaults"}, env...)...)
	edge.withoutRace(t)
	edge.run()
	return f, edge
}

// Batches whose answers are thousands of times as long as their requests. They are
// streamed to clients, some of which do not read them.
func TestLargeBatches(t *testing.T) {
	t.Parallel()
	f, edge := newLargeAnswers(t, 100, "null")
	var ids strings.Builder
	for i := range fullOr(10_000, 2_000) {
		fmt.Fprintf(&ids, `,"s%d"`, i)
	}
	body := `{"subject_ids":[` + ids.String()[1:] + `]}`
	request := fmt.Sprintf("POST /v1/subjects/flags HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	reads := f.asking(2, 5*time.Millisecond, flagsOf, edge.addr)

	const reading, others = 4, 12
	var length int64
	before := memory(t, edge.pid())
	peak := peakMemory(t, edge.pid(), func() {
		for range others {
			hold(t, edge.addr, request)
		}
		var all sync.WaitGroup
		for i := range reading {
			c := hold(t, edge.addr, request)
			all.Go(func() {
				n, err := io.Copy(io.Discard, c)
				if err != nil {
					t.Error(err)
				}
				if i == 0 {
					length = n
				}
			})
		}
		all.Wait()
	})
	f.noFailure("large batches: reads", reads.next())
	growth := peak - before
	if limit := int64(8+reading+others) << 20; growth > limit {
		t.Errorf("memory grew by %d MB, want at most %d", growth>>20, limit>>20)
	}
	measured(t, "batches are written as they are made", figures{
		"requests": reading + others, "request_kb": len(body) >> 10, "answer_mb": length >> 20, "growth_mb": growth >> 20, "peak_mb": peak >> 20,
	})
}

// Pipelined requests whose answers nobody reads.
func TestPipelinedRequestsUnread(t *testing.T) {
	t.Parallel()
	f, edge := newLargeAnswers(t, 160, "null")
	pipeline := strings.Repeat("GET /v1/subject/flags?subject_id=1 HTTP/1.1\r\nHost: x\r\n\r\n", 74)
	reads := f.asking(2, 5*time.Millisecond, flagsOf, edge.addr)
	count := fullOr(400, 200)
	before := memory(t, edge.pid())
	peak := peakMemory(t, edge.pid(), func() {
		first := make([]byte, 1)
		for range count {
			if _, err := io.ReadFull(hold(t, edge.addr, pipeline), first); err != nil { // it is being answered
				t.Fatal(err)
			}
		}
		elapse(fullOr(5*time.Second, time.Second))
	})
	f.noFailure("pipelined requests: reads", reads.next())
	growth := peak - before
	if limit := int64(count) * (20 << 20) / 200; growth > limit {
		t.Errorf("memory grew by %d MB, want at most %d", growth>>20, limit>>20)
	}
	measured(t, "pipelined answers that nobody reads are not gathered", figures{
		"connections": count, "requests": 74 * count, "growth_mb": growth >> 20, "peak_mb": peak >> 20,
	})
}

// Strangers wait for a revision or send bodies byte by byte, several times as many
// as may work at once. No other client is rejected.
func TestStrangersWait(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(0)
	edge := f.newEdge(f.url, "FLAGGERY_MAX_REQUESTS=8")
	edge.run()
	strangers := 40
	for range strangers {
		hold(t, edge.addr, "GET /v1/subject/flags?subject_id=1&min_revision=1000000&wait=30s HTTP/1.1\r\nHost: x\r\n\r\n")
		hold(t, edge.addr, "POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
		hold(t, edge.addr, "POST /v1/subjects/flags HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	}
	batches := f.asking(2, 5*time.Millisecond, posting("/v1/subjects/flags", `{"subject_ids":["`+steady+`0"]}`), edge.addr)
	ofrep := f.asking(2, 5*time.Millisecond, posting("/ofrep/v1/evaluate/flags", `{"context":{"targetingKey":"`+steady+`0"}}`), edge.addr)
	elapse(fullOr(30*time.Second, 2*time.Second))
	some, others := batches.next(), ofrep.next()
	f.noFailure("strangers wait: batches", some)
	f.noFailure("strangers wait: OFREP", others)
	measured(t, "who waits does not take the place of who works", figures{
		"waiting": 3 * strangers, "slots": 8, "requests": some.requests + others.requests, "errors": some.failed + others.failed,
		"p99_s": p99(some),
	})
}

// Strangers hold more idle connections than the limit, and reopen closed ones, few
// at once: a connection in use does not make room. No other client is rejected.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(0)
	const limit = 64
	edge := f.newEdge(f.url, fmt.Sprintf("FLAGGERY_MAX_CONNECTIONS=%d", limit))
	edge.run()
	reads := f.asking(4, 5*time.Millisecond, func(addr string) func() error {
		return func() error { return flagsOf(addr)() } // each by a connection of its own
	}, edge.addr)
	opening := make(chan struct{}, 8)
	strangers := f.asking(limit+2, 100*time.Millisecond, func(addr string) func() error {
		var c net.Conn
		return func() (err error) {
			if c != nil && c.SetReadDeadline(time.Now().Add(time.Millisecond)) == nil {
				if _, err := c.Read(make([]byte, 1)); os.IsTimeout(err) {
					return nil // it is open still
				}
				c.Close()
			}
			opening <- struct{}{}
			defer func() { <-opening }()
			if c, err = net.Dial("tcp", addr); err != nil {
				return err
			}
			if _, err = io.WriteString(c, "GET /v1/subject/flags?subject_id=1 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				return err
			}
			response, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
			}
			return err
		}
	}, edge.addr)
	elapse(fullOr(time.Minute, 3*time.Second))
	good, idle := reads.next(), strangers.next()
	f.noFailure("idle connections: reads", good)
	closed := scrape(t, edge).sum("flaggery_http_rejected_total", `what="idle"`)
	if closed == 0 {
		t.Error("no idle connection was closed: the limit was not reached")
	}
	measured(t, "idle connections make room", figures{
		"limit": limit, "idle": limit + 2, "closed": closed, "attempts": idle.requests, "requests": good.requests, "errors": good.failed, "p99_s": p99(good),
	})
}

// Single flags, and all of them, with large payloads: each flag is rendered by
// itself, and all answers share the bytes of the payloads.
func TestLargePayloads(t *testing.T) {
	t.Parallel()
	count := fullOr(400, 100)
	f, edge := newLargeAnswers(t, count, `"`+strings.Repeat("x", 65_000)+`"`)
	var times stats
	before := memory(t, edge.pid())
	peak := peakMemory(t, edge.pid(), func() {
		var all sync.WaitGroup
		for i := range 24 {
			all.Go(func() {
				name := fmt.Sprintf("%s%06d", strings.Repeat("f", 110), 1+i)
				ask := posting("/ofrep/v1/evaluate/flags/"+name, `{"context":{"targetingKey":"1"}}`)(edge.addr)
				for range fullOr(100, 10) {
					began := time.Now()
					err := ask()
					times.add(time.Since(began), err)
				}
			})
		}
		for range 4 {
			hold(t, edge.addr, "POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nHost: x\r\nContent-Length: 32\r\n\r\n{\"context\":{\"targetingKey\":\"1\"}}")
		}
		all.Wait()
	})
	asked := times.next()
	f.noFailure("large payloads: single flags", asked)
	growth := peak - before
	if growth > 24<<20 {
		t.Errorf("memory grew by %d MB, want at most 24", growth>>20)
	}
	measured(t, "one flag is rendered alone, payloads are shared", figures{
		"payloads_mb": count * 65_000 >> 20, "requests": asked.requests, "errors": asked.failed, "growth_mb": growth >> 20, "peak_mb": peak >> 20,
		"median_s": asked.quantile(0.5), "p99_s": p99(asked),
	})
}

// hold sends a request, or a part of one, and keeps the connection until the end.
func hold(t *testing.T, addr, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

// posting asks an address with a body.
func posting(path, body string) func(addr string) func() error {
	return func(addr string) func() error {
		c := client{addr: addr}
		return func() error {
			a, err := c.do("POST", path, []byte(body), "")
			if err == nil && a.status != 200 {
				err = fmt.Errorf("status %d: %s", a.status, a.body)
			}
			return err
		}
	}
}
