package faults

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newBouncer starts a PgBouncer with its defaults in front of a server, and returns
// its address.
func newBouncer(t *testing.T, server, mode string) (addr string) {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer" // Debian's path, which is not in every PATH
	}
	_, err = os.Stat(path)
	needs(t, "PgBouncer", err == nil)
	addr = freeAddr(t, "127.0.0.1")
	_, port, _ := net.SplitHostPort(addr)
	_, serverPort, _ := net.SplitHostPort(server)
	file := filepath.Join(t.TempDir(), "pgbouncer.ini")
	config := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%s user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = %s
`, serverPort, port, mode)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{file}
	if os.Geteuid() == 0 {
		args = []string{"-u", "nobody", file} // it refuses to run as root
	}
	var log logBuffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log of PgBouncer:\n%s", log.tail())
		}
	})
	eventually(t, waitLimit, "PgBouncer listens", func() error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return addr
}

// PgBouncer in session mode works like a direct connection.
func TestPgBouncerBySession(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "", nil)
	pooled := through(t, db.url(), newBouncer(t, hostOf(t, db.url()), "session"))
	f := newFixture(t, db.url())
	f.newAdmin(pooled).run()
	f.fill() // with an import
	edge := f.newEdge(pooled, "FLAGGERY_POLL_INTERVAL=1h").run()
	f.settled()
	reads, writes := f.read(2, 2*time.Millisecond, edge), f.write(2, 5*time.Millisecond)
	elapse(fullOr(10*time.Second, 300*time.Millisecond))
	caughtUp := f.backInSync() // by notifications alone
	if a := f.call("GET", "/v1/edges", nil); !bytes.Contains(a.body, []byte(`"serving"`)) {
		t.Errorf("the admin does not know the edge: %s", a.body)
	}
	served, written := reads.next(), writes.next()
	f.noFailure("PgBouncer by session: reads", served)
	f.noFailure("PgBouncer by session: writes", written)
	answers := f.finish()
	measured(t, "PgBouncer, pool_mode=session", figures{
		"caught_up_s": caughtUp, "requests": served.requests, "writes": written.requests, "answers_checked": answers,
	})
}

// Behind PgBouncer in transaction mode no program works, and each error says what
// to do.
func TestPgBouncerByTransaction(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "", nil)
	pooled := through(t, db.url(), newBouncer(t, hostOf(t, db.url()), "transaction"))
	const says = "FLAGGERY_DB_URL leads through a pool that shares sessions, such as PgBouncer with pool_mode=transaction: set pool_mode=session"
	for _, args := range []string{"serve", "migrate up", "token list"} {
		cmd := exec.Command(program(t, "flaggery-admin"), strings.Fields(args)...)
		cmd.Env = []string{"FLAGGERY_DB_URL=" + pooled, "FLAGGERY_ADMIN_TOKEN=" + token, "FLAGGERY_PORT=0"}
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte(says)) {
			t.Errorf("%s: %v: %s", args, err, out)
		}
		t.Logf("flaggery-admin %s: %s", args, tail(string(out)))
	}
	f := newFixture(t, db.url())
	edge := f.newEdge(pooled)
	edge.start()
	eventually(t, waitLimit, "the edge logs why it is not ready, with its database", func() error {
		if lines := edge.log.grep("update failed", hostOf(t, pooled), says); len(lines) == 0 || edge.ready() {
			return errors.New("it does not")
		}
		return nil
	})
	t.Logf("flaggery-edge serve: %s", edge.log.grep("update failed")[0])
	edge.terminate()
}
