//go:build unix && !linux

package faults

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func dieWithParent(*syscall.SysProcAttr) {}

func memory(t testing.TB, pid int) int64 {
	t.Helper()
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	kb, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
