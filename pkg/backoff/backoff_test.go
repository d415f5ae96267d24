package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimitDoublesUpToMax(t *testing.T) {
	b := Backoff{First: 100 * time.Millisecond, Max: time.Second}
	for range 2 {
		for i, limit := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			if d := b.Next(); d < 0 || d >= limit*time.Millisecond {
				t.Errorf("delay %d is %v, its limit %v", i, d, limit*time.Millisecond)
			}
		}
		b.Reset()
	}
}

func TestDelaysSpread(t *testing.T) {
	const n = 1000
	var sum time.Duration
	for range n {
		b := Backoff{First: time.Second, Max: time.Second}
		sum += b.Next()
	}
	// The mean of n uniform delays is within 6 standard errors of the middle.
	if mean := sum / n; mean < 445*time.Millisecond || mean > 555*time.Millisecond {
		t.Errorf("the mean of delays below 1 s is %v", mean)
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := Sleep(t.Context(), time.Minute); err != nil || time.Since(began) != time.Minute {
			t.Errorf("slept %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := Sleep(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute+time.Second {
			t.Errorf("slept until %v: %v", time.Since(began), err)
		}
	})
}
