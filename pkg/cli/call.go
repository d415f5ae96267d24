package cli

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

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
	formats []string
	flags   *flag.FlagSet // all of the verb's
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
	s.flags = fs
	fs.StringVar(&s.context, "context", "", "`name` of the context, instead of the current one")
	fs.StringVar(&s.url, "url", "", "`URL` of an admin, instead of a context's")
	fs.Var(&s.token, "token", "`secret` of the token for --url; better set by the environment")
}

// The formats of the output of a verb, the first unless set.
var (
	tableFormats = []string{"table", "json", "yaml", "name"}
	rawFormats   = []string{"raw", "json", "yaml"} // raw: as the admin sends it
)

func (s *settings) declareFormat(fs *flag.FlagSet, formats []string) {
	s.formats = formats
	fs.StringVar(&s.format, "o", formats[0], "`format` of the output: "+strings.Join(formats, ", "))
}

func (w *writing) declare(fs *flag.FlagSet) {
	fs.BoolVar(&w.dryRun, "dry-run", false, "check the change and show its effect, store nothing")
	w.declareYes(fs)
	fs.DurationVar(&w.wait, "wait", defaultWait, "maximum `duration` to wait until all edges serve the change, up to 30s; 0s does not wait")
	fs.StringVar(&w.comment, "comment", "", "`text` with the reason, for the audit")
}

func (w *writing) declareIfRevision(fs *flag.FlagSet) {
	fs.Int64Var(&w.ifRevision, "if-revision", 0, "`revision` that show printed: fail if the resource has changed since")
	fs.Lookup("if-revision").DefValue = ""
}

func (w *writing) declareYes(fs *flag.FlagSet) {
	fs.BoolVar(&w.yes, "yes", false, "do not ask, even if the context is protected")
}

// selecting are flags that select. An empty value would select everything, although a
// script that has an unset variable there meant something else.
var selecting = []string{"owner", "at", "with", "since", "actor", "feature", "resource", "stage", "state", "tag", "format", "variant"}

// visit calls a function with each flag that is set.
func (s *settings) visit(f func(*flag.Flag)) {
	if s.flags != nil { // those of contexts select no admin
		s.flags.Visit(f)
	}
}

// validate reports every setting at fault.
func (s *settings) validate() error {
	var faults []error
	if s.formats != nil && !slices.Contains(s.formats, s.format) {
		faults = append(faults, fmt.Errorf("-o must be one of %s, is %q", strings.Join(s.formats, ", "), s.format))
	}
	if s.wait < 0 || s.wait > 30*time.Second {
		faults = append(faults, fmt.Errorf("--wait must be between 0s and 30s, is %s", s.wait))
	}
	s.visit(func(f *flag.Flag) {
		switch {
		case f.Name == "if-revision" && s.ifRevision < 1:
			faults = append(faults, fmt.Errorf("--if-revision must be positive, is %d", s.ifRevision))
		case f.Value.String() == "" && slices.Contains(selecting, f.Name):
			faults = append(faults, fmt.Errorf("--%s must not be empty: leave it out, or give a value", f.Name))
		}
	})
	if s.url != "" && s.context != "" {
		faults = append(faults, fmt.Errorf("FLAGGERY_CONTEXT (--context) %q and FLAGGERY_URL (--url) exclude each other: unset one", s.context))
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
	stores bool // a call from now on stores a change, unless it fails

	parameters bool // the person gives parameters, not flags
}

// connect selects the admin.
func (s *settings) connect(ctx context.Context, env command.Environment, opts ...flaggery.Option) (*call, error) {
	c := &call{settings: s, Environment: env, server: server{URL: s.url, Token: strings.TrimSpace(string(s.token))}}
	from := "FLAGGERY_URL (--url)"
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
		if s.token != "" {
			return nil, command.Usagef("FLAGGERY_TOKEN (--token) is for FLAGGERY_URL (--url), which is not set, and context %s does not use it: set FLAGGERY_URL, or unset FLAGGERY_TOKEN", c.name)
		}
		from = "context " + c.name
	}
	token, err := c.server.secret(ctx)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(token, unicode.IsControl) {
		return nil, command.Usagef("%s: the token must be one line", from)
	}
	c.admin, err = flaggery.NewAdmin(c.server.URL, token, append(opts, flaggery.UserAgent("flaggery-admin/"+env.Version))...)
	if err != nil {
		return nil, command.Usagef("%s: %w", from, err)
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

// parseMoment reads a time, or how long ago it was. The zero time is none.
func parseMoment(setting, text string) (at time.Time, err error) {
	if text == "" {
		return at, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-ago), nil
	}
	at, err = time.Parse(time.RFC3339, text)
	if err != nil {
		err = command.Usagef("%s must be a time such as 2027-01-31T15:04:05Z, or how long ago it was, such as 24h, is %q", setting, text)
	} else if at.IsZero() {
		err = command.Usagef("%s must be later than %s", setting, text)
	}
	return at, err
}

var errNoAdmin = command.Usagef("which admin? Make a context with flaggery-admin context add NAME --url URL, choose one with flaggery-admin context use NAME, or set FLAGGERY_URL and FLAGGERY_TOKEN")

var errDeclined = errors.New("not confirmed, nothing was changed")
