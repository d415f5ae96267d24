package admin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/oidctest"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/signin"
)

// startWithProvider is an admin that people sign in to.
func startWithProvider(t *testing.T, issuer string) client {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	_ = free.Close() // the redirect URL has to be known before
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	ctx, cancel := context.WithCancel(context.Background())
	listens, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{
			DBURL: command.DatabaseURL(pgtest.Open(t)), Host: "127.0.0.1", Port: port, Token: testToken, Version: "test",
			Logger: slog.New(slog.DiscardHandler), Ready: func(a net.Addr) { listens <- a },
			Provider: signin.Provider{Issuer: issuer, ClientID: oidctest.ClientID, PublicURL: base, Claim: "groups", Scopes: "profile,email",
				Roles: "platform=admin, developers=editor, staff=viewer, machines=client"},
			ProviderSecret: oidctest.ClientSecret,
		})
	}()
	select {
	case err := <-ended:
		cancel()
		t.Fatal(err)
	case <-listens:
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return client{t, base, testToken}
}

// browser keeps cookies and follows redirects.
type browser struct {
	t *testing.T
	*http.Client
	base string
}

func newBrowser(t *testing.T, base string) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return browser{t, &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}, base}
}

func (b browser) do(method, path, body string, header ...string) (status int, at, text string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer.StatusCode, answer.Request.URL.RequestURI(), string(page)
}

// expect asks for something and looks at where that leads.
func (b browser) expect(method, path, body string, status int, at, text string, header ...string) {
	b.t.Helper()
	if got, where, page := b.do(method, path, body, header...); got != status || at != "" && where != at || !strings.Contains(page, text) {
		b.t.Errorf("%s %s: %d at %s: %s\nwant %d at %s with %q", method, path, got, where, page, status, at, text)
	}
}

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"

	consolePage = `<meta name="flaggery-assets"` // on its pages alone
)

