package main

import (
	"os"
	"testing"
)

func TestParseCPU(t *testing.T) {
	stat := "4242 (a program) with) S 1 4242 4242 0 -1 4194560 1 2 3 4 1234 66 7 8 20 0 9 0 100 200 300"
	if got, err := parseCPU([]byte(stat)); err != nil || got != 13 {
		t.Errorf("CPU = %v s, %v, want 13", got, err)
	}
	if _, err := parseCPU([]byte("4242 (short) S 1")); err == nil {
		t.Error("a short line passed")
	}
}

func TestParseMemory(t *testing.T) {
	m, err := parseMemory("Name:\tedge\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t9\n")
	if err != nil || m != (memory{Now: 1 << 20, Peak: 2 << 20}) {
		t.Errorf("memory = %+v, %v, want 1 and 2 MiB", m, err)
	}
	if _, err := parseMemory("VmRSS:\tmuch\n"); err == nil {
		t.Error("a word passed for a number")
	}
}

func TestOwnProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Log("no /proc: nothing to read here")
		return
	}
	used, err := cpuSeconds(os.Getpid())
	if err != nil || used < 0 {
		t.Errorf("CPU = %v, %v", used, err)
	}
	m, err := residentMemory(os.Getpid())
	if err != nil || m.Now <= 0 || m.Peak < m.Now {
		t.Errorf("memory = %+v, %v", m, err)
	}
}
