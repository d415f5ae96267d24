package writer

import (
	"context"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// slots limit how many imports, or exports, run at once. Each takes a connection for as
// long as its client takes.
type slots chan struct{}

const (
	maxImports = 4
	maxExports = 4
	// queueTime is how long another one waits for a slot.
	queueTime = 5 * time.Second
)

// take waits for a slot; done returns it. Fails with not_ready if none becomes free in
// time.
func (s slots) take(ctx context.Context) (done func(), err error) {
	timer := time.NewTimer(queueTime)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		return func() { <-s }, nil
	case <-timer.C:
		return nil, model.Errorf(model.NotReady, "%d others are in progress and none of them ended within %s: try again in a few seconds", cap(s), queueTime)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
