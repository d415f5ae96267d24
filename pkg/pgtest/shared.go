package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/flaggery/flaggery/pkg/pgserver"
)

// How processes share a server: each process holds a shared lock on the file
// "users" until it ends. The server's keeper, a detached process, waits for the
// exclusive lock on that file. Once it has the lock, nobody uses the server or can
// begin to, and the keeper stops the server.

const (
	// keeperVariable makes a test program the keeper, see init. Its value is the
	// folder; the only argument is the duration to linger.
	keeperVariable = "FLAGGERY_PGTEST_KEEPER"
	// linger bridges the gap between the test processes of one run.
	linger = 10 * time.Second
)

// settings make a server fast, not safe: data of tests may be lost.
func settings() map[string]string {
	return map[string]string{
		"fsync":              "off",
		"synchronous_commit": "off",
		"full_page_writes":   "off",
		"max_connections":    "300",
		"shared_buffers":     "64MB",
		"max_wal_size":       "256MB", // it may lie in memory
		// In the folder, so that it is removed with it after a crash.
		"dynamic_shared_memory_type": "mmap",
	}
}

// lease is the right to use the shared server until the process ends.
type lease struct {
	users    *os.File // kept open to hold the lock
	url      string   // of the database "postgres"
	template string
	strategy string // option of CREATE DATABASE
}

// takeLease finds or starts the shared server. The first test of a process waits
// for it, the others get the same lease.
var takeLease = sync.OnceValues(func() (l lease, err error) {
	dir, err := userDir()
	if err != nil {
		return lease{}, err
	}
	if l.users, err = lockFile(filepath.Join(dir, "users"), syscall.LOCK_SH); err != nil {
		return lease{}, err
	}
	if l.url, err = findOrStart(dir, linger); err != nil {
		return lease{}, err
	}
	if l.strategy, err = copyStrategy(context.Background(), l.url); err != nil {
		return lease{}, err
	}
	l.template, err = makeTemplate(context.Background(), l.url)
	return l, err
})

func findOrStart(dir string, linger time.Duration) (string, error) {
	starting, err := lockFile(filepath.Join(dir, "starting"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer starting.Close()
	url, err := os.ReadFile(filepath.Join(dir, "url"))
	if err == nil && exec(context.Background(), string(url), "SELECT") == nil {
		return string(url), nil
	}
	return startKeeper(dir, linger)
}

// startKeeper runs this program once more as the keeper, in a session of its own,
// so that neither Ctrl-C nor the end of this process ends it.
func startKeeper(dir string, linger time.Duration) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := osexec.Command(program, linger.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), keeperVariable+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(out)
	if err = errors.Join(err, out.Close(), cmd.Process.Release()); err != nil {
		return "", err
	}
	url, ok := strings.CutPrefix(string(answer), "url ")
	if !ok {
		return "", errors.New(string(answer))
	}
	return url, nil
}

// A test program started as the keeper never runs its tests. A separate program
// would have to be built first.
func init() {
	dir := os.Getenv(keeperVariable)
	if dir == "" {
		return
	}
	linger, err := time.ParseDuration(os.Args[1])
	if err == nil {
		err = keep(dir, linger)
	}
	if err != nil {
		fmt.Print(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// keep starts the server, answers with its URL on the standard output, and
// stops it when nobody has used it for a while.
func keep(dir string, linger time.Duration) error {
	server := filepath.Join(dir, "server")
	if err := os.RemoveAll(server); err != nil { // of a keeper that was killed
		return err
	}
	s, err := pgserver.Start(context.Background(), pgserver.Config{Dir: server, Settings: settings()})
	if err != nil {
		return err
	}
	url, urlFile := s.URL("postgres"), filepath.Join(dir, "url")
	if err := os.WriteFile(urlFile, []byte(url), 0o600); err != nil {
		return errors.Join(err, s.Stop())
	}
	fmt.Print("url " + url)
	os.Stdout.Close()

	users, err := os.OpenFile(filepath.Join(dir, "users"), os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	defer users.Close() // last: until then nobody can take a lease
	unused := make(chan error, 1)
	go func() { unused <- waitUntilUnused(users, linger) }()
	select {
	case err = <-unused:
	case <-s.Done():
		return errors.New("it crashed") // the next process starts another one
	}
	return errors.Join(err, os.Remove(urlFile), s.Stop(), os.RemoveAll(server))
}

// waitUntilUnused returns with the exclusive lock once nobody has had a lease for a
// while.
func waitUntilUnused(users *os.File, linger time.Duration) error {
	for {
		if err := flock(users, syscall.LOCK_EX); err != nil {
			return err
		}
		if err := flock(users, syscall.LOCK_UN); err != nil {
			return err
		}
		time.Sleep(linger)
		if err := flock(users, syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
	}
}

// lockFile opens a file, creates it if missing, and locks it until it is closed.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f, how); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("flock "+f.Name(), err)
		}
	}
}

// userDir is the folder of the shared server. Its name is predictable, so it is
// used only if it belongs to us alone.
func userDir() (string, error) {
	dir := filepath.Join(tempDir(), fmt.Sprintf("flaggery-pgtest-%d", os.Geteuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !ok || info.Mode() != fs.ModeDir|0o700 || int(s.Uid) != os.Geteuid() {
		return "", fmt.Errorf("%s must be a folder that only this user can access: remove it", dir)
	}
	return dir, nil
}

// tempDir prefers memory: a database is made there in 10 ms, on a disk in 150.
func tempDir() string {
	const memory, room = "/dev/shm", 2 << 30
	var s syscall.Statfs_t
	if err := syscall.Statfs(memory, &s); err == nil && s.Bavail*uint64(s.Bsize) >= room {
		return memory
	}
	return os.TempDir()
}
