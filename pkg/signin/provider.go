package signin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/labstack/echo/v4"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// Provider is an OpenID Connect provider, with the roles of its people.
type Provider struct {
	Issuer       string // its URL, "" for none
	ClientID     string
	ClientSecret string
	PublicURL    string // of this service, as seen by browsers; see [CheckPublicURL]
	Scopes       string // requested besides openid, separated by commas
	Claim        string // of ID tokens, with the groups of a person
	Roles        string // by group: "platform=admin,developers=editor,*=viewer"
}

// Flags adds the settings to fs, with their defaults. secret receives the client's
// secret.
func (p *Provider) Flags(fs *flag.FlagSet, secret flag.Value) {
	fs.StringVar(&p.Issuer, "oidc-issuer", "", "`URL` of an OpenID Connect provider for signing in")
	fs.StringVar(&p.ClientID, "oidc-client-id", "", "`id` of this service at the provider")
	fs.Var(secret, "oidc-client-secret", "`secret` of this service at the provider, better set by the environment; none for a public client")
	fs.StringVar(&p.PublicURL, "public-url", "", "`URL` of this service as browsers see it: cookies are for HTTPS unless it is http on loopback; a provider has to allow its "+CallbackPath)
	fs.StringVar(&p.Scopes, "oidc-scopes", "profile,email", "`scopes` to request besides openid, separated by commas; some providers need one for groups")
	fs.StringVar(&p.Claim, "oidc-claim", "groups", "`claim` of ID tokens with a person's groups or roles")
	fs.StringVar(&p.Roles, "oidc-roles", "", "`group=role` pairs, separated by commas; * is everybody: platform=admin,developers=editor,*=viewer")
}

// Enabled reports whether there is a provider.
func (p *Provider) Enabled() bool { return p.Issuer != "" }

// Validate reports every setting at fault.
func (p *Provider) Validate() error {
	if !p.Enabled() {
		return nil
	}
	var errs []error
	if err := checkURL(p.Issuer); err != nil {
		errs = append(errs, fmt.Errorf("FLAGGERY_OIDC_ISSUER (--oidc-issuer) %w", err))
	}
	if p.PublicURL == "" {
		errs = append(errs, errors.New("FLAGGERY_PUBLIC_URL (--public-url) is not set: the provider redirects people to it"))
	}
	if p.ClientID == "" {
		errs = append(errs, errors.New("FLAGGERY_OIDC_CLIENT_ID (--oidc-client-id) is not set"))
	}
	if roles, err := p.roles(); err != nil {
		errs = append(errs, fmt.Errorf("FLAGGERY_OIDC_ROLES (--oidc-roles) %w", err))
	} else if len(roles) == 0 {
		errs = append(errs, errors.New("FLAGGERY_OIDC_ROLES (--oidc-roles) is not set: nobody could sign in"))
	}
	return errors.Join(errs...)
}

// CheckPublicURL fails if the public URL of the service is invalid; "" is none.
func CheckPublicURL(text string) error {
	if text == "" {
		return nil
	}
	if err := checkURL(text); err != nil {
		return fmt.Errorf("FLAGGERY_PUBLIC_URL (--public-url) %w", err)
	}
	return nil
}

// checkURL rejects URLs that would send secrets unencrypted over a network.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Host)) {
		return errors.New("must be a URL like https://flags.example.com; http is for loopback alone")
	}
	return nil
}

func (p *Provider) roles() (map[string]auth.Role, error) {
	roles := map[string]auth.Role{}
	for pair := range strings.SplitSeq(p.Roles, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		i := strings.LastIndexByte(pair, '=')
		if i <= 0 {
			return nil, fmt.Errorf("must be pairs of group=role, %q is none", pair)
		}
		role := auth.Role(pair[i+1:])
		if err := auth.CheckRole(role); err != nil {
			return nil, fmt.Errorf("names the role %q: it %w", role, err)
		}
		roles[pair[:i]] = role
	}
	return roles, nil
}

// ranks are the roles that people can have, the lowest first.
var ranks = []auth.Role{auth.ClientRole, auth.ViewerRole, auth.EditorRole, auth.AdminRole}

