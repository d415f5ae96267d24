package main

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
	values := []float64{3, 1, 2}
	median(values)
	if values[0] != 3 {
		t.Error("median reordered its argument")
	}
}

func TestQuantile(t *testing.T) {
	var ds []time.Duration
	for i := range 100 {
		ds = append(ds, time.Duration(100-i))
	}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0, 1}, {0.5, 50}, {0.99, 99}, {0.991, 100}, {1, 100}} {
		if got := quantile(ds, c.q); got != c.want {
			t.Errorf("quantile(1…100, %v) = %v, want %v", c.q, int64(got), int64(c.want))
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
}

func TestHistogramBuckets(t *testing.T) {
	// Each bucket ends where the next one begins, from 0 to the longest duration.
	last := len(histogram{}.counts) - 1
	for i := range last {
		end := upperBound(i)
		if bucketOf(end) != i || bucketOf(end+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d, and the next value in %d", i, end, bucketOf(end), bucketOf(end+1))
		}
	}
	if got := bucketOf(math.MaxInt64); got != last {
		t.Errorf("the longest duration is in bucket %d, want %d", got, last)
	}
}

func TestHistogramQuantile(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var parts [2]histogram
	var exact []time.Duration
	for i := range 10_000 {
		d := time.Duration(random.ExpFloat64() * 1e6)
		parts[i%2].add(d)
		exact = append(exact, d)
	}
	parts[0].merge(&parts[1])
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		got, want := parts[0].quantile(q), quantile(exact, q)
		if got < want || float64(got) > float64(want)*(1+1.0/steps) {
			t.Errorf("quantile %v = %v, want %v to %v %% more", q, got, want, 100.0/steps)
		}
	}
	if got := new(histogram).quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
}
