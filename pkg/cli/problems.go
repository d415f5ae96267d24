package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/model"
)

// advice says what to do about a problem whose detail says only what is wrong.
var advice = map[api.Code]string{
	api.FeatureArchived:    "restore it first, with feature restore",
	api.ABTestLive:         "wait for its end, or end it with test stop",
	api.FeatureHasVariants: "add --cascade to delete them too",
	api.EdgesTooOld:        "upgrade the edges first",
	api.RolloutExists:      "change it with rollout set",
	api.NoBuckets:          `add buckets first: api POST /v1/buckets -d '{"amount": 1000}'`,
	api.PreconditionFailed: "show it again, then repeat with its revision as --if-revision",
	api.Unauthenticated:    "check the token of the context, or FLAGGERY_TOKEN",
}

// failure gives the error of a call its exit status, and says what to do about it.
func failure(err error) error {
	var problem *api.Problem
	if !errors.As(err, &problem) {
		var unreachable *url.Error
		if errors.As(err, &unreachable) && !errors.Is(err, context.Canceled) {
			return command.WithStatus(command.StatusUnreachable, err)
		}
		return err
	}
	detail := problem.Detail
	if c := problem.Changed; c != nil {
		detail += fmt.Sprintf(" (%s changed it at %s, revision %d)", c.Actor, c.At.UTC().Format(time.RFC3339), c.Revision)
	}
	for _, c := range problem.Conflicts {
		detail += fmt.Sprintf("; test %s has %s from %s to %s", c.Test, strings.Join(c.Features, ", "), c.Start.UTC().Format(time.RFC3339), c.End.UTC().Format(time.RFC3339))
	}
	if text := advice[problem.Code]; text != "" {
		detail += "; " + text
	}
	for i, f := range problem.Errors { // parameters are flags of the same name
		problem.Errors[i].Message = clean(f.Message)
		if name, ok := strings.CutPrefix(f.Location, "query."); ok {
			problem.Errors[i].Location = "--" + strings.ReplaceAll(name, "_", "-")
		}
	}
	err = &model.Error{Code: problem.Code, Detail: clean(detail), Fields: problem.Errors}
	switch problem.Status {
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		return command.WithStatus(command.StatusRefused, err)
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return command.WithStatus(command.StatusUnreachable, err)
	}
	return err
}
