package edge

import (
	"runtime/debug"
	"sync"
)

// loadGC is GOGC during a full load: how much garbage may accumulate, in percent of
// the memory in use. Each loaded row leaves garbage, and the memory in use is an index
// that costs the collector next to nothing. So collecting often is cheap and keeps
// memory low.
const loadGC = 20

// The setting belongs to the process, so concurrent loads share it.
var loads struct {
	sync.Mutex
	running int
	before  int
}

// LowerGCPercent keeps the heap small until restore is called.
func LowerGCPercent() (restore func()) {
	loads.Lock()
	defer loads.Unlock()
	if loads.running++; loads.running == 1 {
		loads.before = debug.SetGCPercent(loadGC)
		if loads.before < loadGC { // an operator has set less, or relies on GOMEMLIMIT alone
			debug.SetGCPercent(loads.before)
		}
	}
	return func() {
		loads.Lock()
		defer loads.Unlock()
		if loads.running--; loads.running == 0 {
			debug.SetGCPercent(loads.before)
		}
	}
}
