package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/signin"
	"github.com/flaggery/flaggery/pkg/web"
)

// makeToken creates a token and returns a client that shows it.
func (c client) makeToken(role auth.Role) (client, api.Token) {
	c.t.Helper()
	var token api.Token
	c.must("POST", "/v1/tokens", api.NewToken{Name: "a " + string(role), Role: role}).into(&token)
	return client{c.t, c.url, token.Token}, token
}

func TestTokens(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	c, other := startOn(t, dbURL), startOn(t, dbURL)
	tried := c.must("POST", "/v1/tokens?dry_run=true", `{"name": "ci", "role": "editor"}`)
	if strings.Contains(string(tried.Body), `"token"`) || tried.Header.Get("Location") != "" {
		t.Errorf("dry run: %s", tried.Body)
	}
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	var token api.Token
	made := c.must("POST", "/v1/tokens", api.NewToken{Name: "ci", Role: api.EditorRole, ExpiresAt: &expires})
	made.into(&token)
	location := "/v1/tokens/" + strconv.FormatInt(token.ID, 10)
	if made.Status != 201 || made.Header.Get("Location") != location || made.Header.Get(api.HeaderRevision) != "1" ||
		!strings.HasPrefix(token.Token, token.Prefix) || !token.ExpiresAt.Equal(expires) {
		t.Errorf("made %s %v", made.Body, made.Header)
	}
	// Who has it may what its role may, on every admin, and is known by its name.
	editor := client{t, other.url, token.Token}
	editor.must("POST", "/v1/features", `{"name": "foobar"}`)
	editor.do("GET", "/v1/tokens", nil).isProblem(403, model.Forbidden, "")
	var audit api.Page[api.AuditEntry]
	c.must("GET", "/v1/audit", nil).into(&audit)
	if audit.Items[0].Actor != "ci" || audit.Items[0].TokenID != token.ID || audit.Items[1].TokenID != 0 || audit.Items[1].Actor != "FLAGGERY_ADMIN_TOKEN" || audit.Items[1].Resource != location[len("/v1/"):] {
		t.Errorf("audit %+v", audit.Items)
	}
	var list api.Page[api.Token]
	all := c.must("GET", "/v1/tokens", nil)
	all.into(&list)
	if len(list.Items) != 1 || list.Items[0].Name != "ci" || list.Items[0].UsedAt == nil || strings.Contains(string(all.Body), token.Token) {
		t.Errorf("list %s", all.Body)
	}

	c.must("DELETE", location+"?dry_run=true", nil)
	editor.must("GET", "/v1/features", nil)
	if a := c.must("DELETE", location, nil); a.Status != 204 {
		t.Errorf("revoked: %d %s", a.Status, a.Body)
	}
	editor.do("GET", "/v1/features", nil).isProblem(401, model.Unauthenticated, "")
	c.do("DELETE", location, nil).isProblem(404, model.TokenNotFound, "")
	c.do("DELETE", "/v1/tokens/0", nil).isProblem(422, model.ValidationFailed, "path.id")
	c.do("POST", "/v1/tokens", `{"name": "ci", "role": "root"}`).isProblem(422, model.ValidationFailed, "body.role")
	c.do("POST", "/v1/tokens", `{"name": "ci", "role": "admin", "expires_at": "2020-01-01T00:00:00Z"}`).isProblem(422, model.ValidationFailed, "body.expires_at")
	c.do("POST", "/v1/tokens", `{"name": "ci", "role": "admin", "scope": ["*"]}`).isProblem(422, model.ValidationFailed, "body.scope")
	c.do("POST", "/v1/tokens", `{"name": "ci", "role": "editor", "scope": ["a/*"]}`).isProblem(422, model.ValidationFailed, "body.scope")
	c.do("POST", "/v1/tokens", `{"name": "ci", "role": "editor", "scope": null}`).isProblem(422, model.ValidationFailed, "body.scope")
	c.do("POST", "/v1/tokens", `{"name": "flaggery-admin import", "role": "admin"}`).isProblem(422, model.ValidationFailed, "body.name")
}

