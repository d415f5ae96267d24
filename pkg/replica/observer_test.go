package replica

import (
	"errors"
	"sync"
	"time"

	"github.com/flaggery/flaggery/pkg/snapshot"
)

// observed counts the calls of its replica.
type observed struct {
	mu     sync.Mutex
	counts map[string]int
}

func (o *observed) note(event string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts = map[string]int{}
	}
	o.counts[event]++
}

func (o *observed) times(event string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts[event]
}

func (o *observed) Notified()                   { o.note("notified") }
func (o *observed) Connected()                  { o.note("connected") }
func (o *observed) Unannounced()                { o.note("unannounced") }
func (o *observed) LoadProgressed(int64)        { o.note("progressed") }
func (o *observed) Updated(bool, time.Duration) { o.note("updated") }
func (o *observed) Propagated(time.Duration)    { o.note("propagated") }
func (o *observed) FileRead(err error)          { o.note(outcome("read", err)) }
func (o *observed) FileWritten(err error)       { o.note(outcome("written", err)) }

func (o *observed) Failed(err error) {
	var refused *snapshot.Refused
	if errors.As(err, &refused) {
		o.note(string(refused.Reason))
	} else {
		o.note("failed")
	}
}

func outcome(what string, err error) string {
	if err != nil {
		return "not " + what
	}
	return what
}
