package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// parseSettings fills the flags of fs from args and, if an argument does not say,
// from the environment, whose entries are NAME=value. --db-url is FLAGGERY_DB_URL
// there, or the content of the file named by FLAGGERY_DB_URL_FILE, which is how
// containers get secrets. Flags named in once are set by args alone. It returns the
// arguments that are no flags, and all faults at once, each with the name of its
// setting. [flag.ErrHelp] is returned as it is.
func parseSettings(fs *flag.FlagSet, once, args, environ []string) (rest []string, err error) {
	fs.SetOutput(io.Discard) // the caller prints, once
	fs.Usage = func() {}
	var invalid error // of the flag that fs.Parse ended at
	fs.VisitAll(func(f *flag.Flag) { f.Value = explained{f.Value, f.Name, &invalid} })
	var faults []error
	for {
		invalid = nil
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		args = fs.Args()
		switch {
		case invalid != nil:
			faults = append(faults, invalid)
			continue
		case err != nil:
			faults = append(faults, explainMisuse(fs, err))
			continue
		}
		if len(args) == 0 {
			break
		}
		rest, args = append(rest, args[0]), args[1:] // flags may follow
	}
	given, variables := map[string]bool{}, values(environ)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	fs.VisitAll(func(f *flag.Flag) {
		variable := Variable(f.Name)
		value := variables[variable]
		if path := variables[variable+fileSuffix]; value == "" && path != "" {
			text, err := os.ReadFile(path)
			if err != nil {
				faults = append(faults, fmt.Errorf("%s%s: %w", variable, fileSuffix, err))
			}
			value = strings.TrimSpace(strings.TrimPrefix(string(text), byteOrderMark))
		}
		if value != "" && !given[f.Name] && !slices.Contains(once, f.Name) {
			if err := fs.Set(f.Name, value); err != nil {
				faults = append(faults, fmt.Errorf("%s (--%s) %w, is %q", variable, f.Name, err, value))
			}
		}
	})
	return rest, Faults(faults...)
}

// explainMisuse is an error of a flag that does not exist with the most similar one, that of
// a flag without a value in plain words, and any other error as it is.
func explainMisuse(fs *flag.FlagSet, err error) error {
	if name, bare := strings.CutPrefix(err.Error(), "flag needs an argument: -"); bare {
		return fmt.Errorf("%s needs a value", dashed(name))
	}
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return err
	}
	var known []string
	fs.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	suggestion := ""
	if nearest := model.Nearest(name, known, suggestionDistance); len(name) > 1 && nearest != "" {
		suggestion = ", did you mean " + dashed(nearest) + "?"
	}
	return fmt.Errorf("%s: there is no flag %s%s, see --help", fs.Name(), dashed(name), suggestion)
}

const (
	variablePrefix = "FLAGGERY_"
	fileSuffix     = "_FILE"
	byteOrderMark  = "\xef\xbb\xbf" // which some editors prepend
)

// values are the variables of an environment, by name.
func values(environ []string) map[string]string {
	variables := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		variables[name] = value
	}
	return variables
}

// explained is a flag whose errors name the accepted values. invalid gets them with the name
// of the flag and the value: package flag adds words of its own.
type explained struct {
	flag.Value
	name    string
	invalid *error
}

