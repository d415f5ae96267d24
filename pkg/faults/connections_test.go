package faults

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Other programs take all connections of PostgreSQL. Edges serve, even one that
// lost its own connection. The admin lists and revokes tokens, a superuser does so
// by the command line, and metrics and logs show the reason.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, "", map[string]string{"max_connections": "40", "superuser_reserved_connections": "5"})
	as := func(user string) string {
		return strings.Replace(db.url(), "postgres://postgres@", "postgres://"+user+"@", 1)
	}
	run := func(user string, args ...string) (string, error) {
		cmd := exec.Command(program(t, "flaggery-admin"), args...)
		cmd.Env = []string{"FLAGGERY_DB_URL=" + as(user), "FLAGGERY_EDGE_PASSWORD=secret", "FLAGGERY_ADMIN_PASSWORD=secret"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("postgres", "migrate", "up", "--create-edge-role", "flaggery_edge", "--create-admin-role", "flaggery_admin"); err != nil {
		t.Fatal(err, out)
	}
	f := newFixture(t, db.url())
	mustExec(t, f.db, `CREATE ROLE others LOGIN`)
	mustExec(t, f.db, `GRANT INSERT ON faults_history TO flaggery_admin`)
	f.newAdmin(as("flaggery_admin")).run()
	f.fill()
	edge := f.newEdge(as("flaggery_edge")).run()
	f.settled()
	operator := f.newToken("admin")
	var leaked []apiToken
	for range 8 {
		leaked = append(leaked, f.newToken("editor"))
	}

	stop := f.takeConnections(as("others"))
	reads := f.read(2, 2*time.Millisecond, edge)
	eventually(t, waitLimit, "the edge logs the reason", func() error {
		// Again if the edge was quicker than the others.
		mustExec(t, f.db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'flaggery_edge'`)
		if len(edge.log.grep("no connection left to listen to the database", "connection limit")) == 0 {
			return errors.New("it does not")
		}
		return nil
	})

	revoked := make(chan error)
	for _, l := range leaked {
		go func() {
			c := client{addr: f.admins[0].addr, token: operator.Token, timeout: 5 * time.Second}
			defer c.close()
			a, err := c.get("/v1/tokens")
			if err == nil && a.status == 200 {
				a, err = c.send("DELETE", fmt.Sprint("/v1/tokens/", l.ID), nil)
			}
			if err == nil && a.status >= 300 {
				err = fmt.Errorf("status %d: %s", a.status, a.body)
			}
			revoked <- err
		}()
	}
	for range leaked {
		if err := <-revoked; err != nil {
			t.Errorf("at the connection limit, a token is not revoked: %v", err)
		}
	}
	if !f.admins[0].ready() {
		t.Error("the admin is not ready at the connection limit")
	}
	m := scrape(t, f.admins[0])
	used, limit := m.sum("flaggery_admin_database_connections"), m.sum("flaggery_admin_database_connections_limit")
	if limit != 35 || used < limit {
		t.Errorf("metrics: %g connections of %g", used, limit)
	}
	if out, err := run("flaggery_admin", "token", "list"); err == nil || !strings.Contains(out, "PostgreSQL is at its connection limit") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run("postgres", "token", "list"); err != nil || !strings.Contains(out, operator.Token[:15]) {
		t.Errorf("a superuser cannot list tokens: %v: %s", err, out)
	}
	served := reads.next()
	f.noFailure("connection limit", served)
	stop()
	caughtUp := f.backInSync()
	answers := f.finish()
	measured(t, "PostgreSQL at its connection limit", figures{
		"connections": used, "limit": limit, "tokens_revoked": len(leaked), "requests": served.requests, "errors": served.failed,
		"caught_up_s": caughtUp, "answers_checked": answers,
	})
}

type apiToken struct {
	ID    int64
	Token string
}

func (f *fixture) newToken(role string) (token apiToken) {
	f.t.Helper()
	a := f.call("POST", "/v1/tokens", object{"name": role, "role": role})
	if err := json.NewDecoder(bytes.NewReader(a.body)).Decode(&token); err != nil {
		f.t.Fatal(err)
	}
	return token
}

// takeConnections takes every connection that is or becomes free, until stop is
// called. It returns once none is left.
func (f *fixture) takeConnections(dbURL string) (stop func()) {
	f.t.Helper()
	others := connect(f.t, dbURL)
	ctx, cancel := context.WithCancel(f.t.Context())
	full, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var taken []*sql.Conn
		for isFull := false; ctx.Err() == nil; {
			conn, err := others.Conn(ctx)
			if err == nil {
				taken = append(taken, conn)
			} else if !isFull {
				isFull = true
				close(full)
			}
		}
		for _, conn := range taken {
			_ = conn.Close()
		}
		_ = others.Close()
	}()
	<-full
	return func() { cancel(); <-ended }
}
