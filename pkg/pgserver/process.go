package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// process is a child process that can be waited for.
type process struct {
	*os.Process
	done chan struct{} // closed when it has ended
}

// spawn starts a command from a thread that lives as long as the process does:
// Linux sends the parent-death signal when the *thread* that forked ends.
func spawn(cmd *exec.Cmd) (*process, error) {
	started, done := make(chan error), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its log and cmd.ProcessState say how it ended
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return &process{cmd.Process, done}, nil
}

func (p *process) signal(sig syscall.Signal) {
	_ = p.Signal(sig) // fails if the process has ended, as wanted
}

// dataDir is a cluster's folder as seen by PostgreSQL's processes.
type dataDir struct {
	*os.File
	path       string
	credential *syscall.Credential // nil for our own user
}

// openData prepares for running PostgreSQL on a folder. PostgreSQL refuses to run
// as root, so root runs it as the folder's owner. That user may have no access to
// the parent folders (a checkout in /root), so on Linux the processes inherit the
// open folder and use it as path.
func openData(path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	d := &dataDir{File: file, path: path}
	if os.Geteuid() != 0 {
		return d, nil
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	owner := info.Sys().(*syscall.Stat_t)
	d.credential = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	if openFiles != "" {
		d.path = openFiles + "3" // after standard input, output and error
	}
	return d, nil
}

// command makes a command that works on the folder. It and its children have the
// folder open, and hold its lock, for as long as they run.
func (d *dataDir) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = "/" // the other user may have no access to ours
	cmd.ExtraFiles = []*os.File{d.File}
	// PostgreSQL has a process group of its own, so Ctrl-C reaches only this
	// program, which stops PostgreSQL last.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: d.credential}
	endWithParent(cmd.SysProcAttr)
	return cmd
}

// giveAway changes the owner of a new folder to the user who will run PostgreSQL:
// our own user or, if that is root, the user of the system's package, or else
// nobody.
func giveAway(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, errU := strconv.Atoi(u.Uid)
			gid, errG := strconv.Atoi(u.Gid)
			if err := errors.Join(errU, errG); err != nil {
				return fmt.Errorf("user %s: %w", name, err)
			}
			return os.Chown(path, uid, gid)
		}
	}
	return errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody to run it as")
}
