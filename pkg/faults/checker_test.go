package faults

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// growing is the feature whose rollout only ever grows, and steady the prefix of
// the subjects that are never deleted: once such a subject has the feature, it
// keeps it.
const (
	growing = "growing"
	steady  = watched + "steady-"
)

// checker records every answer of the readers, and at the end compares all of them
// with the database's history.
type checker struct {
	mu     sync.Mutex
	newest map[string]int64               // revision by edge
	seen   map[sighting]map[string]moment // by flags: more than one is an inconsistency, or a test's boundary
	faults []string
	noted  int
}

// sighting is what determines an answer, except the time.
type sighting struct {
	edge     string // with a counter: a restarted edge is another one
	revision int64
	subject  string
}

// moment is the time range in which an answer was made, as seen by its reader.
type moment struct{ from, to time.Time }

// slack is the accepted difference between the clocks of an edge and of the
// database, because an edge learns the time over a connection.
const slack = 50 * time.Millisecond

func newChecker() *checker {
	return &checker{newest: map[string]int64{}, seen: map[sighting]map[string]moment{}}
}

// identity of an edge until its next restart.
func identity(s *service) string { return fmt.Sprintf("%s#%d", s.addr, s.life.Load()) }

// floor is the lowest revision that may answer a request sent now.
func (c *checker) floor(edge string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest[edge]
}

// note records an answer: the flags of some subjects, all at one revision.
func (c *checker) note(edge string, floor, revision int64, flags map[string]string, when moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if revision < floor {
		c.faultf("%s went back from revision %d to %d", edge, floor, revision)
	}
	c.newest[edge] = max(c.newest[edge], revision)
	for subject, text := range flags {
		c.noted++
		key := sighting{edge, revision, subject}
		if c.seen[key] == nil {
			c.seen[key] = map[string]moment{}
		}
		if _, known := c.seen[key][text]; !known {
			c.seen[key][text] = when
		}
	}
}

func (c *checker) faultf(format string, args ...any) {
	if len(c.faults) < 20 {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

// verify returns the number of compared answers, and those that contradict the
// history.
func (c *checker) verify(t testing.TB, db *sql.DB) (int, []string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	byRevision := map[int64][]sighting{}
	for key := range c.seen {
		byRevision[key.revision] = append(byRevision[key.revision], key)
	}
	letIn := map[sighting]bool{} // has the growing rollout; revision is 0
	var before []int             // buckets of the growing rollout
	readHistory(t, db, func(revision int64, s *state) {
		now := s.Features[growing].Buckets
		for _, bucket := range before {
			if !slices.Contains(now, bucket) {
				c.faultf("revision %d took bucket %d out of a rollout that grows", revision, bucket)
			}
		}
		before = now
		for _, key := range byRevision[revision] {
			for got, when := range c.seen[key] {
				if first, last := s.resolve(key.subject, when.from.Add(-slack)), s.resolve(key.subject, when.to.Add(slack)); got != first && got != last {
					c.faultf("%s answered for %s at revision %d: %q, the history says %q", key.edge, key.subject, revision, got, first)
				}
				c.checkGrowth(letIn, key, got)
			}
		}
		delete(byRevision, revision)
	})
	for revision, keys := range byRevision {
		c.faultf("%s served revision %d, which was never committed", keys[0].edge, revision)
	}
	if c.noted == 0 {
		c.faultf("no answer was checked")
	}
	return c.noted, c.faults
}

func (c *checker) checkGrowth(letIn map[sighting]bool, key sighting, flags string) {
	if !strings.HasPrefix(key.subject, steady) {
		return
	}
	in := slices.Contains(strings.Fields(flags), growing+"=A")
	key.revision = 0
	if letIn[key] && !in {
		c.faultf("%s took %s out of a rollout that grows", key.edge, key.subject)
	}
	letIn[key] = letIn[key] || in
}

// parseFlags reads the answer for one subject: its flags, or that it is unknown.
func parseFlags(a answer) (string, error) {
	switch a.status {
	case 200:
		var body struct{ Flags map[string]string }
		if err := json.Unmarshal(a.body, &body); err != nil {
			return "", err
		}
		return canonical(body.Flags), nil
	case 404:
		if !strings.Contains(string(a.body), "subject_not_found") {
			return "", fmt.Errorf("404 without its code: %s", a.body)
		}
		return unknown, nil
	}
	return "", fmt.Errorf("status %d: %s", a.status, a.body)
}

// parseBatch is parseFlags for the answer to a batch.
func parseBatch(a answer) (map[string]string, error) {
	if a.status != 200 {
		return nil, fmt.Errorf("status %d: %s", a.status, a.body)
	}
	var body struct {
		Flags   map[string]map[string]string
		Unknown []string
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		return nil, err
	}
	all := map[string]string{}
	for subject, flags := range body.Flags {
		all[subject] = canonical(flags)
	}
	for _, subject := range body.Unknown {
		all[subject] = unknown
	}
	return all, nil
}
