package admin

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/bucketing"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// metrics of the admin besides those of its requests.
type metrics struct {
	writes   *prometheus.CounterVec
	imported prometheus.Counter
}

func newMetrics(r prometheus.Registerer, db *postgres.DB, log *slog.Logger) *metrics {
	m := &metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flaggery_admin_writes_total",
			Help: "Writes by operation and outcome: stored; dry_run; refused, because of the request; failed.",
		}, []string{"operation", "outcome"}),
		imported: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "flaggery_admin_import_lines_total",
			Help: "Lines read by imports, including imports that failed.",
		}),
	}
	r.MustRegister(m.writes, m.imported, &totals{db: db, log: log})
	return m
}

// declare creates an operation's counters with 0: Prometheus does not see the first
// increase of a counter that did not exist.
func (m *metrics) declare(operation string) {
	for _, outcome := range []string{"stored", "dry_run", "refused", "failed"} {
		m.writes.WithLabelValues(operation, outcome)
	}
}

func (m *metrics) wrote(operation string, dryRun bool, err error) {
	outcome := "stored"
	switch {
	case model.CodeOf(err) != "":
		outcome = "refused"
	case err != nil:
		outcome = "failed"
	case dryRun:
		outcome = "dry_run"
	}
	m.writes.WithLabelValues(operation, outcome).Inc()
}

func (m *metrics) counted(lines iter.Seq2[api.ImportLine, error]) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		for line, err := range lines {
			m.imported.Inc()
			if !yield(line, err) {
				return
			}
		}
	}
}

// totals reads the database at each scrape, so that its figures include changes by
// other admins.
type totals struct {
	db  *postgres.DB
	log *slog.Logger
}

// scrapeTimeout is well below the timeout of Prometheus.
const scrapeTimeout = 2 * time.Second

var (
	revisionDesc = prometheus.NewDesc("flaggery_admin_revision", "The last committed revision.", nil, nil)
	bucketsDesc  = prometheus.NewDesc("flaggery_admin_buckets", "Number of buckets.", nil, nil)
	subjectsDesc = prometheus.NewDesc("flaggery_admin_subjects", "Number of subjects.", nil, nil)
	weightDesc   = prometheus.NewDesc("flaggery_admin_subjects_weight", "Sum of the weights of all subjects.", nil, nil)
	featuresDesc = prometheus.NewDesc("flaggery_admin_features", "Number of features.", nil, nil)
	rolloutAsked = prometheus.NewDesc("flaggery_admin_rollout_proportion", "The share of the total weight that was set for a rollout.", []string{"feature", "variant"}, nil)
	rolloutHas   = prometheus.NewDesc("flaggery_admin_rollout_effective_proportion", "The share of the total weight that the buckets of a rollout have.", []string{"feature", "variant"}, nil)
	edgesDesc    = prometheus.NewDesc("flaggery_admin_edges", "Edges by state: connected; away, which lost their connection within the last 10 minutes.", []string{"state"}, nil)
	testAsked    = prometheus.NewDesc("flaggery_admin_abtest_proportion", "The share of the total weight that was set for a group of a live test.", []string{"test", "group"}, nil)
	testHas      = prometheus.NewDesc("flaggery_admin_abtest_effective_proportion", "The share of the total weight that the buckets of a group of a live test have.", []string{"test", "group"}, nil)
	usedDesc     = prometheus.NewDesc("flaggery_admin_database_connections", "Open connections to the PostgreSQL server, to all of its databases.", nil, nil)
	limitDesc    = prometheus.NewDesc("flaggery_admin_database_connections_limit", "Maximum number of connections to the PostgreSQL server for roles without reserved connections.", nil, nil)
	upDesc       = prometheus.NewDesc("flaggery_admin_database_up", "1 if the database answered the scrape; otherwise 0, and the metrics from the database are missing.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (t *totals) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{revisionDesc, bucketsDesc, subjectsDesc, weightDesc, featuresDesc, edgesDesc, rolloutAsked, rolloutHas, testAsked, testHas, usedDesc, limitDesc, upDesc} {
		ch <- desc
	}
}

// Collect implements [prometheus.Collector].
func (t *totals) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value int64) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value))
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	now, err := t.db.Totals(ctx)
	var shares []postgres.Share
	if err == nil {
		shares, err = t.db.Shares(ctx)
	}
	var connections postgres.Connections
	if err == nil {
		connections, err = t.db.Connections(ctx)
	}
	var edges []postgres.Edge
	if err == nil {
		edges, err = t.db.Edges(ctx)
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			t.log.Warn("reading metrics from the database failed", "error", err)
		}
		gauge(upDesc, 0)
		return
	}
	gauge(upDesc, 1)
	gauge(revisionDesc, now.Revision)
	gauge(bucketsDesc, now.Buckets)
	gauge(subjectsDesc, now.Subjects)
	gauge(weightDesc, now.Weight)
	gauge(featuresDesc, now.Features)
	gauge(usedDesc, connections.Used)
	gauge(limitDesc, connections.Limit)
	away := 0
	for _, e := range edges {
		if e.Away() {
			away++
		}
	}
	ch <- prometheus.MustNewConstMetric(edgesDesc, prometheus.GaugeValue, float64(len(edges)-away), "connected")
	ch <- prometheus.MustNewConstMetric(edgesDesc, prometheus.GaugeValue, float64(away), "away")
	for _, s := range shares {
		asked, has, labels := rolloutAsked, rolloutHas, []string{s.Feature, s.Variant}
		if s.Test != "" {
			asked, has, labels = testAsked, testHas, []string{s.Test, s.Group}
		}
		ch <- prometheus.MustNewConstMetric(asked, prometheus.GaugeValue, s.Proportion, labels...)
		ch <- prometheus.MustNewConstMetric(has, prometheus.GaugeValue, bucketing.Proportion(s.Weight, now.Weight, s.Buckets, now.Buckets), labels...)
	}
}