func TestSignInByProvider(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	c := startWithProvider(t, p.URL)

	p.Says(map[string]any{"email": "ann@example.com", "email_verified": true, "azp": oidctest.ClientID, "groups": []string{"developers", "staff", "others"}})
	ann := newBrowser(t, c.url)
	ann.expect("GET", "/", "", 200, "/signin?next=%2F", "Sign in with 127.0.0.1")
	ann.expect("GET", "/docs", "", 200, "/signin?next=%2Fdocs", "/auth/login?next=%2fdocs")
	ann.expect("GET", "/auth/login?next=%2fdocs", "", 200, "/docs", "swagger")
	ann.expect("GET", "/", "", 200, "/", consolePage)
	ann.expect("GET", "/v1/me", "", 200, "", `"provider":"oidc"`)
	ann.expect("GET", "/v1/me", "", 200, "", `"name":"ann@example.com (sub 1234)","role":"editor","scope":[],"expires_at":"20`)
	ann.expect("POST", "/v1/features", `{"name": "foobar"}`, 201, "", "foobar", "Content-Type", asJSON)
	ann.expect("GET", "/v1/tokens", "", 403, "", "forbidden")
	var audit api.Page[api.AuditEntry]
	c.must("GET", "/v1/audit", nil).into(&audit)
	if e := audit.Items; len(e) != 2 || e[0].Actor != "ann@example.com (sub 1234)" || e[0].TokenID != 1 || e[1].Comment != "signed in" || e[1].Actor != e[0].Actor {
		t.Errorf("audit %+v", e)
	}
	// Another site's page can send a request with her cookies, but nothing comes of it.
	for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
		ann.expect("POST", "/v1/features", `{"name": "evil"}`, 401, "", "unauthenticated", append(header, "Content-Type", asJSON)...)
		ann.expect("POST", "/signout", "", 403, "", "another site", header...)
	}
	ann.expect("POST", "/v1/features", `{"name": "other"}`, 201, "", "other", "Content-Type", asJSON, "Origin", c.url, "Sec-Fetch-Site", "same-origin")

	// Who signed out is out, also with a copy of the cookie.
	home, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	kept := ann.Jar.Cookies(home)
	ann.expect("POST", "/signout", "", 200, "/signin", "Sign in with")
	ann.Jar.SetCookies(home, kept)
	ann.expect("GET", "/v1/features", "", 401, "", "unauthenticated")

	for _, row := range []struct {
		claims map[string]any
		name   string
		role   string
	}{
		{map[string]any{"email": "root@example.com", "email_verified": true, "groups": "platform"}, "root@example.com", "admin"},
		{map[string]any{"email": "x@example.com", "email_verified": false, "preferred_username": "bob", "groups": []string{"staff"}}, "bob", "viewer"},
		{map[string]any{"email": "x@example.com", "email_verified": "true", "preferred_username": "bob", "groups": []string{"staff"}}, "bob", "viewer"},
		{map[string]any{"email": "x@example.com", "groups": []string{"staff"}}, "1234", "viewer"},
		{map[string]any{"preferred_username": "ann\u200b@example.com", "groups": []string{"staff"}}, "1234", "viewer"},
		{map[string]any{"preferred_username": "\u202emoc.elpmaxe@nna", "groups": []string{"staff"}}, "1234", "viewer"},
		{map[string]any{"preferred_username": "ann@example.com (sub 1)", "groups": []string{"staff"}}, "1234", "viewer"},
		{map[string]any{"preferred_username": "FLAGGERY_ADMIN_TOKEN", "groups": []string{"staff"}}, "1234", "viewer"},
		{map[string]any{"email": "flaggery@example.com", "email_verified": true, "groups": []any{"staff", 7}}, "1234", "viewer"},
	} {
		p.Says(row.claims)
		b := newBrowser(t, c.url)
		b.expect("GET", "/auth/login", "", 200, "/", consolePage)
		b.expect("GET", "/v1/me", "", 200, "", fmt.Sprintf(`"name":"%s (sub 1234)","role":"%s"`, row.name, row.role))
	}
}

func TestSignInThatMustFail(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	c := startWithProvider(t, p.URL)
	good := map[string]any{"email": "ann@example.com", "email_verified": true, "groups": []string{"developers"}}
	with := func(name string, value any) map[string]any {
		changed := maps.Clone(good)
		changed[name] = value
		return changed
	}
	const broken = "did not answer as it should"
	for what, row := range map[string]struct {
		claims map[string]any
		status int
		text   string
	}{
		"no group":         {with("groups", []string{"guests"}), 403, "in no group"},
		"no groups at all": {with("groups", nil), 403, "in no group"},
		"role client":      {with("groups", []string{"machines"}), 403, "is of role client: the console needs role viewer, editor or admin"},
		"other audience":   {with("aud", "another"), 502, broken},
		"another party":    {with("azp", "another"), 502, broken},
		"no party":         {with("azp", nil), 502, broken},
		"unusable subject": {with("sub", "a\nb"), 502, broken},
		"hidden subject":   {with("sub", "a\u200bb"), 502, broken},
		"other issuer":     {with("iss", "https://evil.example"), 502, broken},
		"expired":          {with("exp", time.Now().Add(-time.Hour).Unix()), 502, broken},
		"another login":    {with("nonce", "of-another-login-that-somebody-began"), 502, broken},
	} {
		p.Says(row.claims)
		b := newBrowser(t, c.url)
		if status, _, text := b.do("GET", "/auth/login", ""); status != row.status || !strings.Contains(text, row.text) {
			t.Errorf("%s: %d %s", what, status, text)
		}
		b.expect("GET", "/v1/features", "", 401, "", "unauthenticated")
	}
	p.Says(good)
	p.SignWithOther(true)
	newBrowser(t, c.url).expect("GET", "/auth/login", "", 502, "", broken)
	p.SignWithOther(false)

	// A callback that was not begun in this browser, was changed, or comes twice.
	newBrowser(t, c.url).expect("GET", "/auth/callback?code=x&state=y", "", 400, "", "not begun here")
	b := newBrowser(t, c.url)
	b.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == signin.CallbackPath {
			return http.ErrUseLastResponse
		}
		return nil
	}
	begin := func() (callback string) {
		r, err := b.Get(c.url + "/auth/login")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return strings.TrimPrefix(r.Header.Get("Location"), c.url)
	}
	callback := begin()
	b.expect("GET", callback+"x", "", 400, "", "not begun here")
	callback = begin()
	b.expect("GET", strings.Replace(callback, "code=", "code=x", 1), "", 502, "", broken)
	callback = begin()
	newBrowser(t, c.url).expect("GET", callback, "", 400, "", "not begun here") // the victim of a link
	b.CheckRedirect = nil
	b.expect("GET", callback, "", 200, "/", consolePage)
	b.expect("GET", "/v1/me", "", 200, "", "ann@example.com")
	b.expect("GET", callback, "", 400, "", "not begun here")
	b.expect("GET", "/auth/callback?error=access_denied&state=x", "", 400, "", "not begun here")

	// Without its provider the admin works, and people can use a token.
	p.Close()
	away := startWithProvider(t, p.URL)
	newBrowser(t, away.url).expect("GET", "/auth/login", "", 502, "", broken)
	newBrowser(t, away.url).expect("POST", "/signin", url.Values{"token": {testToken}}.Encode(), 200, "/", consolePage, "Content-Type", asForm)
}

