package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/command"
)

// contexts are the admins that a person works with, as the configuration file has
// them.
type contexts struct {
	Current  string            `json:"current,omitempty"`
	Contexts map[string]server `json:"contexts"`
}

// server is an admin and how to get a token for it: from one of the three, or from
// none if a proxy adds one.
type server struct {
	URL          string `json:"url"`
	Token        string `json:"token,omitempty"`
	TokenFile    string `json:"token_file,omitempty"`
	TokenCommand string `json:"token_command,omitempty"`
	Protected    bool   `json:"protected,omitempty"`
}

// contextsFile is the path of the configuration file.
func contextsFile() (string, error) {
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no folder for contexts: %w", err)
	}
	return filepath.Join(folder, "flaggery", "contexts.json"), nil
}

// loadContexts reads the configuration file. There are no contexts without one.
func loadContexts() (contexts, error) {
	all := contexts{Contexts: map[string]server{}}
	path, _ := contextsFile() // "" in a container without a home, which has no contexts
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return all, err
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return all, fmt.Errorf("%s: %w", path, err)
	}
	if err := checkMode(path, all); err != nil {
		return all, err
	}
	if all.Contexts == nil {
		all.Contexts = map[string]server{}
	}
	return all, nil
}

// shownURL is the URL without a password.
func (s server) shownURL() string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return "***"
	}
	return u.Redacted()
}

// hasSecret reports whether the file of contexts has a token or a password.
func (s server) hasSecret() bool { return s.Token != "" || s.shownURL() != s.URL }

// checkMode rejects a file with a token that others may read. Windows has no such mode.
func checkMode(path string, all contexts) error {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" {
		return err
	}
	for name, s := range all.Contexts {
		if s.hasSecret() && info.Mode().Perm()&0o077 != 0 {
			return fmt.Errorf("%s has the token of context %s, and its mode %#o lets others read it: run chmod 600 %[1]s, and replace the token if they may have", path, name, info.Mode().Perm())
		}
	}
	return nil
}

// save replaces the configuration file as a whole, so that no reader finds a part.
func (c contexts) save() error {
	path, err := contextsFile()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "contexts-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // if it was not renamed
	_, err = file.Write(append(text, '\n'))
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// find returns a context, or the error that lists all.
func (c contexts) find(name string) (server, error) {
	s, ok := c.Contexts[name]
	if !ok {
		names := strings.Join(slices.Sorted(maps.Keys(c.Contexts)), ", ")
		if names == "" {
			names = "none"
		}
		return s, command.Usagef("there is no context %q, there are: %s. Make one with flaggery-admin context add NAME --url URL", name, names)
	}
	return s, nil
}

// secret gets the token.
func (s server) secret(ctx context.Context) (string, error) {
	switch {
	case s.TokenFile != "":
		text, err := os.ReadFile(s.TokenFile)
		if err != nil {
			return "", fmt.Errorf("the context's token: %w", err)
		}
		return strings.TrimSpace(strings.TrimPrefix(string(text), "\xef\xbb\xbf")), nil
	case s.TokenCommand != "":
		var errs bytes.Buffer
		run := exec.CommandContext(ctx, "sh", "-c", s.TokenCommand)
		run.Stderr = &errs
		text, err := run.Output()
		if err != nil {
			said := strings.TrimSpace(errs.String())
			return "", fmt.Errorf("the context's token command: %w: %s", err, cmp.Or(said, "it says no more"))
		}
		return strings.TrimSpace(string(text)), nil
	}
	return s.Token, nil
}

const noToken = "none"

// tokenSource describes where the token comes from, without it.
func (s server) tokenSource() string {
	switch {
	case s.TokenFile != "":
		return "file " + s.TokenFile
	case s.TokenCommand != "":
		return "command" // which may have a secret in it
	case s.Token != "":
		return "stored"
	}
	return noToken
}
