package dev

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/flaggery/flaggery/pkg/admin"
	"github.com/flaggery/flaggery/pkg/command"
	"github.com/flaggery/flaggery/pkg/web"
)

// Config are the settings of Run.
type Config struct {
	DataDir    string // holds the database and the token
	Host       string
	Port       int // of the admin; 0 for any that is free
	EdgePort   int // likewise
	Empty      bool
	AdminToken command.Secret // if empty, a random token is kept in DataDir

	Environment web.Environment
	Colour      string // a CSS colour

	Version string
	Logger  *slog.Logger
	// Out gets a description of the services and their addresses.
	Out io.Writer
	// Ready is called with the URLs of both services, once they listen and Out has
	// been written. It may be nil.
	Ready func(admin, edge string)
}

// Flags adds the settings to fs, with their defaults.
func (c *Config) Flags(fs *flag.FlagSet) {
	fs.StringVar(&c.DataDir, "data-dir", ".flaggery", "`folder` for the database and the token")
	fs.StringVar(&c.Host, "host", "127.0.0.1", "`address` to listen on")
	fs.IntVar(&c.Port, "port", 8080, "`port` of the admin, 0 for any that is free")
	fs.IntVar(&c.EdgePort, "edge-port", 8081, "`port` of the edge, 0 for any that is free")
	fs.BoolVar(&c.Empty, "empty", false, "start without sample data")
	fs.Var(&c.AdminToken, "admin-token", "`secret` for the admin, instead of one kept in the data folder")
	c.Environment = "development"
	c.Environment.Flags(fs)
	fs.StringVar(&c.Colour, "environment-colour", "seagreen", "CSS `colour` of this installation, shown in user interfaces")
}

// Validate reports every setting at fault.
func (c *Config) Validate() error {
	var faults []error
	if c.DataDir == "" {
		faults = append(faults, errors.New("--data-dir must not be empty"))
	}
	for _, port := range []struct {
		flag   string
		number int
	}{{"port", c.Port}, {"edge-port", c.EdgePort}} {
		if port.number < 0 || port.number > 65535 {
			faults = append(faults, fmt.Errorf("--%s must be between 0 and 65535, is %d", port.flag, port.number))
		}
	}
	if c.Port != 0 && c.Port == c.EdgePort {
		faults = append(faults, fmt.Errorf("--port and --edge-port are both %d", c.Port))
	}
	installation := admin.Installation{Environment: c.Environment, Colour: c.Colour}
	return command.Faults(append(faults, installation.Validate())...)
}

// keptToken reads the token from a file that only the current user can read, and
// creates one if there is none.
func keptToken(path string) (command.Secret, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		token := "dev_" + rand.Text()
		return command.Secret(token), os.WriteFile(path, []byte(token+"\n"), 0o600)
	}
	token := strings.TrimSpace(string(text))
	if err == nil && token == "" {
		err = fmt.Errorf("%s is empty: remove it, and the next start creates another token", path)
	}
	return command.Secret(token), err
}
