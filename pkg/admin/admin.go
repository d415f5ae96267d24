// Package admin is the admin service, the only service that writes. It implements
// the admin's part of the HTTP contract with the use cases of package writer.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/backoff"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/signin"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

// Edges read the changes since their revision. An edge that was away for longer than
// keepChanges reloads everything.
const (
	keepChanges = 48 * time.Hour
	pruneEvery  = time.Hour
)

// watchInterval is how often an admin reads the list of edges, besides for requests.
// An edge that ends stays in the list for several times as long.
const watchInterval = 2 * time.Second

// service is a running admin.
type service struct {
	writer  *writer.Writer
	web     *web.Server
	log     *slog.Logger
	metrics *metrics
	waiting atomic.Bool // for the database, at the start
	// latest is the last revision that this admin has read or made, negative before the
	// first; see answersFrom.
	latest atomic.Int64
	// maxLines of an import, 0 for no limit.
	maxLines    int
	historyKeep time.Duration // 0 keeps it indefinitely
	parsing     chan struct{} // has room for one document

	version      string
	installation Installation
	events       *events
}

// Run runs the admin until ctx ends and the requests in flight are answered, and then
// returns nil. It fails at once if the admin cannot work, but may wait for an
// unavailable database, see Config.DBWait.
func Run(ctx context.Context, config Config) (err error) {
	if err := config.Validate(); err != nil {
		return err
	}
	db, err := postgres.New(string(config.DBURL), postgres.Options{Logger: config.Logger, Reserve: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	a := newService(config, db)
	a.waiting.Store(true)
	a.latest.Store(-1)
	if config.Routes != nil {
		config.Routes(a.web.Routes())
	}
	listener, err := a.web.Listen(config.Host, config.Port)
	if err != nil {
		return err
	}
	a.log.Info("admin is listening", "address", listener.Addr().String(), "version", config.Version)
	// Either part ends the other.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.web.Serve(ctx, listener) })
	group.Go(func() error {
		if ready, err := a.awaitDatabase(ctx, config, db); !ready {
			return err
		}
		a.waiting.Store(false)
		if config.Ready != nil {
			config.Ready(listener.Addr())
		}
		group.Go(func() error { a.warm(ctx); return nil })
		group.Go(func() error { db.Listen(ctx, a.events.wake); return nil })
		group.Go(func() error { a.watch(ctx, time.Tick(watchInterval)); return nil })
		a.prune(ctx, time.Tick(pruneEvery))
		return nil
	})
	return group.Wait()
}

// warm only saves time: without it, the first request does the same.
func (a *service) warm(ctx context.Context) {
	if err := a.writer.Warm(ctx); err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "reading the configuration failed", "error", err)
	}
}

// Delays between attempts to connect to the database at start, as on edges.
const (
	firstDelay = 500 * time.Millisecond
	maxDelay   = 30 * time.Second
)

// errWaiting answers calls while the admin waits for the database.
var errWaiting = model.Errorf(model.NotReady, "waiting for the database")

// awaitDatabase returns true as soon as the database can be used, and false if ctx
// ends before. It retries while the database is unavailable, unless the settings say
// otherwise. It fails at once if retrying cannot help, as with a wrong password.
func (a *service) awaitDatabase(ctx context.Context, config Config, db *postgres.DB) (ready bool, err error) {
	delays := backoff.Backoff{First: firstDelay, Max: maxDelay}
	for {
		switch err := a.prepare(ctx, config, db); {
		case err == nil:
			return true, nil
		case ctx.Err() != nil:
			return false, nil //nolint:nilerr // ctx has ended, which is no failure
		case !config.DBWait || !postgres.IsUnavailable(err):
			return false, err
		default:
			delay := delays.Next()
			a.log.WarnContext(ctx, "waiting for the database", "error", err, "next_try_in", delay)
			_ = backoff.Sleep(ctx, delay) // the next try fails if ctx has ended
		}
	}
}

// prepare migrates or checks the schema, and checks that there is a token of role
// admin.
func (a *service) prepare(ctx context.Context, config Config, db *postgres.DB) error {
	if err := connect(ctx, db, config.DBURL); err != nil {
		return err
	}
	arrange := migrations.Check
	if config.DBAutoUpgrade {
		arrange = migrations.Up
	}
	if err := arrange(ctx, db.SQL()); err != nil {
		return err
	}
	revision, err := a.writer.Revision(ctx)
	if err != nil {
		return err
	}
	a.latest.Store(revision)
	return a.checkReachable(ctx, config.Token)
}

// OpenDB connects to a database. Its errors show the URL without the password.
func OpenDB(ctx context.Context, url command.DatabaseURL, log *slog.Logger) (*postgres.DB, error) {
	if err := validateDBURL(url); err != nil {
		return nil, err
	}
	db, err := postgres.New(string(url), postgres.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	if err := connect(ctx, db, url); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func connect(ctx context.Context, db *postgres.DB, url command.DatabaseURL) error {
	if err := db.Connect(ctx); err != nil {
		return fmt.Errorf("connect to the database %s: %w", url, err)
	}
	return nil
}

func newService(config Config, db *postgres.DB) *service {
	registry := web.NewRegistry(config.Version)
	config.Installation.Environment.Register(registry)
	a := &service{
		writer:      writer.New(db, writer.Options{Logger: config.Logger}),
		log:         config.Logger,
		metrics:     newMetrics(registry, db, config.Logger),
		maxLines:    config.MaxImportLines,
		parsing:     make(chan struct{}, 1),
		historyKeep: config.HistoryKeep,

		version: config.Version, installation: config.Installation, events: newEvents(),
	}
	pages := a.newPages(config)
	a.web = web.New(web.Options{
		Title:            "Flaggery admin",
		Description:      introduction,
		Version:          config.Version,
		Logger:           config.Logger,
		Calls:            api.AdminCalls,
		AccessLevel:      slog.LevelInfo,
		Registry:         registry,
		ServeMetrics:     config.Prometheus,
		MetricsAddress:   config.MetricsAddress,
		ProfilesAddress:  config.ProfilesAddress,
		Limits:           config.Limits,
		Callers:          config.Callers,
		TLS:              config.TLS,
		StrictParameters: true,
		NoStore:          true,
		Compress:         true,
		Authenticate:     a.authenticator(config.Token),
		Session:          pages.Session,
		SignInPath:       signin.SignInPath,
		Ready: func(ctx context.Context) error {
			if a.waiting.Load() {
				return errWaiting
			}
			return db.Ping(ctx)
		},
		Revision: a.latest.Load,
	})
	a.addRoutes()
	a.addPages(pages)
	return a
}

// prune deletes old changes and old history at every tick until ctx ends.
func (a *service) prune(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			err := a.writer.Prune(ctx, keepChanges)
			if err == nil && a.historyKeep > 0 {
				err = a.writer.PruneHistory(ctx, a.historyKeep)
			}
			if err != nil && ctx.Err() == nil {
				a.log.Warn("pruning old changes failed, retrying in an hour", "error", err)
			}
		}
	}
}
