// Package web is shared by both services: the HTTP server and its drain, problem
// answers, authentication, limits, health, request metrics, the access log, and the
// OpenAPI document with its page.
//
// Handlers return errors, which are answered as application/problem+json: a
// [model.Error] with the status of its code, any other error as an internal error
// that is logged with its cause and shown without it.
package web

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// Limits of a request.
const (
	MaxBody        = 1 << 20 // bytes of a JSON body
	maxQuery       = 8 << 10
	maxHeader      = 16 << 10
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second // for reading it, and for writing its answer; streams set their own
	idleTimeout    = 60 * time.Second
	quietTime      = time.Second     // a drain stops accepting after so long without a new or closed connection
	maxQuietWait   = 5 * time.Second // at most, for that
	drainTimeout   = 20 * time.Second
	readyTimeout   = 2 * time.Second
)

// Options are the settings of a server.
type Options struct {
	Title       string // of the OpenAPI document
	Description string // of the OpenAPI document, in Markdown
	Version     string // of the program
	Logger      *slog.Logger
	// Calls are the calls that [Handle] may add, each with the codes that it fails
	// with.
	Calls api.Calls
	// AccessLevel is the level at which requests are logged. Probes and scrapes are
	// always logged at debug.
	AccessLevel slog.Level
	// Registry receives the metrics of requests. It is served at MetricsAddress,
	// together with health; without that address, ServeMetrics serves it at /metrics.
	// Profiles are served on ProfilesAddress only.
	Registry        *prometheus.Registry
	ServeMetrics    bool
	MetricsAddress  string
	ProfilesAddress string
	Limits          Limits
	Callers         Callers
	Origins         Origins // whose pages may read answers
	TLS             TLS
	// StrictParameters rejects unknown query parameters: a misspelt dry_run must
	// not write. Otherwise they are ignored, because proxies may add their own.
	StrictParameters bool
	// NoStore forbids caching of answers below /v1: they are only for their caller.
	NoStore bool
	// Compress compresses long answers for clients that accept gzip.
	Compress bool
	// Authenticate finds the caller of a token. If it is nil, everybody may do
	// everything.
	Authenticate Authenticator
	// Session finds the token of a browser's session, "" for none. SignInPath is
	// the page to sign in. Both are optional.
	Session    func(*http.Request) string
	SignInPath string
	// Ready fails if the service cannot do its work now.
	Ready func(ctx context.Context) error
	// Revision is the revision that answers name, unless [NameRevision] sets
	// another one; negative if unknown. It is optional.
	Revision func() int64
}

// Server is an HTTP server. Add routes by [Handle] and [Server.Route] before Serve.
type Server struct {
	API huma.API

	echo         *echo.Echo
	http         *http.Server
	log          *slog.Logger
	calls        api.Calls
	accessLevel  slog.Level
	metrics      *metrics
	busy         *busy
	rates        *rates
	operations   []*operations
	tls          TLS
	certificate  *certificate // once it listens with TLS
	registry     *prometheus.Registry
	permissions  map[route]auth.Permission
	readings     map[route]reading
	strict       bool
	noStore      bool
	authenticate Authenticator
	session      func(*http.Request) string
	signInPath   string
	ready        func(ctx context.Context) error
	revision     func() int64
	draining     atomic.Bool
	drain        func(ctx context.Context) // of the listener in front; may be nil
}

type route struct{ method, path string }

