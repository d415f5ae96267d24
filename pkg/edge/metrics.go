package edge

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flaggery/flaggery/pkg/replica"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// replicaMetrics observe the replica.
type replicaMetrics struct {
	updates       *prometheus.HistogramVec
	refused       *prometheus.CounterVec
	failures      prometheus.Counter
	notifications prometheus.Counter
	connected     prometheus.Counter
	unannounced   prometheus.Counter
	propagation   prometheus.Histogram
	loading       prometheus.Gauge
	file          *prometheus.CounterVec
}

func newReplicaMetrics(registry prometheus.Registerer) *replicaMetrics {
	m := &replicaMetrics{
		updates: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "flaggery_edge_update_duration_seconds",
			Help:    "Time from the query of changes to serving them, by kind: load of everything, or change.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"kind"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flaggery_edge_updates_refused_total",
			Help: "Inconsistent updates, rejected as a whole, by reason. The last snapshot stays.",
		}, []string{"reason"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flaggery_edge_update_failures_total",
			Help: "Failed queries of changes.",
		}),
		notifications: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flaggery_edge_notifications_total",
			Help: "Notifications of changes received from the database.",
		}),
		connected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flaggery_edge_listening_connections_total",
			Help: "Connections opened for notifications.",
		}),
		unannounced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flaggery_edge_unannounced_changes_total",
			Help: "Changes that a poll found and that no notification announced.",
		}),
		propagation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "flaggery_edge_propagation_seconds",
			Help:    "Time from a change in the database to serving it. An update of several changes counts once, with the latest.",
			Buckets: []float64{.0005, .001, .002, .003, .005, .01, .015, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}),
		loading: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "flaggery_edge_loading_subjects",
			Help: "Subjects read by a load in progress; 0 without one.",
		}),
		file: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flaggery_edge_snapshot_file_total",
			Help: "Reads and writes of the snapshot file, by outcome.",
		}, []string{"operation", "outcome"}),
	}
	registry.MustRegister(m.updates, m.refused, m.failures, m.notifications, m.connected, m.unannounced, m.propagation, m.loading, m.file)
	for _, operation := range []string{"read", "write"} {
		for _, outcome := range []string{"ok", "error"} {
			m.file.WithLabelValues(operation, outcome)
		}
	}
	for _, kind := range []string{"load", "change"} {
		m.updates.WithLabelValues(kind)
	}
	for _, reason := range snapshot.Reasons {
		m.refused.WithLabelValues(string(reason))
	}
	return m
}

// replicaMetrics implements [replica.Observer].

func (m *replicaMetrics) Notified()                     { m.notifications.Inc() }
func (m *replicaMetrics) Connected()                    { m.connected.Inc() }
func (m *replicaMetrics) Unannounced()                  { m.unannounced.Inc() }
func (m *replicaMetrics) LoadProgressed(subjects int64) { m.loading.Set(float64(subjects)) }
func (m *replicaMetrics) Propagated(took time.Duration) { m.propagation.Observe(took.Seconds()) }
func (m *replicaMetrics) FileRead(err error)            { m.fileUsed("read", err) }
func (m *replicaMetrics) FileWritten(err error)         { m.fileUsed("write", err) }

func (m *replicaMetrics) Updated(full bool, took time.Duration) {
	kind := "change"
	if full {
		kind = "load"
	}
	m.updates.WithLabelValues(kind).Observe(took.Seconds())
}

func (m *replicaMetrics) Failed(err error) {
	var refused *snapshot.Refused
	if errors.As(err, &refused) {
		m.refused.WithLabelValues(string(refused.Reason)).Inc()
	} else {
		m.failures.Inc()
	}
}

func (m *replicaMetrics) fileUsed(operation string, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	m.file.WithLabelValues(operation, outcome).Inc()
}

// registerState registers the metrics that each scrape reads from a replica.
func registerState(registry prometheus.Registerer, r *replica.Replica) {
	for _, g := range []struct {
		name, help string
		value      func(*snapshot.Snapshot) float64
	}{
		{"revision", "Served revision.", func(s *snapshot.Snapshot) float64 { return float64(s.Revision) }},
		{"subjects", "Known subjects.", func(s *snapshot.Snapshot) float64 { return float64(s.Stats().Subjects) }},
		{"subjects_collided", "Subjects with the same hash as another one, distinguished by their ids.", func(s *snapshot.Snapshot) float64 { return float64(s.Stats().Collided) }},
		{"subjects_index_bytes", "Memory of the subject index.", func(s *snapshot.Snapshot) float64 { return float64(s.Stats().Bytes) }},
		{"classes", "Combinations of bucket and groups that subjects have had since the start.", func(s *snapshot.Snapshot) float64 { return float64(s.Stats().Classes) }},
		{"buckets", "Buckets.", func(s *snapshot.Snapshot) float64 { return float64(s.Stats().Buckets) }},
		{"features", "Features.", func(s *snapshot.Snapshot) float64 { return float64(s.Stats().Features) }},
	} {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "flaggery_edge_" + g.name, Help: g.help + " 0 before the first load.",
		}, func() float64 {
			if s := r.Snapshot(); s != nil {
				return g.value(s)
			}
			return 0
		}))
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "flaggery_edge_snapshot_age_seconds",
		Help: "Time since the snapshot was last known to be the latest. Before the first load, time since the start.",
	}, func() float64 {
		age, _ := r.Age(time.Now())
		return age.Seconds()
	}))
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "flaggery_edge_stale",
		Help: "1 while the snapshot is older than polling explains: the database is unreachable or its updates are rejected.",
	}, func() float64 {
		if _, stale := r.Age(time.Now()); stale {
			return 1
		}
		return 0
	}))
	registry.MustRegister(&served{r.Counts(), prometheus.NewDesc("flaggery_edge_variant_served_total",
		"How often a variant of a feature was served.", []string{"feature", "variant"}, nil)})
}

// served expands counts at each scrape.
type served struct {
	counts *snapshot.Answers
	desc   *prometheus.Desc
}

func (s *served) Describe(to chan<- *prometheus.Desc) { to <- s.desc }

func (s *served) Collect(to chan<- prometheus.Metric) {
	for flag, n := range s.counts.Totals(time.Now()) {
		to <- prometheus.MustNewConstMetric(s.desc, prometheus.CounterValue, float64(n), flag.Feature, flag.Variant)
	}
}
