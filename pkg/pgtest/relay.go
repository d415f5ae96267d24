package pgtest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Relay stands between a program and PostgreSQL and misbehaves on request.
type Relay struct {
	listener net.Listener
	target   *url.URL

	Mute     atomic.Bool  // drop notifications
	Muted    atomic.Int64 // dropped notifications
	Requests atomic.Int64 // messages that clients sent after their start-up
	// OnRequest is called before each such message is passed on; false cuts the
	// connection instead. Set before the first client comes.
	OnRequest func(kind byte) bool

	mu     sync.Mutex
	links  map[*link]struct{}
	frozen bool // new connections are stuck as well
	ended  chan struct{}
}

// link is one client's connection to the server.
type link struct {
	client, server net.Conn
	stuck          atomic.Bool // nothing is passed on, permanently
}

// NewRelay starts a relay to a database.
func NewRelay(t testing.TB, dbURL string) *Relay {
	t.Helper()
	target, err := url.Parse(dbURL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{listener: l, target: target, links: map[*link]struct{}{}, ended: make(chan struct{})}
	go r.accept()
	t.Cleanup(func() { l.Close(); close(r.ended); r.Cut() })
	return r
}

// URL is the database's by way of the relay.
func (r *Relay) URL() string {
	through := *r.target
	through.Host = r.listener.Addr().String()
	return through.String()
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.serve(client)
	}
}

func (r *Relay) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.target.Host)
	if err != nil {
		return
	}
	defer server.Close()
	k := &link{client: client, server: server}
	r.mu.Lock()
	r.links[k] = struct{}{}
	k.stuck.Store(r.frozen)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.links, k)
		r.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { r.fromClient(k); server.Close() })
	both.Go(func() { r.fromServer(k); client.Close() })
	both.Wait()
}

// fromClient passes on the start-up message, which has no kind, and then
// message after message.
func (r *Relay) fromClient(k *link) {
	in := bufio.NewReader(k.client)
	if !r.pass(k, k.server, in, nil) {
		return
	}
	for {
		kind, err := in.ReadByte()
		if err != nil {
			return
		}
		r.Requests.Add(1)
		if r.OnRequest != nil && !r.OnRequest(kind) {
			return
		}
		if !r.pass(k, k.server, in, []byte{kind}) {
			return
		}
	}
}

func (r *Relay) fromServer(k *link) {
	const notification = 'A'
	in := bufio.NewReader(k.server)
	for {
		kind, err := in.ReadByte()
		if err != nil {
			return
		}
		if kind == notification && r.Mute.Load() {
			r.Muted.Add(1)
			if !r.pass(k, io.Discard, in, nil) {
				return
			}
			continue
		}
		if !r.pass(k, k.client, in, []byte{kind}) {
			return
		}
	}
}

// pass moves one message whose kind was read already: a length that counts
// itself, and the rest.
func (r *Relay) pass(k *link, to io.Writer, from *bufio.Reader, kind []byte) bool {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return false
	}
	if k.stuck.Load() {
		<-r.ended
		return false
	}
	if _, err := to.Write(append(kind, length[:]...)); err != nil {
		return false
	}
	n := int64(binary.BigEndian.Uint32(length[:])) - 4
	_, err := io.CopyN(to, from, n)
	return err == nil
}

// Freeze keeps all connections open, new ones as well, and passes nothing on: to
// TCP the other side is alive, but it never answers.
func (r *Relay) Freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = true
	for k := range r.links {
		k.stuck.Store(true)
	}
}

// Thaw lets new connections work again. Stuck ones stay stuck.
func (r *Relay) Thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = false
}

// Cut closes all connections.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.links {
		k.client.Close()
		k.server.Close()
	}
}
