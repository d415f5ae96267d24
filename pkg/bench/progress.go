package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progress shows the present stage on one line, or on a line each if the output is
// no terminal.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	start    time.Time
	stage    string
}

func newProgress(out *os.File) *progress {
	info, err := out.Stat()
	return &progress{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, start: time.Now()}
}

// next begins a stage, "3/17 get".
func (p *progress) next(stage string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stage = stage
}

func (p *progress) step(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf("%4.0fs  %-16s %s", time.Since(p.start).Seconds(), p.stage, what)
	if p.terminal {
		fmt.Fprintf(p.out, "\r\033[K%.110s", line)
	} else {
		fmt.Fprintln(p.out, line)
	}
}

// clear clears the line for other output.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, "\r\033[K")
	}
}
