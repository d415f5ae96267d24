// Package edge is the edge service: a replica of the read model in memory, and
// the edge part of the HTTP contract on top of it. It cannot write.
package edge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/replica"
	"github.com/flaggery/flaggery/pkg/shortcut"
	"github.com/flaggery/flaggery/pkg/snapshot"
	"github.com/flaggery/flaggery/pkg/web"
)

// service is a running edge.
type service struct {
	replica *replica.Replica
	web     *web.Server
	routes  http.Handler // for requests that are not in the plain form
	// authenticator identifies callers; nil if anyone may query this edge.
	authenticator web.Authenticator
	fixed         fixedFields
	// unknownSubject is the answer to a request for all flags of an unknown subject.
	unknownSubject evaluationAnswer
	// They count requests that are answered before the routes.
	flagsGiven, evaluatedAll, evaluatedOne observers
}

// Run runs the edge until ctx ends and all requests in flight are answered. It returns
// an error at once if the edge cannot work. An unreachable database is no such error:
// the edge waits for it, or serves its last snapshot.
func Run(ctx context.Context, config Config) (err error) {
	if err := config.Validate(); err != nil {
		return err
	}
	feed, err := postgres.NewFeed(string(config.DBURL), postgres.FeedOptions{
		Name: config.Name, Version: config.Version, Tokens: config.Auth == AuthToken, Logger: config.databaseLogger(),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, feed.Close()) }()
	e := newService(config, feed)

	if config.Routes != nil {
		config.Routes(e.web.Routes())
	}
	listener, err := e.web.Listen(config.Host, config.Port)
	if err != nil {
		return err
	}
	config.Logger.Info("edge is listening", "address", listener.Addr().String(), "version", config.Version, "name", config.Name)
	if config.Ready != nil {
		config.Ready(listener.Addr())
	}
	if config.Shortcut && !config.TLS.Enabled() && config.Auth != AuthToken { // TLS and tokens are left to net/http
		short := shortcut.Listen(listener, e.shortRoutes()...)
		context.AfterFunc(ctx, short.AnnounceDrain)
		e.web.BeforeShutdown(short.Drain)
		listener = short
	}
	context.AfterFunc(ctx, feed.Drain)
	// The replica follows the database until the last request is answered.
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { e.replica.Run(following) })
	err = e.web.Serve(ctx, listener)
	stop()
	group.Wait()
	return err
}

func newService(config Config, source replica.Source) *service {
	registry := web.NewRegistry(config.Version)
	config.Environment.Register(registry)
	e := &service{
		replica: replica.New(source, replica.Options{
			Unknown:     snapshot.Unknown(config.Unknown),
			Environment: string(config.Environment),
			Poll:        config.Poll,
			File:        config.SnapshotFile,
			Tokens:      config.Auth == AuthToken,
			Logger:      config.databaseLogger(),
			Observer:    newReplicaMetrics(registry),
			BeforeLoad:  LowerGCPercent,
		}),
	}
	registerState(registry, e.replica)
	if config.Auth == AuthToken {
		e.authenticator = e.authenticate
	}
	e.fixed = newFixedFields(&config.Origins)
	e.unknownSubject = noFlags(string(config.Environment))
	e.web = web.New(web.Options{
		Title:           "Flaggery edge",
		Description:     introduction,
		Version:         config.Version,
		Logger:          config.Logger,
		Calls:           api.EdgeCalls,
		AccessLevel:     slog.LevelDebug, // an edge answers too many requests to log each
		Registry:        registry,
		ServeMetrics:    config.Prometheus,
		MetricsAddress:  config.MetricsAddress,
		ProfilesAddress: config.ProfilesAddress,
		Limits:          config.Limits,
		Callers:         config.Callers,
		Origins:         config.Origins,
		TLS:             config.TLS,
		Authenticate:    e.authenticator,
		Ready: func(context.Context) error {
			if e.replica.Snapshot() == nil {
				return errNothingLoaded
			}
			return nil
		},
	})
	e.flagsGiven = e.observersOf(http.MethodGet, flagsPath)
	e.evaluatedAll = e.observersOf(http.MethodPost, evaluateFlags.Path)
	e.evaluatedOne = e.observersOf(http.MethodPost, strings.ReplaceAll(evaluateFlag.Path, "{key}", ":key"))
	e.addRoutes()
	e.web.Front(func(routes http.Handler) http.Handler {
		e.routes = routes
		return e
	})
	return e
}

// addRoutes adds the edge part of the contract. The web server adds health, metrics
// and documentation.
func (e *service) addRoutes() {
	// Flags of one subject.
	web.Handle(e.web, auth.Resolve, conditional(answering[api.Flags](e, getFlags)), e.getFlags)
	web.Handle(e.web, auth.Resolve, conditional(answering[api.Flags](e, getSubjectFlags)), e.getSubjectFlags)
	// Flags of many subjects.
	batch := answering[api.BatchFlags](e, postFlags)
	batch.Middlewares = huma.Middlewares{e.postPlainFlags}
	web.Handle(e.web, auth.Resolve, batch, e.postFlags)
	e.addEvaluation()
	// Calls of the admin.
	for call := range api.AdminCalls {
		if _, ours := api.EdgeCalls[call]; !ours {
			method, path, _ := strings.Cut(call, " ")
			e.web.Route(auth.Open, method, path, readOnly)
		}
	}
}

func readOnly(c echo.Context) error {
	return model.Errorf(model.ReadOnly, "an edge only reads: send %s %s to the admin", c.Request().Method, c.Request().URL.Path)
}
