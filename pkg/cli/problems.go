package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/model"
)

const addBuckets = `flaggery-admin api POST /v1/buckets -d '{"amount": 1000}' adds some`

// advice says what to do about a problem whose detail says only what is wrong.
var advice = map[api.Code]string{
	api.FeatureHasVariants: "add cascade=true to delete them too",
	api.EdgesTooOld:        "upgrade the edges first",
	api.RolloutExists:      "change it with rollout set",
	api.NoBuckets:          addBuckets,
	api.PreconditionFailed: "show it again, then repeat with its revision as --if-revision",
	api.Unauthenticated:    "check the token of the context, or FLAGGERY_TOKEN",
}

// truth matches a parameter that is to be true.
var truth = regexp.MustCompile(`\b(cascade|force|prune)=true\b`)

// asFlags writes the parameters in a text as flags, unless the call takes parameters
// itself: --force for force=true.
func (c *call) asFlags(text string) string {
	if c.parameters {
		return text
	}
	return truth.ReplaceAllString(text, "--$1")
}

// flagOf is the flag of a parameter, which has its name, or the parameter itself.
func (c *call) flagOf(parameter string) string {
	if c.parameters {
		return parameter
	}
	return "--" + strings.ReplaceAll(parameter, "_", "-")
}

// failure gives the error of a call its exit status, and says what to do about it.
func (c *call) failure(err error) error {
	var problem *api.Problem
	if !errors.As(err, &problem) {
		return c.unanswered(err)
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
	if c.stores && problem.Code == "" && problem.Status >= http.StatusInternalServerError { // a proxy's
		detail += "; " + mayBeStored
	}
	for i, f := range problem.Errors {
		problem.Errors[i] = api.FieldError{Location: strings.TrimPrefix(f.Location, "body."), Message: clean(c.asFlags(f.Message))}
		if name, ok := strings.CutPrefix(f.Location, "query."); ok {
			problem.Errors[i].Location = c.flagOf(name)
		}
	}
	err = &model.Error{Code: problem.Code, Detail: clean(c.asFlags(detail)), Fields: problem.Errors}
	switch problem.Status {
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		return command.WithStatus(command.StatusRefused, err)
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return command.WithStatus(command.StatusUnreachable, err)
	}
	return err
}

// mayBeStored is about a change without an answer.
const mayBeStored = "the change may be stored: look at audit before you repeat it"

// unanswered says in plain words why a call got no answer, without the URL of the call.
func (c *call) unanswered(err error) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err
	}
	doubt := ""
	if c.stores && !unsent(err) {
		doubt = "; " + mayBeStored
	}
	admin := fmt.Sprintf("the admin%s (%s)", c.ofContext(), c.server.shownURL())
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted" + doubt)
	case failed.Timeout():
		err = fmt.Errorf("%s did not answer in time%s", admin, doubt)
	case doubt != "":
		err = fmt.Errorf("the connection to %s broke before the answer came (%w)%s", admin, cause(failed), doubt)
	default:
		err = fmt.Errorf("cannot reach %s: %w", admin, cause(failed))
	}
	return command.WithStatus(command.StatusUnreachable, err)
}

// unsent reports whether a call failed before there was a connection.
func unsent(err error) bool {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &network) && network.Op == "dial" || errors.As(err, &certificate)
}

// ofContext names the context of the admin, if there is one.
func (c *call) ofContext() string {
	if c.name == "" {
		return ""
	}
	return " of context " + c.name
}

// cause is why a connection failed, without the addresses.
func cause(err *url.Error) error {
	var system *os.SyscallError
	var network *net.OpError
	switch {
	case errors.As(err, &system):
		return system.Err
	case errors.As(err, &network):
		return network.Err
	}
	return err.Err
}
