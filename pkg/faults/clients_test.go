package faults

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// Thousands of clients send their request a byte at a time. The server closes their
// connections, and other clients are not affected.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(1)
	edge := f.edges[0]
	asked := f.probe(edge, newControl(t), 5*time.Millisecond)
	f.read(1, 5*time.Millisecond, edge)
	elapse(fullOr(10*time.Second, time.Second))
	quiet := asked.next()

	slow := newSlowClients(edge.addr, fullOr(2000, 300), 10*time.Second)
	asked.next() // opening them all is not what is measured
	elapse(fullOr(2*time.Minute, 2*time.Second))
	crowded := asked.next()
	longest := slow.end()
	f.noFailure("slow clients", crowded.edge)
	if longest > headerLimit {
		t.Errorf("a slow connection lasted %v, want at most %v", longest, headerLimit)
	}
	ratio := crowded.ratio(quiet)
	if *full && ratio > 2 {
		t.Errorf("the other clients' p99 grew %.1f times, want at most 2", ratio)
	}
	answers := f.finish()
	measured(t, "slow clients, 2,000 half-open connections", figures{
		"connections": slow.count, "rejected": slow.rejected.Load(), "longest_borne_s": longest,
		"p99_quiet_s": p99(quiet.edge), "p99_crowded_s": p99(crowded.edge), "control_quiet_s": p99(quiet.control),
		"control_crowded_s": p99(crowded.control), "p99_ratio": ratio,
		"requests": crowded.edge.requests, "errors": crowded.edge.failed, "answers_checked": answers,
	})
}

// headerLimit is twice the header timeout (a connection may also wait for its first
// byte) and a margin for a busy machine.
const headerLimit = 2*5*time.Second + 3*time.Second

// slowClients keeps a number of connections that send a byte now and then and
// reconnect when the server closes them.
type slowClients struct {
	count    int
	rejected atomic.Int64
	longest  atomic.Int64
	stop     chan struct{}
	group    sync.WaitGroup
}

func newSlowClients(addr string, count int, pause time.Duration) *slowClients {
	s := &slowClients{count: count, stop: make(chan struct{})}
	var open sync.WaitGroup
	open.Add(count)
	for range count {
		first := sync.OnceFunc(open.Done)
		s.group.Go(func() {
			defer first()
			for s.one(addr, pause, first) {
			}
		})
	}
	open.Wait()
	return s
}

// one runs until the server closes the connection; it returns false at the end of
// the test.
func (s *slowClients) one(addr string, pause time.Duration, opened func()) bool {
	conn, err := net.Dial("tcp", addr)
	opened()
	if err != nil {
		select {
		case <-s.stop:
			return false
		case <-time.After(time.Second):
			return true
		}
	}
	defer conn.Close()
	began := time.Now()
	out := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, conn) // returns when the server closes the connection
		close(out)
	}()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	request := "GET /v1/subject/flags?subject_id=slow HTTP/1.1\r\n"
	for i := 0; ; i++ {
		_, _ = conn.Write([]byte{request[i%len(request)]}) // fails if the connection is closed, which the other goroutine sees
		select {
		case <-out:
			s.rejected.Add(1)
			s.noteAge(time.Since(began))
			return true
		case <-s.stop:
			s.noteAge(time.Since(began))
			return false
		case <-tick.C:
		}
	}
}

func (s *slowClients) noteAge(age time.Duration) {
	for {
		old := s.longest.Load()
		if int64(age) <= old || s.longest.CompareAndSwap(old, int64(age)) {
			return
		}
	}
}

// end returns the duration of the longest connection.
func (s *slowClients) end() time.Duration {
	close(s.stop)
	s.group.Wait()
	return time.Duration(s.longest.Load())
}

