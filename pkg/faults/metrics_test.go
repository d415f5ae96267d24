package faults

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// metrics is what a program exposes to Prometheus: value by series.
type metrics map[string]float64

func scrape(t testing.TB, s *service) metrics {
	t.Helper()
	c := client{addr: s.addr, token: token} // edges do not ask for one
	defer c.close()
	var m metrics
	eventually(t, waitLimit, "scrape "+s.addr, func() error {
		a, err := c.get("/metrics")
		if err != nil {
			return err
		}
		if a.status != 200 {
			return fmt.Errorf("status %d: %s", a.status, a.body)
		}
		m = metrics{}
		for line := range strings.Lines(string(a.body)) {
			line = strings.TrimSpace(line)
			i := strings.LastIndexByte(line, ' ')
			if i < 0 || line[0] == '#' {
				continue
			}
			value, err := strconv.ParseFloat(line[i+1:], 64)
			if err != nil {
				return err
			}
			m[line[:i]] = value
		}
		return nil
	})
	return m
}

// sum over the series of a metric that have all of the labels, given as in
// `reason="x"`.
func (m metrics) sum(name string, labels ...string) (total float64) {
series:
	for series, value := range m {
		if series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(series, label) {
				continue series
			}
		}
		total += value
	}
	return total
}
