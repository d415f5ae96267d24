package admin

import (
	"testing"

	"go.uber.org/goleak"
)

// Whatever the tests start has ended with them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
