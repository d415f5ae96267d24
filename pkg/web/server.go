// Package web is what both services share: the HTTP server and how it ends, the
// form of answers to requests that fail, who may call, limits, health, request
// metrics, the access log, and the OpenAPI document with its page.
//
// Whatever goes wrong in a handler is returned as an error and leaves as
// application/problem+json: a [model.Error] with the status of its code, anything
// else as an internal error that is logged with its cause and shown without.
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

// Limits of requests.
const (
	MaxBody        = 1 << 20 // bytes of a JSON body
	maxQuery       = 8 << 10
	maxHeader      = 16 << 10
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second // to read one, and to write its answer; streams set their own
	idleTimeout    = 60 * time.Second
	quietTime      = time.Second     // without a connection that comes or goes, until a drain stops accepting
	maxQuietWait   = 5 * time.Second // for that
	drainTimeout   = 20 * time.Second
	readyTimeout   = 2 * time.Second
)

// Options of a server.
type Options struct {
	Title   string // of the OpenAPI document
	Version string // of the program
	Logger  *slog.Logger
	// Calls are what [Handle] may add, each with the codes that it fails with.
	Calls api.Calls
	// AccessLevel is the level at which requests are logged; probes and scrapes are
	// at debug always.
	AccessLevel slog.Level
	// Registry takes the metrics of requests and, where ServeMetrics, is answered at
	// /metrics; on MetricsAddress, where there is one, together with health, and then
	// nowhere else. Profiles are on ProfilesAddress alone.
	Registry        *prometheus.Registry
	ServeMetrics    bool
	MetricsAddress  string
	ProfilesAddress string
	Limits          Limits
	Callers         Callers
	Origins         Origins // whose pages may ask
	TLS             TLS
	// StrictParameters refuses query parameters that a call does not have: a misspelt
	// dry_run must not write. Without it they are ignored, as something on the way may
	// add its own.
	StrictParameters bool
	// NoStore forbids to keep answers below /v1: they are for their caller, and now.
	NoStore bool
	// Authenticate knows the callers. Where it is nil, everybody may do everything.
	Authenticate Authenticator
	// Session finds the token of who is signed in with a browser, "" for nobody, and
	// SignInPath is where that is done. Both may be left out.
	Session    func(*http.Request) string
	SignInPath string
	// Ready is an error where the service cannot do its work now.
	Ready func(ctx context.Context) error
	// Revision is the one that answers name unless [NameRevision] says another: negative
	// while none is known. It may be left out.
	Revision func() int64
}

// Server answers HTTP. Routes are added by [Handle] and [Server.Route] before
// Serve.
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
	drain        func(ctx context.Context) // what is in front; may be nil
}

type route struct{ method, path string }

// New makes a server with the routes that both services have: health, metrics
// and documentation.
func New(o Options) *Server {
	e := echo.New()
	proxies, _ := o.Callers.networks() // settings are validated by who has them
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
	e.HTTPErrorHandler = s.answerProblem
	e.Use(s.observe, o.Origins.share, oneHeader, s.authorize, s.admit, s.limit)
	s.API = newAPI(e, o.Title, o.Version)

	s.Route(auth.Open, http.MethodGet, "/healthz", s.healthz)
	s.Route(auth.Open, http.MethodGet, "/readyz", s.readyz)
	s.operations = s.newOperations(o)
	if o.ServeMetrics && o.MetricsAddress == "" {
		s.Route(auth.Read, http.MethodGet, "/metrics", echo.WrapHandler(promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{})), "name[]")
	}
	s.documentation(o.Title)
	return s
}

// Route adds a route that the OpenAPI document does not show: /v1/things/{id}. query
// are the parameters that it takes, which may be empty, or [AnyQuery]; there may be
// several of one whose name ends in [].
func (s *Server) Route(p auth.Permission, method, path string, h echo.HandlerFunc, query ...string) {
	path = echoPath(path)
	s.declare(p, method, path)
	if !slices.Contains(query, AnyQuery) {
		s.readings[route{method, path}] = pageReading(query, s.strict)
	}
	s.echo.Add(method, path, h)
}

// declare returns the permission that a route takes in fact.
func (s *Server) declare(p auth.Permission, method, path string) auth.Permission {
	if s.authenticate == nil {
		p = auth.Open
	}
	s.permissions[route{method, path}] = p
	return p
}

// Observer is where requests of a route are counted that are answered elsewhere.
func (s *Server) Observer(method, route string, status int) prometheus.Observer {
	return s.metrics.observer(method, route, status)
}

// Front puts a handler in front of all routes, which it may pass requests on to.
func (s *Server) Front(wrap func(routes http.Handler) http.Handler) {
	s.http.Handler = wrap(s.http.Handler)
}

// ServeHTTP answers one request without a listener.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.http.Handler.ServeHTTP(w, r) }

// BeforeShutdown has drain called when the server drains: its clients know by then,
// and it still accepts connections. drain ends what a listener in front of the
// server has, and returns at the latest when ctx ends.
func (s *Server) BeforeShutdown(drain func(ctx context.Context)) { s.drain = drain }