// roleOf is the highest role of any of the groups, "" for none.
func (p *Provider) roleOf(groups []string) (highest auth.Role) {
	roles, _ := p.roles() // checked at the start
	for _, group := range append(groups, "*") {
		if role := roles[group]; slices.Index(ranks, role) > slices.Index(ranks, highest) {
			highest = role
		}
	}
	return highest
}

// provider discovers the endpoints of a Provider at the first sign-in, so that the
// service starts without the provider.
type provider struct {
	Provider
	talks     chan struct{} // a place for each request to the provider
	discovery singleflight.Group
	mu        sync.Mutex
	found     *oidc.Provider
	failure   error // of the last discovery, until retry
	retry     time.Time
}

func newProvider(p Provider) *provider {
	return &provider{Provider: p, talks: make(chan struct{}, maxTalks)}
}

func (p *provider) host() string {
	u, _ := url.Parse(p.Issuer) // checked at the start
	return u.Host
}

const (
	providerTimeout = 10 * time.Second // of one sign-in with the provider
	// maxTalks bounds the sign-ins that wait for the provider: anybody may begin
	// one.
	maxTalks   = 16
	retryAfter = 5 * time.Second // a discovery that failed
)

// errBusy is the error of sign-ins beyond maxTalks.
var errBusy = errors.New("too many people are signing in, or the provider is slow to answer")

// talk takes a place for requests to the provider, which use ctx; done gives it
// back.
func (p *provider) talk(ctx context.Context) (_ context.Context, done func(), err error) {
	select {
	case p.talks <- struct{}{}:
	default:
		return nil, nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, providerTimeout)
	return oidc.ClientContext(ctx, &http.Client{Timeout: providerTimeout}), func() { cancel(); <-p.talks }, nil
}

// discover finds the endpoints, once for all waiting requests. It goes on if one of
// them is cancelled.
func (p *provider) discover(ctx context.Context) (*oidc.Provider, error) {
	if found, err := p.known(); found != nil || err != nil {
		return found, err
	}
	discovered := p.discovery.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), providerTimeout)
		defer cancel()
		found, err := oidc.NewProvider(ctx, p.Issuer)
		if err == nil {
			err = checkEndpoints(found)
		}
		return p.remember(found, err)
	})
	select {
	case result := <-discovered:
		found, _ := result.Val.(*oidc.Provider)
		return found, result.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("find the provider: %w", ctx.Err())
	}
}

// known returns the result of the last discovery or its error; neither if a new one
// is due.
func (p *provider) known() (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.retry) {
		return nil, p.failure
	}
	return p.found, nil
}

func (p *provider) remember(found *oidc.Provider, err error) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failure, p.retry = fmt.Errorf("find the provider: %w", err), time.Now().Add(retryAfter)
		return nil, p.failure
	}
	p.found = found
	return found, nil
}

func (p *provider) config(found *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: found.Endpoint(),
		RedirectURL: strings.TrimRight(p.PublicURL, "/") + CallbackPath,
		Scopes:      append([]string{oidc.ScopeOpenID}, strings.FieldsFunc(p.Scopes, func(r rune) bool { return r == ',' || r == ' ' })...),
	}
}

// checkEndpoints rejects a provider with an endpoint that is not encrypted.
func checkEndpoints(found *oidc.Provider) error {
	var keys struct {
		URL string `json:"jwks_uri"`
	}
	if err := found.Claims(&keys); err != nil {
		return err
	}
	for _, u := range []string{found.Endpoint().AuthURL, found.Endpoint().TokenURL, keys.URL} {
		if err := checkURL(u); err != nil {
			return fmt.Errorf("its endpoint %q %w", u, err)
		}
	}
	return nil
}

// flow is the state of a login, kept in a cookie.
type flow struct {
	State, Nonce, Verifier, Next string
}

const flowLasts = 10 * time.Minute

