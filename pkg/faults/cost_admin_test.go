package faults

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// sending is a request that has not been sent completely.
type sending struct {
	t    *testing.T
	conn net.Conn
}

func send(t *testing.T, addr, head, body string) sending {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := sending{t, conn}
	s.more(head + "\r\nHost: flaggery\r\n\r\n" + body)
	return s
}

func (s sending) more(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.conn, text); err != nil {
		s.t.Fatal(err)
	}
}

// status waits for the answer.
func (s sending) status() int {
	s.t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(s.conn), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// newImport begins an import of a megabyte.
func newImport(t *testing.T, addr, token, body string) sending {
	t.Helper()
	return send(t, addr, "POST /v1/import/subjects HTTP/1.1\r\nAuthorization: Bearer "+token+
		"\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1048576", body)
}

// importText is so many bytes of lines.
func importText(bytes int) string {
	var text strings.Builder
	for i := 0; text.Len() < bytes-100; i++ {
		fmt.Fprintf(&text, `{"id":"trickle-%d"}`+"\n", i)
	}
	return text.String() + strings.Repeat("\n", bytes-text.Len())
}

// Imports whose senders stall, some of them with a slot. They are aborted, and
// others' imports and exports do not wait for them.
func TestImportsThatTrickle(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(0)
	admin := f.admins[0].addr
	var trickling []sending
	for _, sent := range []int{20, 512 << 10} {
		for range 6 { // two more than there are slots
			trickling = append(trickling, newImport(t, admin, token, importText(512 << 10)[:sent]))
		}
	}
	c := client{addr: admin, token: token}
	defer c.close()
	began := time.Now()
	for _, target := range []string{"/v1/export/subjects", "/v1/audit"} {
		a, err := c.do("GET", target, nil, "Accept: application/x-ndjson\r\n")
		if err != nil || a.status != 200 {
			t.Errorf("%s: %d %s, error %v", target, a.status, a.body, err)
		}
	}
	exported := time.Since(began)
	began = time.Now()
	var refused int
	var waited time.Duration
	for {
		tried := time.Now()
		a, err := c.do("POST", "/v1/import/subjects", []byte(`{"id":"other"}`+"\n"), "")
		waited = max(waited, time.Since(tried))
		if err == nil && a.status == 503 && a.header.Get("Retry-After") != "" && time.Since(began) < waitLimit {
			refused++ // the earlier ones are aborted one after the other
			continue
		}
		if err != nil || a.status != 200 {
			t.Errorf("import: %d %s, error %v", a.status, a.body, err)
		}
		break
	}
	imported := time.Since(began)
	if limit := allow(6 * time.Second); waited > limit {
		t.Errorf("an import waited for %s, want at most %s", waited, limit)
	}
	for _, s := range trickling[fullOr(0, 6):] { // the first ones have 30 seconds
		if status := s.status(); status != 422 && status != 503 {
			t.Errorf("an import that stood still got %d", status)
		}
	}
	measured(t, "imports that trickle are cut off", figures{
		"trickling": len(trickling), "exports_s": exported, "longest_wait_s": waited, "imported_after_s": imported, "refused": refused,
	})
}

// A token is revoked while its import is in progress. The import stores nothing.
func TestTokenRevokedDuringImport(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(0)
	revision := f.revision()
	made := f.call("POST", "/v1/tokens", object{"name": "ci", "role": "editor"})
	var id int64
	var secret string
	if err := f.db.QueryRow(`SELECT max(id) FROM token`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	_, secret, _ = strings.Cut(string(made.body), `"token":"`)
	secret, _, _ = strings.Cut(secret, `"`)
	s := newImport(t, f.admins[0].addr, secret, importText(512<<10))
	eventually(t, waitLimit, "lines are staged", func() error {
		var n int
		return f.db.QueryRow(`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%COPY staged%'`).Scan(&n)
	})
	f.call("DELETE", fmt.Sprintf("/v1/tokens/%d", id), nil)
	s.more(strings.Repeat("\n", 512<<10))
	if status := s.status(); status != 401 {
		t.Errorf("status %d, want 401", status)
	}
	if after := f.revision(); after != revision+2 { // of the token
		t.Errorf("%d revisions, want 2", after-revision)
	}
	measured(t, "nothing is committed for a token that was revoked", figures{"imports": 1, "stored": 0})
}

// A large import takes the lock that all writers wait for when its work is done.
func TestWritesDuringImport(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(0)
	writes := f.every(1, time.Millisecond, true, func(_ int, r *rand.Rand, j *job) func() {
		c := &client{addr: f.admins[0].addr, token: token}
		return func() {
			began := time.Now()
			a, err := c.send("PUT", fmt.Sprintf("/v1/subjects/%s%d", steady, r.IntN(subjects)), object{"weight": r.IntN(1 << 30)})
			if err == nil && a.status != 200 {
				err = fmt.Errorf("status %d: %s", a.status, a.body)
			}
			j.add(time.Since(began), err)
		}
	})
	elapse(fullOr(5*time.Second, time.Second))
	quiet := writes.next()
	lines := fullOr(500_000, 20_000)
	var text strings.Builder
	for i := range lines {
		fmt.Fprintf(&text, `{"id":"imported-%d","weight":%d}`+"\n", i, i%1000)
	}
	began := time.Now()
	f.importLines(text.String())
	lasted := time.Since(began)
	during := writes.next()
	writes.end()
	f.noFailure("writes during an import", during)
	if longest, limit := during.quantile(1), quiet.quantile(1)+100*time.Millisecond; *full && longest > limit {
		t.Errorf("a write took %s, want at most %s", longest, limit)
	}
	measured(t, "others' writes during an import", figures{
		"lines": lines, "lasted_s": lasted, "writes": during.requests, "errors": during.failed,
		"quiet_worst_s": quiet.quantile(1), "worst_s": during.quantile(1), "p99_s": p99(during),
	})
}

// Two more strangers than there are slots sign in slowly, and as many callers wait
// for a frozen edge. Editors go on.
func TestStrangersStopNoEditor(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t))
	const slots = 8
	f.newAdmin(f.url, fmt.Sprintf("FLAGGERY_MAX_REQUESTS=%d", slots)).run()
	f.fill()
	admin := f.admins[0].addr
	edge := f.newEdge(f.url).run()
	edge.stop()
	for i := range slots + 2 {
		send(t, admin, "POST /signin HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100", "token=")
		send(t, admin, "POST /v1/features HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100", "{")
		body := fmt.Sprintf(`{"id":"waits-%d"}`, i)
		send(t, admin, fmt.Sprintf("POST /v1/subjects?wait=30s HTTP/1.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d",
			token, len(body)), body)
		eventually(t, waitLimit, "it is stored", func() error { // more at once would exceed the limit of working requests
			var n int
			return f.db.QueryRow(`SELECT 1 FROM subject WHERE id = $1`, fmt.Sprintf("waits-%d", i)).Scan(&n)
		})
	}
	writes := f.write(2, 10*time.Millisecond)
	elapse(fullOr(8*time.Second, 2*time.Second))
	written := writes.next()
	f.noFailure("strangers: writes", written)
	writes.end()
	edge.cont()
	measured(t, "strangers and waiting callers do not take editors' place", figures{
		"strangers": 2 * (slots + 2), "waiting": slots + 2, "slots": slots, "requests": written.requests, "errors": written.failed, "p99_s": p99(written),
	})
}

