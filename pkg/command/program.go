// Package command provides the frame of a program: commands and their help,
// settings from flags and environment variables, secrets that are never printed,
// and the log.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/flaggery/flaggery/pkg/model"
)

// Program is a command line program.
type Program struct {
	Name     string // "flaggery-admin"
	Summary  string
	Version  string // "" for the version of the build
	Commands []Command
}

// Command is one thing that a program does. Every command has the settings
// --log-level and --log-format.
type Command struct {
	Name string // "serve", or more words: "migrate up"
	// Arguments are those besides flags, one word each: [FILE] may be left out, ID… may
	// be repeated, on|off is one of these; "" for none.
	Arguments string
	Summary   string
	Service   bool // runs until it is stopped, and logs its settings at the start
	Private   bool // runs on a machine with a single user
	Flags     func(fs *flag.FlagSet)
	Once      []string     // flags of a single run: no variable sets them, as it would stay set for the next run
	Variables []string     // environment variables that it reads besides those of its flags
	Validate  func() error // checks the parsed settings; nil if there is nothing to check
	// Complete lists the values of an argument, by its word in Arguments ("FEATURE"), or
	// of a flag ("--stage"), for a shell, each maybe with a tab and a description; others
	// than those that begin with text are dropped. args are the arguments before it, and
	// the settings so far are parsed. It may be nil.
	Complete func(ctx context.Context, args []string, what, text string) []string
	Run      func(ctx context.Context, env Environment) error
}

// Environment is what a command gets to run with.
type Environment struct {
	Args    []string // without flags
	Version string
	Logger  *slog.Logger // to stderr
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
}

// Main runs the program and exits, with one of the statuses and one line on stderr if
// it failed. The first SIGINT, SIGTERM or SIGHUP ends the command's context, the
// second one the process. If the reader of its output is gone, a service goes on;
// other commands end, as Unix programs do.
func (p Program) Main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // which nohup asks for
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	env := Environment{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if p.isService(os.Args[1:]) {
		signal.Ignore(syscall.SIGPIPE) // a write to the log fails instead, and that line is lost
	}
	os.Exit(p.Execute(ctx, os.Args[1:], os.Environ(), env))
}

// Execute is Main without the process. environ has entries NAME=value. It returns
// the exit status.
func (p Program) Execute(ctx context.Context, args, environ []string, env Environment) int {
	env.Version = p.version()
	err := p.run(ctx, args, environ, env)
	if err == nil {
		return 0
	}
	status := statusOf(err)
	var refused *model.Error
	if errors.As(err, &refused) && len(refused.Fields) > 0 {
		err = errors.New(refused.Detail)
		defer func() {
			for _, f := range refused.Fields {
				fmt.Fprintf(env.Stderr, "  %s: %s\n", f.Location, f.Message)
			}
		}()
	}
	fmt.Fprintf(env.Stderr, "%s: %s\n", p.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	return status
}

func (p Program) run(ctx context.Context, args, environ []string, env Environment) error {
	switch {
	case slices.Contains(args, "--version"):
		return p.printVersion(ctx, env)
	case len(args) > 0 && strings.HasPrefix(args[0], "-") && !isHelp(args[0]): // args may hold a secret, so they are not shown
		return Usagef("the command comes first, then its settings, see %s --help", p.Name)
	}
	root := p.tree(environ, env)
	root.SetArgs(append([]string{}, args...)) // nil would be the arguments of the process
	return root.ExecuteContext(ctx)
}

func (p Program) printVersion(_ context.Context, env Environment) error {
	_, err := fmt.Fprintln(env.Stdout, p.Name, p.version())
	return err
}

// runCommand runs a command. args are the arguments behind its name.
func (p Program) runCommand(ctx context.Context, command *Command, args, environ []string, env Environment) error {
	unknown := unknownVariables(p.variables(), environ)
	var log logSettings
	fs := command.flagSet(&log)
	rest, err := parseSettings(fs, command.Once, args, environ)
	if errors.Is(err, flag.ErrHelp) {
		p.describe(env.Stdout, command)
		return nil
	}
	var misused error
	if err == nil {
		misused = command.checkArguments(rest)
	}
	logger, logErr := newLogger(env.Stderr, log.level, log.format)
	var invalid error
	if command.Validate != nil {
		invalid = command.Validate()
	}
	if err := Faults(err, misused, logErr, invalid); err != nil {
		if command.Service && misused == nil {
			return err // invalid settings
		}
		return WithStatus(StatusUsage, err)
	}
	for _, name := range unknown {
		logger.Warn("unknown variable in the environment", "variable", name)
	}
	if names := shownSecrets(fs, args); len(names) > 0 && !command.Private {
		logger.Warn("secrets were given as flags, which lists of processes show: set them by the environment, or by files (FLAGGERY_…_FILE)", "flags", strings.Join(names, " "))
	}
	if command.Service {
		logger.Info(p.Name+" "+command.Name, "version", env.Version, settingsGroup(fs))
		limitMemory(logger)
	}
	env.Args, env.Logger = rest, logger
	return command.Run(ctx, env)
}

// logSettings are the settings of every command.
type logSettings struct {
	level  slog.Level
	format string
}

// FlagSet returns the settings of the command, with their defaults.
func (c *Command) FlagSet() *flag.FlagSet { return c.flagSet(new(logSettings)) }

func (c *Command) flagSet(log *logSettings) *flag.FlagSet {
	fs := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	if c.Flags != nil {
		c.Flags(fs)
	}
	fs.TextVar(&log.level, "log-level", slog.LevelInfo, "lowest `level` to log: "+strings.Join(logLevels, ", "))
	fs.StringVar(&log.format, "log-format", "text", "`format` of the log: "+strings.Join(logFormats, ", "))
	return fs
}

// variables are those of all commands: containers of one program often share an
// environment.
func (p Program) variables() (names []string) {
	for i := range p.Commands {
		p.Commands[i].FlagSet().VisitAll(func(f *flag.Flag) {
			if !slices.Contains(p.Commands[i].Once, f.Name) {
				names = append(names, Variable(f.Name))
			}
		})
		names = append(names, p.Commands[i].Variables...)
	}
	return names
}

// memoryShare is the share of a container's memory for GOMEMLIMIT. The rest is for
// memory that Go's runtime does not count: kernel stacks, buffers of connections.
const memoryShare = 0.9

// limitMemory sets GOMEMLIMIT from the limit of the process's cgroup, if there is
// one and the environment does not set it.
func limitMemory(logger *slog.Logger) {
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare))
	switch {
	case err != nil:
		logger.Debug("the container's memory limit is unknown", "error", err) // as on every system without cgroups
	case limit > 0 && limit < math.MaxInt64:
		logger.Info("memory is limited", "gomemlimit", limit)
	}
}

// version is the one set by the linker, else that of the build information.
func (p Program) version() string {
	if p.Version != "" {
		return p.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
