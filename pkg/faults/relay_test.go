package faults

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay stands between a program and PostgreSQL and misbehaves on request.
type relay struct {
	listener net.Listener
	target   string

	mute     atomic.Bool  // drop notifications
	muted    atomic.Int64 // dropped notifications
	requests atomic.Int64 // messages that clients sent after their start-up
	// onRequest is called before each such message is passed on; false cuts the
	// connection instead. Set before the first client comes.
	onRequest func(kind byte) bool

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

func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: target, links: map[*link]struct{}{}, ended: make(chan struct{})}
	go r.accept()
	t.Cleanup(func() { l.Close(); close(r.ended); r.cut() })
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.serve(client)
	}
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.target)
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
func (r *relay) fromClient(k *link) {
	in := bufio.NewReader(k.client)
	if !r.pass(k, k.server, in, nil) {
		return
	}
	for {
		kind, err := in.ReadByte()
		if err != nil {
			return
		}
		r.requests.Add(1)
		if r.onRequest != nil && !r.onRequest(kind) {
			return
		}
		if !r.pass(k, k.server, in, []byte{kind}) {
			return
		}
	}
}

func (r *relay) fromServer(k *link) {
	const notification = 'A'
	in := bufio.NewReader(k.server)
	for {
		kind, err := in.ReadByte()
		if err != nil {
			return
		}
		if kind == notification && r.mute.Load() {
			r.muted.Add(1)
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
func (r *relay) pass(k *link, to io.Writer, from *bufio.Reader, kind []byte) bool {
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

// freeze keeps all connections open, new ones as well, and passes nothing on: to
// TCP the other side is alive, but it never answers.
func (r *relay) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = true
	for k := range r.links {
		k.stuck.Store(true)
	}
}

// thaw lets new connections work again. Stuck ones stay stuck.
func (r *relay) thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = false
}

// cut closes all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.links {
		k.client.Close()
		k.server.Close()
	}
}
