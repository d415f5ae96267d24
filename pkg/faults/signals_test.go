package faults

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// The reader of a service's log goes away, as `serve 2>&1 | head -1` does, and later
// the terminal. Serving goes on without the log, and SIGHUP drains.
func TestLogReaderGoesAway(t *testing.T) {
	t.Parallel()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // or under nohup the services would ignore it
	dbURL := pgtest.Open(t)
	for _, row := range []struct{ program, command, route string }{
		{"flaggery-admin", "serve", "/v1/features"},
		{"flaggery-edge", "serve", "/v1/subject/flags?subject_id=1"},
		{"flaggery-admin", "dev", "/v1/features"},
	} {
		t.Run(row.program+" "+row.command, func(t *testing.T) {
			t.Parallel()
			s := newService(t, row.program, "127.0.0.1", "FLAGGERY_DB_URL="+dbURL, "FLAGGERY_ADMIN_TOKEN="+token, "FLAGGERY_LOG_LEVEL=debug",
				"FLAGGERY_EDGE_PORT=0", "FLAGGERY_EMPTY=true", "FLAGGERY_DATA_DIR="+filepath.Join(t.TempDir(), "dev"))
			s.command = row.command
			log, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			s.out = out
			s.start()
			out.Close()
			line, err := bufio.NewReader(log).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("the only line of the log that anybody read: %s", line)
			log.Close()
			s.awaitReady(waitLimit)
			c := client{addr: s.addr, token: token, timeout: 5 * time.Second}
			defer c.close()
			for range 100 { // each is logged
				if a, err := c.get(row.route); err != nil || a.status >= 500 {
					t.Fatalf("status %d, error %v", a.status, err)
				}
			}
			t.Logf("100 requests answered, ended %.1f s after SIGHUP", s.endBy(syscall.SIGHUP).Seconds())
		})
	}
}

// `flaggery-admin export | head -1` ends quietly, as Unix programs do.
func TestExportReaderGoesAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(0)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	var stderr bytes.Buffer
	cmd := exec.Command(program(t, "flaggery-admin"), "export")
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{"FLAGGERY_DB_URL=" + f.url}, write, &stderr
	err = cmd.Run()
	write.Close()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGPIPE || bytes.Contains(stderr.Bytes(), []byte("flaggery-admin:")) {
		t.Errorf("%v: %s", err, stderr.Bytes())
	}
}
