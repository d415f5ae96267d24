package edge

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/flaggery/flaggery/pkg/replica"
	"github.com/flaggery/flaggery/pkg/snapshot"
)

// TestMetricNames keeps the names that dashboards and alerts rely on.
func TestMetricNames(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	r := replica.New(nil, replica.Options{Logger: slog.New(slog.DiscardHandler), Observer: newReplicaMetrics(registry)})
	registerState(registry, r)
	r.Counts().Add(snapshot.Flag{Feature: "f", Variant: "A"})
	for _, name := range []string{
		"flaggery_edge_revision", "flaggery_edge_subjects", "flaggery_edge_features", "flaggery_edge_buckets",
		"flaggery_edge_snapshot_age_seconds", "flaggery_edge_stale", "flaggery_edge_updates_refused_total",
		"flaggery_edge_update_duration_seconds", "flaggery_edge_propagation_seconds", "flaggery_edge_notifications_total",
		"flaggery_edge_unannounced_changes_total", "flaggery_edge_variant_served_total",
	} {
		if n, err := testutil.GatherAndCount(registry, name); n == 0 || err != nil {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
	if problems, err := testutil.GatherAndLint(registry); len(problems) > 0 || err != nil {
		t.Error(problems, err)
	}
}
