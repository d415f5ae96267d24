package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnits makes systemd read the units, with the paths of the programs in this test, and
// checks that the programs have their settings.
func TestUnits(t *testing.T) {
	t.Parallel()
	units, err := filepath.Glob("../systemd/*.service")
	if err != nil || len(units) == 0 {
		t.Fatalf("units %v, %v", units, err)
	}
	admin := program(t, "flaggery-admin")
	dir := t.TempDir()
	verify := []string{"verify"}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		var variables, command []string
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch name {
			case "Environment":
				for setting := range strings.FieldsSeq(value) {
					variable, _, _ := strings.Cut(setting, "=")
					variables = append(variables, variable)
				}
			case "ExecStart":
				command = strings.Fields(value)
			}
		}
		if len(command) < 2 {
			t.Fatalf("%s starts %q", unit, command)
		}
		checkSettings(t, filepath.Base(command[0]), command[1:], variables)
		file := filepath.Join(dir, filepath.Base(unit))
		verify = append(verify, file)
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "/usr/local/bin", filepath.Dir(admin))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text := output(t, "systemd-analyze", verify...); text != "" {
		t.Errorf("systemd-analyze verify: %s", text)
	}
}