// IsBoolFlag lets a boolean flag stand without a value.
func (e explained) IsBoolFlag() bool {
	b, ok := e.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// Get implements [flag.Getter].
func (e explained) Get() any {
	if getter, ok := e.Value.(flag.Getter); ok {
		return getter.Get()
	}
	return nil
}

// Set implements [flag.Value].
func (e explained) Set(text string) error {
	err := e.Value.Set(text)
	if err == nil {
		return nil
	}
	switch e.Get().(type) {
	case int, int64:
		err = errors.New("must be a whole number")
	case float64:
		err = errors.New("must be a number")
	case bool:
		err = errors.New("must be true or false")
	case time.Duration:
		err = errors.New("must be a duration such as 30s or 1h")
	case *slog.Level:
		err = errors.New("must be one of " + strings.Join(logLevels, ", "))
	}
	*e.invalid = fmt.Errorf("%s %w, is %q", dashed(e.name), err, text)
	return err
}

// unknownVariables lists the variables of an environment that begin with FLAGGERY_
// but are no setting, each with the most similar setting.
func unknownVariables(known, environ []string) (unknown []string) {
	for name, value := range values(environ) {
		setting := strings.TrimSuffix(name, fileSuffix)
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(known, setting) || isServiceLink(name, value) {
			continue
		}
		if nearest := model.Nearest(setting, known, maxMisspelling); nearest != "" {
			name += ", did you mean " + nearest + "?"
		}
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	return unknown
}

// maxMisspelling is how many letters of a misspelt name may be wrong.
const maxMisspelling = 4

// serviceLink matches the variables that Kubernetes sets in every container for a
// service named flaggery or flaggery-…; a port is recognised by its value.
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT\w*)$|_PORT_\d+_(TCP|UDP)(_PROTO|_PORT|_ADDR)?$`)

func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}

// Variable is the environment variable of a flag.
func Variable(flagName string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// CheckPort says what is wrong with the port that a service is to listen on; 0
// is any that is free.
func CheckPort(port int) error {
	if port < 0 || port > 65535 {
		return fmt.Errorf("FLAGGERY_PORT (--port) must be between 0 and 65535, is %d", port)
	}
	return nil
}

// Faults joins errors in one line.
func Faults(errs ...error) error {
	var texts []string
	for _, err := range errs {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}

// settingsGroup is the outcome of parseSettings, for the log. Secrets show as
// their types let them.
func settingsGroup(fs *flag.FlagSet) slog.Attr {
	var attrs []any
	fs.VisitAll(func(f *flag.Flag) { attrs = append(attrs, slog.String(f.Name, f.Value.String())) })
	return slog.Group("settings", attrs...)
}

// writeUsage describes the flags of fs and their environment variables, which those named
// in once have not.
func writeUsage(fs *flag.FlagSet, once []string, w io.Writer) {
	fs.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  %s\n        %s", strings.TrimSpace(dashed(f.Name)+" "+value), usage)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		if !slices.Contains(once, f.Name) {
			fmt.Fprintf(w, " [%s]", Variable(f.Name))
		}
		fmt.Fprintln(w)
	})
}

// shownSecrets are the flags among args that hold secrets. Arguments are visible to
// anyone who may list processes.
func shownSecrets(fs *flag.FlagSet, args []string) (names []string) {
	given := map[string]bool{}
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "-"); ok {
			name, _, _ = strings.Cut(strings.TrimPrefix(name, "-"), "=")
			given[name] = true
		}
	}
	fs.VisitAll(func(f *flag.Flag) {
		value := f.Value
		if wrapped, ok := value.(explained); ok {
			value = wrapped.Value
		}
		if s, ok := value.(interface{ secret() bool }); ok && given[f.Name] && s.secret() {
			names = append(names, f.Name)
		}
	})
	return names
}

const masked = "***"

// Secret is text that is never printed. It is a [flag.Value].
type Secret string

func (s Secret) secret() bool { return s != "" }

// String hides the secret from fmt, slog and every other user of [fmt.Stringer].
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret in JSON and in slog's.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Set implements [flag.Value].
func (s *Secret) Set(text string) error { *s = Secret(text); return nil }

// DatabaseURL is a postgres:// URL that prints without its password. It is a
// [flag.Value].
type DatabaseURL string

// shownParameters of a database URL are those that hold no secret.
var shownParameters = []string{
	"application_name", "connect_timeout", "host", "port", "search_path", "sslcert", "sslmode", "sslrootcert", "statement_timeout", "target_session_attrs", "user",
}

// unambiguous matches hosts, names and values of those parameters. Anything else
// may be a password that was not escaped.
var unambiguous = regexp.MustCompile(`^[A-Za-z0-9_.,:/\[\]-]*$`)

// String is the URL for display: only the parts that are known to be no secret.
func (d DatabaseURL) String() string {
	if d == "" {
		return ""
	}
	u, err := url.Parse(string(d))
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "" || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
		return masked // the text may hold a password, cut in two by a / or ?
	}
	text := u.Scheme + "://"
	if u.User != nil {
		text += safePart(u.User.Username())
		if _, has := u.User.Password(); has {
			text += ":" + masked
		}
		text += "@"
	}
	text += safePart(u.Host) + safePart(u.Path)
	separator := "?"
	for _, name := range shownParameters {
		if query := u.Query(); query.Has(name) {
			text += separator + name + "=" + safePart(query.Get(name))
			separator = "&"
		}
	}
	return text
}

func safePart(text string) string {
	if unambiguous.MatchString(text) {
		return text
	}
	return masked
}

func (d DatabaseURL) secret() bool {
	u, err := url.Parse(string(d))
	if err != nil {
		return true
	}
	_, has := u.User.Password()
	return has || u.Query().Has("password")
}

// GoString hides the password from %#v.
func (d DatabaseURL) GoString() string { return d.String() }

// MarshalText hides the password in JSON and in slog's.
func (d DatabaseURL) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Set implements [flag.Value].
func (d *DatabaseURL) Set(text string) error { *d = DatabaseURL(text); return nil }
