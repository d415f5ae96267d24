package edge

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/snapshot"
	"github.com/flaggery/flaggery/pkg/web"
)

// Config has the settings of an edge.
type Config struct {
	DBURL      command.DatabaseURL
	Host       string
	Port       int    // 0 for any free one
	Name       string // in GET /v1/edges of the admin
	Prometheus bool
	Unknown    string // one of the values of snapshot.Unknown
	Poll       time.Duration
	Shortcut   bool // answer hot requests before net/http
	Auth       Auth
	Limits     web.Limits
	Callers    web.Callers
	Origins    web.Origins // of browser pages that may query this edge
	TLS        web.TLS
	// MetricsAddress and ProfilesAddress are separate addresses for metrics and health
	// and for profiles; "" for none.
	MetricsAddress  string
	ProfilesAddress string
	// SnapshotFile is the path of the file to start from without a database; "" for
	// none.
	SnapshotFile string
	// Environment is also in the metadata of OFREP.
	Environment web.Environment

	Version string
	Logger  *slog.Logger
	// Ready is called with the address once the edge listens. It may be nil.
	Ready func(net.Addr)
	// Routes is called with the routes and their permissions before the edge listens.
	// It may be nil.
	Routes func([]web.Declared)
}

// Auth says who may query an edge; the zero value is AuthNone.
type Auth string

// Values of Auth.
const (
	AuthNone  Auth = "none"  // anyone
	AuthToken Auth = "token" // holders of a token with role client or higher
)

// Flags adds the settings to fs, with their defaults.
func (c *Config) Flags(fs *flag.FlagSet) {
	host, _ := os.Hostname() // without one, the name stays empty
	fs.Var(&c.DBURL, "db-url", "`URL` of the database: postgres://user:password@host:5432/database?sslmode=verify-full; a role that may only read is enough")
	fs.StringVar(&c.Host, "host", "127.0.0.1", "`address` to listen on")
	fs.IntVar(&c.Port, "port", 8081, "`port` to listen on, 0 for any that is free")
	fs.StringVar(&c.Name, "edge-name", host, "`name` under which the admin lists this edge")
	fs.Lookup("edge-name").DefValue = "the host's name" // so that the help is the same on all hosts
	c.Environment.Flags(fs)
	fs.BoolVar(&c.Prometheus, "enable-prometheus", false, "answer /metrics")
	fs.StringVar(&c.Unknown, "unknown-subjects", string(snapshot.Reject), "`answer` to unknown ids: reject, defaults or hash")
	fs.DurationVar(&c.Poll, "poll-interval", time.Second, "`time` after which to query changes without a notification")
	fs.StringVar(&c.SnapshotFile, "snapshot-file", "", "`path` of a file to start from when the database is away; it is written while the edge runs")
	fs.BoolVar(&c.Shortcut, "shortcut", true, "answer GET /v1/subject/flags and small OFREP requests before net/http sees them")
	fs.StringVar((*string)(&c.Auth), "edge-auth", string(AuthNone), "`who` may query this edge: anyone (none), or holders of a token with role client or higher (token)")
	c.Limits.Flags(fs)
	c.Callers.Flags(fs)
	c.Origins.Flags(fs)
	c.TLS.Flags(fs)
	fs.StringVar(&c.MetricsAddress, "metrics-address", "", "separate `host:port` for metrics and health, without a token; it needs no --enable-prometheus, and /metrics is only there")
	fs.StringVar(&c.ProfilesAddress, "profiles-address", "", "`host:port` that answers profiles (/debug/pprof/), without a token: keep it on loopback")
}

// Validate reports every invalid setting.
func (c *Config) Validate() error {
	return command.Faults(c.validateDBURL(), command.CheckPort(c.Port), c.validateUnknown(), c.validatePoll(), c.validateAuth(), c.Environment.Validate(), c.Limits.Validate(), c.Callers.Validate(), c.TLS.Validate(), web.CheckAddress(web.MetricsAddress, c.MetricsAddress), web.CheckAddress(web.ProfilesAddress, c.ProfilesAddress))
}

// databaseLogger names the database in each line, as an edge may have that of another
// environment.
func (c *Config) databaseLogger() *slog.Logger { return c.Logger.With("database", c.DBURL) }

func (c *Config) validateDBURL() error {
	if c.DBURL == "" {
		return errors.New("FLAGGERY_DB_URL (--db-url) is not set")
	}
	if err := postgres.CheckURL(string(c.DBURL)); err != nil {
		return fmt.Errorf("FLAGGERY_DB_URL (--db-url) %w", err)
	}
	return nil
}

func (c *Config) validateUnknown() error {
	if _, err := snapshot.ParseUnknown(c.Unknown); err != nil {
		return fmt.Errorf("FLAGGERY_UNKNOWN_SUBJECTS (--unknown-subjects) %w", err)
	}
	return nil
}

func (c *Config) validateAuth() error {
	switch c.Auth {
	case "", AuthNone, AuthToken:
		return nil
	}
	return fmt.Errorf("FLAGGERY_EDGE_AUTH (--edge-auth) must be %s or %s, is %q", AuthNone, AuthToken, c.Auth)
}

func (c *Config) validatePoll() error {
	if c.Poll < 10*time.Millisecond || c.Poll > time.Hour {
		return fmt.Errorf("FLAGGERY_POLL_INTERVAL (--poll-interval) must be between 10ms and 1h, is %v", c.Poll)
	}
	return nil
}