// slowProvider is discovered when the test lets it be, and fails if the test says so.
func slowProvider(t *testing.T) (issuer string, asked chan chan<- bool) {
	t.Helper()
	asked = make(chan chan<- bool)
	ended := make(chan struct{})
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer := make(chan bool)
		select {
		case asked <- answer:
		case <-ended:
			return
		}
		select {
		case good := <-answer:
			if !good {
				w.WriteHeader(http.StatusInternalServerError)
			}
		case <-ended:
		}
		fmt.Fprintf(w, `{"issuer": %q, "authorization_endpoint": %q, "token_endpoint": %q, "jwks_uri": %q}`,
			server.URL, server.URL+"/authorize", server.URL+"/token", server.URL+"/keys")
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(ended) })
	return server.URL, asked
}

// Anybody may begin to sign in: a provider that does not answer must not take the
// admin from those who are let in.
func TestSilentProvider(t *testing.T) {
	t.Parallel()
	issuer, asked := slowProvider(t)
	c := startWithProvider(t, issuer)
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	const many = 30
	answered := make(chan int, many)
	login := func(ctx context.Context) {
		r, err := http.NewRequestWithContext(ctx, "GET", c.url+"/auth/login", nil)
		if err != nil {
			t.Error(err)
			return
		}
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil { // gave up
			answered <- 0
			return
		}
		_ = answer.Body.Close()
		answered <- answer.StatusCode
	}
	go login(ctx)
	first := <-asked // and all who wait with it
	for range many {
		go login(t.Context())
	}
	for range many - 15 { // 16 may wait, and one does
		if status := <-answered; status != 502 {
			t.Errorf("one too many: %d", status)
		}
	}
	c.must("GET", "/v1/features", nil)
	giveUp()
	if status := <-answered; status != 0 {
		t.Errorf("who gave up: %d", status)
	}
	first <- true // it was not the login that was given up whom the others wait for
	for range 15 {
		if status := <-answered; status != 303 {
			t.Errorf("who waited: %d", status)
		}
	}
}

// A provider that just failed is not asked again by everybody.
func TestFailingProvider(t *testing.T) {
	t.Parallel()
	issuer, asked := slowProvider(t)
	c := startWithProvider(t, issuer)
	go func() {
		for good := false; ; good = true {
			select {
			case answer := <-asked:
				answer <- good
			case <-t.Context().Done():
				return
			}
		}
	}()
	for range 3 {
		newBrowser(t, c.url).expect("GET", "/auth/login", "", 502, "", "did not answer as it should")
	}
}

