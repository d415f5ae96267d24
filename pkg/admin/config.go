package admin

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/postgres"
	"github.com/flaggery/flaggery/pkg/signin"
	"github.com/flaggery/flaggery/pkg/web"
)

// Config holds the settings of an admin.
type Config struct {
	DBURL          command.DatabaseURL
	DBAutoUpgrade  bool // migrate at start, instead of failing if the schema is behind
	DBWait         bool // wait for an unavailable database at start, instead of failing
	Host           string
	Port           int // 0 for any free port
	Prometheus     bool
	Limits         web.Limits
	Callers        web.Callers
	TLS            web.TLS
	MaxImportLines int           // per import over HTTP, 0 for no limit
	HistoryKeep    time.Duration // how long the past can be explained; 0 keeps it indefinitely
	Installation   Installation
	// MetricsAddress is a separate address for metrics and health, and
	// ProfilesAddress one for profiles. "" is none.
	MetricsAddress  string
	ProfilesAddress string
	Provider        signin.Provider // for sign-in; its secret is in the next field
	ProviderSecret  command.Secret
	Token           command.Secret // a token of role admin besides stored ones; optional if such a token is stored
	AnyToken        bool           // accept a short Token, for development

	Version string
	Logger  *slog.Logger
	// Ready is called with the admin's address, once it listens and has its database.
	// It may be nil.
	Ready func(net.Addr)
	// Routes is called with the admin's routes and their permissions, before it
	// listens. It may be nil.
	Routes func([]web.Declared)
}

// Flags adds the settings to fs, with their defaults.
func (c *Config) Flags(fs *flag.FlagSet) {
	fs.Var(&c.DBURL, "db-url", "`URL` of the database: postgres://user:password@host:5432/database?sslmode=verify-full")
	fs.BoolVar(&c.DBAutoUpgrade, "db-auto-upgrade", false, "migrate the schema to this version at start")
	fs.BoolVar(&c.DBWait, "db-wait", true, "wait for the database if it is unavailable at start, without being ready; if false, exit with an error instead")
	fs.StringVar(&c.Host, "host", "127.0.0.1", "`address` to listen on")
	fs.IntVar(&c.Port, "port", 8080, "`port` to listen on, 0 for any free port")
	fs.BoolVar(&c.Prometheus, "enable-prometheus", false, "serve /metrics")
	c.Limits.Flags(fs)
	c.Callers.Flags(fs)
	fs.IntVar(&c.MaxImportLines, "max-import-lines", 50_000_000, "maximum `number` of lines of an import over HTTP, 0 for no limit")
	fs.DurationVar(&c.HistoryKeep, "history-keep", 0, "`duration` to keep history, such as 8760h; 0 keeps it indefinitely")
	c.Installation.flags(fs)
	c.TLS.Flags(fs)
	fs.StringVar(&c.MetricsAddress, "metrics-address", "", "separate `host:port` for metrics and health, without a token; it needs no --enable-prometheus, and /metrics is only there")
	fs.StringVar(&c.ProfilesAddress, "profiles-address", "", "separate `host:port` for profiles (/debug/pprof/), without a token: keep it on loopback")
	c.Provider.Flags(fs, &c.ProviderSecret)
	fs.Var(&c.Token, "admin-token", "`secret` of a token of role admin, of at least 24 characters; better set by the environment. Optional if such a token is stored")
}

// Validate reports all invalid settings.
func (c *Config) Validate() error {
	return command.Faults(
		validateDBURL(c.DBURL),
		command.CheckPort(c.Port),
		c.Limits.Validate(),
		c.Callers.Validate(),
		signin.CheckPublicURL(c.Provider.PublicURL),
		c.Provider.Validate(),
		validateLines(c.MaxImportLines),
		validateKeep(c.HistoryKeep),
		c.Installation.Validate(),
		c.TLS.Validate(),
		web.CheckAddress(web.MetricsAddress, c.MetricsAddress), web.CheckAddress(web.ProfilesAddress, c.ProfilesAddress),
		c.validateToken(),
	)
}

func validateDBURL(url command.DatabaseURL) error {
	if url == "" {
		return errors.New("FLAGGERY_DB_URL (--db-url) is not set")
	}
	if err := postgres.CheckURL(string(url)); err != nil {
		return fmt.Errorf("FLAGGERY_DB_URL (--db-url) %w", err)
	}
	return nil
}

func validateLines(limit int) error {
	if limit < 0 {
		return fmt.Errorf("FLAGGERY_MAX_IMPORT_LINES (--max-import-lines) must not be negative, is %d", limit)
	}
	return nil
}

func validateKeep(keep time.Duration) error {
	if keep < 0 {
		return fmt.Errorf("FLAGGERY_HISTORY_KEEP (--history-keep) must not be negative, is %s", keep)
	}
	return nil
}

// minToken is the minimum length of a token that nobody guesses.
const minToken = 24

func (c *Config) validateToken() error {
	switch {
	case strings.ContainsFunc(string(c.Token), func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("FLAGGERY_ADMIN_TOKEN (--admin-token) must be printable ASCII without spaces, to fit into a header")
	case c.Token != "" && len(c.Token) < minToken && !c.AnyToken:
		return fmt.Errorf("FLAGGERY_ADMIN_TOKEN (--admin-token) must have at least %d characters, has %d: create one with 'openssl rand -hex 24'", minToken, len(c.Token))
	}
	return nil
}
