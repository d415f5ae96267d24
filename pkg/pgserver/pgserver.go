// Package pgserver runs a PostgreSQL as a child process, for development and tests.
// It listens on 127.0.0.1 alone and trusts every connection: never use it in
// production.
package pgserver

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lib/pq"
)

const (
	host         = "127.0.0.1"
	pingInterval = 25 * time.Millisecond
	// startTimeout includes the end of an abandoned server and recovery after a
	// crash.
	startTimeout = 2 * time.Minute
	endTimeout   = time.Minute // of an abandoned server
	// lockTimeout bridges the moment in which a newly forked child still holds all
	// files of its parent.
	lockTimeout = 2 * time.Second
	stopTimeout = time.Minute
)

// ErrHeld is the error of Start if another program has the folder.
var ErrHeld = errors.New("another program runs a PostgreSQL in this folder")

// Config are the settings of a server.
type Config struct {
	// Dir belongs to the server: the database is in Dir/data and is kept between
	// starts, the log is Dir/postgres.log, and Dir/holder.pid is the program that runs
	// or ran the server. It is created if missing.
	Dir string
	// Port to listen on; 0 for a free one.
	Port int
	// Settings are PostgreSQL's own, as in postgresql.conf.
	Settings map[string]string
	// Log gets a record of slow steps; nil for none.
	Log *slog.Logger
}

// Server is a running PostgreSQL.
type Server struct {
	port    int
	process *process
	lock    *os.File // on the folder, for this program
	stop    sync.Once
	stopErr error
}

// Start starts a PostgreSQL and returns once it answers. The first start in a
// folder creates the database cluster. On Linux the server ends with this process,
// even if that is killed.
func Start(ctx context.Context, c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s, err := start(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL in %s: %w", c.Dir, err)
	}
	return s, nil
}

func start(ctx context.Context, c Config) (_ *Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	programs, err := Programs()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.Open(c.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	holder := filepath.Join(c.Dir, "holder.pid")
	err = awaitLock(ctx, lock, lockTimeout, ErrHeld)
	if errors.Is(err, ErrHeld) {
		pid, _ := os.ReadFile(holder) // it is missing if an earlier version holds the lock
		return nil, fmt.Errorf("%w (process %s): stop it or choose another folder", err, bytes.TrimSpace(pid))
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(holder, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return nil, err
	}
	if err := initialise(ctx, programs, c); err != nil {
		return nil, err
	}
	path := filepath.Join(c.Dir, "data")
	data, err := openData(path)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	// The server inherits this lock, so it lasts until the last of its processes
	// has ended. That is slightly longer than the other lock if the parent was
	// killed.
	if err := awaitLock(ctx, data.File, endTimeout, fmt.Errorf("a PostgreSQL whose parent was killed does not end: stop it with pg_ctl stop -D %s", path)); err != nil {
		return nil, err
	}
	if c.Port, err = freePort(c.Port); err != nil {
		return nil, err
	}
	logPath := filepath.Join(c.Dir, "postgres.log")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	args := []string{"-D", data.path, "-c", "listen_addresses=" + host, "-c", "port=" + strconv.Itoa(c.Port),
		"-c", "unix_socket_directories=", // no socket, so no folder for it
		// A client that connects while the server stops, and then sends nothing, holds up
		// its end for this long: a minute by default.
		"-c", "authentication_timeout=10s"}
	for name, value := range c.Settings {
		args = append(args, "-c", name+"="+value)
	}
	cmd := data.command(filepath.Join(programs, "postgres"), args...)
	cmd.Stdout, cmd.Stderr = log, log
	process, err := spawn(cmd)
	if err != nil {
		return nil, err
	}
	s := &Server{port: c.Port, process: process, lock: lock}
	if err := s.await(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: see %s: %s", err, logPath, lastLines(logPath)), s.Stop())
	}
	return s, nil
}

// await returns once the server answers.
func (s *Server) await(ctx context.Context) error {
	connector, err := pq.NewConnector(s.URL("postgres"))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for db.PingContext(ctx) != nil {
		select {
		case <-tick.C:
		case <-s.process.done:
			return errors.New("the server ended at once")
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", ctx.Err())
		}
	}
	return nil
}

// URL is the address of a database on the server, for its superuser. The
// database "postgres" always exists.
func (s *Server) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: net.JoinHostPort(host, strconv.Itoa(s.port)),
		Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Port is the port that the server listens on.
func (s *Server) Port() int { return s.port }

// Done is closed when the server has ended, for whatever reason.
func (s *Server) Done() <-chan struct{} { return s.process.done }

// Stop ends all sessions and the server, and returns when it has ended. Stopping
// twice is no error.
func (s *Server) Stop() error {
	s.stop.Do(func() {
		defer s.lock.Close()
		s.process.signal(syscall.SIGINT)
		select {
		case <-s.process.done:
		case <-time.After(stopTimeout):
			s.process.signal(syscall.SIGQUIT) // without a checkpoint: the next start recovers
			<-s.process.done
			s.stopErr = fmt.Errorf("PostgreSQL did not stop within %v and was sent SIGQUIT", stopTimeout)
		}
	})
	return s.stopErr
}

// Kill ends the server like a crash: at once, so the next start recovers.
func (s *Server) Kill() {
	s.process.signal(syscall.SIGKILL)
	<-s.process.done
	s.stop.Do(func() { s.lock.Close() })
}

// initialise creates the database cluster if there is none. It is built in another
// folder and renamed, so that an interrupted attempt is never used.
func initialise(ctx context.Context, programs string, c Config) error {
	final, aside := filepath.Join(c.Dir, "data"), filepath.Join(c.Dir, "data.new")
	if _, err := os.Stat(final); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.Log.Info("creating a PostgreSQL database", "dir", c.Dir)
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	if err := giveAway(aside); err != nil {
		return err
	}
	data, err := openData(aside)
	if err != nil {
		return err
	}
	defer data.Close()
	cmd := data.command(filepath.Join(programs, "initdb"), "-D", data.path,
		"-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	initdb, err := spawn(cmd)
	if err != nil {
		return err
	}
	select {
	case <-initdb.done:
	case <-ctx.Done():
		initdb.signal(syscall.SIGINT)
		<-initdb.done
		return ctx.Err()
	}
	if !cmd.ProcessState.Success() {
		return fmt.Errorf("initdb: %s: %s", cmd.ProcessState, bytes.TrimSpace(out.Bytes()))
	}
	return os.Rename(aside, final)
}

// awaitLock locks a file until all processes that have it open close it. If another
// process keeps the lock, the error is held.
func awaitLock(ctx context.Context, f *os.File, atMost time.Duration, held error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, atMost, held)
	defer cancel()
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return os.NewSyscallError("flock", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// freePort checks that the wanted port is free, or for 0 finds a free one. That one
// is below the range of outgoing connections: such a connection could take the port
// while the server is stopped, or even connect to itself.
func freePort(wanted int) (port int, err error) {
	const first, last, tries = 20000, 30000, 100
	for range tries {
		if port = wanted; port == 0 {
			port = first + rand.IntN(last-first)
		}
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
		if port == wanted {
			break
		}
	}
	return 0, err
}

// lastLines is the end of a log, on one line.
func lastLines(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}