func TestSignInWithToken(t *testing.T) {
	t.Parallel()
	c := start(t)
	b := newBrowser(t, c.url)
	b.expect("GET", "/signin", "", 200, "", `name="token"`)
	b.expect("GET", "/auth/login", "", 404, "", "")
	b.expect("GET", "/console.css", "", 200, "", "font")
	for _, token := range []string{"", "wrong", testToken + "x"} {
		b.expect("POST", "/signin", url.Values{"token": {token}}.Encode(), 422, "", `role="alert"`, "Content-Type", asForm)
	}
	_, ofClient := c.makeToken(auth.ClientRole)
	b.expect("POST", "/signin", url.Values{"token": {ofClient.Token}}.Encode(), 403, "/signin", "this token is of role client: the console needs role viewer, editor or admin", "Content-Type", asForm)
	b.expect("GET", "/", "", 200, "/signin?next=%2F", "")                                 // there is no session
	b.expect("POST", "/signin?token="+testToken, "", 422, "", "", "Content-Type", asForm) // which logs would show
	b.expect("POST", "/signin", url.Values{"token": {testToken}}.Encode(), 403, "", "another site", "Content-Type", asForm, "Origin", "https://evil.example")
	b.expect("POST", "/signin", url.Values{"token": {testToken}, "next": {"/docs"}}.Encode(), 200, "/docs", "swagger", "Content-Type", asForm)
	b.expect("GET", "/", "", 200, "/", consolePage)
	b.expect("GET", "/v1/me", "", 200, "", "FLAGGERY_ADMIN_TOKEN")
	b.expect("POST", "/signout", "", 200, "/signin", "")
	b.expect("GET", "/", "", 200, "/signin?next=%2F", "")
	c.must("GET", "/v1/features", nil) // what was typed is not revoked

	for _, next := range []string{"//evil.example", "https://evil.example", `/\evil.example`, "/\t/evil.example", "evil.example", "javascript:alert(1)", ""} {
		newBrowser(t, c.url).expect("POST", "/signin", url.Values{"token": {testToken}, "next": {next}}.Encode(), 200, "/", consolePage, "Content-Type", asForm)
	}
}

// signIn sends a token as a browser does, or something in front of one, and returns
// what it is to keep.
func signIn(c client, token, host string, header ...string) *http.Cookie {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), "POST", c.url+"/signin", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Host = host
	r.Header.Set("Content-Type", asForm)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = answer.Body.Close()
	if len(answer.Cookies()) != 1 {
		c.t.Fatalf("%d with cookies %v", answer.StatusCode, answer.Cookies())
	}
	return answer.Cookies()[0]
}

// sessionOf is a client that shows a cookie alone.
func (c client) sessionOf(kept *http.Cookie) answer {
	return client{c.t, c.url, ""}.do("GET", "/v1/features", nil, "Cookie", asCookie(kept))
}

func asCookie(kept *http.Cookie) string { return kept.Name + "=" + kept.Value }

