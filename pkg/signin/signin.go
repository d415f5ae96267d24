// Package signin signs people in with a browser, by a token or by OpenID Connect,
// and out. A session is a token in a cookie; the admin takes it as it takes any
// other.
package signin

import (
	"context"
	"embed"
	"errors"
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

// Person is who is signed in.
type Person struct {
	Name string
	Role auth.Role
}

// Options are what the pages need of the admin.
type Options struct {
	// Check tells whose token it is, or fails with unauthenticated or rate_limited.
	Check func(c echo.Context, token string) (Person, error)
	// Begin makes a token for a person who proved to be one, End revokes it.
	Begin func(ctx context.Context, p Person, expires time.Time) (token string, err error)
	End   func(ctx context.Context, token string) error
	// Log is told what went wrong between the service and the provider.
	Log func(ctx context.Context, what string, err error)
	// Provider is whom people prove it to; its zero value is nobody.
	Provider Provider
}

// Pages answers the browser.
type Pages struct {
	options  Options
	provider *provider // nil without one
}

// SessionLasts is how long nobody who signed in is asked again.
const SessionLasts = 12 * time.Hour

const maxForm = 16 << 10

// New makes the pages.
func New(o Options) *Pages {
	c := &Pages{options: o}
	if o.Provider.Enabled() {
		c.provider = &provider{Provider: o.Provider}
	}
	return c
}

// Paths of the pages.
const (
	HomePath     = "/"
	SignInPath   = "/signin"
	SignOutPath  = "/signout"
	StylePath    = "/console.css"
	LoginPath    = "/auth/login"    // leads to the provider
	CallbackPath = "/auth/callback" // leads back from there
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// Home is where people arrive; who is not signed in is sent to do so.
func (c *Pages) Home(ctx echo.Context) error {
	token, _ := Session(ctx.Request())
	person, err := c.options.Check(ctx, token)
	if model.CodeOf(err) == model.Unauthenticated {
		return ctx.Redirect(http.StatusSeeOther, SignInPath)
	}
	if err != nil {
		return err
	}
	return render(ctx, http.StatusOK, "home.html", person)
}

type signInPage struct {
	Provider string // its host, "" for none
	Next     string
	Fault    string
}

// SignInPage asks for a token, or leads to the provider.
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

// SignIn takes a token from the form.
func (c *Pages) SignIn(ctx echo.Context) error {
	r := ctx.Request()
	r.Body = http.MaxBytesReader(ctx.Response(), r.Body, maxForm)
	next, token := r.PostFormValue("next"), strings.TrimSpace(r.PostFormValue("token"))
	_, err := c.options.Check(ctx, token)
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
	ctx.SetCookie(cookie(ctx.Request(), sessionCookie, token, SessionLasts))
	return ctx.Redirect(http.StatusSeeOther, local(next))
}

// SignOut forgets who is signed in. A token that signing in made is revoked; one
// that somebody typed is theirs to keep.
func (c *Pages) SignOut(ctx echo.Context) error {
	if token, made := Session(ctx.Request()); made {
		if err := c.options.End(ctx.Request().Context(), token); err != nil && model.CodeOf(err) == "" {
			return err
		}
	}
	ctx.SetCookie(cookie(ctx.Request(), sessionCookie, "", -1))
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

// local is where to go after signing in: a path of this site, and nothing that a
// browser takes for another one.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return HomePath
	}
	return next
}

// The names of cookies, after a prefix by which browsers keep other hosts and plain
// HTTP from setting them. On loopback there is no HTTPS, and no need for it.
const (
	sessionCookie = "flaggery"
	flowCookie    = "flaggery-login"
	hostPrefix    = "__Host-"
	madePrefix    = "made." // before a token that signing in made
)

// Session is the token of who is signed in, "" for nobody, and whether it was made
// for that.
func Session(r *http.Request) (token string, made bool) {
	c, err := r.Cookie(cookieName(r, sessionCookie))
	if err != nil {
		return "", false
	}
	token, made = strings.CutPrefix(c.Value, madePrefix)
	return token, made
}

func cookieName(r *http.Request, name string) string {
	if loopback(r) {
		return name
	}
	return hostPrefix + name
}

func cookie(r *http.Request, name, value string, lasts time.Duration) *http.Cookie {
	age := int(lasts / time.Second)
	if lasts < 0 {
		age = -1
	}
	return &http.Cookie{
		Name: cookieName(r, name), Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: !loopback(r), SameSite: http.SameSiteLaxMode,
	}
}

func loopback(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// errFlow is for logins that somebody else began, or that took too long.
var errFlow = errors.New("this login was not begun here, or took too long: begin again")
