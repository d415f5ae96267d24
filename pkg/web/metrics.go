package web

import (
	"net/http"
	"runtime"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// unmatched is the route label of every request without a route, so that the label
// has a bounded number of values.
const unmatched = "unmatched"

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

// metrics of HTTP requests.
type metrics struct {
	duration *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "flaggery_http_request_duration_seconds",
			Help:    "Duration of HTTP requests by method, route pattern and class of the answer's status. Its count is the number of requests.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route", "status"}),
	}
	r.MustRegister(m.duration)
	return m
}

// observer is the metric of a kind of request. status is an HTTP status.
func (m *metrics) observer(method, route string, status int) prometheus.Observer {
	if !slices.Contains(methods, method) {
		method = "other"
	}
	return m.duration.WithLabelValues(method, route, strconv.Itoa(status/100)+"xx")
}

// NewRegistry returns a registry with the metrics of the Go process and of this
// build.
func NewRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "flaggery_build_info",
		Help:        "Always 1; the labels identify the running build.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
