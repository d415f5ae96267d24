package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// waitLimit bounds the wait for anything that is not measured.
const waitLimit = 30 * time.Second

// service is one of the two programs, which a test starts, stops, freezes and
// kills. It keeps its address over a restart.
type service struct {
	t       testing.TB
	program string
	addr    string // its address for clients
	env     []string
	wrap    []string // command before the program: to run it in another network
	command string
	log     *logBuffer
	out     *os.File // takes the log instead, if it is not nil

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	life atomic.Int64 // how often it was started
}

// newService prepares a program that listens on a free port of host.
func newService(t *testing.T, name, host string, env ...string) *service {
	t.Helper()
	addr := freeAddr(t, host)
	_, port, _ := net.SplitHostPort(addr)
	s := &service{t: t, program: program(t, name), addr: addr, command: "serve", log: &logBuffer{}}
	s.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(),
		"FLAGGERY_HOST=" + host, "FLAGGERY_PORT=" + port, "FLAGGERY_ENABLE_PROMETHEUS=true",
		"GORACE=halt_on_error=1",
	}, env...)
	t.Cleanup(func() {
		s.cont()
		s.kill()
		s.log.check(t, name+" "+addr)
	})
	return s
}

// start starts the program and does not wait for it to be ready.
func (s *service) start() {
	s.t.Helper()
	args := append(append([]string{}, s.wrap...), s.program, s.command)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, s.log, s.log
	if s.out != nil {
		cmd.Stdout, cmd.Stderr = s.out, s.out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	done, started := make(chan struct{}), make(chan error)
	go func() {
		// Linux ties the child's life to this thread's, not to the process's.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the status is in ProcessState
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.cmd, s.done = cmd, done
	s.mu.Unlock()
	s.life.Add(1)
}

// run starts the program and returns once it is ready.
func (s *service) run() *service {
	s.t.Helper()
	s.start()
	s.awaitReady(waitLimit)
	return s
}

func (s *service) ready() bool {
	c := client{addr: s.addr, timeout: time.Second}
	defer c.close()
	a, err := c.get("/readyz")
	return err == nil && a.status == 200
}

func (s *service) awaitReady(limit time.Duration) time.Duration {
	s.t.Helper()
	began := time.Now()
	eventually(s.t, limit, s.program+" is ready", func() error {
		if s.ended() {
			s.t.Fatalf("%s ended: %s", s.program, s.log.tail())
		}
		if !s.ready() {
			return errors.New("not ready")
		}
		return nil
	})
	return time.Since(began)
}

func (s *service) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *service) pid() int { return s.cmd.Process.Pid }

func (s *service) signal(sig syscall.Signal) {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig) // fails if the process has ended, as wanted
	}
}

func (s *service) stop() { s.signal(syscall.SIGSTOP) }
func (s *service) cont() { s.signal(syscall.SIGCONT) }

// kill ends the program as a crash does.
func (s *service) kill() {
	if s.cmd == nil {
		return
	}
	s.signal(syscall.SIGKILL)
	<-s.done
}

// terminate asks the program to end and returns how long it took. Any exit
// status but 0 fails the test.
func (s *service) terminate() time.Duration {
	s.t.Helper()
	return s.endBy(syscall.SIGTERM)
}

func (s *service) endBy(sig syscall.Signal) time.Duration {
	s.t.Helper()
	began := time.Now()
	s.signal(sig)
	select {
	case <-s.done:
	case <-time.After(waitLimit + 5*time.Second):
		s.t.Errorf("%s did not end within %v of %v", s.program, waitLimit, sig)
		s.kill()
	}
	if !s.cmd.ProcessState.Success() {
		s.t.Errorf("%s ended with %v after %v: %s", s.program, s.cmd.ProcessState, sig, s.log.tail())
	}
	return time.Since(began)
}

// logBuffer keeps what a program wrote.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// grep is the lines that hold all of the words.
func (l *logBuffer) grep(words ...string) (found []string) {
lines:
	for line := range strings.Lines(l.String()) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		found = append(found, line)
	}
	return found
}

func (l *logBuffer) tail() string { return tail(l.String()) }

// tail is the last lines of a log.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-25):]
	for i, line := range lines {
		lines[i] = line[:min(len(line), 300)]
	}
	return strings.Join(lines, "\n")
}

// check fails the test for errors that no fault excuses, and shows the log if the
// test failed.
func (l *logBuffer) check(t *testing.T, name string) {
	for _, word := range []string{"DATA RACE", "panic:", "fatal error:", `msg="internal error"`} {
		if lines := l.grep(word); len(lines) > 0 {
			t.Errorf("%s: %d times %s in the log, first: %s", name, len(lines), word, lines[0])
		}
	}
	if t.Failed() {
		t.Logf("log of %s:\n%s", name, l.tail())
	}
}

// eventually repeats try until it returns no error.
func eventually(t testing.TB, limit time.Duration, what string, try func() error) {
	t.Helper()
	if err := within(limit, try); err != nil {
		t.Fatalf("%s: not within %v: %v", what, limit, err)
	}
}

// within is eventually, but returns the last error.
func within(limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// elapse lets a fault last for a while.
func elapse(d time.Duration) { <-time.After(d) }

// nextPort counts through ports that the system never assigns itself, so that a
// program's port is still free when it is restarted.
var nextPort atomic.Int64

func freeAddr(t testing.TB, host string) string {
	t.Helper()
	const first, count = 20000, 12000
	nextPort.CompareAndSwap(0, int64(os.Getpid()%count)+1)
	for range count {
		addr := net.JoinHostPort(host, fmt.Sprint(first+nextPort.Add(1)%count))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			l.Close()
			return addr
		}
		if host != "127.0.0.1" {
			return addr // in a network of its own, so it is free
		}
	}
	t.Fatal("no port is free")
	return ""
}