// New returns a server with the routes of both services: health, metrics and
// documentation.
func New(o Options) *Server {
	e := echo.New()
	proxies, _ := o.Callers.networks() // the settings were validated
	e.IPExtractor = extractor(proxies)
	s := &Server{
		echo:         e,
		log:          o.Logger,
		calls:        o.Calls,
		accessLevel:  o.AccessLevel,
		metrics:      newMetrics(o.Registry),
		busy:         newBusy(o.Limits, proxies, o.Authenticate != nil, o.Registry),
		rates:        newRates(o.Callers, o.Registry),
		tls:          o.TLS,
		registry:     o.Registry,
		permissions:  map[route]auth.Permission{},
		readings:     map[route]reading{},
		strict:       o.StrictParameters,
		noStore:      o.NoStore,
		authenticate: o.Authenticate,
		session:      o.Session,
		signInPath:   o.SignInPath,
		ready:        o.Ready,
		revision:     o.Revision,
	}
	s.http = &http.Server{
		Handler:           onePath(e),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         s.busy.connections.note,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug), // broken clients, mostly
	}
	if o.Compress {
		s.http.Handler = compress(s.http.Handler)
	}
	e.HTTPErrorHandler = s.answerProblem
	e.Use(s.observe, o.Origins.share, oneHeader, s.authorize, s.admit, s.limit)
	s.API = newAPI(e, o)

	s.Route(auth.Open, http.MethodGet, "/healthz", s.healthz)
	s.Route(auth.Open, http.MethodGet, "/readyz", s.readyz)
	s.operations = s.newOperations(o)
	if o.ServeMetrics && o.MetricsAddress == "" {
		s.Route(auth.Read, http.MethodGet, "/metrics", echo.WrapHandler(promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{})), "name[]")
	}
	s.documentation(o.Title)
	return s
}

// Route adds a route outside the OpenAPI document: /v1/things/{id}. query names its
// parameters, or is [AnyQuery]. Their values may be empty; a parameter whose name
// ends in [] may be repeated.
func (s *Server) Route(p auth.Permission, method, path string, h echo.HandlerFunc, query ...string) {
	path = echoPath(path)
	s.declare(p, method, path)
	if !slices.Contains(query, AnyQuery) {
		s.readings[route{method, path}] = pageReading(query, s.strict)
	}
	s.echo.Add(method, path, h)
}

// declare returns the effective permission of a route.
func (s *Server) declare(p auth.Permission, method, path string) auth.Permission {
	if s.authenticate == nil {
		p = auth.Open
	}
	s.permissions[route{method, path}] = p
	return p
}

// Observer is the metric for requests of a route that are answered without it.
func (s *Server) Observer(method, route string, status int) prometheus.Observer {
	return s.metrics.observer(method, route, status)
}

// Front puts a handler in front of all routes. It may pass requests on to them.
func (s *Server) Front(wrap func(routes http.Handler) http.Handler) {
	s.http.Handler = wrap(s.http.Handler)
}

// ServeHTTP answers one request without a listener.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.http.Handler.ServeHTTP(w, r) }

// BeforeShutdown sets a function that is called when the server drains: clients
// have been informed by then, and connections are still accepted. drain ends the
// connections of a listener in front of the server. It returns when ctx ends, at
// the latest.
func (s *Server) BeforeShutdown(drain func(ctx context.Context)) { s.drain = drain }

// Listen listens on an address, with TLS if that is enabled, and on the addresses
// for operators. Connections beyond the limit replace idle ones. If none is idle,
// they are closed at once, without TLS after an answer with the reason.
func (s *Server) Listen(host string, port int) (l net.Listener, err error) {
	if s.tls.Enabled() {
		if s.certificate, err = newCertificate(s.tls, s.log, s.registry); err != nil {
			return nil, err
		}
	}
	if l, err = net.Listen("tcp", listenAddress(host, port)); err != nil {
		return nil, fmt.Errorf("FLAGGERY_HOST, FLAGGERY_PORT (--host, --port): %w", err)
	}
	for i, o := range s.operations {
		if err := o.listen(); err != nil {
			for _, open := range s.operations[:i] {
				_ = open.listener.Close()
			}
			return nil, errors.Join(err, l.Close())
		}
	}
	l = &boundListener{TCPListener: l.(*net.TCPListener), all: &s.busy.connections, cleartext: !s.tls.Enabled()}
	if s.tls.Enabled() {
		l = tls.NewListener(l, s.certificate.config())
	}
	return l, nil
}

// listenAddress joins both; an IPv6 address may be in brackets.
func listenAddress(host string, port int) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
}

