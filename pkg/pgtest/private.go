package pgtest

import (
	"context"
	"testing"

	"github.com/flaggery/flaggery/pkg/pgserver"
)

// Private is the PostgreSQL of a single test, which may stop, kill and restart it.
// It keeps its port and, unlike the shared server, its data.
type Private struct {
	config pgserver.Config
	server *pgserver.Server
}

// Server starts a private PostgreSQL, which takes about two seconds. Tests that do
// not stop their server use Open.
func Server(t testing.TB) *Private {
	t.Helper()
	p := &Private{config: pgserver.Config{Dir: t.TempDir(), Settings: map[string]string{"max_connections": "300"}}}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := exec(t.Context(), p.server.URL("postgres"), "CREATE DATABASE "+privateDatabase); err != nil {
		t.Fatal(err)
	}
	if err := migrateUp(t.Context(), p.URL()); err != nil {
		t.Fatal(err)
	}
	return p
}

const privateDatabase = "flaggery"

// URL is the address of a database with the program's schema. It stays the same
// over a restart.
func (p *Private) URL() string { return p.server.URL(privateDatabase) }

// Start starts the server after Stop or Kill and returns once it answers.
func (p *Private) Start() error {
	s, err := pgserver.Start(context.Background(), p.config)
	if err != nil {
		return err
	}
	p.server, p.config.Port = s, s.Port()
	return nil
}

// Stop ends all sessions and the server cleanly.
func (p *Private) Stop() error { return p.server.Stop() }

// Kill ends the server like a crash.
func (p *Private) Kill() { p.server.Kill() }
