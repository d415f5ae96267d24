package admin

import (
	"context"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

func (a *service) listEdges(ctx context.Context, in *struct{ Listing }) (writer.Result[api.Page[api.Edge]], error) {
	return a.writer.Edges(ctx, in.page())
}

func (a *service) getMe(ctx context.Context, _ *struct{}) (writer.Result[api.Me], error) {
	caller := web.Caller(ctx)
	me := api.Me{Name: caller.Name, Role: caller.Role, Scope: append([]string{}, caller.Scope...), ExpiresAt: caller.Expires, Provider: caller.Provider}
	return writer.Result[api.Me]{Value: me, Revision: a.latest.Load()}, nil
}

func (a *service) getAbout(ctx context.Context, _ *struct{}) (writer.Result[api.About], error) {
	about, err := a.writer.About(ctx)
	about.Value.Environment, about.Value.Colour = string(a.installation.Environment), a.installation.Colour
	about.Value.Environments, _ = a.installation.otherEnvironments() // checked at the start
	about.Value.EdgeURL, about.Value.Version = a.installation.EdgeURL, a.version
	return about, err
}

type searchInput struct {
	Q string `query:"q" doc:"Part of the name of a feature, test or group, ignoring case, or the beginning of the id of a subject" example:"check"`
}

func (a *service) search(ctx context.Context, in *searchInput) (writer.Result[[]api.Found], error) {
	return a.writer.Search(ctx, in.Q)
}
