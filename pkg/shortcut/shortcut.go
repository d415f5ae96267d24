// Package shortcut answers a few kinds of requests straight from the connection,
// before net/http sees them: a plain HTTP/1.1 GET of one path with one query
// parameter, or a POST of a small body. If it does not fully recognise a request
// (another path or method, another body, an upgrade, an unknown header field, a request
// in pieces, HTTP/2), it hands the whole connection over to net/http, unchanged. So the
// shortcut never rejects a request, and only speed depends on it.
//
// It is a [net.Listener] for an [http.Server]:
//
//	l := shortcut.Listen(tcp, shortcut.Route{Start: "GET /v1/subject/flags?subject_id=", Answer: answer})
//	err := server.Serve(l)
//
// The server does not know the connections of the shortcut. So the owner of the
// listener has to drain it before shutting the server down: AnnounceDrain, then Drain.
//
// These requests are almost all that a busy edge answers, and net/http costs more than
// all of the edge's own work: the decision record has measurements.
package shortcut

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Route is a request that takes the shortcut.
type Route struct {
	Start        string   // of the request line: "GET /v1/subject/flags?subject_id="
	ContentTypes []string // accepted for the body; nil for a GET, which has none
	// Answer appends the status line and header fields, each ended by CRLF, to head,
	// and the parts of the body, which must not change later, to body. Date and
	// Connection are added here. ok is false if net/http has to answer. The request is
	// valid only during the call.
	Answer func(head []byte, body [][]byte, r Request) (_ []byte, _ [][]byte, ok bool)
}

func (r *Route) posts() bool { return r.ContentTypes != nil }

// Request is what a route answers.
type Request struct {
	Value       []byte // the rest after Start: of a percent-decoded query parameter, or of a path
	IfNoneMatch []byte // nil if there is none
	Body        []byte
}

// The timeouts are the same as those of the http.Server behind.
const (
	firstByteTimeout = 5 * time.Second
	idleTimeout      = 60 * time.Second
	writeTimeout     = 10 * time.Second
	// drainGrace is how long an idle connection stays open during a drain, for a
	// request that has been sent already.
	drainGrace = time.Second
)

// bufferSize is how many bytes are read at once. Larger requests are left to net/http.
const bufferSize = 4 << 10

// Listener accepts connections and answers the requests that take the shortcut. Accept
// returns the connections with other requests.
type Listener struct {
	net.Listener
	request  recognizer
	handover chan net.Conn
	stop     func() error // stops accepting, once
	close    sync.Once
	closed   chan struct{} // closed once Accept returns no more connections
	why      error         // the error of Accept, set before closed is closed
	ended    chan struct{} // closed once no more connections are accepted
	draining atomic.Bool
	clock    clock

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	busy  sync.WaitGroup
}

// Listen starts to accept connections from inner. If a connection has a method
// Idle(time.Time), it is called whenever all received requests are answered.
func Listen(inner net.Listener, routes ...Route) *Listener {
	l := &Listener{
		Listener: inner,
		request:  routes,
		handover: make(chan net.Conn),
		stop:     sync.OnceValue(inner.Close),
		closed:   make(chan struct{}),
		ended:    make(chan struct{}),
		conns:    map[net.Conn]struct{}{},
	}
	go l.acceptAll()
	return l
}

// Accept returns the next connection for net/http to serve, until Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.handover:
		return c, nil
	case <-l.closed:
		return nil, l.why
	}
}

// Close stops accepting. Open connections stay open until they end.
func (l *Listener) Close() error {
	l.end(net.ErrClosed)
	return l.stop()
}

func (l *Listener) end(why error) {
	l.close.Do(func() { l.why = why; close(l.closed) })
}

// AnnounceDrain makes each connection close after its next answer, which announces
// that. New connections are still accepted.
func (l *Listener) AnnounceDrain() { l.draining.Store(true) }

// Drain stops accepting and lets connections end: each is closed or handed over with
// its next request, or closed after drainGrace if it is idle. Drain returns once no
// connection is left, at the latest when ctx ends. Accept goes on until Close, so shut
// the server down after Drain.
func (l *Listener) Drain(ctx context.Context) {
	l.AnnounceDrain()
	_ = l.stop() // Close returns its error
	<-l.ended
	l.eachConn(func(c net.Conn) { _ = c.SetReadDeadline(time.Now().Add(drainGrace)) }) // if it fails, the connection is closed already
	done := make(chan struct{})
	go func() { l.busy.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		l.eachConn(func(c net.Conn) { _ = c.Close() }) // the client does not read, or keeps sending requests
		<-done
	}
}

func (l *Listener) eachConn(do func(net.Conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		do(c)
	}
}

func (l *Listener) acceptAll() {
	for {
		c, err := l.Listener.Accept()
		var temporary interface{ Temporary() bool }
		if errors.As(err, &temporary) && temporary.Temporary() {
			time.Sleep(5 * time.Millisecond) // out of file descriptors, as net/http treats it
			continue
		}
		if err != nil {
			if !l.draining.Load() { // during Drain, connections are still handed over
				l.end(err)
			}
			close(l.ended)
			return
		}
		l.mu.Lock()
		l.conns[c] = struct{}{}
		l.mu.Unlock()
		l.busy.Add(1)
		go l.serve(c)
	}
}

