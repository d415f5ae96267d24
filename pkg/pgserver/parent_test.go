package pgserver_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/flaggery/flaggery/pkg/pgserver"
)

// parentVariable makes the test program a parent that runs a server in the named
// folder until it is killed.
const parentVariable = "PGSERVER_TEST_PARENT"

func playParent(dir string) {
	s, err := pgserver.Start(context.Background(), pgserver.Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.URL("postgres"))
	select {}
}

// A killed program leaves no server running, and the next one starts in spite of
// its files in the folder.
func TestAKilledParent(t *testing.T) {
	t.Parallel()
	users := map[string]*syscall.Credential{"ourselves": nil}
	if os.Geteuid() == 0 {
		users["another user"] = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	for name, credential := range users {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t, credential)
			parent := exec.Command(copyProgram(t, dir))
			parent.Dir, parent.Env = dir, append(os.Environ(), parentVariable+"="+filepath.Join(dir, "server"))
			parent.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			kill := sync.OnceFunc(func() {
				if err := parent.Process.Kill(); err != nil {
					t.Error(err)
				}
				_ = parent.Wait() // the error says that it was killed
			})
			defer kill()
			lines := bufio.NewScanner(out)
			if !lines.Scan() {
				t.Fatal("the parent said nothing")
			}
			query(t, lines.Text(), `CREATE TABLE kept AS SELECT 42 AS n; SELECT ''`)
			kill()
			if runtime.GOOS != "linux" {
				return // only Linux ends a child with its parent
			}
			// It gets the folder's lock only when the last process of the old
			// server has ended.
			s := start(t, pgserver.Config{Dir: filepath.Join(dir, "server")})
			if got := query(t, s.URL("postgres"), `SELECT n FROM kept`); got != "42" {
				t.Errorf("read %s, want 42", got)
			}
		})
	}
}

// openDir is a temporary folder that the user can access and write to, unlike the
// folder of testing.T.
func openDir(t *testing.T, user *syscall.Credential) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgserver")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if user != nil {
		if err := os.Chown(dir, int(user.Uid), int(user.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// copyProgram copies the test program to a folder of which any user can run it.
func copyProgram(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "parent")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
