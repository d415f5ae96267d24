package test

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const version = "v0.0.0-test"

// tools is the folder of all that the tests build.
var tools string

func TestMain(m *testing.M) {
	var err error
	if tools, err = os.MkdirTemp("", "flaggery-deploy-"); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(tools)
	os.Exit(status)
}

// build makes both programs, once, by the command of the Dockerfile itself.
var build = sync.OnceValue(func() error {
	dockerfile, err := os.ReadFile("../Dockerfile")
	if err != nil {
		return err
	}
	command := regexp.MustCompile(`RUN (CGO_ENABLED=0 (?:.*\\\n)*.*go build.*)`).FindSubmatch(dockerfile)
	if command == nil {
		return errors.New("the Dockerfile does not build")
	}
	c := exec.Command("sh", "-ec", strings.Replace(string(command[1]), "/out/", tools+"/", 1))
	c.Dir = "../.."
	c.Env = append(os.Environ(), "VERSION="+version)
	c.Stderr = os.Stderr
	return c.Run()
})

func program(t *testing.T, name string) string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(tools, name)
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	text, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, text)
	}
	return string(text)
}

// TestPrograms checks what the images rest on: nothing but the program is in them.
func TestPrograms(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"flaggery-admin", "flaggery-edge"} {
		path := program(t, name)
		if got, want := output(t, path, "--version"), name+" "+version+"\n"; got != want {
			t.Errorf("--version prints %q, want %q", got, want)
		}
		file, err := elf.Open(path)
		if err != nil {
			continue // no Linux
		}
		defer file.Close()
		if slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			t.Errorf("%s is linked dynamically", name)
		}
	}
}

var variable = regexp.MustCompile(`\[(FLAGGERY_[A-Z_]+)\]`)

// checkSettings reports variables that are not settings of the program, by the help of
// the command that args begin with.
func checkSettings(t *testing.T, name string, args, variables []string) {
	t.Helper()
	command := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.HasPrefix(arg, "-") })
	var known []string
	for _, match := range variable.FindAllStringSubmatch(output(t, program(t, name), append(command, "--help")...), -1) {
		known = append(known, match[1])
	}
	for _, v := range variables {
		if strings.HasPrefix(v, "FLAGGERY_") && !slices.Contains(known, v) && !slices.Contains(known, strings.TrimSuffix(v, "_FILE")) {
			t.Errorf("%s %v knows no setting %s", name, command, v)
		}
	}
}