// Without a first token and a stored one, nobody could call: with either, the
// admin starts.
func TestStartWithoutAFirstToken(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	config := Config{DBURL: command.DatabaseURL(dbURL), Host: "127.0.0.1", Logger: slog.New(slog.DiscardHandler)}
	for _, role := range []auth.Role{"", auth.EditorRole} { // an editor is not enough
		if role != "" {
			startOn(t, dbURL).makeToken(role)
		}
		err := Run(t.Context(), config)
		if err == nil || !strings.Contains(err.Error(), "flaggery-admin token create") || !strings.Contains(err.Error(), "FLAGGERY_ADMIN_TOKEN") {
			t.Errorf("with a token of role %q: %v", role, err)
		}
	}
	admin, _ := startOn(t, dbURL).makeToken(auth.AdminRole)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	listens, ended := make(chan net.Addr, 1), make(chan error, 1)
	config.Ready = func(a net.Addr) { listens <- a }
	go func() { ended <- Run(ctx, config) }()
	select {
	case a := <-listens:
		admin.url = "http://" + a.String()
	case err := <-ended:
		t.Fatal(err)
	}
	admin.must("GET", "/v1/tokens", nil)
	// An empty password is not the first token that is not there.
	admin.token = ""
	admin.do("GET", "/docs", nil, "Authorization", "Basic eDo=").isProblem(401, model.Unauthenticated, "")
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestMe(t *testing.T) {
	t.Parallel()
	c := start(t)
	const me = `{"name": %q, "role": %q, "scope": [], "expires_at": %s, "provider": %q}`
	c.do("GET", "/v1/me", nil).is(200, fmt.Sprintf(me, firstToken, "admin", "null", "setting"))
	for _, role := range []auth.Role{auth.ClientRole, auth.ViewerRole, auth.EditorRole, auth.AdminRole} {
		caller, token := c.makeToken(role)
		caller.do("GET", "/v1/me", nil).is(200, fmt.Sprintf(me, token.Name, role, "null", "token"))
	}
	var token api.Token
	c.must("POST", "/v1/tokens", `{"name": "ci", "role": "viewer", "expires_at": "2100-01-01T00:00:00+01:00"}`).into(&token)
	client{t, c.url, token.Token}.do("GET", "/v1/me", nil).is(200, fmt.Sprintf(me, "ci", "viewer", `"2099-12-31T23:00:00Z"`, "token"))

	var scoped api.Token
	c.must("POST", "/v1/tokens", `{"name": "team", "role": "editor", "scope": ["checkout.*", "web-?"]}`).into(&scoped)
	for header, value := range map[string]string{"Authorization": "Bearer " + scoped.Token, "Cookie": asCookie(signIn(c, scoped.Token, "localhost"))} {
		var got api.Me
		client{t, c.url, ""}.must("GET", "/v1/me", nil, header, value).into(&got)
		if !slices.Equal(got.Scope, []string{"checkout.*", "web-?"}) {
			t.Errorf("by %s: %+v", header, got)
		}
		p := client{t, c.url, ""}.do("POST", "/v1/features", `{"name": "search"}`, header, value).isProblem(403, model.Forbidden, "")
		if p.Detail != `the scope of the token (checkout.*, web-?) does not include "search"` {
			t.Errorf("by %s: %s", header, p.Detail)
		}
	}

	// A session expires sooner than what it came from.
	for typed, want := range map[string]api.Me{
		token.Token: {Name: "ci", Role: auth.ViewerRole, Provider: auth.FromToken},
		testToken:   {Name: firstToken, Role: auth.AdminRole, Provider: auth.FromSetting},
	} {
		kept := signIn(c, typed, "localhost")
		var got api.Me
		client{t, c.url, ""}.must("GET", "/v1/me", nil, "Cookie", asCookie(kept)).into(&got)
		if got.ExpiresAt == nil || got.ExpiresAt.After(time.Now().Add(signin.SessionLasts)) || got.Name != want.Name || got.Role != want.Role || got.Provider != want.Provider {
			t.Errorf("signed in as %s: %+v", want.Name, got)
		}
	}
}

// Guessing tokens through a proxy, or over any number of addresses of one
// network, is limited, and nobody else is.
func TestGuessingLocksNobodyOut(t *testing.T) {
	t.Parallel()
	c := startOn(t, pgtest.Open(t), func(config *Config) {
		config.Callers = web.Callers{Failures: 60, Proxies: "127.0.0.1/32"}
	})
	limited := 0
	for i := range 100 {
		guess := client{t, c.url, auth.NewToken()}
		if i%2 == 0 {
			guess.token = "guess " + strconv.Itoa(i)
		}
		switch a := guess.do("GET", "/v1/features", nil, "X-Forwarded-For", fmt.Sprintf("2001:db8::%x", i)); a.Status {
		case 429:
			limited++
		case 401:
		default:
			t.Fatalf("a guess: %d %s", a.Status, a.Body)
		}
	}
	if limited == 0 {
		t.Error("no guess was limited")
	}
	const neighbour = "2001:db8::ffff"
	_, token := c.makeToken(auth.ViewerRole) // not seen before
	client{t, c.url, token.Token}.must("GET", "/v1/features", nil, "X-Forwarded-For", neighbour)
	c.must("GET", "/v1/features", nil, "X-Forwarded-For", neighbour)
	newBrowser(t, c.url).expect("POST", "/signin", url.Values{"token": {testToken}}.Encode(), 200, "/", consolePage, "Content-Type", asForm, "X-Forwarded-For", neighbour)
}

// What is kept from a role at /v1/tokens is not in the audit, either.
func TestAuditOfTokensIsForAdmins(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/features", `{"name": "tokens"}`)
	admin, _ := c.makeToken(auth.AdminRole)
	viewer, _ := c.makeToken(auth.ViewerRole)
	editor, token := c.makeToken(auth.EditorRole)
	editor.must("POST", "/v1/features", `{"name": "foobar"}`)
	c.must("DELETE", fmt.Sprintf("/v1/tokens/%d", token.ID), nil)
	editor, _ = c.makeToken(auth.EditorRole)
	for query, n := range map[string]struct{ tokens, others int }{
		"": {5, 2}, "resource=tokens": {5, 0}, fmt.Sprintf("resource=tokens/%d", token.ID): {2, 0}, "actor=FLAGGERY_ADMIN_TOKEN": {5, 1}, "resource=features": {0, 2},
	} {
		for _, caller := range []struct {
			client
			want int
		}{{viewer, n.others}, {editor, n.others}, {admin, n.tokens + n.others}, {c, n.tokens + n.others}} {
			var page api.Page[api.AuditEntry]
			caller.must("GET", "/v1/audit?"+query, nil).into(&page)
			lines := strings.Count(string(caller.must("GET", "/v1/audit?"+query, nil, "Accept", api.MediaNDJSON).Body), "\n")
			if len(page.Items) != caller.want || lines != caller.want {
				t.Errorf("%q: %d entries and %d lines, want %d", query, len(page.Items), lines, caller.want)
			}
		}
	}
	// A page is not shorter for what it leaves out, and leads to the next one.
	var page, next api.Page[api.AuditEntry]
	viewer.must("GET", "/v1/audit?limit=1", nil).into(&page)
	viewer.must("GET", "/v1/audit?limit=1&after="+page.Next, nil).into(&next)
	if len(next.Items) != 1 || next.Items[0].Resource != "features/tokens" || next.Next != "" {
		t.Errorf("%+v", next)
	}
}
