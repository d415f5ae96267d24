package faults

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer hands each connection to the next service whose last probe was ready,
// like a load balancer in production. It works on connections, not on requests, so
// it cannot hide a failed request.
type balancer struct {
	listener net.Listener
	backends []*service
	ready    []atomic.Bool
	next     atomic.Int64
}

// probeInterval is shorter than an orchestrator's; in return, the services wait
// less between "not ready" and the end of accepting.
const probeInterval = 100 * time.Millisecond

func newBalancer(t *testing.T, backends ...*service) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: l, backends: backends, ready: make([]atomic.Bool, len(backends))}
	stop := make(chan struct{})
	var jobs sync.WaitGroup
	for i := range backends {
		b.ready[i].Store(backends[i].ready())
		jobs.Go(func() { b.probe(i, stop) })
	}
	jobs.Go(b.accept)
	t.Cleanup(func() { close(stop); l.Close(); jobs.Wait() })
	return b
}

func (b *balancer) addr() string { return b.listener.Addr().String() }

func (b *balancer) probe(i int, stop <-chan struct{}) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			b.ready[i].Store(b.backends[i].ready())
		}
	}
}

func (b *balancer) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		go b.serve(client)
	}
}

// serve tries ready backends in turn; a refused connection costs no request. On a
// busy machine without timely probes, the client waits, as in a balancer's queue.
func (b *balancer) serve(client net.Conn) {
	defer client.Close()
	for began := time.Now(); time.Since(began) < waitLimit; {
		i := int(b.next.Add(1)) % len(b.backends)
		if !b.ready[i].Load() {
			elapse(time.Millisecond)
			continue
		}
		server, err := net.DialTimeout("tcp", b.backends[i].addr, time.Second)
		if err != nil {
			continue
		}
		splice(client, server)
		return
	}
}

// splice copies both ways until both have ended.
func splice(a, b net.Conn) {
	defer b.Close()
	var both sync.WaitGroup
	half := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.(*net.TCPConn).CloseWrite()
	}
	both.Go(func() { half(a, b) })
	both.Go(func() { half(b, a) })
	both.Wait()
}
