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

	mute     atomic.Bool  // swallow notifications
	muted    atomic.Int64 // how many were
	requests atomic.Int64 // messages that clients sent after their start-up
	// onRequest is called before each such message is passed on; false cuts the
	// connection instead. Set before the first client comes.
	onRequest func(kind byte) bool

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	frozen chan struct{} // not nil while nothing is passed on; closed at the end of that
}

func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: target, conns: map[net.Conn]struct{}{}}
	go r.accept()
	t.Cleanup(func() { l.Close(); r.thaw(); r.cut() })
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
	r.mu.Lock()
	r.conns[client], r.conns[server] = struct{}{}, struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.conns, client)
		delete(r.conns, server)
		r.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { r.fromClient(server, client); server.Close() })
	both.Go(func() { r.fromServer(client, server); client.Close() })
	both.Wait()
}

// fromClient passes on the start-up message, which has no kind, and then
// message after message.
func (r *relay) fromClient(server io.Writer, client io.Reader) {
	in := bufio.NewReader(client)
	if !r.pass(server, in, nil) {
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
		if !r.pass(server, in, []byte{kind}) {
			return
		}
	}
}

func (r *relay) fromServer(client io.Writer, server io.Reader) {
	const notification = 'A'
	in := bufio.NewReader(server)
	for {
		kind, err := in.ReadByte()
		if err != nil {
			return
		}
		if kind == notification && r.mute.Load() {
			r.muted.Add(1)
			if !r.pass(io.Discard, in, nil) {
				return
			}
			continue
		}
		if !r.pass(client, in, []byte{kind}) {
			return
		}
	}
}

// pass moves one message whose kind was read already: a length that counts
// itself, and the rest.
func (r *relay) pass(to io.Writer, from *bufio.Reader, kind []byte) bool {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return false
	}
	r.wait()
	if _, err := to.Write(append(kind, length[:]...)); err != nil {
		return false
	}
	n := int64(binary.BigEndian.Uint32(length[:])) - 4
	_, err := io.CopyN(to, from, n)
	return err == nil
}

// freeze keeps all connections open and passes nothing on: the other side looks
// alive to TCP and never answers.
func (r *relay) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = make(chan struct{})
}

func (r *relay) thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frozen != nil {
		close(r.frozen)
		r.frozen = nil
	}
}

func (r *relay) wait() {
	r.mu.Lock()
	frozen := r.frozen
	r.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// cut closes all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}
