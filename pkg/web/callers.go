package web

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/flaggery/flaggery/pkg/model"
)

// Callers bounds the rates of callers. 0 is no limit.
type Callers struct {
	Failures int    // failed authentications per minute and address (IPv6: per /64)
	Requests int    // per second and token
	Proxies  string // networks whose X-Forwarded-For is trusted, separated by commas
}

// Flags adds the settings to fs, with their defaults.
func (c *Callers) Flags(fs *flag.FlagSet) {
	fs.IntVar(&c.Failures, "max-failures", 60, "`number` of failed authentications allowed per minute and address (IPv6: /64), 0 for no limit; beyond it they are answered 429")
	fs.IntVar(&c.Requests, "max-token-requests", 0, "`number` of requests allowed per second and token, 0 for no limit; beyond it they are answered 429")
	fs.StringVar(&c.Proxies, "trusted-proxies", "", "`networks` of proxies whose X-Forwarded-For is trusted, separated by commas: 10.0.0.0/8")
}

// Validate reports every setting at fault.
func (c *Callers) Validate() error {
	var failures, requests error
	if c.Failures < 0 {
		failures = fmt.Errorf("FLAGGERY_MAX_FAILURES (--max-failures) must not be negative, is %d", c.Failures)
	}
	if c.Requests < 0 {
		requests = fmt.Errorf("FLAGGERY_MAX_TOKEN_REQUESTS (--max-token-requests) must not be negative, is %d", c.Requests)
	}
	_, proxies := c.networks()
	return errors.Join(failures, requests, proxies)
}

// networks are the networks of trusted proxies.
func (c *Callers) networks() (networks []netip.Prefix, err error) {
	if c.Proxies == "" {
		return nil, nil
	}
	for text := range strings.SplitSeq(c.Proxies, ",") {
		network, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("FLAGGERY_TRUSTED_PROXIES (--trusted-proxies) must be networks like 10.0.0.0/8, separated by commas: %w", err)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// extractor finds the address of a caller. It trusts X-Forwarded-For of trusted
// proxies only: everybody can send the header.
func extractor(proxies []netip.Prefix) echo.IPExtractor {
	if len(proxies) == 0 {
		return echo.ExtractIPDirect()
	}
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range proxies {
		options = append(options, echo.TrustIPRange(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}

// rates enforces Callers. It forgets the least recently used addresses and tokens,
// so that any number of them takes bounded memory.
type rates struct {
	limits    Callers
	now       func() time.Time
	addresses *lru.Cache[string, *rate.Limiter]   // of failures
	tokens    *lru.Cache[tokenKey, *rate.Limiter] // of requests
	limited   map[string]prometheus.Counter       // by the limit that was exceeded
}

// tokenKey is the hash of a token, so that the token itself is not kept.
type tokenKey [sha256.Size]byte

const rememberedCallers = 10_000

func newRates(limits Callers, r prometheus.Registerer) *rates {
	limited := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "flaggery_http_rate_limited_total",
		Help: "Requests answered 429: failure for addresses beyond FLAGGERY_MAX_FAILURES, token for tokens beyond FLAGGERY_MAX_TOKEN_REQUESTS.",
	}, []string{"what"})
	r.MustRegister(limited)
	addresses, _ := lru.New[string, *rate.Limiter](rememberedCallers) // fails for sizes below 1 alone
	tokens, _ := lru.New[tokenKey, *rate.Limiter](rememberedCallers)
	return &rates{
		limits: limits, now: time.Now, addresses: addresses, tokens: tokens,
		limited: map[string]prometheus.Counter{"failure": limited.WithLabelValues("failure"), "token": limited.WithLabelValues("token")},
	}
}

// failed counts a failed authentication. It returns an error if there were too many
// from the address. Valid tokens are accepted from any address: many callers may
// share a proxy with one who guesses tokens.
func (r *rates) failed(address string) error {
	if r.limits.Failures == 0 {
		return nil
	}
	address = site(address)
	l, known := r.addresses.Get(address)
	if !known {
		l = rate.NewLimiter(rate.Every(time.Minute/time.Duration(r.limits.Failures)), r.limits.Failures)
		if other, found, _ := r.addresses.PeekOrAdd(address, l); found {
			l = other
		}
	}
	if l.AllowN(r.now(), 1) {
		return nil
	}
	r.limited["failure"].Inc()
	return model.Errorf(model.RateLimited, "too many failed authentications from this address, try again in a minute")
}

// site is the network of one caller: an IPv4 address, or an IPv6 /64.
func site(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	network, _ := ip.WithZone("").Prefix(64) // fails only for other lengths
	return network.String()
}

// allow fails if a valid token is used too often.
func (r *rates) allow(token string) error {
	if r.limits.Requests == 0 {
		return nil
	}
	key := tokenKey(sha256.Sum256([]byte(token)))
	l, known := r.tokens.Get(key)
	if !known {
		l = rate.NewLimiter(rate.Limit(r.limits.Requests), r.limits.Requests)
		if other, found, _ := r.tokens.PeekOrAdd(key, l); found {
			l = other
		}
	}
	if !l.AllowN(r.now(), 1) {
		r.limited["token"].Inc()
		return model.Errorf(model.RateLimited, "this token has made more than %d requests a second, try again in one", r.limits.Requests)
	}
	return nil
}