// Listen listens on an address, and for operators on theirs; with TLS where that is
// on. Connections beyond the limit take the place of idle ones, or are closed as soon
// as they come, and told why if they understand it.
func (s *Server) Listen(host string, port int) (l net.Listener, err error) {
	if s.tls.Enabled() {
		if s.certificate, err = newCertificate(s.tls, s.log, s.registry); err != nil {
			return nil, err
		}
	}
	if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	for i, o := range s.operations {
		if err := o.listen(); err != nil {
			for _, open := range s.operations[:i] {
				_ = open.listener.Close()
			}
			return nil, errors.Join(err, l.Close())
		}
	}
	l = &boundListener{TCPListener: l.(*net.TCPListener), all: &s.busy.connections, plain: !s.tls.Enabled()}
	if s.tls.Enabled() {
		l = tls.NewListener(l, s.certificate.config())
	}
	return l, nil
}

// Serve answers requests that come through a listener of [Server.Listen] until ctx
// ends. Then it drains: it turns unready, has clients close their connections, gives
// requests in flight 20 seconds and cuts what is left.
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
	// The context that ended must not end the drain too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if s.drain != nil {
		s.drain(ctx) // before the server ends, which has to answer what comes out of it
	}
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests were cut off", "after", drainTimeout)
		err = s.http.Close()
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// announceDrain has clients close their connections after their next answer, as it
// says, while new ones are still accepted from balancers that have not looked yet.
// To close a connection that is idle, or the listener, is to lose the request that
// may be on its way; so it goes on until no connection has come or gone for a
// while, but not for ever.
func (s *Server) announceDrain() {
	s.draining.Store(true)
	look := time.NewTicker(quietTime / 50)
	defer look.Stop()
	began := time.Now()
	last, visited := s.busy.connections.count()
	changed := began
	if !visited {
		return // nobody knows this server. That none is connected just now says little
	}
	for now := began; now.Sub(began) < maxQuietWait && now.Sub(changed) < quietTime; now = <-look.C {
		if n, _ := s.busy.connections.count(); n != last {
			last, changed = n, now
		}
	}
}

// closeInDrain has answers that are given during the drain close their connections.
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
			s.log.DebugContext(ctx, "not ready", "error", err) // probes ask often, and metrics tell as well
			if model.CodeOf(err) != "" {
				return err
			}
			return model.Errorf(model.NotReady, "not ready, the log tells why")
		}
	}
	return c.String(http.StatusOK, "ok\n")
}

type (
	requestIDKey struct{}
	responseKey  struct{}
)

// NameRevision has the answer to the request in ctx name the revision that it is from.
// The answer to a failure of the service names none.
func NameRevision(ctx context.Context, revision int64) {
	if w, ok := ctx.Value(responseKey{}).(http.ResponseWriter); ok {
		w.Header().Set(api.HeaderRevision, strconv.FormatInt(revision, 10))
	}
}

// Extend gives the request in ctx so much more time, from now on, to be read and
// answered; d <= 0 takes the limit away. Without it a request has 10 seconds, and
// one whose reading time is over counts as given up by its client. A request that
// no server limits is left as it is.
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

// RequestID names the request in ctx: in the access log, in the answer's
// X-Request-Id, in audit rows.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// observe is the outermost layer: it names the request, catches panics, measures
// and logs.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		r := c.Request()
		id := r.Header.Get(echo.HeaderXRequestID)
		if !plain(id) {
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
			s.log.ErrorContext(r.Context(), "answer broke off", "request_id", id, "error", err)
			defer panic(http.ErrAbortHandler) // the client must not take a part for the whole
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

// operational tells routes that no user calls, and that are called all the time.
func operational(pattern string) bool {
	return pattern == "/healthz" || pattern == "/readyz" || pattern == "/metrics"
}

// recovered makes an error of a panic. One that means to cut the answer off
// stays what it is.
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

// plain tells whether an id that a client chose can be logged as it is.
func plain(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

// limit refuses what no handler should meet, and decodes path parameters exactly
// once.
func (s *Server) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		u := r.URL
		if len(u.RawQuery) > maxQuery {
			return newProblem(http.StatusRequestURITooLong, model.ValidationFailed, "the query has more than 8 KiB", nil)
		}
		if pattern := c.Path(); strings.Count(u.EscapedPath(), "/") != strings.Count(pattern, "/") && !strings.HasSuffix(pattern, "*") {
			return echo.ErrNotFound // the last parameter has taken more segments than one
		}
		reading, known := s.readings[route{r.Method, c.Path()}]
		var faults model.Faults
		values := c.ParamValues()
		for i, value := range values {
			if u.RawPath != "" { // else the router has matched the decoded path
				value, _ = url.PathUnescape(value) // net/http has refused what does not decode
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

// checkText refuses what nothing in Flaggery has in its name and what PostgreSQL
// would refuse as text.
func checkText(faults *model.Faults, location, text string) {
	switch {
	case !utf8.ValidString(text):
		faults.Addf(location, "must be valid UTF-8")
	case strings.ContainsFunc(text, unicode.IsControl):
		faults.Addf(location, "must not hold control characters")
	}
}
