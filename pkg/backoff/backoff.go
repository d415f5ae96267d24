// Package backoff spaces repeated attempts apart.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff gives the delays between attempts. Each is random between 0 and a limit,
// which begins at First and doubles up to Max. Clients that failed at the same
// moment therefore retry at different moments. (Marc Brooker, Exponential Backoff
// And Jitter, 2015, calls it full jitter.) One goroutine may use a Backoff.
type Backoff struct {
	First, Max time.Duration // both above 0

	limit time.Duration // of the next delay; 0 before the first
}

// Next is the delay before the next attempt.
func (b *Backoff) Next() time.Duration {
	if b.limit == 0 {
		b.limit = b.First
	}
	delay := rand.N(b.limit)
	b.limit = min(2*b.limit, b.Max)
	return delay
}

// Reset begins with First again, after an attempt that succeeded.
func (b *Backoff) Reset() { b.limit = 0 }

// Sleep waits for d, and returns early with the error of ctx if that ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
