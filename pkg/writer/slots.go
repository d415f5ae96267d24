package writer

import (
	"context"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// slots bound how many imports, or exports, keep a connection from other use cases for
// as long as their sender or reader takes.
type slots chan struct{}

const (
	maxImports = 4
	maxExports = 4
	// queueTime is how long one more waits for its slot.
	queueTime = 5 * time.Second
)

// take waits for a slot, and returns what gives it back. Fails with not_ready if none
// becomes free in time.
func (s slots) take(ctx context.Context) (done func(), err error) {
	timer := time.NewTimer(queueTime)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return func() { <-s }, nil
	case <-timer.C:
		return nil, model.Errorf(model.NotReady, "%d others are under way and none of them ended within %s: try again in a few seconds", cap(s), queueTime)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
