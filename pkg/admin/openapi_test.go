package admin

import (
	"log/slog"
	"testing"

	"github.com/flaggery/flaggery/pkg/postgres"
)

func newTestService(t *testing.T) *service {
	t.Helper()
	db, err := postgres.New("postgres://nobody@127.0.0.1:1/none") // connects when used
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return newService(Config{Token: testToken, Version: "test", Logger: slog.New(slog.DiscardHandler)}, db)
}

func TestX(t *testing.T) {
	a := newTestService(t)
	text, err := marshal(a.web.API.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(string(text))
}
