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

// connectionSettings hold for every connection, unless its URL says otherwise. With
// them, the server forgets a client that vanished without a word within about a
// minute instead of two hours, and no statement waits forever.
var connectionSettings = map[string]string{
	"tcp_keepalives_idle":     "30",
	"tcp_keepalives_interval": "10",
	"tcp_keepalives_count":    "3",
	"tcp_user_timeout":        "15000",
	"statement_timeout":       "30000",
	"connect_timeout":         "10",
	"timezone":                "UTC",
	// If tables were never analysed, costs are overrated, and compiling a statement
	// takes longer than running it.
	"jit": "off",
	// One round trip for a statement with arguments instead of two.
	"binary_parameters": "yes",
}

// CheckURL says what is wrong with a postgres:// URL. It never repeats the URL,
// which holds a password.
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
	if !slices.Contains(sslModes, query.Get("sslmode")) { // the driver would repeat what else is in it
		return nil, fmt.Errorf("has an sslmode that is none of %s", strings.Join(sslModes, ", "))
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

// defaultSSLMode is always sent, as lib/pq's own default is about to change.
func defaultSSLMode(host string) string {
	if host == "" || host == "localhost" || host == "127.0.0.1" || host == "::1" || strings.HasPrefix(host, "/") {
		return "disable"
	}
	return "require"
}

// target is where connections lead to, and what is set on each of them. lib/pq sends
// parameters of the server with its start-up message, where PgBouncer accepts hardly
// any.
type target struct {
	url      *url.URL // without parameters of the server
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

// connector is lib/pq's with the target's settings.
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

// errShared is a pool between us and PostgreSQL that gives each transaction another
// session. Prepared statements, temporary tables, advisory locks and notifications
// belong to a session.
var errShared = errors.New("FLAGGERY_DB_URL leads through a pool that shares sessions, such as PgBouncer with pool_mode=transaction: " +
	"set pool_mode=session, or connect to PostgreSQL directly")

// checkSessions connects, and fails with errShared if connections share sessions. One
// connection notes its session; while a transaction on another one goes on, the two
// must have sessions of their own, and the first one that which it had.
func checkSessions(ctx context.Context, pool *sqlx.DB) error {
	one, err := pool.Connx(ctx)
	if err != nil {
		return err
	}
	defer one.Close()
	const session = `SELECT pg_backend_pid()`
	var first, second, again int
	if err := one.GetContext(ctx, &first, session); err != nil {
		return err
	}
	two, err := pool.Connx(ctx)
	if tooManyConnections(err) {
		return nil // one is enough for what is urgent then
	}
	if err != nil {
		return err
	}
	defer discard(two)
	err = transact(ctx, two, nil, func(q querier) error {
		if err := q.get(ctx, "check the session", &second, session); err != nil || second == first {
			return err
		}
		return one.GetContext(ctx, &again, session)
	})
	if err == nil && (second == first || again != first) {
		err = errShared
	}
	return err
}

// discard closes a connection, which its pool would keep.
func discard(conn *sqlx.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}