// A client that reads an export slowly but steadily gets all of it, even if one
// entry takes longer than an export may stall.
func TestSteadyReader(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(0)
	f.fillAudit(100, 65_000)
	f.fillAudit(1, fullOr(30_000_000, 300_000))
	s := send(t, f.admins[0].addr, "GET /v1/audit HTTP/1.1\r\nConnection: close\r\nAuthorization: Bearer "+token+"\r\nAccept: application/x-ndjson", "")
	response, err := http.ReadResponse(bufio.NewReader(s.conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	began := time.Now()
	var read int64
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for err == nil {
		<-tick.C
		var n int64
		n, err = io.CopyN(io.Discard, response.Body, fullOr[int64](16<<10, 1<<20))
		read += n
	}
	if err != io.EOF {
		t.Errorf("after %v and %d bytes: %v\n%s", time.Since(began), read, err, f.admins[0].log.tail())
	}
	measured(t, "who reads an export steadily gets all of it", figures{"read_mb": read >> 20, "lasted_s": time.Since(began)})
}

// fillAudit adds entries of changes from and to so many bytes.
func (f *fixture) fillAudit(entries, bytes int) {
	f.t.Helper()
	_, err := f.db.Exec(`
		INSERT INTO audit (revision, position, at, actor, action, resource, before, after)
		SELECT 1, last + n, now(), 'faults', 'update', 'features/f0/variants/A', p, p
		FROM generate_series(1, $1::int) n, (SELECT max(position) AS last FROM audit WHERE revision = 1) l, (SELECT to_json(repeat('x', $2::int)) AS p) p`,
		entries, bytes)
	if err != nil {
		f.t.Fatal(err)
	}
}
