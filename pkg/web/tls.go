package web

import (
	"cmp"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TLS are the certificate and key of a service. Without them it uses HTTP.
type TLS struct {
	CertFile, KeyFile string // PEM
}

// Flags adds the settings to fs.
func (t *TLS) Flags(fs *flag.FlagSet) {
	fs.StringVar(&t.CertFile, "tls-cert", "", "`path` of the certificate and its chain, PEM; reloaded when it changes. Without it: HTTP")
	fs.StringVar(&t.KeyFile, "tls-key", "", "`path` of the certificate's private key, PEM")
}

// Validate reports a missing setting.
func (t *TLS) Validate() error {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("FLAGGERY_TLS_CERT (--tls-cert) and FLAGGERY_TLS_KEY (--tls-key) go together: one of them is not set")
	}
	return nil
}

// stayWithTLS makes browsers use TLS from now on (HSTS), except for localhost,
// which may have other services without TLS.
func stayWithTLS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, _ := strings.Cut(r.Host, ":"); host != "localhost" {
			w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// Enabled reports whether the service speaks TLS.
func (t *TLS) Enabled() bool { return t.CertFile != "" }

// certificate is the pair of files when they last matched. A rotation replaces one
// after the other, so a pair that does not match is ignored and read again later.
type certificate struct {
	TLS
	log    *slog.Logger
	now    func() time.Time
	failed prometheus.Counter

	mu      sync.Mutex
	current *tls.Certificate
	looked  time.Time
	read    stamps // of the files when they were last read
}

// lookEvery bounds how often the files are checked: at most once a second, for any
// number of clients.
const lookEvery = time.Second

type stamps [2]struct {
	changed time.Time
	size    int64
}

func newCertificate(t TLS, log *slog.Logger, r prometheus.Registerer) (*certificate, error) {
	c := &certificate{TLS: t, log: log, now: time.Now, failed: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "flaggery_tls_reload_failures_total",
		Help: "How often a changed certificate or key could not be used, so that the previous one was kept.",
	})}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("FLAGGERY_TLS_CERT (--tls-cert), FLAGGERY_TLS_KEY (--tls-key): %w", err)
	}
	c.looked = c.now()
	r.MustRegister(c.failed, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "flaggery_tls_certificate_expiry_timestamp_seconds",
		Help: "Expiry of the certificate in use, in seconds since 1970.",
	}, func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return float64(c.current.Leaf.NotAfter.Unix())
	}))
	return c, nil
}

// get is [tls.Config.GetCertificate].
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookEvery {
		c.looked = now
		if before := c.read; c.stat() != before {
			if err := c.load(); err != nil {
				c.failed.Inc()
				c.log.Error("the changed certificate cannot be used, keeping the previous one", "cert", c.CertFile, "key", c.KeyFile, "error", err)
			} else {
				c.log.Info("certificate reloaded", "expires", c.current.Leaf.NotAfter)
			}
		}
	}
	return c.current, nil
}

// load reads both files. A failure is not retried until a file changes.
func (c *certificate) load() error {
	c.read = c.stat()
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return err
	}
	c.current = &pair
	return nil
}

func (c *certificate) stat() (s stamps) {
	for i, path := range []string{c.CertFile, c.KeyFile} {
		if info, err := os.Stat(path); err == nil { // a missing file differs from an existing one
			s[i].changed, s[i].size = info.ModTime(), cmp.Or(info.Size(), -1)
		}
	}
	return s
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}}
}
