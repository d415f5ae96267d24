// Package dev runs Flaggery on one machine, to try it or to develop against it: a
// PostgreSQL of its own, the admin and one edge, in one process, with sample data. The
// sample data has an invented past of three weeks, which it makes in a new database only.
package dev

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/edge"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgserver"
	"github.com/flaggery/flaggery/pkg/writer"
)

// Run starts everything, describes it on c.Out, and runs until ctx ends or a part
// of it fails. The data stays in c.DataDir.
func Run(ctx context.Context, c Config) (err error) {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	database, err := pgserver.Start(ctx, pgserver.Config{Dir: filepath.Join(c.DataDir, "postgres"), Log: c.Logger})
	if errors.Is(err, pgserver.ErrHeld) {
		return fmt.Errorf("--data-dir: %w", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Stop()) }()
	var tokenFile string
	if c.AdminToken == "" {
		tokenFile = filepath.Join(c.DataDir, "token")
		if c.AdminToken, err = keptToken(tokenFile); err != nil {
			return err
		}
	}
	url := database.URL("postgres") // the database that always exists
	found, err := c.prepare(ctx, url)
	if err != nil {
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-database.Done():
			return fmt.Errorf("PostgreSQL ended, its log is %s", filepath.Join(c.DataDir, "postgres", "postgres.log"))
		}
	})
	edgeReady, ready := make(chan net.Addr, 1), make(chan screen, 1)
	group.Go(func() error {
		var e edge.Config
		e.Flags(flag.NewFlagSet("", flag.ContinueOnError)) // sets the defaults
		e.DBURL, e.Host, e.Port, e.Name, e.Prometheus = command.DatabaseURL(url), c.Host, c.EdgePort, "dev", true
		e.Environment, e.Version, e.Logger = c.Environment, c.Version, c.Logger.With("service", "edge")
		e.Ready = func(addr net.Addr) { edgeReady <- addr }
		return listenError("edge-port", edge.Run(ctx, e))
	})
	group.Go(func() error {
		s := screen{DataDir: c.DataDir, Database: url, Token: string(c.AdminToken), TokenFile: tokenFile, Data: found, Empty: c.Empty}
		select {
		case addr := <-edgeReady:
			s.Edge = "http://" + reachable(addr)
		case <-ctx.Done():
			return nil
		}
		var a admin.Config
		a.Flags(flag.NewFlagSet("", flag.ContinueOnError))
		a.DBURL, a.Host, a.Port, a.Token, a.Prometheus = command.DatabaseURL(url), c.Host, c.Port, c.AdminToken, true
		a.AnyToken = true
		a.Installation.Environment, a.Installation.Colour, a.Installation.EdgeURL = c.Environment, c.Colour, s.Edge
		a.Version, a.Logger = c.Version, c.Logger.With("service", "admin")
		a.Ready = func(addr net.Addr) {
			s.Admin = "http://" + reachable(addr)
			ready <- s
		}
		return listenError("port", admin.Run(ctx, a))
	})
	group.Go(func() error {
		var s screen
		select {
		case s = <-ready:
		case <-ctx.Done():
			return nil
		}
		// An edge listens before it has loaded its snapshot.
		if !awaitReady(ctx, s.Edge+"/readyz") {
			return nil
		}
		if err := s.print(c.Out); err != nil { // the reader of the output is gone
			c.Logger.Warn("start screen not printed", "error", err)
		}
		if c.Ready != nil {
			c.Ready(s.Admin, s.Edge)
		}
		return nil
	})
	return group.Wait()
}

// prepare migrates the schema and, unless c.Empty, adds sample data to a new
// database.
func (c Config) prepare(ctx context.Context, url string) (found data, err error) {
	w, err := writer.Open(ctx, url, writer.Options{Logger: c.Logger})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.UpgradeDB(ctx); err != nil {
		return "", err
	}
	sample, err := w.Feature(ctx, sampleFeature)
	switch {
	case err == nil:
		return sampleData, nil
	case model.CodeOf(err) != model.FeatureNotFound:
		return "", err
	case sample.Revision > 0:
		return otherData, nil
	case c.Empty:
		return noData, nil
	}
	if err := addSampleData(ctx, url, time.Now()); err != nil {
		return "", fmt.Errorf("add the sample data: %w", err)
	}
	return sampleData, nil
}

// awaitReady returns true once the URL answers 200, and false if ctx ends first.
func awaitReady(ctx context.Context, url string) bool {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false
		}
		req.Close = true // keep no connection open
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// listenError names our flag for the port of a service that cannot listen.
func listenError(flag string, err error) error {
	var listen *net.OpError
	if errors.As(err, &listen) && listen.Op == "listen" {
		return fmt.Errorf("--%s: %w", flag, listen)
	}
	return err
}

// reachable is an address of a listener for clients on this machine: the listener
// may be on all addresses.
func reachable(addr net.Addr) string {
	if a, ok := addr.(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: a.Port}).String()
	}
	return addr.String()
}