func (l *Listener) serve(c net.Conn) {
	defer l.busy.Done()
	rest, handOver := l.answerAll(c)
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	if !handOver {
		_ = c.Close() // the client has all answers, or is gone
		return
	}
	_ = c.SetDeadline(time.Time{}) // net/http sets its own, and notices a dead connection itself
	select {
	case l.handover <- &prefixedConn{Conn: c, prefix: rest}:
	case <-l.closed:
		_ = c.Close() // the server has shut down
	}
}

// buffers are for requests and answers of one connection. They never grow: a client
// that does not read takes no more memory than an idle one.
type buffers struct {
	in, value [bufferSize]byte
	out       [2 * bufferSize]byte
	vector    [4][]byte // written at once; it grows only if a body has many parts
	rest      net.Buffers
}

// headSize is more than the size of any answer's header.
const headSize = 1 << 10

var pool = sync.Pool{New: func() any { return new(buffers) }}

// answerAll answers requests until the connection ends, or until a request is not for
// the shortcut. It then returns all bytes from that request on.
func (l *Listener) answerAll(c net.Conn) (rest []byte, handOver bool) {
	b := pool.Get().(*buffers)
	defer pool.Put(b)
	w := answerWriter{listener: l, conn: c, buffers: b}
	idler, _ := c.(interface{ Idle(since time.Time) })
	if c.SetReadDeadline(time.Now().Add(firstByteTimeout)) != nil {
		return nil, false
	}
	for {
		n, err := c.Read(b.in[:])
		if err != nil {
			// As net/http does, close the connection of a client that is idle for
			// too long.
			return nil, false
		}
		out := b.out[:0]
		unread := b.in[:n]
		stop := false
		for len(unread) > 0 && !stop {
			size, route, request := l.request.recognize(unread, b.value[:])
			if size == 0 {
				break
			}
			head, vector, ok := route.Answer(out, b.vector[:1], request)
			if !ok {
				break
			}
			out = l.clock.appendDate(head)
			if stop = l.draining.Load(); stop {
				out = append(out, "Connection: close\r\n"...)
			}
			out = append(out, "\r\n"...)
			unread = unread[size:]
			if out = w.add(out, vector); out == nil {
				return nil, false
			}
		}
		b.vector[0] = out
		if w.write(b.vector[:1]) == nil || stop {
			return nil, false
		}
		if len(unread) > 0 {
			return append([]byte(nil), unread...), true
		}
		if idler != nil {
			idler.Idle(w.now)
		}
	}
}

// answerWriter writes to one connection.
type answerWriter struct {
	*buffers
	listener  *Listener
	conn      net.Conn
	now       time.Time // of the last write
	deadlines time.Time // when they were last set
}

// add appends a body, which is all but the first part of the vector, to out. If the
// body is large, add writes both at once without copying the body. It returns nil if
// that failed.
func (w *answerWriter) add(out []byte, vector [][]byte) []byte {
	defer clear(vector) // it would keep the body in memory
	size := len(out)
	for _, part := range vector[1:] {
		size += len(part)
	}
	if size > len(w.out)-headSize {
		vector[0] = out
		return w.write(vector)
	}
	for _, part := range vector[1:] {
		out = append(out, part...)
	}
	return out
}

// write returns an empty buffer, or nil if it failed.
func (w *answerWriter) write(vector [][]byte) []byte {
	// Setting deadlines costs as much as looking up flags, so it is done at most
	// once a second.
	now := time.Now()
	if w.now = now; now.Sub(w.deadlines) > time.Second {
		w.deadlines = now
		if w.conn.SetReadDeadline(now.Add(idleTimeout)) != nil || w.conn.SetWriteDeadline(now.Add(writeTimeout)) != nil {
			return nil
		}
		if w.listener.draining.Load() && w.conn.SetReadDeadline(now.Add(drainGrace)) != nil { // Drain may have set its own just before
			return nil
		}
	}
	var err error
	switch {
	case len(vector) > 1:
		w.rest = vector
		_, err = w.rest.WriteTo(w.conn)
	case len(vector[0]) > 0:
		_, err = w.conn.Write(vector[0])
	}
	if err != nil {
		return nil
	}
	return w.out[:0]
}

// prefixedConn returns the bytes that were read before the connection was handed over,
// then reads on.
type prefixedConn struct {
	net.Conn
	prefix []byte
}

// NetConn returns the accepted connection.
func (c *prefixedConn) NetConn() net.Conn { return c.Conn }

func (c *prefixedConn) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// clock formats the Date field once a second.
type clock struct{ field atomic.Pointer[dateField] }

type dateField struct {
	second int64
	text   string
}

func (k *clock) appendDate(dst []byte) []byte {
	now := time.Now()
	f := k.field.Load()
	if f == nil || f.second != now.Unix() {
		f = &dateField{now.Unix(), "Date: " + now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") + "\r\n"}
		k.field.Store(f)
	}
	return append(dst, f.text...)
}
