package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// figure is one measurement.
type figure struct {
	label     string // distinguishes the figures of one goal; may be ""
	value     float64
	unit      string
	reference float64 // for comparison, in the same unit; 0 for none
	against   string  // the name of the reference
	// ratio is value to reference. As the two are measured in turns, it is the
	// median over the turns and not the ratio of the medians.
	ratio  float64
	limit  limit
	errors int64 // failed requests: none are allowed
	remark string
}

// limit is a goal in numbers. The zero value is none: the figure is for comparison.
type limit struct {
	atLeast bool // else at most
	value   float64
	ofRatio bool // of the ratio to the reference, else of the value
	exact   bool // a count that does not depend on the clock, so it has no noise
}

func atMost(value float64) limit       { return limit{value: value} }
func atLeast(value float64) limit      { return limit{value: value, atLeast: true} }
func atMostTimes(ratio float64) limit  { return limit{value: ratio, ofRatio: true} }
func atLeastTimes(ratio float64) limit { return limit{value: ratio, atLeast: true, ofRatio: true} }

func (l limit) counted() limit { l.exact = true; return l }

func (f figure) judged() float64 {
	if f.limit.ofRatio {
		return f.ratio
	}
	return f.value
}

func (f figure) met() bool {
	if f.errors > 0 {
		return false
	}
	if f.limit.atLeast {
		return f.judged() >= f.limit.value
	}
	return f.judged() <= f.limit.value
}

// verdict is the last column. It says if a figure is so near to its goal that
// another run may give the opposite result.
func (f figure) verdict() string {
	if f.limit == (limit{}) {
		return "–"
	}
	if f.errors > 0 {
		return fmt.Sprintf("**no**: %d errors", f.errors)
	}
	near := ""
	if !f.limit.exact && math.Abs(f.judged()/f.limit.value-1) < noise {
		near = ", within noise"
	}
	if f.met() {
		return "yes" + near
	}
	return "**no**" + near
}

func (l limit) format(unit string) string {
	if l == (limit{}) {
		return "–"
	}
	sign := "≤ "
	if l.atLeast {
		sign = "≥ "
	}
	if l.ofRatio {
		return sign + number(l.value) + " ×"
	}
	return sign + quantity(l.value, unit)
}

// quantity is a number with its unit, large counts in words.
func quantity(v float64, unit string) string {
	return strings.TrimSuffix(number(v)+" "+unit, " ")
}

// number has three significant digits, and thousands apart.
func number(v float64) string {
	switch abs := math.Abs(v); {
	case v == math.Trunc(v) && abs < 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= 1e6:
		return three(v/1e6) + " M"
	case abs >= 1000:
		whole := strconv.FormatFloat(v, 'f', 0, 64)
		return whole[:len(whole)-3] + "," + whole[len(whole)-3:]
	default:
		return three(v)
	}
}

func three(v float64) string {
	digits := 2
	switch abs := math.Abs(v); {
	case abs >= 100:
		digits = 0
	case abs >= 10:
		digits = 1
	case abs < 0.1:
		digits = 3
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// count is a round number of things in words: 10 k, 1 M.
func count(n int) string {
	switch {
	case n >= 1e6 && n%1e5 == 0:
		return strconv.FormatFloat(float64(n)/1e6, 'f', -1, 64) + " M"
	case n >= 1e4 && n%1e2 == 0:
		return strconv.FormatFloat(float64(n)/1e3, 'f', -1, 64) + " k"
	default:
		return strconv.Itoa(n)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
