package shortcut

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// service is the same small flag service twice: as an http.Handler and as the
// answers of Routes. It knows every id except those that begin with "unknown". The id
// is a parameter or the body.
type service struct{ short atomic.Int64 }

func (s *service) routes() []Route {
	return []Route{{Start: "GET /flags?id=", Answer: s.answer}, {Start: "POST /evaluate", ContentTypes: mediaTypes, Answer: s.answer}}
}

var mediaTypes = []string{"application/json", "application/json; charset=utf-8"}

const etag = `"v1"`

// flags has 40 KB if the id begins with "large".
func flags(id string) string {
	more := ""
	if strings.HasPrefix(id, "large") {
		more = strings.Repeat(" ", 40<<10)
	}
	return `{"id":` + strconv.Quote(id) + more + `}`
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path, ok := strings.CutPrefix(r.URL.Path, "/evaluate"); ok && r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil || !slices.Equal(r.Header["Content-Type"], mediaTypes[:1]) && !slices.Equal(r.Header["Content-Type"], mediaTypes[1:]) {
			http.Error(w, "no JSON", http.StatusBadRequest)
			return
		}
		s.write(w, r, path+string(body))
		return
	}
	if r.URL.Path != "/flags" {
		http.Error(w, "no such path", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet {
		http.Error(w, "GET only", http.StatusMethodNotAllowed)
		return
	}
	s.write(w, r, r.URL.Query().Get("id"))
}

func (s *service) write(w http.ResponseWriter, r *http.Request, id string) {
	if id == "" || strings.HasPrefix(id, "unknown") {
		http.Error(w, "no such id", http.StatusNotFound)
		return
	}
	w.Header().Set("ETag", etag)
	if values := r.Header.Values("If-None-Match"); len(values) == 1 && values[0] == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	body := flags(id)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = io.WriteString(w, body)
}

func (s *service) answer(head []byte, body [][]byte, r Request) ([]byte, [][]byte, bool) {
	id := string(r.Value) + string(r.Body)
	if id == "" || strings.HasPrefix(id, "unknown") {
		return head, body, false
	}
	s.short.Add(1)
	if string(r.IfNoneMatch) == etag {
		return append(head, "HTTP/1.1 304 Not Modified\r\nEtag: "+etag+"\r\n"...), body, true
	}
	text := flags(id)
	head = append(head, "HTTP/1.1 200 OK\r\nEtag: "+etag+"\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(text))+"\r\n"...)
	for len(text) > 0 { // a large one in more parts than usual
		part := text[:min(len(text), 10<<10)]
		body, text = append(body, []byte(part)), text[len(part):]
	}
	return head, body, true
}

// serve starts the service with the shortcut and without it, on free ports.
func serve(t testing.TB) (s *service, with, without string, l *Listener) {
	t.Helper()
	s = &service{}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	tcp := listen()
	l = Listen(tcp, s.routes()...)
	plain := listen()
	for _, listener := range []net.Listener{l, plain} {
		server := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		l.Drain(ctx)
	})
	return s, tcp.Addr().String(), plain.Addr().String(), l
}

// talk sends raw bytes, closes its side, and returns the whole answer without the
// dates.
func talk(t testing.TB, address string, raw []byte) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	var network *net.OpError
	if err != nil && !errors.As(err, &network) { // a reset also ends an answer
		t.Fatal(err)
	}
	return comparable(t, answer)
}

// comparable reads the answers and writes them again with sorted fields, since
// the order of fields means nothing, and without Date.
func comparable(t testing.TB, raw []byte) string {
	var out bytes.Buffer
	for r := bufio.NewReader(bytes.NewReader(raw)); ; {
		if _, err := r.Peek(1); err != nil {
			return out.String()
		}
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%v in answer %q", err, raw)
		}
		response.Header.Del("Date")
		body, _ := io.ReadAll(response.Body) // an answer cut short shows as such
		out.WriteString(response.Status + "\n")
		_ = response.Header.Write(&out)
		out.Write(body)
		out.WriteString("\n\n")
	}
}

const (
	host      = "Host: a\r\n"
	seedOfGet = "GET /flags?id=42 HTTP/1.1\r\n" + host + "\r\n"
)

