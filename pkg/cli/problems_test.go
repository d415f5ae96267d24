package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
)

// exit runs a command that fails so, and returns the status and what it prints.
func exit(err error) (int, string) {
	var errs strings.Builder
	p := command.Program{Name: "things", Commands: []command.Command{{Name: "do", Run: func(context.Context, command.Environment) error { return failure(err) }}}}
	status := p.Execute(context.Background(), []string{"do"}, nil, command.Environment{Stdout: io.Discard, Stderr: &errs})
	return status, strings.TrimPrefix(errs.String(), "things: ")
}

func TestStatusesOfProblems(t *testing.T) {
	for code, want := range map[int]int{
		http.StatusBadRequest: 1, http.StatusUnauthorized: 1, http.StatusForbidden: 1, http.StatusNotFound: 1, http.StatusTooManyRequests: 1, http.StatusInternalServerError: 1,
		http.StatusConflict: 4, http.StatusPreconditionFailed: 4, http.StatusUnprocessableEntity: 4,
		http.StatusBadGateway: 5, http.StatusServiceUnavailable: 5, http.StatusGatewayTimeout: 5,
	} {
		if status, _ := exit(fmt.Errorf("GET /: %w", &api.Problem{Status: code, Detail: "wrong"})); status != want {
			t.Errorf("%d: status %d, want %d", code, status, want)
		}
	}
	for want, err := range map[int]error{
		0: nil,
		1: &url.Error{Op: "Get", URL: "http://admin", Err: context.Canceled}, // Ctrl-C
		5: &url.Error{Op: "Get", URL: "http://admin", Err: errors.New("connection refused")},
	} {
		if status, text := exit(err); status != want {
			t.Errorf("status %d, want %d: %s", status, want, text)
		}
	}
}

func TestProblemsSayWhatToDo(t *testing.T) {
	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, problem := range map[string]*api.Problem{
		"feature a is archived; restore it first, with feature restore\n": {Code: api.FeatureArchived, Detail: "feature a is archived"},
		"changed (anna changed it at 2027-01-02T03:04:05Z, revision 7); show it again, then repeat with its revision as --if-revision\n": {
			Code: api.PreconditionFailed, Detail: "changed", Extension: api.Extension{Changed: &api.Changed{Revision: 7, At: at, Actor: "anna"}},
		},
		"overlap; test b has c, d from 2027-01-02T03:04:05Z to 2027-01-02T04:04:05Z\n": {
			Code: api.ABTestOverlap, Detail: "overlap",
			Extension: api.Extension{Conflicts: []api.Conflict{{Test: "b", Features: []string{"c", "d"}, Start: at, End: at.Add(time.Hour)}}},
		},
		"invalid: --expect-deleted must be 1\n":             {Detail: "invalid", Errors: []api.FieldError{{Location: "query.expect_deleted", Message: "must be 1"}}},
		"invalid\n  body.name: is bad\n  --since: is bad\n": {Detail: "invalid", Errors: []api.FieldError{{Location: "body.name", Message: "is bad"}, {Location: "query.since", Message: "is bad"}}},
		"a [2J b\n": {Detail: "a\x1b[2J\nb"},
	} {
		if _, text := exit(problem); text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}
