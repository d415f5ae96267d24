package pgserver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/flaggery/flaggery/pkg/pgserver"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentVariable); dir != "" {
		playParent(dir)
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, c pgserver.Config) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func query(t *testing.T, url, statement string) string {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var answer string
	if err := db.QueryRow(statement).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return answer
}

func TestDataIsKeptBetweenStarts(t *testing.T) {
	t.Parallel()
	for _, end := range []struct {
		name string
		end  func(*testing.T, *pgserver.Server)
	}{
		{"stopped", func(t *testing.T, s *pgserver.Server) {
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
		}},
		{"killed", func(_ *testing.T, s *pgserver.Server) { s.Kill() }},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			c := pgserver.Config{Dir: t.TempDir(), Settings: map[string]string{"max_connections": "17"}}
			s := start(t, c)
			if got := query(t, s.URL("postgres"), `SHOW max_connections`); got != "17" {
				t.Errorf("max_connections is %s, want the 17 that was set", got)
			}
			query(t, s.URL("postgres"), `CREATE TABLE kept AS SELECT 42 AS n; SELECT ''`)
			end.end(t, s)
			c.Port = s.Port()
			s = start(t, c)
			if got := query(t, s.URL("postgres"), `SELECT n FROM kept`); got != "42" {
				t.Errorf("read %s after a restart, want 42", got)
			}
			if s.Port() != c.Port {
				t.Errorf("port %d, want %d as asked for", s.Port(), c.Port)
			}
		})
	}
}

// Clients whose network froze connect, and never send anything.
func TestStopDoesNotWaitForSilentClients(t *testing.T) {
	t.Parallel()
	s := start(t, pgserver.Config{Dir: t.TempDir()})
	began, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var once sync.Once
		for {
			client, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())))
			if err != nil {
				return // it has stopped
			}
			defer client.Close()
			once.Do(func() { close(began) })
		}
	}()
	<-began
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	<-ended
}

func TestASecondServerInTheSameFolderIsRefused(t *testing.T) {
	t.Parallel()
	c := pgserver.Config{Dir: t.TempDir()}
	first := start(t, c)
	_, err := pgserver.Start(t.Context(), c)
	want := fmt.Sprintf("start PostgreSQL in %s: another program runs a PostgreSQL in this folder (process %d): stop it or choose another folder", c.Dir, os.Getpid())
	if err == nil || err.Error() != want {
		t.Fatalf("a second start in the same folder: got error %v, want %s", err, want)
	}
	query(t, first.URL("postgres"), `SELECT 1`)
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := pgserver.Config{Dir: t.TempDir()}

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pgserver.Start(cancelled, c); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while it created the cluster: got error %v", err)
	}

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c.Port = taken.Addr().(*net.TCPAddr).Port
	if _, err := pgserver.Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("port in use: got error %v", err)
	}

	c.Port, c.Settings = 0, map[string]string{"shared_buffers": "much"}
	if _, err := pgserver.Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers"`) {
		t.Errorf("a wrong setting: got error %v", err)
	}

	c.Settings = nil // the failed start left nothing that disturbs this one
	query(t, start(t, c).URL("postgres"), `SELECT 1`)
}

func TestMissingProgramsSayHowToInstallThem(t *testing.T) {
	t.Setenv("FLAGGERY_PG_BIN", t.TempDir())
	_, err := pgserver.Start(t.Context(), pgserver.Config{Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "FLAGGERY_PG_BIN") {
		t.Errorf("a folder without the programs: got error %v", err)
	}
}