func evaluation(path, mediaType, body string) string {
	return fmt.Sprintf("POST /evaluate%s HTTP/1.1\r\n%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, host, mediaType, len(body), body)
}

// seeds are valid and invalid requests, with how many of their answers may take the
// shortcut.
var seeds = []struct {
	name, raw string
	short     int64
}{
	{"plain", "GET /flags?id=42 HTTP/1.1\r\n" + host + "\r\n", 1},
	{"fields", "GET /flags?id=42 HTTP/1.1\r\nhOSt:a\r\nUser-Agent: x\r\nAccept: */*\r\nConnection: Keep-Alive\r\n\r\n", 1},
	{"escaped", "GET /flags?id=a%40b%2f%E2%82%AC HTTP/1.1\r\n" + host + "\r\n", 1},
	{"match", "GET /flags?id=42 HTTP/1.1\r\n" + host + "If-None-Match: \"v1\"\r\n\r\n", 1},
	{"no match", "GET /flags?id=42 HTTP/1.1\r\n" + host + "If-None-Match: \"v0\"\r\n\r\n", 1},
	{"pipelined", strings.Repeat("GET /flags?id=42 HTTP/1.1\r\n"+host+"\r\n", 3), 3},
	{"pipelined, unknown second", "GET /flags?id=42 HTTP/1.1\r\n" + host + "\r\nGET /flags?id=unknown%37 HTTP/1.1\r\n" + host + "\r\n", 1},
	{"two matches", "GET /flags?id=42 HTTP/1.1\r\n" + host + "If-None-Match: \"v1\"\r\nIf-None-Match: \"v1\"\r\n\r\n", 0},
	{"unknown", "GET /flags?id=unknown HTTP/1.1\r\n" + host + "\r\n", 0},
	{"plus", "GET /flags?id=a+b HTTP/1.1\r\n" + host + "\r\n", 0},
	{"semicolon", "GET /flags?id=a;b HTTP/1.1\r\n" + host + "\r\n", 0},
	{"bad escape", "GET /flags?id=%4g HTTP/1.1\r\n" + host + "\r\n", 0},
	{"short escape", "GET /flags?id=%4 HTTP/1.1\r\n" + host + "\r\n", 0},
	{"fragment", "GET /flags?id=a#b HTTP/1.1\r\n" + host + "\r\n", 0},
	{"more parameters", "GET /flags?id=42&x=1 HTTP/1.1\r\n" + host + "\r\n", 0},
	{"no value", "GET /flags?id= HTTP/1.1\r\n" + host + "\r\n", 0},
	{"other path", "GET /other HTTP/1.1\r\n" + host + "\r\n", 0},
	{"absolute", "GET http://a/flags?id=42 HTTP/1.1\r\n" + host + "\r\n", 0},
	{"evaluation", evaluation("", mediaTypes[0], `{"a": 1}`), 1},
	{"evaluation of one", evaluation("/a/b", mediaTypes[1], `{}`), 1},
	{"evaluation with fields", "POST /evaluate HTTP/1.1\r\ncontent-LENGTH:  2\r\nConnection: keep-alive\r\nCONTENT-type: application/json \r\n" + host + "\r\nhi", 1},
	{"evaluation that matches", "POST /evaluate HTTP/1.1\r\n" + host + "If-None-Match: \"v1\"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nhi", 1},
	{"evaluation, large", evaluation("", mediaTypes[0], "large"), 1},
	{"evaluations, pipelined", evaluation("", mediaTypes[0], "a") + seedOfGet + evaluation("", mediaTypes[0], "b"), 3},
	{"evaluation, body holds a request", evaluation("", mediaTypes[0], seedOfGet), 1},
	{"evaluation, more than the body", evaluation("", mediaTypes[0], "a") + "hello", 1},
	{"evaluation, unknown", evaluation("", mediaTypes[0], "unknown"), 0},
	{"evaluation of an escape", evaluation("/%61", mediaTypes[0], "a"), 0},
	{"evaluation with a query", evaluation("?a", mediaTypes[0], "a"), 0},
	{"evaluation of another type", evaluation("", "text/plain", "a"), 0},
	{"evaluation of an odd type", evaluation("", "Application/JSON", "a"), 0},
	{"evaluation of no type", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\nhi", 0},
	{"evaluation of two types", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nhi", 0},
	{"evaluation, no length", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\n\r\n" + seedOfGet, 0},
	{"evaluation, length 0", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 0\r\n\r\n" + seedOfGet, 0},
	{"evaluation, two lengths", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 0},
	{"evaluation, two lengths that differ", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\nhi", 0},
	{"evaluation, lengths in a list", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 2, 2\r\n\r\nhi", 0},
	{"evaluation, odd length", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: +2\r\n\r\nhi", 0},
	{"evaluation, padded length", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 02\r\n\r\nhi", 0},
	{"evaluation, negative length", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: -2\r\n\r\nhi", 0},
	{"evaluation, body cut short", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 3\r\n\r\nhi", 0},
	{"evaluation, too large", evaluation("", mediaTypes[0], strings.Repeat("x", bufferSize)), 0},
	{"evaluation in chunks", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 0},
	{"evaluation in chunks, with a length", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 0},
	{"evaluation, expect", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", 0},
	{"evaluation, compressed", "POST /evaluate HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi", 0},
	{"evaluation by GET", "GET /evaluate HTTP/1.1\r\n" + host + "\r\n", 0},
	{"post", "POST /flags?id=42 HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\nhi", 0},
	{"get with body", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\nhi", 0},
	{"smuggled by length", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Content-Length: 40\r\n\r\nGET /flags?id=1 HTTP/1.1\r\n" + host + "\r\n", 0},
	{"smuggled by encoding", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /flags?id=1 HTTP/1.1\r\n" + host + "\r\n", 0},
	{"space before colon", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Content-Length : 2\r\n\r\nhi", 0},
	{"folded", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Accept: a\r\n b\r\n\r\n", 0},
	{"bare line feeds", "GET /flags?id=42 HTTP/1.1\nHost: a\n\n", 0},
	{"line feed in value", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Accept: a\nContent-Length: 2\r\n\r\nhi", 0},
	{"carriage return in value", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Accept: a\rb\r\n\r\n", 0},
	{"NUL in value", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Accept: a\x00b\r\n\r\n", 0},
	{"name folded onto a hyphen", "GET /flags?id=42 HTTP/1.1\r\n" + host + "User\rAgent: a\r\n\r\n", 0},
	{"no host", "GET /flags?id=42 HTTP/1.1\r\n\r\n", 0},
	{"two hosts", "GET /flags?id=42 HTTP/1.1\r\n" + host + host + "\r\n", 0},
	{"odd host", "GET /flags?id=42 HTTP/1.1\r\nHost: a b\r\n\r\n", 0},
	{"old protocol", "GET /flags?id=42 HTTP/1.0\r\n" + host + "\r\n", 0},
	{"lower case", "get /flags?id=42 HTTP/1.1\r\n" + host + "\r\n", 0},
	{"leading line", "\r\nGET /flags?id=42 HTTP/1.1\r\n" + host + "\r\n", 0},
	{"two spaces", "GET  /flags?id=42 HTTP/1.1\r\n" + host + "\r\n", 0},
	{"space in value", "GET /flags?id=4 2 HTTP/1.1\r\n" + host + "\r\n", 0},
	{"close", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 0},
	{"upgrade", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", 0},
	{"expect", "GET /flags?id=42 HTTP/1.1\r\n" + host + "Expect: 100-continue\r\n\r\n", 0},
	{"preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
	{"cut short", "GET /flags?id=42 HTTP/1.1\r\nHost:", 0},
	{"too large", "GET /flags?id=42 HTTP/1.1\r\n" + host + "User-Agent: " + strings.Repeat("x", bufferSize) + "\r\n\r\n", 0},
}

func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	s, with, without, _ := serve(t)
	for _, seed := range seeds {
		t.Run(seed.name, func(t *testing.T) {
			s.short.Store(0)
			got, want := talk(t, with, []byte(seed.raw)), talk(t, without, []byte(seed.raw))
			if got != want {
				t.Errorf("answer\n%swithout the shortcut\n%s", got, want)
			}
			if n := s.short.Load(); n != seed.short {
				t.Errorf("%d answers took the shortcut, want %d", n, seed.short)
			}
		})
	}
}

// Answers of all sizes arrive whole and in order, however many requests are sent at
// once.
func TestPipelinedAnswersAreThoseOfNetHTTP(t *testing.T) {
	s, with, without, _ := serve(t)
	var requests strings.Builder
	for i := range 60 {
		kind := "small"
		if i%7 == 3 {
			kind = "large"
		}
		fmt.Fprintf(&requests, "GET /flags?id=%s%d HTTP/1.1\r\nHost: x\r\n\r\n", kind, i)
	}
	got, want := talk(t, with, []byte(requests.String())), talk(t, without, []byte(requests.String()))
	if got != want {
		t.Errorf("%d bytes are answered, %d without the shortcut", len(got), len(want))
	}
	if n := s.short.Load(); n != 60 {
		t.Errorf("%d answers took the shortcut", n)
	}
}

// FuzzDifferential looks for bytes that the shortcut answers differently from
// net/http.
func FuzzDifferential(f *testing.F) {
	s, with, without, _ := serve(f)
	for _, seed := range seeds {
		f.Add([]byte(seed.raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		rest := raw
		for size := 1; size > 0; rest = rest[size:] {
			size, _, _ = recognizer(s.routes()).recognize(rest, make([]byte, len(rest)))
		}
		if len(rest) == len(raw) {
			return // the answer is net/http's own
		}
		if 0 < len(rest) && len(rest) < 4 {
			return // net/http closes without an answer here, but answers 400 to the same bytes on a new connection
		}
		if got, want := talk(t, with, raw), talk(t, without, raw); got != want {
			t.Errorf("answer\n%swithout the shortcut\n%s", got, want)
		}
	})
}

func TestConnectionGoesOnAfterHandover(t *testing.T) {
	s, with, _, _ := serve(t)
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}}
	defer client.CloseIdleConnections()
	for i, id := range []string{"1", "2", "unknown", "3"} {
		response, err := client.Get("http://" + with + "/flags?id=" + id)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if id != "unknown" && string(body) != flags(id) {
			t.Errorf("request %d: %s", i, body)
		}
	}
	if n := s.short.Load(); n != 2 {
		t.Errorf("%d requests took the shortcut, want the 2 before the unknown one", n)
	}
}

func TestDrainEndsConnectionsAfterTheirNextAnswer(t *testing.T) {
	_, with, _, l := serve(t)
	c, err := net.Dial("tcp", with)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	ask := func() *http.Response {
		if _, err := io.WriteString(c, seeds[0].raw); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		return response
	}
	if ask().Close {
		t.Fatal("the first answer must leave the connection open")
	}
	drained := make(chan struct{})
	go func() { l.Drain(context.Background()); close(drained) }()
	<-l.ended
	if !ask().Close {
		t.Error("an answer during the drain must say Connection: close")
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the connection must be closed, reading gives %v", err)
	}
	<-drained
}

// A late request that is not for the shortcut is answered by net/http, which goes on
// until the end of the drain.
func TestDrainHandsOver(t *testing.T) {
	s, with, _, l := serve(t)
	c, err := net.Dial("tcp", with)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	ask := func(id string) (status int) {
		if _, err := io.WriteString(c, "GET /flags?id="+id+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	if status := ask("1"); status != http.StatusOK || s.short.Load() != 1 {
		t.Fatalf("status %d, %d requests took the shortcut", status, s.short.Load())
	}
	drained := make(chan struct{})
	go func() { l.Drain(context.Background()); close(drained) }()
	<-l.ended
	if status := ask("unknown"); status != http.StatusNotFound {
		t.Errorf("status %d", status)
	}
	<-drained
}

func TestDrainClosesSilentConnections(t *testing.T) {
	for name, ctx := range map[string]func() (context.Context, context.CancelFunc){
		"after its grace": func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) },
		"at its end":      func() (context.Context, context.CancelFunc) { return context.WithTimeout(context.Background(), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, with, _, l := serve(t)
			c, err := net.Dial("tcp", with)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, seeds[0].raw); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(c)
			response, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, response.Body)
			ctx, cancel := ctx()
			defer cancel()
			l.Drain(ctx)
			if _, err := r.ReadByte(); err == nil {
				t.Error("the connection must be closed")
			}
		})
	}
}

func BenchmarkRecognizeNoAlloc(b *testing.B) {
	r := recognizer((&service{}).routes())
	const fields = "Host: 127.0.0.1:8081\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n"
	for name, request := range map[string]string{
		"get":  "GET /flags?id=user%40example.com HTTP/1.1\r\n" + fields + "\r\n",
		"post": "POST /evaluate HTTP/1.1\r\n" + fields + "Content-Type: application/json; charset=utf-8\r\nContent-Length: 38\r\n\r\n" + `{"context":{"targetingKey":"user-1234"}}`[:38],
	} {
		b.Run(name, func(b *testing.B) {
			raw := []byte(request)
			scratch := make([]byte, len(raw))
			if n := testing.AllocsPerRun(100, func() { r.recognize(raw, scratch) }); n != 0 {
				b.Fatalf("%v allocations", n)
			}
			for b.Loop() {
				if size, _, _ := r.recognize(raw, scratch); size != len(raw) {
					b.Fatal("not recognized")
				}
			}
		})
	}
}