// Serve answers requests of a listener of [Server.Listen] until ctx ends. Then it
// drains: it becomes unready, makes clients close their connections, gives requests
// in flight 20 seconds and aborts the remaining ones.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	for _, r := range s.echo.Routes() {
		if s.permissions[route{r.Method, r.Path}] == "" {
			return fmt.Errorf("route %s %s declares no permission", r.Method, r.Path)
		}
	}
	s.http.Handler = s.closeInDrain(s.http.Handler)
	if s.tls.Enabled() {
		s.http.Handler = stayWithTLS(s.http.Handler)
	}
	for _, o := range s.operations {
		if o.listener != nil {
			defer o.serve(s.log)()
		}
	}
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.announceDrain()
	s.http.SetKeepAlivesEnabled(false)
	// The drain must outlast the ended context.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if s.drain != nil {
		s.drain(ctx) // before the server ends, as it may still pass on requests
	}
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests were aborted", "after", drainTimeout)
		err = s.http.Close()
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// announceDrain makes clients close their connections: answers say so. New
// connections are still accepted, because load balancers may not have noticed yet.
// Closing an idle connection or the listener could lose a request that is on its
// way. So this lasts until no connection was opened or closed for a while, within a
// limit.
func (s *Server) announceDrain() {
	s.draining.Store(true)
	look := time.NewTicker(quietTime / 50)
	defer look.Stop()
	began := time.Now()
	last, visited := s.busy.connections.count()
	changed := began
	if !visited {
		return // it never had a client. That none is connected just now says little
	}
	for now := began; now.Sub(began) < maxQuietWait && now.Sub(changed) < quietTime; now = <-look.C {
		if n, _ := s.busy.connections.count(); n != last {
			last, changed = n, now
		}
	}
}

// closeInDrain makes answers during the drain close their connections.
func (s *Server) closeInDrain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set(echo.HeaderConnection, "close")
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) healthz(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

func (s *Server) readyz(c echo.Context) error {
	if s.draining.Load() {
		return model.Errorf(model.NotReady, "shutting down")
	}
	if s.ready != nil {
		ctx, cancel := context.WithTimeout(c.Request().Context(), readyTimeout)
		defer cancel()
		if err := s.ready(ctx); err != nil {
			s.log.DebugContext(ctx, "not ready", "error", err) // probes are frequent, and metrics show it as well
			if model.CodeOf(err) != "" {
				return err
			}
			return model.Errorf(model.NotReady, "not ready, see the log of the service")
		}
	}
	return c.String(http.StatusOK, "ok\n")
}

type (
	requestIDKey struct{}
	responseKey  struct{}
)

// NameRevision sets the revision that the answer to the request in ctx names.
// Answers to failures of the service name none.
func NameRevision(ctx context.Context, revision int64) {
	if w, ok := ctx.Value(responseKey{}).(http.ResponseWriter); ok {
		w.Header().Set(api.HeaderRevision, strconv.FormatInt(revision, 10))
	}
}

// Extend sets the remaining time of the request in ctx, for reading it and for
// answering it; d <= 0 removes the limit. The default is 10 seconds. A request that
// exceeds its read timeout counts as cancelled by its client. Requests without a
// limiting server do not change.
func Extend(ctx context.Context, d time.Duration) error {
	w, ok := ctx.Value(responseKey{}).(http.ResponseWriter)
	if !ok {
		return nil
	}
	deadline := time.Time{}
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	control := http.NewResponseController(w)
	err := errors.Join(control.SetReadDeadline(deadline), control.SetWriteDeadline(deadline))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// Flush sends what was written of the answer to the request in ctx. Whether that fails is
// known by the next write.
func Flush(ctx context.Context) {
	if w, ok := ctx.Value(responseKey{}).(http.ResponseWriter); ok {
		_ = http.NewResponseController(w).Flush()
	}
}

// RequestID is the id of the request in ctx: in the access log, in the answer's
// X-Request-Id, in audit rows.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// observe is the outermost middleware: it sets the request id, recovers panics,
// measures and logs.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		r := c.Request()
		id := r.Header.Get(echo.HeaderXRequestID)
		if !loggable(id) {
			id = rand.Text()
		}
		ctx := context.WithValue(r.Context(), requestIDKey{}, id)
		r = r.WithContext(context.WithValue(ctx, responseKey{}, http.ResponseWriter(c.Response())))
		c.SetRequest(r)
		header := c.Response().Header()
		header.Set(echo.HeaderXRequestID, id)
		header.Set(echo.HeaderXContentTypeOptions, "nosniff")
		if s.noStore && strings.HasPrefix(r.URL.Path, "/v1/") {
			header.Set(echo.HeaderCacheControl, "no-store")
		}
		if s.revision != nil && s.revision() >= 0 {
			NameRevision(r.Context(), s.revision())
		}

		switch err := recovered(next, c); {
		case err == nil:
		case errors.Is(err, http.ErrAbortHandler):
			defer panic(http.ErrAbortHandler)
		case c.Response().Committed:
			s.log.ErrorContext(r.Context(), "answer aborted", "request_id", id, "error", err)
			defer panic(http.ErrAbortHandler) // the client must notice that the answer is incomplete
		default:
			s.answerProblem(err, c)
		}

		pattern, level := c.Path(), s.accessLevel
		permission, known := s.permissions[route{r.Method, pattern}]
		if !known {
			pattern = unmatched
		}
		if operational(pattern) {
			level = slog.LevelDebug
		}
		method := r.Method
		if IsHead(ctx) {
			method = http.MethodHead
		}
		status, took := c.Response().Status, time.Since(start)
		s.metrics.observer(method, pattern, status).Observe(took.Seconds())
		if s.log.Enabled(r.Context(), level) {
			attrs := []slog.Attr{
				slog.String("method", method), slog.String("route", pattern), slog.Int("status", status),
				slog.Duration("took", took), slog.Int64("bytes", c.Response().Size), slog.String("request_id", id),
			}
			if known && permission != auth.Open {
				attrs = append(attrs, slog.String("caller", Caller(c.Request().Context()).Name))
			}
			s.log.LogAttrs(r.Context(), level, "request", attrs...)
		}
		return nil
	}
}