// Malformed requests of every kind, as raw bytes. Each is answered with its fault
// or its connection is closed; no 5xx, no panic, no growth.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(1)
	for _, s := range []*service{f.edges[0], f.admins[0]} {
		before := f.revision()
		count := fullOr(100_000, 200)
		// The same number beforehand, so that all metric series exist.
		sendAll(t, s, count, f.random)
		seriesBefore, memoryBefore := len(scrape(t, s)), memory(t, s.pid())
		statuses := sendAll(t, s, count, f.random)
		seriesAfter, memoryAfter := len(scrape(t, s)), memory(t, s.pid())
		if !s.ready() {
			t.Errorf("%s is not ready afterwards", s.program)
		}
		if seriesAfter > seriesBefore+seriesBefore/fullOr(10, 2) {
			t.Errorf("%s: from %d to %d metric series", s.program, seriesBefore, seriesAfter)
		}
		if grown := memoryAfter - memoryBefore; *full && !raceEnabled && grown > 64<<20 {
			t.Errorf("%s grew by %d MB", s.program, grown>>20)
		}
		if after := f.revision(); after != before {
			t.Errorf("malformed requests made %d changes", after-before)
		}
		measured(t, "100,000 malformed requests, fuzzed parsers", figures{
			"program": s.program[strings.LastIndexByte(s.program, '/')+1:], "requests": count, "statuses": statuses,
			"series_before": seriesBefore, "series_after": seriesAfter,
			"memory_before_mb": memoryBefore >> 20, "memory_after_mb": memoryAfter >> 20,
		})
	}
}

// sendAll sends malformed requests over a few connections at once and counts the
// statuses of the answers; 0 is a connection that was cut.
func sendAll(t *testing.T, s *service, count int, r *rand.Rand) map[int]int {
	t.Helper()
	var (
		mu       sync.Mutex
		statuses = map[int]int{}
		group    sync.WaitGroup
	)
	const workers = 4
	for range workers {
		mine := rand.New(rand.NewPCG(r.Uint64(), 3))
		group.Go(func() {
			for range count / workers {
				request := malformed(mine)
				status, err := sendRaw(s.addr, request)
				mu.Lock()
				statuses[status]++
				first := statuses[status] == 1
				mu.Unlock()
				switch {
				case err != nil:
					t.Errorf("%q: %v", shorten(request), err)
				case status == 501 || status == 505:
					// net/http's own answer to an unknown transfer coding or
					// version, which is the client's fault.
				case status >= 500 && first:
					t.Errorf("%q: status %d", shorten(request), status)
				}
			}
		})
	}
	group.Wait()
	return statuses
}

func shorten(request []byte) []byte { return request[:min(len(request), 400)] }

// sendRaw sends bytes, closes its side, and reads the last answer.
func sendRaw(addr string, request []byte) (status int, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(waitLimit)); err != nil {
		return 0, err
	}
	go func() {
		_, _ = conn.Write(request) // the server may close the connection earlier
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	in := bufio.NewReader(conn)
	for {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				return 0, fmt.Errorf("no answer and no end in %v", waitLimit)
			}
			return status, nil
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		status = max(status, response.StatusCode)
		if err != nil {
			return status, nil
		}
	}
}