// Login redirects the browser to the provider: authorization code flow with PKCE.
func (c *Pages) Login(ctx echo.Context) error {
	if c.provider == nil {
		return echo.ErrNotFound
	}
	asking, done, err := c.provider.talk(ctx.Request().Context())
	if err != nil {
		return c.failed(ctx, err)
	}
	defer done()
	found, err := c.provider.discover(asking)
	if err != nil {
		return c.failed(ctx, err)
	}
	f := flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Next: local(ctx.QueryParam("next"))}
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	ctx.SetCookie(c.cookie(ctx.Request(), flowCookie, base64.RawURLEncoding.EncodeToString(text), flowLasts))
	return ctx.Redirect(http.StatusSeeOther, c.provider.config(found).AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)))
}

// Callback handles the redirect back from the provider.
func (c *Pages) Callback(ctx echo.Context) error {
	if c.provider == nil {
		return echo.ErrNotFound
	}
	var f flow
	text, err := base64.RawURLEncoding.DecodeString(c.kept(ctx.Request(), flowCookie))
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil || f.State == "" || subtle.ConstantTimeCompare([]byte(ctx.QueryParam("state")), []byte(f.State)) != 1 {
		return c.signInPage(ctx, http.StatusBadRequest, f.Next, errFlow.Error())
	}
	ctx.SetCookie(c.cookie(ctx.Request(), flowCookie, "", -1))
	if fault := ctx.QueryParam("error"); fault != "" {
		return c.signInPage(ctx, http.StatusForbidden, f.Next, "the provider refused: "+fault)
	}
	asking, done, err := c.provider.talk(ctx.Request().Context())
	if err != nil {
		return c.failed(ctx, err)
	}
	defer done()
	person, err := c.provider.exchange(asking, ctx.QueryParam("code"), f)
	if err != nil {
		return c.failed(ctx, err)
	}
	if person.Role == "" {
		return c.signInPage(ctx, http.StatusForbidden, f.Next, fmt.Sprintf("%s is in no group that may use Flaggery", person.Name))
	}
	return c.begin(ctx, person, person.Name, f.Next)
}

// failed answers that the provider failed; the log has the reason.
func (c *Pages) failed(ctx echo.Context, err error) error {
	c.options.Log(ctx.Request().Context(), "signing in failed", err)
	return c.signInPage(ctx, http.StatusBadGateway, "", "the provider did not answer as it should, see the log of the service. Try again, or use a token")
}

// exchange gets and verifies the ID token, and reads the person from it.
func (p *provider) exchange(ctx context.Context, code string, f flow) (Person, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return Person{}, err
	}
	answer, err := p.config(found).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return Person{}, fmt.Errorf("exchange the code: %w", err)
	}
	raw, ok := answer.Extra("id_token").(string)
	if !ok {
		return Person{}, errors.New("the answer has no ID token")
	}
	verified, err := found.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return Person{}, fmt.Errorf("verify the ID token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(verified.Nonce), []byte(f.Nonce)) != 1 {
		return Person{}, errors.New("the ID token is for another login")
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		return Person{}, fmt.Errorf("read the ID token: %w", err)
	}
	if party, present := claims["azp"]; present && party != p.ClientID {
		return Person{}, fmt.Errorf("the ID token was made for the party %q (azp), not for %q", party, p.ClientID)
	}
	if model.CheckSubjectID(verified.Subject) != nil || strings.ContainsFunc(verified.Subject, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Person{}, fmt.Errorf("the subject (sub) of the ID token cannot be shown: %q", verified.Subject)
	}
	return Person{Name: nameOf(claims, verified.Subject), Role: p.roleOf(texts(claims[p.Claim])), Subject: verified.Subject}, nil
}

// nameOf is the name of a person: a verified e-mail address, else the name at the
// provider, which people may choose, else the subject.
func nameOf(claims map[string]any, subject string) string {
	candidates := []any{claims["email"], claims["preferred_username"]}
	if claims["email_verified"] != true {
		candidates = candidates[1:]
	}
	for _, candidate := range append(candidates, subject) {
		if name, ok := candidate.(string); ok && model.CheckTokenName(name) == nil {
			return name
		}
	}
	return "somebody"
}

// texts reads a claim that is a string or a list of strings.
func texts(claim any) (all []string) {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v {
			if text, ok := item.(string); ok {
				all = append(all, text)
			}
		}
	}
	return all
}
