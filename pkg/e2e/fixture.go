// Package e2e holds whole scenarios: real admins and edges over a real PostgreSQL,
// called like their users call them.
//
// The scripts in testdata read like terminal sessions; commands_test.go says what
// each of their commands does. Other tests hold several admins and edges against
// each other under load:
//
//	FLAGGERY_E2E_DURATION=1m go test -run Consistency -v ./pkg/e2e
//	FLAGGERY_E2E_COMPARISONS=10000 go test -run History -v ./pkg/e2e
//	go test -run '^$' -bench Propagation ./pkg/e2e
package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/edge"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// Token is accepted by every admin of a [Fixture].
const Token = "a-token-for-tests-and-nothing-else"

// Fixture is an installation of Flaggery: admins and edges on one database, in this
// process, on free ports of 127.0.0.1.
type Fixture struct {
	dbURL command.DatabaseURL
	log   *slog.Logger
	ctx   context.Context
	end   context.CancelFunc
	ended []<-chan error
	admin string // the base URL of the one that was started last, "" before there is one
}

// NewFixture is an installation without services, on a database that has the schema.
func NewFixture(dbURL string, log *slog.Logger) *Fixture {
	ctx, end := context.WithCancel(context.Background())
	return &Fixture{dbURL: command.DatabaseURL(dbURL), log: log, ctx: ctx, end: end}
}

// Close drains and stops all services.
func (w *Fixture) Close() error {
	w.end()
	var errs []error
	for _, ended := range w.ended {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// StartAdmin starts an admin and returns its base URL. changes adapt its settings.
func (w *Fixture) StartAdmin(changes ...func(*admin.Config)) (url string, err error) {
	url, err = w.start(func(ready func(net.Addr)) error {
		config := admin.Config{
			DBURL: w.dbURL, Host: "127.0.0.1", Token: Token, Version: "test", Logger: w.log, Ready: ready,
		}
		for _, change := range changes {
			change(&config)
		}
		return admin.Run(w.ctx, config)
	})
	w.admin = url
	return url, err
}

// StartEdge starts an edge and returns its base URL, once the edge serves and the
// admin, if there is one, lists it. unknown is its treatment of unknown subjects,
// changes adapt its other settings.
func (w *Fixture) StartEdge(name, unknown string, changes ...func(*edge.Config)) (string, error) {
	url, err := w.start(func(ready func(net.Addr)) error {
		config := edge.Config{
			DBURL: w.dbURL, Host: "127.0.0.1", Name: name, Unknown: unknown, Poll: time.Second, Shortcut: true,
			Version: "test", Logger: w.log, Ready: ready,
		}
		for _, change := range changes {
			change(&config)
		}
		return edge.Run(w.ctx, config)
	})
	if err != nil {
		return "", err
	}
	client, err := flaggery.NewEdge(url, flaggery.Retries(0))
	if err != nil {
		return "", err
	}
	for tick := time.Tick(5 * time.Millisecond); client.Ready(w.ctx) != nil || !w.known(name); <-tick {
		if w.ctx.Err() != nil {
			return "", w.ctx.Err()
		}
	}
	return url, nil
}

// known reports whether the admin lists an edge, which may be a moment after it
// serves. Without an admin it is true.
func (w *Fixture) known(name string) bool {
	if w.admin == "" {
		return true
	}
	client, err := flaggery.NewAdmin(w.admin, Token, flaggery.Retries(0))
	if err != nil {
		return false
	}
	for e, err := range client.Edges(w.ctx) {
		if err == nil && e.Name == name && e.State != "away" {
			return true
		}
	}
	return false
}

// start returns once the service listens or has failed.
func (w *Fixture) start(run func(ready func(net.Addr)) error) (string, error) {
	listens, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- run(func(a net.Addr) { listens <- a }) }()
	select {
	case addr := <-listens:
		w.ended = append(w.ended, ended)
		return fmt.Sprintf("http://%s", addr), nil
	case err := <-ended:
		return "", errors.Join(err, errors.New("the service ended at once"))
	}
}
