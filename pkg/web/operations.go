package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// operations is what operators ask of a service on an address of their own, which
// clients do not reach: metrics, profiles and health, without a token and beside
// all limits.
type operations struct {
	address  string
	server   *http.Server
	listener net.Listener
}

// CheckAddress says what is wrong with an address to answer operators on; "" is
// none.
func CheckAddress(address string) error {
	if address == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("FLAGGERY_METRICS_ADDRESS (--metrics-address) must be host:port, like 127.0.0.1:9090, is %q", address)
	}
	return nil
}

func (s *Server) newOperations(o Options) *operations {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", onePath(s.echo))
	mux.Handle("GET /readyz", onePath(s.echo))
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return &operations{address: o.MetricsAddress, server: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}}
}

func (o *operations) listen() (err error) {
	if o.listener, err = net.Listen("tcp", o.address); err != nil {
		return fmt.Errorf("FLAGGERY_METRICS_ADDRESS (--metrics-address): listen: %w", err)
	}
	return nil
}

// serve answers until stop is called.
func (o *operations) serve(log *slog.Logger) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := o.server.Serve(o.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics, profiles and health are answered no longer", "address", o.address, "error", err)
		}
	}()
	return func() {
		_ = o.server.Close() // whoever asks now asks a service that has ended
		<-done
	}
}
