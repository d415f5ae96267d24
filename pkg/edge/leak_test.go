package edge

import (
	"testing"

	"go.uber.org/goleak"
)

// All goroutines that the tests start have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
