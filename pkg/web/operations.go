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

// operations serves operators on addresses that clients cannot reach, without
// tokens and limits: metrics and health on one, profiles on another, because
// scrapers need no profiles.
type operations struct {
	setting  string
	address  string
	server   *http.Server
	listener net.Listener
}

// CheckAddress fails if the address of a setting for operators is invalid; "" is
// none.
func CheckAddress(name, address string) error {
	if address == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("%s must be host:port, like 127.0.0.1:9090 or [::1]:9090, is %q", name, address)
	}
	return nil
}

// The settings with the addresses.
const (
	MetricsAddress  = "FLAGGERY_METRICS_ADDRESS (--metrics-address)"
	ProfilesAddress = "FLAGGERY_PROFILES_ADDRESS (--profiles-address)"
)

func (s *Server) newOperations(o Options) (all []*operations) {
	add := func(setting, address string, mux *http.ServeMux) {
		if address == "" {
			return
		}
		all = append(all, &operations{setting: setting, address: address, server: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: headerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		}})
	}
	metrics := http.NewServeMux()
	metrics.Handle("GET /healthz", onePath(s.echo))
	metrics.Handle("GET /readyz", onePath(s.echo))
	metrics.Handle("GET /metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{}))
	add(MetricsAddress, o.MetricsAddress, metrics)
	profiles := http.NewServeMux()
	profiles.HandleFunc("GET /debug/pprof/", pprof.Index) // without cmdline, which may hold secrets
	profiles.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	profiles.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	add(ProfilesAddress, o.ProfilesAddress, profiles)
	return all
}

func (o *operations) listen() (err error) {
	if o.listener, err = net.Listen("tcp", o.address); err != nil {
		return fmt.Errorf("%s: %w", o.setting, err)
	}
	return nil
}

// serve answers requests until stop is called.
func (o *operations) serve(log *slog.Logger) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := o.server.Serve(o.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("serving operators failed", "setting", o.setting, "address", o.address, "error", err)
		}
	}()
	return func() {
		_ = o.server.Close() // requests in flight are for a service that has ended
		<-done
	}
}
