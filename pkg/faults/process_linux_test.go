package faults

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// dieWithParent makes the kernel kill the program when the tests are killed.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// memory is the resident memory of a process, in bytes.
func memory(t testing.TB, pid int) int64 { return statusField(t, pid, "VmRSS:") }

// peakMemory is the most that a process held while a fault lasted.
func peakMemory(t testing.TB, pid int, fault func()) int64 {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil { // forgets the peak so far
		t.Fatal(err)
	}
	fault()
	return statusField(t, pid, "VmHWM:")
}

func statusField(t testing.TB, pid int, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("no %s of process %d", name, pid)
	return 0
}
