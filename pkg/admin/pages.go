package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/signin"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

// pages adds what people see in a browser. Everybody may ask for these; who may do
// what is decided where something is done.
func (a *service) pages(config Config) {
	config.Provider.ClientSecret = string(config.ProviderSecret)
	c := signin.New(signin.Options{
		Check: func(ctx echo.Context, token string) (signin.Person, error) {
			identity, err := a.web.Authenticate(ctx.Request().Context(), ctx.RealIP(), token)
			return signin.Person{Name: identity.Name, Role: identity.Role}, err
		},
		Begin: a.beginSession,
		End:   a.endSession,
		Log: func(ctx context.Context, what string, err error) {
			a.log.WarnContext(ctx, what, "request_id", web.RequestID(ctx), "error", err)
		},
		Provider: config.Provider,
	})
	a.web.Route(auth.Open, http.MethodGet, signin.HomePath, c.Home)
	a.web.Route(auth.Open, http.MethodGet, signin.StylePath, c.Style)
	a.web.Route(auth.Open, http.MethodGet, signin.SignInPath, c.SignInPage, "next")
	a.web.Route(auth.Open, http.MethodPost, signin.SignInPath, fromHere(c.SignIn))
	a.web.Route(auth.Open, http.MethodPost, signin.SignOutPath, fromHere(c.SignOut))
	a.web.Route(auth.Open, http.MethodGet, signin.LoginPath, c.Login, "next")
	a.web.Route(auth.Open, http.MethodGet, signin.CallbackPath, c.Callback, web.AnyQuery)
}

// fromHere refuses forms that other sites sent: one could sign somebody in as
// somebody else.
func fromHere(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := web.CheckOrigin(c.Request()); err != nil {
			return err
		}
		return next(c)
	}
}

func session(r *http.Request) string {
	token, _ := signin.Session(r)
	return token
}

// beginSession makes a token like any other, so that it is listed, and can be
// revoked, and the audit knows who it was.
func (a *service) beginSession(ctx context.Context, p signin.Person, expires time.Time) (string, error) {
	if a.waiting.Load() {
		return "", errWaiting
	}
	created, err := a.writer.CreateToken(ctx, api.NewToken{Name: p.Name, Role: p.Role, ExpiresAt: &expires},
		writer.By(p.Name), writer.Request(web.RequestID(ctx)), writer.Comment("signed in"))
	return created.Value.Token, err
}

func (a *service) endSession(ctx context.Context, token string) error {
	found, err := a.writer.Authenticate(ctx, token)
	if err != nil {
		return err
	}
	_, err = a.writer.RevokeToken(ctx, found.ID, writer.By(found.Name), writer.Request(web.RequestID(ctx)), writer.Comment("signed out"))
	return err
}
