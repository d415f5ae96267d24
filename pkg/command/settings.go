package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
)

// ParseSettings fills the flags of fs from args and, where an argument does not
// say, from the environment: --db-url is FLAGGERY_DB_URL there, or what the file
// holds that FLAGGERY_DB_URL_FILE names, which is how containers get secrets. It
// returns the arguments that are no flags, and all faults at once, each naming its
// setting. [flag.ErrHelp] is returned as it is.
func ParseSettings(fs *flag.FlagSet, args []string, getenv func(string) string) (rest []string, err error) {
	fs.SetOutput(io.Discard) // the caller prints, once
	fs.Usage = func() {}
	var faults []error
	for {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		args = fs.Args()
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if len(args) == 0 {
			break
		}
		rest, args = append(rest, args[0]), args[1:] // flags may follow
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	fs.VisitAll(func(f *flag.Flag) {
		variable := Variable(f.Name)
		value := getenv(variable)
		if path := getenv(variable + "_FILE"); value == "" && path != "" {
			text, err := os.ReadFile(path)
			if err != nil {
				faults = append(faults, fmt.Errorf("%s_FILE: %w", variable, err))
			}
			value = strings.TrimSpace(string(text))
		}
		if value != "" && !given[f.Name] {
			if err := fs.Set(f.Name, value); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", variable, err))
			}
		}
	})
	return rest, Faults(faults...)
}

// Variable is the environment variable of a flag.
func Variable(flagName string) string {
	return "FLAGGERY_" + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
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

// SettingsGroup is the outcome of ParseSettings, for the log. Secrets show as
// their types let them.
func SettingsGroup(fs *flag.FlagSet) slog.Attr {
	var attrs []any
	fs.VisitAll(func(f *flag.Flag) { attrs = append(attrs, slog.String(f.Name, f.Value.String())) })
	return slog.Group("settings", attrs...)
}

// Usage describes the flags of fs and their environment variables.
func Usage(fs *flag.FlagSet, w io.Writer) {
	fs.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  %s\n        %s", strings.TrimSpace("--"+f.Name+" "+value), usage)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintf(w, " [%s]\n", Variable(f.Name))
	})
}

const masked = "***"

// Secret is text that nothing prints. It is a [flag.Value].
type Secret string

// String hides the secret, in fmt, slog and everywhere else that asks.
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

// String is the URL as it may be shown.
func (d DatabaseURL) String() string {
	if d == "" {
		return ""
	}
	u, err := url.Parse(string(d))
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return masked // whatever it is, a password may be in it
	}
	u.Fragment = ""
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), masked)
	}
	if query := u.Query(); query.Has("password") {
		query.Set("password", masked)
		u.RawQuery = query.Encode()
	}
	shown, err := url.PathUnescape(u.String())
	if err != nil {
		return masked
	}
	return shown
}

// GoString hides the password from %#v.
func (d DatabaseURL) GoString() string { return d.String() }

// MarshalText hides the password in JSON and in slog's.
func (d DatabaseURL) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Set implements [flag.Value].
func (d *DatabaseURL) Set(text string) error { *d = DatabaseURL(text); return nil }
