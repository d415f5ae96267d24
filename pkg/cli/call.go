package cli

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

// settings are those that verbs share.
type settings struct {
	context string
	url     string
	token   command.Secret
	format  string // of the output
	writing
}

// writing are the settings of verbs that write.
type writing struct {
	dryRun     bool
	yes        bool
	wait       time.Duration
	comment    string
	ifRevision int64
}

const defaultWait = 5 * time.Second

// connection declares the settings that select an admin.
func (s *settings) connection(fs *flag.FlagSet) {
	fs.StringVar(&s.context, "context", "", "`name` of the context, instead of the current one")
	fs.StringVar(&s.url, "url", "", "`URL` of an admin, instead of a context's")
	fs.Var(&s.token, "token", "`secret` of the token for --url, better set by the environment")
}

func (s *settings) declareFormat(fs *flag.FlagSet) {
	fs.StringVar(&s.format, "o", "table", "`format` of the output: table, json, yaml, name")
}

func (w *writing) declare(fs *flag.FlagSet) {
	fs.BoolVar(&w.dryRun, "dry-run", false, "check the change and show its effect, store nothing")
	w.declareYes(fs)
	fs.DurationVar(&w.wait, "wait", defaultWait, "`duration` to wait at most until all edges serve the change, up to 30s; 0s for not at all")
	fs.StringVar(&w.comment, "comment", "", "`text` with the reason, for the audit")
	fs.Int64Var(&w.ifRevision, "if-revision", 0, "`revision` of the resource as it was read: fail if it has changed since")
	fs.Lookup("if-revision").DefValue = ""
}

func (w *writing) declareYes(fs *flag.FlagSet) {
	fs.BoolVar(&w.yes, "yes", false, "do not ask, even if the context is protected")
}

// validate reports every setting at fault.
func (s *settings) validate() error {
	var faults []error
	switch s.format {
	case "table", "json", "yaml", "name", "":
	default:
		faults = append(faults, fmt.Errorf("-o must be table, json, yaml or name, is %q", s.format))
	}
	if s.wait < 0 || s.wait > 30*time.Second {
		faults = append(faults, fmt.Errorf("--wait must be between 0s and 30s, is %s", s.wait))
	}
	if s.ifRevision < 0 {
		faults = append(faults, fmt.Errorf("--if-revision must be positive, is %d", s.ifRevision))
	}
	if s.url != "" && s.context != "" {
		faults = append(faults, fmt.Errorf("FLAGGERY_CONTEXT (--context) %q and FLAGGERY_URL (--url) exclude each other: unset one", s.context))
	}
	if s.token != "" && s.context != "" {
		faults = append(faults, fmt.Errorf("FLAGGERY_TOKEN (--token) is for FLAGGERY_URL (--url), and context %q has its own: unset one", s.context))
	}
	return command.Faults(faults...)
}

// call is one run of a verb.
type call struct {
	*settings
	command.Environment
	admin  *flaggery.Admin
	name   string // of the context, "" without one
	server server
}

// connect selects the admin.
func (s *settings) connect(ctx context.Context, env command.Environment, opts ...flaggery.Option) (*call, error) {
	c := &call{settings: s, Environment: env, server: server{URL: s.url, Token: string(s.token)}}
	if s.url == "" {
		all, err := loadContexts()
		if err != nil {
			return nil, err
		}
		c.name = cmp.Or(s.context, all.Current)
		if c.name == "" {
			return nil, errNoAdmin
		}
		if c.server, err = all.find(c.name); err != nil {
			return nil, err
		}
	}
	token, err := c.server.secret(ctx)
	if err != nil {
		return nil, err
	}
	c.admin, err = flaggery.NewAdmin(c.server.URL, token, append(opts, flaggery.UserAgent("flaggery-admin/"+env.Version))...)
	if err != nil {
		return nil, command.WithStatus(command.StatusUsage, err)
	}
	return c, nil
}

// options are those of a write that is to be stored.
func (c *call) options() []flaggery.WriteOption {
	options := []flaggery.WriteOption{flaggery.Comment(c.comment), flaggery.Wait(c.wait)}
	if c.ifRevision > 0 {
		options = append(options, flaggery.IfMatch(api.ETag(c.ifRevision)))
	}
	return options
}

// parseMoment reads a time, or a duration that is so long ago. The zero time is none.
func parseMoment(setting, text string) (at time.Time, err error) {
	if text == "" {
		return at, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-ago), nil
	}
	at, err = time.Parse(time.RFC3339, text)
	if err != nil {
		err = command.Usagef("%s must be a time such as 2027-01-31T15:04:05Z or a duration such as 24h, which is so long ago, is %q", setting, text)
	}
	return at, err
}

var errNoAdmin = command.Usagef("which admin? Make a context with flaggery-admin context add NAME --url URL, or set FLAGGERY_URL and FLAGGERY_TOKEN")

var errDeclined = errors.New("not confirmed, nothing was changed")
