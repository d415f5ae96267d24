package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// connectionSettings apply to every connection, unless the URL overrides them. With
// them, the server notices a lost client within about a minute instead of two hours, and
// no statement waits forever.
var connectionSettings = map[string]string{
	"tcp_keepalives_idle":     "30",
	"tcp_keepalives_interval": "10",
	"tcp_keepalives_count":    "3",
	"tcp_user_timeout":        "15000",
	"statement_timeout":       "30000",
	"connect_timeout":         "10",
	"timezone":                "UTC",
	// On tables that were never analysed, costs are overestimated, and compiling a
	// statement takes longer than running it.
	"jit": "off",
	// One round trip for a statement with arguments instead of two.
	"binary_parameters": "yes",
}

// CheckURL fails if a postgres:// URL is invalid. The error never has the URL, which
// may contain a password.
func CheckURL(rawURL string) error {
	_, err := completeURL(rawURL)
	return err
}

// completeURL adds the connection settings to a URL.
func completeURL(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("must be a URL like postgres://user:password@host:5432/database?sslmode=verify-full")
	}
	query := u.Query()
	if !query.Has("sslmode") {
		query.Set("sslmode", defaultSSLMode(u.Hostname()))
	}
	if !slices.Contains(sslModes, query.Get("sslmode")) { // the driver's error would have the URL's parts
		return nil, fmt.Errorf("has an invalid sslmode: must be one of %s", strings.Join(sslModes, ", "))
	}
	for name, value := range connectionSettings {
		if !query.Has(name) {
			query.Set(name, value)
		}
	}
	u.RawQuery = query.Encode()
	return u, nil
}

var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// defaultSSLMode is always set, as lib/pq's own default is about to change.
func defaultSSLMode(host string) string {
	if host == "" || host == "localhost" || host == "127.0.0.1" || host == "::1" || strings.HasPrefix(host, "/") {
		return "disable"
	}
	return "require"
}

// target is the address of connections and the settings of each. The settings are a
// statement, as lib/pq would send them in the start-up message, in which PgBouncer
// accepts hardly any.
type target struct {
	url      *url.URL // without server settings
	settings string   // the statement that sets them on a new connection
}

func newTarget(rawURL string) (target, error) {
	u, err := completeURL(rawURL)
	if err != nil {
		return target{}, err
	}
	config, err := pq.NewConfig(u.String())
	if err != nil {
		return target{}, fmt.Errorf("open the database: %w", err)
	}
	var settings []string
	query := u.Query()
	for _, name := range slices.Sorted(maps.Keys(config.Runtime)) {
		settings = append(settings, fmt.Sprintf("set_config(%s, %s, false)", pq.QuoteLiteral(name), pq.QuoteLiteral(config.Runtime[name])))
		query.Del(name)
	}
	u.RawQuery = query.Encode()
	return target{u, "SELECT " + strings.Join(settings, ", ")}, nil
}

// connector is lib/pq's connector with the target's settings.
type connector struct {
	*pq.Connector
	settings string
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.(driver.ExecerContext).ExecContext(ctx, c.settings, nil); err != nil {
		return nil, errors.Join(named("set the connection up", err), conn.Close())
	}
	return conn, nil
}

// newPool makes a pool of connections without connecting.
func newPool(t target, d *dialer) (*sqlx.DB, error) {
	plain, err := pq.NewConnector(t.url.String())
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	plain.Dialer(d)
	pool := sqlx.NewDb(sql.OpenDB(connector{plain, t.settings}), "postgres")
	pool.SetMaxOpenConns(16)
	pool.SetMaxIdleConns(8)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return pool, nil
}

// errShared is the error for a connection pool before PostgreSQL that gives each
// transaction another session. Prepared statements, temporary tables and notifications
// belong to a session.
var errShared = errors.New("FLAGGERY_DB_URL leads through a pool that shares sessions, such as PgBouncer with pool_mode=transaction: " +
	"set pool_mode=session, or connect to PostgreSQL directly")

// checkSessions connects, and fails with errShared if connections share sessions. It
// reads the session of one connection. Then, during a transaction on a second one, the
// second must have another session, and the first the same as before. So must the first
// after the transaction: PgBouncer reuses the session that was returned last.
func checkSessions(ctx context.Context, pool *sqlx.DB) error {
	one, err := pool.Connx(ctx)
	if err != nil {
		return err
	}
	defer one.Close()
	session := func(on runner, pid *int) error {
		return querier{on: on}.get(ctx, "check the session", pid, `SELECT pg_backend_pid()`)
	}
	var first, second, during, after int
	if err := session(one, &first); err != nil {
		return err
	}
	two, err := pool.Connx(ctx)
	if tooManyConnections(err) {
		return nil // urgent work needs only one
	}
	if err != nil {
		return err
	}
	defer discard(two)
	err = transact(ctx, two, nil, func(q querier) error {
		if err := session(q.on, &second); err != nil || second == first {
			return err
		}
		return session(one, &during)
	})
	if err == nil {
		err = session(one, &after)
	}
	if err == nil && (second == first || during != first || after != first) {
		err = errShared
	}
	return err
}

// discard closes a connection instead of returning it to its pool.
func discard(conn *sqlx.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}
