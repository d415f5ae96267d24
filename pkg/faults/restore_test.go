package faults

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgserver"
)

// documentedCommands are the commands of docs/operations.md for a backup, before
// and after the admins are stopped.
func documentedCommands(t *testing.T) (backUp, restore string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "**Backup and restore.**\n\n```sh\n")
	block, _, ended := strings.Cut(block, "```")
	backUp, restore, halves := strings.Cut(block, "# Stop all admins.")
	if !ended || !halves {
		t.Fatal("docs/operations.md has no commands to back up and restore")
	}
	return backUp, "#" + restore
}

// The documented commands back up and restore: changes after the backup are gone,
// the edge notices and serves the restored data without rejecting any of it, and no
// request fails meanwhile.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	backUp, restore := documentedCommands(t)
	postgres, err := pgserver.Programs()
	if err != nil {
		t.Fatal(err)
	}
	db := newDatabase(t, "", nil)
	dir := t.TempDir()
	run := func(commands string) {
		t.Helper()
		cmd := exec.Command("sh", "-eux", "-c", commands)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "FLAGGERY_DB_URL="+db.url(), "FLAGGERY_EDGE_PASSWORD=secret", "FLAGGERY_ADMIN_PASSWORD=secret",
			"PATH="+filepath.Dir(program(t, "flaggery-admin"))+":"+postgres+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", commands, err, out)
		}
	}
	run("flaggery-admin migrate up --create-edge-role flaggery_edge")
	f := newFixture(t, db.url()).start(0)
	admin := f.admins[0]
	edge := f.newEdge(strings.Replace(db.url(), "postgres://postgres@", "postgres://flaggery_edge:secret@", 1)).run()
	f.load(30)
	kept := f.revision()
	run(backUp)
	f.load(30)
	f.synced(waitLimit)
	reads := f.asking(2, 2*time.Millisecond, flagsOf, edge.addr)

	admin.terminate()
	reading, stop := context.WithCancel(t.Context())
	read := make(chan error, 1)
	go func() { read <- watchHistory(reading, f.db) }()
	began := time.Now()
	run(restore)
	restored := time.Since(began)
	stop()
	if err := <-read; err != nil {
		t.Error(err)
	}
	if got := f.revision(); got != kept {
		t.Fatalf("the restored database is at revision %d, the backup was made at %d", got, kept)
	}
	f.acked.Store(0)
	f.check = newChecker() // until now, the lost changes were the reference
	eventually(t, allow(catchUp), "the edge serves what was restored", servesExactly(edge, kept))
	noticed := time.Since(began) - restored
	if n := scrape(t, edge).sum("flaggery_edge_updates_refused_total"); n != 0 {
		t.Errorf("the edge refused %v updates while the backup was restored", n)
	}
	admin.run()
	f.read(2, time.Millisecond, edge)
	f.load(30)
	served := reads.next()
	f.noFailure("backup and restore", served)
	answers := f.finish()
	f.whole()
	measured(t, "database restored by the documented commands", figures{
		"restored_s": restored, "noticed_and_reloaded_s": noticed, "requests": served.requests, "errors": served.failed, "answers_checked": answers,
	})
}

// watchHistory reads the position until ctx is done, and returns an error if the
// revision goes back within an epoch: an edge that polls at that moment would
// reject the update.
func watchHistory(ctx context.Context, db *sql.DB) error {
	var (
		epoch    string
		revision int64
	)
	for ctx.Err() == nil {
		before, from := epoch, revision
		err := db.QueryRowContext(ctx, `SELECT epoch, revision FROM state`).Scan(&epoch, &revision)
		if err == nil && epoch == before && revision < from {
			return fmt.Errorf("the database went back from revision %d to %d within an epoch", from, revision)
		}
	}
	return nil
}