// operational reports whether a route is for probes and scrapes, which are
// frequent.
func operational(pattern string) bool {
	return pattern == "/healthz" || pattern == "/readyz" || pattern == "/metrics"
}

// recovered turns a panic into an error. A panic that aborts the answer is passed
// on.
func recovered(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			var ok bool
			if err, ok = p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}
	}()
	return next(c)
}

// loggable reports whether an id chosen by a client can be logged unchanged.
func loggable(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

// limit rejects requests that no handler should get, and decodes path parameters
// exactly once.
func (s *Server) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		u := r.URL
		if len(u.RawQuery) > maxQuery {
			return newProblem(http.StatusRequestURITooLong, model.ValidationFailed, "the query has more than 8 KiB", nil)
		}
		if pattern := c.Path(); strings.Count(u.EscapedPath(), "/") != strings.Count(pattern, "/") && !strings.HasSuffix(pattern, "*") {
			return echo.ErrNotFound // the last parameter matched more than one segment
		}
		reading, known := s.readings[route{r.Method, c.Path()}]
		var faults model.Faults
		values := c.ParamValues()
		for i, value := range values {
			if u.RawPath != "" { // otherwise the router matched the decoded path
				value, _ = url.PathUnescape(value) // net/http has rejected paths that do not decode
			}
			name := c.ParamNames()[i]
			location := "path." + name
			checkText(&faults, location, value)
			if form, declared := reading.path[name]; declared {
				value = form.read(location, value, &faults)
			}
			values[i] = value
		}
		query, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			faults.Addf("query", "is not percent-encoded correctly")
		}
		for name, texts := range query {
			for _, text := range texts {
				checkText(&faults, "query."+name, text)
			}
		}
		if known {
			query = reading.readQuery(query, &faults)
		}
		if err := faults.Err(); err != nil {
			return err
		}
		if !known { // the answer is 404 or 405
			return next(c)
		}
		if err := reading.readBody(r); err != nil {
			return err
		}
		if reading.operation != nil {
			r.Header.Set(echo.HeaderAccept, preferred(r.Header.Get(echo.HeaderAccept), reading.answers...))
		}
		u.RawQuery = query.Encode()
		return next(c)
	}
}

// checkText rejects text that no name in Flaggery contains and that PostgreSQL
// would reject.
func checkText(faults *model.Faults, location, text string) {
	switch {
	case !utf8.ValidString(text):
		faults.Addf(location, "must be valid UTF-8")
	case strings.ContainsFunc(text, unicode.IsControl):
		faults.Addf(location, "must not hold control characters")
	}
}
