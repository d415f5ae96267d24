package admin

import (
	"bytes"
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/state"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

type getStateInput struct {
	Owner    string   `query:"owner" doc:"Only what this document manages; everything if left out" example:"checkout-repo"`
	Features []string `query:"features" doc:"Only these features, with their overrides and the tests of them alone: globs with * and ?, separated by commas" example:"checkout,search*"`
	Format   string   `query:"format" enum:"yaml,json,openfeature-manifest" default:"yaml" doc:"openfeature-manifest: the flag manifest from which OpenFeature's command line generates typed accessors"`
	For      string   `query:"for" enum:"promotion" doc:"promotion: for another installation. Leaves out proportions, tests, archived features, and whether features are off. Defaults and overrides stay, and can change everybody's flags there: make a dry run first"`
}

// renderings are the forms of the state by the parameter format.
var renderings = map[string]struct {
	media  string
	render func(*state.Document) ([]byte, error)
}{
	"yaml":                 {api.MediaYAML, (*state.Document).YAML},
	"json":                 {api.MediaJSON, (*state.Document).JSON},
	"openfeature-manifest": {api.MediaJSON, (*state.Document).Manifest},
}

func (a *service) getState(ctx context.Context, in *getStateInput) (writer.Result[rendered], error) {
	result, err := a.writer.State(ctx, writer.StateFilter{Owner: in.Owner, Features: auth.Scope(in.Features), Promotion: in.For != ""})
	if err != nil {
		return writer.Result[rendered]{Revision: result.Revision}, err
	}
	form := renderings[in.Format]
	text, err := form.render(result.Value)
	return writer.Result[rendered]{Value: rendered{form.media, text}, Revision: result.Revision, Version: result.Version}, err
}

func (a *service) getStateSchema(ctx context.Context, _ *struct{}) (writer.Result[rendered], error) {
	revision, err := a.writer.Revision(ctx)
	return writer.Result[rendered]{Value: rendered{api.MediaSchema, state.Schema()}, Revision: revision}, err
}

type applyStateInput struct {
	Changing
	Prune   bool   `query:"prune" doc:"Archive features and delete groups and ended tests that the document's owner manages and the document lacks. Requires role admin"`
	Force   bool   `query:"force" doc:"Take over what other owners manage. Requires role admin"`
	RawBody []byte `contentType:"application/yaml"`

	ContentType string `header:"Content-Type" hidden:"true"`
}

// applyTime is how long a document may take, of which most take a moment: one of 1,000
// features takes seconds.
const applyTime = 2 * time.Minute

func (applyStateInput) maxBody() int64 { return state.MaxSize }

func (a *service) applyState(ctx context.Context, in *applyStateInput, o ...writer.Option) (writer.Result[api.AppliedState], error) {
	if role := web.Caller(ctx).Role; (in.Prune || in.Force) && !in.DryRun && !role.Allows(auth.Administer) {
		return writer.Result[api.AppliedState]{}, model.Errorf(model.Forbidden, "prune and force require role %s, the token has role %s", auth.AdminRole, role)
	}
	if err := web.Extend(ctx, applyTime); err != nil {
		return writer.Result[api.AppliedState]{}, err
	}
	doc, err := a.parseState(ctx, in.ContentType, in.RawBody)
	if err != nil {
		return writer.Result[api.AppliedState]{}, err
	}
	return a.writer.ApplyState(ctx, doc, writer.ApplyOptions{Prune: in.Prune, Force: in.Force}, o...)
}

// parseState reads one document at a time, as reading one may take tens of MiB.
func (a *service) parseState(ctx context.Context, media string, text []byte) (*state.Document, error) {
	select {
	case a.parsing <- struct{}{}:
		defer func() { <-a.parsing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if media == api.MediaJSON {
		if err := model.CheckBody(bytes.TrimPrefix(text, []byte(api.ByteOrderMark))); err != nil {
			return nil, huma.Error400BadRequest("", &huma.ErrorDetail{Location: "body", Message: err.Error()})
		}
	}
	return state.Parse(text)
}

// describeState documents what huma does not see of documents: their media types and ETag.
func (a *service) describeState() {
	path := a.web.API.OpenAPI().Paths["/v1/state"]
	documentTag[state.Document](path.Get.Responses["200"])
	content := path.Put.RequestBody.Content
	schema := &huma.Schema{Type: huma.TypeString, Description: "A state document, see GET /v1/state/schema"}
	for _, media := range []string{api.MediaYAML, api.MediaJSON} {
		content[media] = &huma.MediaType{Schema: schema}
	}
}
