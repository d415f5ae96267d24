package clients

import (
	"log/slog"
	"testing"

	"github.com/flaggery/flaggery/pkg/e2e"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

// newFixture is an installation without services, on a database of its own.
func newFixture(t *testing.T) *e2e.Fixture {
	t.Helper()
	w := e2e.NewFixture(pgtest.Open(t), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// must returns the URL of a started service and fails the test on an error.
func must(t *testing.T) func(url string, err error) string {
	return func(url string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return url
	}
}
