package web

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
)

// Origins are the origins whose pages may read answers with a script (the fetch
// standard's CORS protocol). The zero value is none.
type Origins struct {
	text string
	any  bool
	// The parts before and after the wildcard of an origin such as
	// "https://*.example.org".
	exact     []string
	wildcards [][2]string
}

// Headers of the protocol, in net/http's canonical form.
const (
	fieldOrigin         = "Origin"
	fieldVary           = "Vary"
	fieldAllowOrigin    = "Access-Control-Allow-Origin"
	fieldAllowMethods   = "Access-Control-Allow-Methods"
	fieldAllowHeaders   = "Access-Control-Allow-Headers"
	fieldExposeHeaders  = "Access-Control-Expose-Headers"
	fieldMaxAge         = "Access-Control-Max-Age"
	fieldRequestMethod  = "Access-Control-Request-Method"
	fieldRequestHeaders = "Access-Control-Request-Headers"
)

const (
	corsMethods = "GET, HEAD, POST"
	corsExposed = "ETag, " + api.HeaderRevision + ", " + api.HeaderSnapshotAge + ", Retry-After"
	corsMaxAge  = "600" // seconds that a browser caches a preflight
)

// corsReadable are the request headers that a page may set, in lower case.
var corsReadable = []string{"authorization", "content-type", "if-none-match", "x-request-id"}

// Flags adds the setting to fs.
func (o *Origins) Flags(fs *flag.FlagSet) {
	fs.Var(o, "cors-origins", "`origins` of browser pages that may read answers, separated by commas: https://shop.example,https://*.example.org; * for any")
}

// String is the setting as given.
func (o *Origins) String() string { return o.text }

// Set implements [flag.Value].
func (o *Origins) Set(text string) error {
	parsed := Origins{text: text}
	for origin := range strings.SplitSeq(text, ",") {
		origin = strings.ToLower(strings.TrimSpace(origin))
		if origin == "*" {
			parsed.any = true
			continue
		}
		if err := checkOrigin(origin); err != nil {
			return fmt.Errorf("%q is no origin: %w", origin, err)
		}
		if before, after, found := strings.Cut(origin, "*"); found {
			parsed.wildcards = append(parsed.wildcards, [2]string{before, after})
		} else {
			parsed.exact = append(parsed.exact, origin)
		}
	}
	*o = parsed
	return nil
}

// checkOrigin fails if one origin of the setting is invalid.
func checkOrigin(origin string) error {
	const want = "it must look like https://shop.example, https://*.example.org or http://localhost:3000"
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return errors.New(want)
	}
	if strings.Contains(u.Host, "*") && (strings.Count(u.Host, "*") > 1 || !strings.HasPrefix(u.Host, "*.") || len(u.Host) == len("*.")) {
		return errors.New("the wildcard stands for the first labels of a host; " + want)
	}
	return nil
}

// Enabled reports whether any origin is allowed.
func (o *Origins) Enabled() bool { return o.any || len(o.exact)+len(o.wildcards) > 0 }

// allowed is the value of Access-Control-Allow-Origin for an origin, "" for none.
// Browsers send origins in lower case.
func (o *Origins) allowed(origin string) string {
	if o.any {
		return "*"
	}
	if slices.Contains(o.exact, origin) {
		return origin
	}
	for _, w := range o.wildcards {
		if rest, ok := strings.CutPrefix(origin, w[0]); ok {
			if labels, ok := strings.CutSuffix(rest, w[1]); ok && isHost(labels) {
				return origin
			}
		}
	}
	return ""
}

// isHost reports whether text consists of labels of a host. A wildcard must not
// cover anything else, such as user names and ports.
func isHost(labels string) bool {
	return labels != "" && !strings.ContainsFunc(labels, func(r rune) bool {
		return ('a' > r || r > 'z') && ('0' > r || r > '9') && r != '-' && r != '.'
	})
}

// share is the middleware. Pages may read every answer to their requests, errors
// included, so it comes before any middleware that may reject a request. It also
// answers preflights, which carry no token.
func (o *Origins) share(next echo.HandlerFunc) echo.HandlerFunc {
	if !o.Enabled() {
		return next
	}
	return func(c echo.Context) error {
		r, header := c.Request(), c.Response().Header()
		o.SetFields(header)
		allowed := o.allowed(r.Header.Get(fieldOrigin))
		if allowed == "" {
			return next(c)
		}
		header.Set(fieldAllowOrigin, allowed)
		header.Set(fieldExposeHeaders, corsExposed)
		if r.Method != http.MethodOptions || r.Header.Get(fieldRequestMethod) == "" {
			return next(c)
		}
		header.Del(fieldExposeHeaders)
		header.Set(fieldAllowMethods, corsMethods)
		header.Set(fieldMaxAge, corsMaxAge)
		if names := readable(r.Header.Values(fieldRequestHeaders)); names != "" {
			header.Set(fieldAllowHeaders, names)
		}
		return c.NoContent(http.StatusNoContent)
	}
}

// SetFields sets the headers that are the same in all answers: Vary: Origin or, if
// any origin is allowed, that permission.
func (o *Origins) SetFields(header http.Header) {
	switch {
	case o.any:
		header.Set(fieldAllowOrigin, "*")
		header.Set(fieldExposeHeaders, corsExposed)
	case o.Enabled():
		header.Set(fieldVary, fieldOrigin)
	}
}

// readable are those of the requested headers that the service reads.
func readable(asked []string) string {
	var names []string
	for name := range strings.SplitSeq(strings.Join(asked, ","), ",") {
		if name = strings.TrimSpace(name); slices.Contains(corsReadable, strings.ToLower(name)) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