// malformed makes a malformed request: built from invalid parts, or a valid one
// with a few damaged bytes. It avoids min_revision, because a later revision is
// answered with 503 by contract, and writes, because a damaged body may happen to
// be valid.
func malformed(r *rand.Rand) []byte {
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	mostly := func(right string, wrong ...string) string {
		if r.IntN(8) > 0 {
			return right
		}
		return one(wrong...)
	}
	large := func(part string, times int) string { // made only if used
		if r.IntN(30) > 0 {
			return part
		}
		return strings.Repeat(part, r.IntN(times))
	}
	noise := func(n int) string {
		b := make([]byte, r.IntN(n+1))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	escaped := func(n int) string {
		var s strings.Builder
		for range r.IntN(n + 1) {
			fmt.Fprintf(&s, "%%%02X", byte(r.Uint32()))
		}
		return s.String()
	}
	target := one(
		"/v1/subject/flags", "/v1/subject/flags?subject_id="+noise(20), "/v1/subject/flags?subject_id="+escaped(300),
		"/v1/subject/flags?subject_id=%", "/v1/subject/flags?subject_id=%zz", "/v1/subject/flags?subject_id=a&subject_id=b",
		"/v1/subject/flags?subject_id="+large("x", 20_000), "/v1/subject/flags?"+large("a&", 5000),
		"/v1/subject/flags?subject_id=1&features="+escaped(50), "/v1/subject/flags?subject_id=1&min_revision=tomorrow",
		"/v1/subject/flags?subject_id=1&wait=99h",
		"/v1/subjects/"+escaped(100)+"/flags", "/v1/subjects/%2e%2e/%2F/flags", "/v1/subjects//flags", "/v1/subjects/flags",
		"/v1/../../etc/passwd", "/"+noise(60), "*", "//", "http://other.example/v1/subject/flags?subject_id=1", "", "?", "/v1/features/"+escaped(20),
		"/v1/subjects?limit=-1", "/v1/subjects?limit=1e9&after="+escaped(30), "/v1/abtests?state="+escaped(9), "/v1/audit?since=yesterday",
		"/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/f0", "/ofrep/v1/evaluate/flags/"+escaped(9),
		"/v1/import/subjects", "/v1/subjects/a/explain?at=never", "/openapi.json", "/docs", "/metrics", "/healthz",
	)
	method := mostly("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "G\x00T", "PRI", noise(8), large("M", 9000))
	if strings.Contains(target, "import") || strings.Contains(target, "evaluate") || strings.HasSuffix(target, "subjects/flags") {
		method = mostly("POST", "GET", "PUT")
	}
	version := mostly("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "HTTP/1.", "", "http/1.1", noise(10))
	body := one("", "{", "[]", "null", `{"subject_ids":null}`, `{"subject_ids":["`+escaped(5)+`"`, `{"subject_ids":[1]}`, `{"subject_ids":[]}`,
		`{"context":{"targetingKey":"`+one(steady+"0", noise(9))+`"}}`, `{"context":{"targetingKey":1}}`,
		large(`[`, 20_000), large(`{"a":`, 5000), noise(2000), `{"id":1}`, `{"weight":-1}`, `{"weight":1e400}`,
		`{"amount":1.5}`, `{"proportion":NaN}`, "\xef\xbb\xbf{}", `{"subject_ids":["`+large("y", 2<<20)+`"]}`)
	header := mostly("Content-Length: "+fmt.Sprint(len(body))+"\r\n", "", "Content-Length: -1\r\n",
		"Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 99999999999999999999\r\n", "Content-Length: "+fmt.Sprint(r.IntN(100))+"\r\n",
		"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "Transfer-Encoding: gzip\r\n", "Transfer-Encoding: chunked, chunked\r\n") +
		mostly("Host: x\r\n", "", "Host: x\r\nHost: y\r\n", "Host: "+noise(30)+"\r\n") +
		mostly("Authorization: Bearer "+token+"\r\n", "", "Authorization: Bearer "+noise(40)+"\r\n", "Authorization: Basic =\r\n") +
		mostly("Content-Type: "+one("application/json", "application/x-ndjson", "text/csv")+"\r\n", "", "Content-Type: "+noise(20)+"\r\n") +
		mostly("", "X: "+large("h", 40_000)+"\r\n", large("A: b\r\n", 3000), noise(60)+"\r\n", " folded\r\n", "No-Colon\r\n",
			"If-None-Match: "+noise(40)+"\r\n", "Content-Encoding: gzip\r\n", "Expect: "+noise(12)+"\r\n", "Expect: 100-continue\r\n",
			"Upgrade: h2c\r\nConnection: Upgrade\r\n", "Range: bytes=9-1\r\n", "Accept: "+noise(30)+"\r\n", "If-Match: "+noise(30)+"\r\n")
	request := []byte(method + " " + target + " " + version + "\r\n" + header + "\r\n" + body)
	for range max(0, r.IntN(8)-5) { // damaged bytes
		if i := r.IntN(len(request)); r.IntN(2) == 0 {
			request[i] = byte(r.Uint32())
		} else {
			request = append(request[:i:i], request[min(len(request), i+r.IntN(9)):]...)
		}
		if len(request) == 0 {
			break
		}
	}
	return request
}