// Only what nobody else can bring about makes a cookie that plain HTTP carries.
func TestCookiesAreForHTTPS(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	public := func(url string) client {
		return startOn(t, dbURL, func(c *Config) { c.Provider.PublicURL = url })
	}
	unknown := public("")
	for what, row := range map[string]struct {
		c      client
		host   string
		header []string
		secure bool
	}{
		"a browser here":                  {unknown, "127.0.0.1:8080", nil, false},
		"by name":                         {unknown, "localhost", []string{"Origin", "http://localhost"}, false},
		"by IPv6":                         {unknown, "[::1]:8080", nil, false},
		"another host":                    {unknown, "flags.example.com", nil, true},
		"another address":                 {unknown, "10.0.0.1:8080", nil, true},
		"proxy with its default Host":     {public("https://flags.example.com"), "127.0.0.1:8080", nil, true},
		"proxy that says for whom":        {unknown, "127.0.0.1:8080", []string{"X-Forwarded-For", "192.0.2.1"}, true},
		"proxy that says how":             {unknown, "127.0.0.1:8080", []string{"X-Forwarded-Proto", "https"}, true},
		"proxy by the standard":           {unknown, "127.0.0.1:8080", []string{"Forwarded", "for=192.0.2.1"}, true},
		"page over HTTPS":                 {unknown, "127.0.0.1:8080", []string{"Origin", "https://127.0.0.1:8080"}, true},
		"container, port of this machine": {public("http://localhost:8080"), "localhost:8080", []string{"X-Forwarded-For", "172.17.0.1"}, false},
	} {
		got := signIn(row.c, testToken, row.host, row.header...)
		if got.Name != map[bool]string{true: "__Host-flaggery", false: "flaggery"}[row.secure] || got.Secure != row.secure ||
			!got.HttpOnly || got.SameSite != http.SameSiteLaxMode || got.Path != "/" || got.Domain != "" {
			t.Errorf("%s: %+v", what, got)
		}
		if strings.Contains(got.Value, testToken) {
			t.Errorf("%s: the cookie holds the token that was typed", what)
		}
		// Also where a request does not show that there is a proxy.
		if a := row.c.sessionOf(got); a.Status != 200 {
			t.Errorf("%s: the session is not known: %d %s", what, a.Status, a.Body)
		}
	}
	plain := signIn(unknown, testToken, "127.0.0.1")
	if a := public("https://flags.example.com").sessionOf(plain); a.Status != 401 {
		t.Errorf("a cookie that anybody on the way can set is taken: %d", a.Status)
	}
}

