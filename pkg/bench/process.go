package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is the unit of CPU time in /proc, the same on every Linux that
// Go runs on.
const ticksPerSecond = 100

// cpuSeconds is the CPU time of a process, in user and kernel mode.
func cpuSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time is read from Linux's /proc: %w", err)
	}
	return parseCPU(stat)
}

func parseCPU(stat []byte) (float64, error) {
	// The second field is the program's name in parentheses, which may hold
	// anything; the state, the third one, comes after the last of them.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat has too few fields")
	}
	user, errU := strconv.ParseFloat(string(fields[11]), 64)
	system, errS := strconv.ParseFloat(string(fields[12]), 64)
	return (user + system) / ticksPerSecond, errors.Join(errU, errS)
}

// memory is the resident memory of a process, in bytes.
type memory struct{ Now, Peak int64 }

func residentMemory(pid int) (memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, fmt.Errorf("memory is read from Linux's /proc: %w", err)
	}
	return parseMemory(string(status))
}

func parseMemory(status string) (m memory, err error) {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		into := map[string]*int64{"VmRSS": &m.Now, "VmHWM": &m.Peak}[name]
		if into == nil {
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return m, fmt.Errorf("/proc/PID/status: %s: %w", name, err)
		}
		*into = kilobytes << 10
	}
	return m, nil
}

// resetPeak resets the peak to the present resident memory.
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// process is a server that the harness has started.
type process struct {
	cmd  *exec.Cmd
	addr string // host:port it serves HTTP on
	log  string // path of its output
	done chan struct{}
	ran  time.Duration // from its start until it was ready
}

// startServer starts a program that will serve HTTP on addr, and returns once
// it answers well at the path ready.
func startServer(ctx context.Context, logDir, name, addr, ready string, env []string, program string, args ...string) (*process, error) {
	p := &process{addr: addr, log: filepath.Join(logDir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	start := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // its log says how it ended
	}()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !answers(ctx, "http://"+addr+ready) {
		select {
		case <-tick.C:
		case <-p.done:
			return nil, fmt.Errorf("%s ended at once: %s", name, lastLines(p.log))
		case <-ctx.Done():
			p.stop()
			return nil, fmt.Errorf("%s does not answer at %s: %w: %s", name, ready, ctx.Err(), lastLines(p.log))
		}
	}
	p.ran = time.Since(start)
	return p, nil
}

func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode < http.StatusBadRequest
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process like an operator, and after a while by SIGKILL.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails if the process has ended, as wanted
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func lastLines(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

// callSelf runs a hidden command of this program in a process of its own: input
// goes to it, and its answer comes back, as JSON.
func callSelf[T any](ctx context.Context, command string, input any) (answer T, err error) {
	self, err := os.Executable()
	if err != nil {
		return answer, err
	}
	stdin, err := json.Marshal(input)
	if err != nil {
		return answer, err
	}
	cmd := exec.CommandContext(ctx, self, command)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return answer, fmt.Errorf("%s: %w: %s", command, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return answer, json.Unmarshal(stdout.Bytes(), &answer)
}
