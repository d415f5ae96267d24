package web

import (
	"flag"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flaggery/flaggery/pkg/model"
)

// Environment is the name of an installation; "" for none.
type Environment string

// Flags adds the setting to fs; its default is e.
func (e *Environment) Flags(fs *flag.FlagSet) {
	fs.StringVar((*string)(e), "environment", string(*e), "`name` of this installation, such as production, shown in user interfaces, metrics and OFREP metadata")
}

// Validate fails if the name is invalid.
func (e Environment) Validate() error {
	if e == "" {
		return nil
	}
	if err := model.CheckLabel(string(e)); err != nil {
		return fmt.Errorf("FLAGGERY_ENVIRONMENT (--environment) %w", err)
	}
	return nil
}

// Register adds a metric with the name, if there is one.
func (e Environment) Register(r prometheus.Registerer) {
	if e == "" {
		return
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "flaggery_environment_info",
		Help:        "Always 1; the label is the name of this installation (FLAGGERY_ENVIRONMENT). Absent without a name.",
		ConstLabels: prometheus.Labels{"environment": string(e)},
	})
	info.Set(1)
	r.MustRegister(info)
}
