package admin

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/console"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/signin"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

// newPages returns the pages that people see in a browser.
func (a *service) newPages(config Config) *signin.Pages {
	config.Provider.ClientSecret = string(config.ProviderSecret)
	sessions := sessions{a.writer, string(config.Token), &a.waiting}
	return signin.New(signin.Options{
		Check: func(ctx echo.Context, token string) (signin.Person, error) {
			identity, err := a.web.Authenticate(ctx.Request().Context(), ctx.RealIP(), token)
			return signin.Person{Name: identity.Name, Role: identity.Role, Token: identity.Token}, err
		},
		Begin:     sessions.begin,
		End:       sessions.end,
		Token:     sessions.token,
		PublicURL: config.Provider.PublicURL,
		Log: func(ctx context.Context, what string, err error) {
			a.log.WarnContext(ctx, what, "request_id", web.RequestID(ctx), "error", err)
		},
		Provider: config.Provider,
	})
}

// addPages adds the pages to the routes. Those of the console lead people who are not
// signed in to the sign-in.
func (a *service) addPages(c *signin.Pages) {
	pages := console.New(console.Options{ReasonAbove: a.installation.ReasonAbove})
	for _, path := range console.Pages {
		a.web.Route(auth.Document, http.MethodGet, path, pages.Page, web.AnyQuery)
	}
	a.web.Route(auth.Open, http.MethodGet, console.AssetsPath, pages.Asset, web.AnyQuery)
	a.web.Route(auth.Open, http.MethodGet, signin.StylePath, c.Style)
	a.web.Route(auth.Open, http.MethodGet, signin.SignInPath, c.SignInPage, "next")
	a.web.Route(auth.Open, http.MethodPost, signin.SignInPath, fromHere(c.SignIn))
	a.web.Route(auth.Open, http.MethodPost, signin.SignOutPath, fromHere(c.SignOut))
	a.web.Route(auth.Open, http.MethodGet, signin.LoginPath, c.Login, "next")
	a.web.Route(auth.Open, http.MethodGet, signin.CallbackPath, c.Callback, web.AnyQuery)
}

// fromHere rejects forms from other sites, which could sign people in as somebody
// else.
func fromHere(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := web.CheckOrigin(c.Request()); err != nil {
			return err
		}
		return next(c)
	}
}

// sessions are stored as tokens, so that they are listed, can be revoked and are named
// in the audit.
type sessions struct {
	writer  *writer.Writer
	first   string // token of the settings
	waiting *atomic.Bool
}

// A cookie holds a mark and the token of the session. If the token of the settings was
// used to sign in, the cookie holds a random part instead: the token of the session is
// derived from it and the setting. So the session ends if the setting changes, and
// nothing of the setting is stored.
const (
	madeMark  = "made."
	firstMark = "first."
)

func (s sessions) token(kept string) string {
	if token, ok := strings.CutPrefix(kept, firstMark); ok && s.first != "" {
		return auth.DeriveToken(token, s.first)
	}
	token, ok := strings.CutPrefix(kept, madeMark)
	if !ok {
		return ""
	}
	return token
}

func (s sessions) begin(ctx context.Context, p signin.Person, expires time.Time) (kept string, err error) {
	if s.waiting.Load() {
		return "", errWaiting
	}
	kept, actor := madeMark+auth.NewToken(), p.Name
	switch {
	case p.Subject != "":
		actor = model.PersonName(p.Name, p.Subject)
	case p.Token == 0:
		kept = firstMark + auth.NewToken()
	}
	_, err = s.writer.BeginSession(ctx,
		writer.NewSession{Name: p.Name, Role: p.Role, Secret: s.token(kept), Expires: expires, Token: p.Token, Subject: p.Subject},
		writer.By(actor), writer.Showing(p.Token), writer.Request(web.RequestID(ctx)), writer.Comment("signed in"))
	return kept, err
}

func (s sessions) end(ctx context.Context, token string) error {
	found, err := s.writer.Authenticate(ctx, token)
	if err != nil {
		return err
	}
	caller := identityOf(found)
	_, err = s.writer.RevokeToken(ctx, found.ID,
		writer.By(caller.Name), writer.Showing(caller.Token), writer.Request(web.RequestID(ctx)), writer.Comment("signed out"))
	return err
}
