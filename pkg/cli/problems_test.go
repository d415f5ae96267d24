package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
)

// exit runs a command that fails so, and returns the status and what it prints.
func exit(err error) (int, string) {
	var errs strings.Builder
	p := command.Program{Name: "things", Commands: []command.Command{{Name: "do", Run: func(context.Context, command.Environment) error {
		return (&call{name: "prod", server: server{URL: "http://admin"}}).failure(err)
	}}}}
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

func TestUnreachableAdmins(t *testing.T) {
	for want, err := range map[string]error{
		"connection refused": &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"no such host":       &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no such host")},
		"EOF":                io.EOF,
	} {
		_, text := exit(&url.Error{Op: "Put", URL: "http://admin/v1/state", Err: err})
		if want := "cannot reach the admin of context prod (http://admin): " + want + "\n"; text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

// A write whose answer does not come may be stored all the same. A dry run is none.
func TestAWriteWithoutAnAnswer(t *testing.T) {
	const admin = "the admin (URL)"
	type answer func(w http.ResponseWriter, end context.CancelCauseFunc)
	interrupt := func(_ http.ResponseWriter, end context.CancelCauseFunc) { end(nil) }
	hang := func(_ http.ResponseWriter, end context.CancelCauseFunc) { end(context.DeadlineExceeded) }
	cut := func(http.ResponseWriter, context.CancelCauseFunc) { panic(http.ErrAbortHandler) }
	cutBody := func(w http.ResponseWriter, _ context.CancelCauseFunc) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "{")
	}
	proxy := func(w http.ResponseWriter, _ context.CancelCauseFunc) { w.WriteHeader(http.StatusBadGateway) }
	for _, row := range []struct {
		args   string
		answer answer
		status int
		want   string
	}{
		{"feature on a", interrupt, 1, "interrupted; " + mayBeStored},
		{"feature on a --dry-run", interrupt, 1, "interrupted"},
		{"feature show a", interrupt, 1, "interrupted"},
		{"api PATCH /v1/features/a", interrupt, 1, "interrupted; " + mayBeStored},
		{"feature on a", hang, 5, admin + " did not answer in time; " + mayBeStored},
		{"feature show a", hang, 5, admin + " did not answer in time"},
		{"feature on a", cut, 5, "the connection to " + admin + " broke before the answer came (EOF); " + mayBeStored},
		{"feature on a", cutBody, 5, "the connection to " + admin + " broke before the answer came (read the answer: unexpected EOF); " + mayBeStored},
		{"feature on a --dry-run", cut, 5, "cannot reach " + admin + ": EOF"},
		{"feature on a", proxy, 5, "answered 502 Bad Gateway, but not by Flaggery: is the base URL right?; " + mayBeStored},
		{"feature show a", proxy, 5, "answered 502 Bad Gateway, but not by Flaggery: is the base URL right?"},
	} {
		ctx, end := context.WithCancelCause(t.Context())
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("dry_run") && !strings.Contains(row.args, "--dry-run") {
				fmt.Fprint(w, `{"dry_run": true, "result": {}}`)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client is gone
			row.answer(w, end)
			if ctx.Err() != nil {
				<-r.Context().Done() // the client gets no answer
			}
		}))
		var errs strings.Builder
		p := command.Program{Name: "things", Commands: Commands()}
		status := p.Execute(ctx, strings.Fields(row.args), []string{"FLAGGERY_URL=" + server.URL}, command.Environment{Stdout: io.Discard, Stderr: &errs})
		if text := strings.ReplaceAll(errs.String(), server.URL, "URL"); status != row.status || text != "things: "+row.want+"\n" {
			t.Errorf("%s: status %d: %s", row.args, status, text)
		}
		end(nil)
		server.Close()
	}
}

func TestProblemsSayWhatToDo(t *testing.T) {
	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, problem := range map[string]*api.Problem{
		"feature a has 2 variants; add --cascade to delete them too\n": {Code: api.FeatureHasVariants, Detail: "feature a has 2 variants"},
		"changed (anna changed it at 2027-01-02T03:04:05Z, revision 7); show it again, then repeat with its revision as --if-revision\n": {
			Code: api.PreconditionFailed, Detail: "changed", Extension: api.Extension{Changed: &api.Changed{Revision: 7, At: at, Actor: "anna"}},
		},
		"overlap; test b has c, d from 2027-01-02T03:04:05Z to 2027-01-02T04:04:05Z\n": {
			Code: api.ABTestOverlap, Detail: "overlap",
			Extension: api.Extension{Conflicts: []api.Conflict{{Test: "b", Features: []string{"c", "d"}, Start: at, End: at.Add(time.Hour)}}},
		},
		"invalid\n  --expect-deleted: must be 1\n":     {Detail: "invalid", Errors: []api.FieldError{{Location: "query.expect_deleted", Message: "must be 1"}}},
		"invalid\n  name: is bad\n  --since: is bad\n": {Detail: "invalid", Errors: []api.FieldError{{Location: "body.name", Message: "is bad"}, {Location: "query.since", Message: "is bad"}}},
		"b is managed by c: take over with --force\n":  {Detail: "b is managed by c: take over with force=true"},
		"a [2J b\n": {Detail: "a\x1b[2J\nb"},
	} {
		if _, text := exit(problem); text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}