// A session ends when its browser signs out, with the token that was typed, and in
// time.
func TestSessionsOfTypedTokens(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	c := startOn(t, dbURL)
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	var token api.Token
	c.must("POST", "/v1/tokens", api.NewToken{Name: "ci", Role: api.EditorRole, ExpiresAt: &soon}).into(&token)
	one, other, first := signIn(c, token.Token, "localhost"), signIn(c, token.Token, "localhost"), signIn(c, testToken, "localhost")
	list := func() []api.Token {
		var all api.Page[api.Token]
		c.must("GET", "/v1/tokens", nil).into(&all)
		return all.Items
	}
	all := list()
	if len(all) != 4 {
		t.Fatalf("%+v", all)
	}
	for _, session := range all[1:3] {
		if !session.Session || session.Parent != token.ID || session.Name != "ci" || session.Role != api.EditorRole || !session.ExpiresAt.Equal(soon) {
			t.Errorf("session %+v", session)
		}
	}
	if s := all[3]; !s.Session || s.Parent != 0 || s.Name != firstToken || s.Role != api.AdminRole || time.Until(*s.ExpiresAt) > signin.SessionLasts {
		t.Errorf("session of the first token %+v", s)
	}
	for _, kept := range []*http.Cookie{one, other, first} {
		if a := c.sessionOf(kept); a.Status != 200 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	browser := client{t, c.url, ""}
	browser.must("POST", "/v1/features", `{"name": "foobar"}`, "Cookie", one.Name+"="+one.Value)
	var audit api.Page[api.AuditEntry]
	c.must("GET", "/v1/audit?limit=1", nil).into(&audit)
	if e := audit.Items[0]; e.Actor != "ci" || e.TokenID != token.ID {
		t.Errorf("audit %+v", e)
	}

	browser.do("POST", "/signout", "", "Cookie", one.Name+"="+one.Value)
	for kept, want := range map[*http.Cookie]int{one: 401, other: 200, first: 200} {
		if a := c.sessionOf(kept); a.Status != want {
			t.Errorf("after signing out of one: %d, want %d", a.Status, want)
		}
	}
	client{t, c.url, token.Token}.must("GET", "/v1/features", nil)
	c.must("DELETE", fmt.Sprintf("/v1/tokens/%d", token.ID), nil)
	for kept, want := range map[*http.Cookie]int{other: 401, first: 200} {
		if a := c.sessionOf(kept); a.Status != want {
			t.Errorf("after the token was revoked: %d, want %d", a.Status, want)
		}
	}
	if all := list(); len(all) != 1 || all[0].Name != firstToken {
		t.Errorf("left %+v", all)
	}
	// Another setting ends the sessions of the one before.
	for token, want := range map[command.Secret]int{testToken: 200, "another-token-for-tests-alone": 401} {
		admin := startOn(t, dbURL, func(c *Config) { c.Token = token })
		if a := admin.sessionOf(first); a.Status != want {
			t.Errorf("with %s: %d, want %d", string(token), a.Status, want)
		}
	}
	// A cookie that holds a token itself, as earlier versions made them, is none.
	if a := c.sessionOf(&http.Cookie{Name: "flaggery", Value: testToken}); a.Status != 401 {
		t.Errorf("a token is taken for a session: %d", a.Status)
	}
}

// The headers that browsers get with pages.
func TestPagesAreKeptToThemselves(t *testing.T) {
	t.Parallel()
	c := start(t)
	page := c.must("GET", "/signin", nil)
	for name, want := range map[string]string{
		"Content-Security-Policy": "frame-ancestors 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
	} {
		if got := page.Header.Get(name); !strings.Contains(got, want) {
			t.Errorf("%s is %q", name, got)
		}
	}
}

// Every address of the console is its page for those who are signed in, and the sign-in
// for others. The API's addresses never are.
func TestDeepLinks(t *testing.T) {
	t.Parallel()
	c := start(t)
	b := newBrowser(t, c.url)
	deep := "/subjects/a%2Fb?at=2026-01-02T03%3A04%3A05Z"
	b.expect("GET", deep, "", 200, "/signin?next="+url.QueryEscape(deep), "")
	b.expect("GET", "/v1/features", "", 401, "/v1/features", "unauthenticated")
	b.expect("POST", "/signin", url.Values{"token": {testToken}, "next": {deep}}.Encode(), 200, deep, consolePage, "Content-Type", asForm)
	b.expect("HEAD", deep, "", 200, deep, "")
	b.expect("GET", "/v1/nothing", "", 404, "/v1/nothing", `"code"`)
	b.expect("GET", "/features/missing", "", 200, "/features/missing", consolePage)
	b.expect("GET", "/assets/0123456789abcdef/app.js", "", 404, "/assets/0123456789abcdef/app.js", "")
}

func TestProviderNamesItsSettings(t *testing.T) {
	t.Parallel()
	err := (&signin.Provider{Issuer: "example.com", Roles: "a=b"}).Validate()
	for _, setting := range []string{"FLAGGERY_OIDC_ISSUER", "FLAGGERY_PUBLIC_URL", "FLAGGERY_OIDC_CLIENT_ID", "FLAGGERY_OIDC_ROLES"} {
		if err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%v does not name %s", err, setting)
		}
	}
	if err := (&signin.Provider{}).Validate(); err != nil {
		t.Error(err)
	}
	for issuer, good := range map[string]bool{
		"https://login.example.com": true, "http://127.0.0.1:5556/dex": true, "http://localhost:5556": true, "http://[::1]:5556": true,
		"http://login.example.com": false, "http://10.0.0.1": false, "ftp://login.example.com": false,
	} {
		p := signin.Provider{Issuer: issuer, ClientID: "x", PublicURL: "https://flags.example.com", Roles: "*=viewer"}
		if err := p.Validate(); (err == nil) != good {
			t.Errorf("%s: %v", issuer, err)
		}
		if err := signin.CheckPublicURL(issuer); (err == nil) != good {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}
