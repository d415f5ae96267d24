package postgres

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// sessionSettings hold for every connection, unless its URL says otherwise. With
// them, the server forgets a client that vanished without a word within about a
// minute instead of two hours, and no statement waits forever.
var sessionSettings = map[string]string{
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

// completeURL adds the session settings to a URL.
func completeURL(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("must be a URL like postgres://user:password@host:5432/database?sslmode=verify-full")
	}
	query := u.Query()
	if !query.Has("sslmode") {
		query.Set("sslmode", defaultSSLMode(u.Hostname()))
	}
	for name, value := range sessionSettings {
		if !query.Has(name) {
			query.Set(name, value)
		}
	}
	u.RawQuery = query.Encode()
	return u, nil
}

// defaultSSLMode is always sent, as lib/pq's own default is about to change.
func defaultSSLMode(host string) string {
	if host == "" || host == "localhost" || host == "127.0.0.1" || host == "::1" || strings.HasPrefix(host, "/") {
		return "disable"
	}
	return "require"
}

// newPool makes a pool of connections without connecting.
func newPool(u *url.URL, d *dialer) (*sqlx.DB, error) {
	connector, err := pq.NewConnector(u.String())
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	connector.Dialer(d)
	pool := sqlx.NewDb(sql.OpenDB(connector), "postgres")
	pool.SetMaxOpenConns(16)
	pool.SetMaxIdleConns(8)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return pool, nil
}
