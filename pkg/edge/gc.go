package edge

import (
	"runtime/debug"
	"sync"
)

// loadGC is GOGC during a full load: how much garbage may come on top of what is in
// use. A load makes some of every row, and what is in use is an index that costs the
// collector next to nothing. So it collects often, and memory stays low.
const loadGC = 20

// The setting is the process's, so loads at the same time share it.
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
