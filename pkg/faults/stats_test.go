package faults

import (
	"slices"
	"sync"
	"time"
)

// stats collects what became of requests, one phase of a test after the other.
type stats struct {
	mu    sync.Mutex
	phase phase
}

// phase is what happened to the requests that ended in one stretch of a test.
type phase struct {
	requests int
	failed   int
	failure  error // the first
	times    []time.Duration
}

func (s *stats) add(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase.requests++
	if err != nil {
		if s.phase.failed++; s.phase.failed == 1 {
			s.phase.failure = err
		}
		return
	}
	s.phase.times = append(s.phase.times, took)
}

// next ends the phase and returns it.
func (s *stats) next() phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.phase
	s.phase = phase{}
	slices.Sort(p.times)
	return p
}

// quantile of the times of the requests that were answered.
func (p phase) quantile(q float64) time.Duration {
	if len(p.times) == 0 {
		return 0
	}
	return p.times[min(int(q*float64(len(p.times))), len(p.times)-1)]
}
