// Package admin is the admin service: the only writer. It answers the admin part
// of the HTTP contract by the use cases of package writer.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/signin"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

// Edges ask what changed since the revision that they have. One that was away for
// longer than keepChanges loads everything anew.
const (
	keepChanges = 48 * time.Hour
	pruneEvery  = time.Hour
)

// service is a running admin.
type service struct {
	writer  *writer.Writer
	web     *web.Server
	log     *slog.Logger
	metrics *metrics
	// maxLines of an import, 0 for any number.
	maxLines int
}

// Run is the admin from start to end: it returns nil after ctx has ended and the
// requests under way are answered, and an error at once where it cannot work.
func Run(ctx context.Context, config Config) (err error) {
	if err := config.Validate(); err != nil {
		return err
	}
	db, err := OpenDB(ctx, config.DBURL, config.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if config.DBAutoUpgrade {
		err = migrations.Up(ctx, db.SQL())
	} else {
		err = migrations.Check(ctx, db.SQL())
	}
	if err != nil {
		return err
	}

	a := newService(config, db)
	if err := a.checkReachable(ctx, config.Token); err != nil {
		return err
	}
	if config.Routes != nil {
		config.Routes(a.web.Routes())
	}
	listener, err := a.web.Listen(config.Host, config.Port)
	if err != nil {
		return err
	}
	a.log.Info("admin is listening", "address", listener.Addr().String(), "version", config.Version)
	if config.Ready != nil {
		config.Ready(listener.Addr())
	}
	// Either part ends the other.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.web.Serve(ctx, listener) })
	group.Go(func() error { a.prune(ctx, time.Tick(pruneEvery)); return nil })
	return group.Wait()
}

// OpenDB connects. Its error names the database, without the password.
func OpenDB(ctx context.Context, url command.DatabaseURL, log *slog.Logger) (*postgres.DB, error) {
	if err := validateDBURL(url); err != nil {
		return nil, err
	}
	db, err := postgres.Open(ctx, string(url), postgres.Options{Logger: log})
	if err != nil {
		return nil, fmt.Errorf("connect to the database %s: %w", url, err)
	}
	return db, nil
}

func newService(config Config, db *postgres.DB) *service {
	registry := web.NewRegistry(config.Version)
	a := &service{
		writer:   writer.New(db, writer.Options{Logger: config.Logger}),
		log:      config.Logger,
		metrics:  newMetrics(registry, db, config.Logger),
		maxLines: config.MaxImportLines,
	}
	a.web = web.New(web.Options{
		Title:            "Flaggery admin",
		Version:          config.Version,
		Logger:           config.Logger,
		Calls:            api.AdminCalls,
		AccessLevel:      slog.LevelInfo,
		Registry:         registry,
		ServeMetrics:     config.Prometheus,
		MetricsAddress:   config.MetricsAddress,
		Limits:           config.Limits,
		Callers:          config.Callers,
		TLS:              config.TLS,
		StrictParameters: true,
		Authenticate:     a.authenticator(config.Token),
		Session:          session,
		SignInPath:       signin.SignInPath,
		Ready:            db.SQL().PingContext,
	})
	a.addRoutes()
	a.pages(config)
	return a
}

// prune forgets old changes at every tick until ctx ends.
func (a *service) prune(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			if err := a.writer.Prune(ctx, keepChanges); err != nil && ctx.Err() == nil {
				a.log.Warn("old changes could not be pruned, the next try is in an hour", "error", err)
			}
		}
	}
}
