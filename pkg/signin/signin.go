// Package signin signs people in with a browser, by a token or by OpenID Connect,
// and out. Signing in creates a session token and stores it in a cookie; the admin
// accepts it like any other token.
package signin

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// Person is somebody who signs in or has signed in.
type Person struct {
	Name    string
	Role    auth.Role
	Token   int64  // the token that was typed, if it is stored
	Subject string // at the provider, "" if a token was typed
}

// Options are what the pages need from the admin.
type Options struct {
	// Check returns the owner of a token, or fails with unauthenticated or
	// rate_limited.
	Check func(c echo.Context, token string) (Person, error)
	// Begin creates a session of an authenticated person, End revokes its token.
	Begin func(ctx context.Context, p Person, expires time.Time) (session string, err error)
	End   func(ctx context.Context, token string) error
	// Token is the token of a session, "" for none.
	Token func(session string) string
	// PublicURL is the URL of the service as seen by browsers; "" if unknown.
	PublicURL string
	// Log gets the errors between the service and the provider.
	Log func(ctx context.Context, what string, err error)
	// Provider authenticates people; the zero value is none.
	Provider Provider
}

// Pages serves the pages to browsers.
type Pages struct {
	options  Options
	provider *provider // nil without one
}

// SessionLasts is how long a session lasts.
const SessionLasts = 12 * time.Hour

const maxForm = 16 << 10

// New makes the pages.
func New(o Options) *Pages {
	c := &Pages{options: o}
	if o.Provider.Enabled() {
		c.provider = newProvider(o.Provider)
	}
	return c
}

// Paths of the pages.
const (
	homePath     = "/"
	SignInPath   = "/signin"
	SignOutPath  = "/signout"
	StylePath    = "/console.css"
	LoginPath    = "/auth/login"    // redirects to the provider
	CallbackPath = "/auth/callback" // redirected to by the provider
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

type signInPage struct {
	Provider string // its host, "" for none
	Next     string
	Fault    string
}

// SignInPage asks for a token, or links to the provider.
func (c *Pages) SignInPage(ctx echo.Context) error {
	return c.signInPage(ctx, http.StatusOK, ctx.QueryParam("next"), "")
}

func (c *Pages) signInPage(ctx echo.Context, status int, next, fault string) error {
	page := signInPage{Next: local(next), Fault: fault}
	if c.provider != nil {
		page.Provider = c.provider.host()
	}
	return render(ctx, status, "signin.html", page)
}

// SignIn handles the form with a token.
func (c *Pages) SignIn(ctx echo.Context) error {
	r := ctx.Request()
	r.Body = http.MaxBytesReader(ctx.Response(), r.Body, maxForm)
	next, token := r.PostFormValue("next"), strings.TrimSpace(r.PostFormValue("token"))
	person, err := c.options.Check(ctx, token)
	switch model.CodeOf(err) {
	case "":
		if err != nil {
			return err
		}
	case model.RateLimited:
		return c.signInPage(ctx, http.StatusTooManyRequests, next, err.Error())
	default:
		return c.signInPage(ctx, http.StatusUnprocessableEntity, next, err.Error())
	}
	return c.begin(ctx, person, "this token", next)
}

// begin starts a session and redirects to the page that was asked for. Roles that may
// not see the pages get no session: it would only show them a problem. who has the role.
func (c *Pages) begin(ctx echo.Context, p Person, who, next string) error {
	if !p.Role.Allows(auth.Document) {
		return c.signInPage(ctx, http.StatusForbidden, next, fmt.Sprintf("%s is of role %s: the console needs role viewer, editor or admin", who, p.Role))
	}
	session, err := c.options.Begin(ctx.Request().Context(), p, time.Now().Add(SessionLasts))
	if err != nil {
		return err
	}
	ctx.SetCookie(c.cookie(ctx.Request(), sessionCookie, session, SessionLasts))
	return ctx.Redirect(http.StatusSeeOther, local(next))
}

// SignOut ends the session. A token that was typed stays valid.
func (c *Pages) SignOut(ctx echo.Context) error {
	if token := c.Session(ctx.Request()); token != "" {
		if err := c.options.End(ctx.Request().Context(), token); err != nil && model.CodeOf(err) == "" {
			return err
		}
	}
	ctx.SetCookie(c.cookie(ctx.Request(), sessionCookie, "", -1))
	return ctx.Redirect(http.StatusSeeOther, SignInPath)
}

// Style is the pages' style sheet.
func (c *Pages) Style(ctx echo.Context) error {
	text, err := files.ReadFile("pages/console.css")
	if err != nil {
		return err
	}
	return ctx.Blob(http.StatusOK, "text/css; charset=utf-8", text)
}

func render(ctx echo.Context, status int, page string, data any) error {
	var text strings.Builder
	if err := pages.ExecuteTemplate(&text, page, data); err != nil {
		return err
	}
	h := ctx.Response().Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	return ctx.HTML(status, text.String())
}

// local is the page to go to after signing in: a path of this site, never another
// site.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return homePath
	}
	return next
}

// The names of cookies, after a prefix: browsers then accept them only from this
// host and over HTTPS. On loopback there is no HTTPS, and no need for it.
const (
	sessionCookie = "flaggery"
	flowCookie    = "flaggery-login"
	hostPrefix    = "__Host-"
)

// Session is the token of the signed-in person, "" for nobody.
func (c *Pages) Session(r *http.Request) string { return c.options.Token(c.kept(r, sessionCookie)) }

// kept is the value of a cookie, "" for none. The cookie may have come by HTTPS
// through a proxy that does not say so.
func (c *Pages) kept(r *http.Request, name string) string {
	cookie, err := r.Cookie(hostPrefix + name)
	if err != nil && c.onLoopback(r) {
		cookie, err = r.Cookie(name)
	}
	if err != nil {
		return ""
	}
	return cookie.Value
}

func (c *Pages) cookie(r *http.Request, name, value string, lasts time.Duration) *http.Cookie {
	age := int(lasts / time.Second)
	if lasts < 0 {
		age = -1
	}
	onLoopback := c.onLoopback(r)
	if !onLoopback {
		name = hostPrefix + name
	}
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: !onLoopback, SameSite: http.SameSiteLaxMode}
}

// onLoopback reports whether the browser is on this machine and speaks HTTP to the
// service itself. The public URL decides, if there is one. Otherwise the address
// and every header must agree, because clients choose the host that they name, and
// proxies on this machine call from loopback as well.
func (c *Pages) onLoopback(r *http.Request) bool {
	if c.options.PublicURL != "" {
		return strings.HasPrefix(c.options.PublicURL, "http:")
	}
	for _, field := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if r.Header[field] != nil {
			return false
		}
	}
	return r.TLS == nil && !strings.HasPrefix(r.Header.Get(echo.HeaderOrigin), "https:") && loopback(r.RemoteAddr) && loopback(r.Host)
}

// loopback reports whether it is an address of this machine, with or without a
// port.
func loopback(address string) bool {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	ip := net.ParseIP(strings.Trim(address, "[]"))
	return address == "localhost" || ip != nil && ip.IsLoopback()
}

// errFlow is the error of logins that another browser began, or that took too long.
var errFlow = errors.New("this login was not begun here, or took too long: begin again")
