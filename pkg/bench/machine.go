package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// machine describes the hardware and software of a measurement.
type machine struct {
	date     time.Time
	cpu      string
	memory   string
	kernel   string
	golang   string
	postgres string
	commit   string
}

func describeMachine(ctx context.Context, db *sql.DB) (machine, error) {
	m := machine{
		date:   time.Now().UTC(),
		cpu:    fmt.Sprintf("%d × %s", runtime.NumCPU(), firstValue("/proc/cpuinfo", "model name", runtime.GOARCH)),
		memory: gibibytes(firstValue("/proc/meminfo", "MemTotal", "")),
		kernel: runtime.GOOS,
		golang: runtime.Version(),
		commit: commit(ctx),
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.kernel = "Linux " + strings.TrimSpace(string(release))
	}
	if err := db.QueryRowContext(ctx, `SHOW server_version`).Scan(&m.postgres); err != nil {
		return m, err
	}
	m.postgres, _, _ = strings.Cut(m.postgres, " ") // without the packager's own
	return m, nil
}

// firstValue finds "name : value" in a file of the kernel's.
func firstValue(path, name, otherwise string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}

func gibibytes(kilobytes string) string {
	n, err := strconv.ParseFloat(strings.TrimSuffix(kilobytes, " kB"), 64)
	if err != nil {
		return "memory unknown"
	}
	return fmt.Sprintf("%.0f GiB", n/(1<<20))
}

// commit is that of the checkout; outside of one, the program's own version.
func commit(ctx context.Context) string {
	hash, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=10", "HEAD").Output()
	if err != nil {
		if info, ok := debug.ReadBuildInfo(); ok {
			return info.Main.Version
		}
		return "unknown"
	}
	name := strings.TrimSpace(string(hash))
	if changes, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output(); err != nil || len(changes) > 0 {
		name += " with changes"
	}
	return name
}

func (m machine) String() string {
	return fmt.Sprintf("%s. %s, %s, %s, %s, PostgreSQL %s, commit %s.",
		m.date.Format("2006-01-02"), m.cpu, m.memory, m.kernel, m.golang, m.postgres, m.commit)
}
