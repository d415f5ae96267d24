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

// Config is what an admin is told from outside.
type Config struct {
	DBURL          command.DatabaseURL
	DBAutoUpgrade  bool // migrate at start instead of refusing a schema that is behind
	DBWait         bool // for a database that is away at start, instead of ending with an error
	Host           string
	Port           int // 0 for any that is free
	Prometheus     bool
	Limits         web.Limits
	Callers        web.Callers
	TLS            web.TLS
	MaxImportLines int           // by HTTP, 0 for any number
	HistoryKeep    time.Duration // how long the past can be explained; 0 keeps it indefinitely
	Installation   Installation
	// MetricsAddress is where metrics and health are answered apart, or "", and
	// ProfilesAddress where profiles are.
	MetricsAddress  string
	ProfilesAddress string
	Provider        signin.Provider // that people sign in with; its secret is below
	ProviderSecret  command.Secret
	Token           command.Secret // of role admin, beside those that are stored; may be left out where one of these is, too
	AnyToken        bool           // may be short, as on a developer's own machine

	Version string
	Logger  *slog.Logger
	// Ready is told where the admin listens, once it does and has its database. It may
	// be nil.
	Ready func(net.Addr)
	// Routes is told what the admin answers, and to whom, before it listens. It may
	// be nil.
	Routes func([]web.Declared)
}

// Flags adds the settings to fs, with their defaults.
func (c *Config) Flags(fs *flag.FlagSet) {
	fs.Var(&c.DBURL, "db-url", "`URL` of the database: postgres://user:password@host:5432/database?sslmode=verify-full")
	fs.BoolVar(&c.DBAutoUpgrade, "db-auto-upgrade", false, "bring the schema up to date at start")
	fs.BoolVar(&c.DBWait, "db-wait", true, "wait for a database that is away at start, not ready meanwhile; false ends the admin with an error instead")
	fs.StringVar(&c.Host, "host", "127.0.0.1", "`address` to listen on")
	fs.IntVar(&c.Port, "port", 8080, "`port` to listen on, 0 for any that is free")
	fs.BoolVar(&c.Prometheus, "enable-prometheus", false, "answer /metrics")
	c.Limits.Flags(fs)
	c.Callers.Flags(fs)
	fs.IntVar(&c.MaxImportLines, "max-import-lines", 50_000_000, "`number` of lines that one import over HTTP may have, 0 for any number")
	fs.DurationVar(&c.HistoryKeep, "history-keep", 0, "`duration` that history is kept, such as 8760h; 0 keeps it indefinitely")
	c.Installation.flags(fs)
	c.TLS.Flags(fs)
	fs.StringVar(&c.MetricsAddress, "metrics-address", "", "`host:port` that answers metrics and health apart from clients, without a token")
	fs.StringVar(&c.ProfilesAddress, "profiles-address", "", "`host:port` that answers profiles (/debug/pprof/), without a token: keep it on loopback")
	c.Provider.Flags(fs, &c.ProviderSecret)
	fs.Var(&c.Token, "admin-token", "a first token of role admin: a `secret` that callers send as Authorization: Bearer, of at least 24 characters, better set by the environment; not needed once one is stored")
}

// Validate reports every setting at fault.
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
		c.Installation.validate(),
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

// minToken is as long as a token has to be that nobody guesses: anybody may try any
// number of them.
const minToken = 24

func (c *Config) validateToken() error {
	switch {
	case strings.ContainsFunc(string(c.Token), func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("FLAGGERY_ADMIN_TOKEN (--admin-token) must be printable ASCII without spaces, or no header can carry it")
	case c.Token != "" && len(c.Token) < minToken && !c.AnyToken:
		return fmt.Errorf("FLAGGERY_ADMIN_TOKEN (--admin-token) must have at least %d characters, has %d: make one with 'openssl rand -hex 24'", minToken, len(c.Token))
	}
	return nil
}
