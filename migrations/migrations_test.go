package migrations_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

// Two branches that take the same number, or a migration without a way back,
// fail here before they meet a database.
func TestNumbers(t *testing.T) {
	names, err := fs.Glob(migrations.Files, "*")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^(\d{6})_([a-z0-9_]+)\.(down|up)\.sql$`)
	var want []string
	for i, name := range names { // in the order of their names: down, up, down, up, …
		m := form.FindStringSubmatch(name)
		if m == nil {
			t.Fatalf("%s: want a name like 000001_title.up.sql", name)
		}
		if number, _ := strconv.Atoi(m[1]); number != i/2+1 {
			t.Fatalf("%s: want number %06d here: numbers are consecutive, and each has one up and one down file", name, i/2+1)
		}
		want = append(want, fmt.Sprintf("%06d_%s.%s.sql", i/2+1, m[2], []string{"down", "up"}[i%2]))
	}
	if !slices.Equal(names, want) || len(names)%2 != 0 || len(names) == 0 {
		t.Errorf("files are %v: want an up and a down file of the same title for each number", names)
	}
}

func TestDownLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), open(t, pgtest.Empty(t))
	empty := objects(t, db)
	if err := migrations.Up(ctx, db); err != nil {
		t.Fatal(err)
	}
	full := objects(t, db)
	s, err := migrations.CurrentStatus(ctx, db)
	if err != nil || s.Err() != nil || s.Database == 0 {
		t.Fatalf("after up: status %+v, error %v", s, err)
	}
	// One by one, each way: a step that relies on another's is found.
	for version := s.Program; version > 0; version-- {
		if err := migrations.Down(ctx, db, 1); err != nil {
			t.Fatal(err)
		}
		if got, err := migrations.CurrentStatus(ctx, db); err != nil || got.Database != version-1 {
			t.Fatalf("down from version %d: status %+v, error %v", version, got, err)
		}
	}
	if got := objects(t, db); !slices.Equal(got, empty) {
		t.Errorf("after down the database holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(empty, "\n"))
	}
	if err := migrations.Down(ctx, db, 1); err == nil || !strings.Contains(err.Error(), "cannot revert 1 migrations of a schema at version 0") {
		t.Errorf("down from an empty database: got error %v", err)
	}
	if err := migrations.Up(ctx, db); err != nil {
		t.Fatal(err)
	}
	if got := objects(t, db); !slices.Equal(got, full) {
		t.Errorf("up, down and up again: the database holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(full, "\n"))
	}
}

func TestUpTogether(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	var all sync.WaitGroup
	for range 8 {
		db := open(t, url)
		all.Go(func() {
			if err := migrations.Up(t.Context(), db); err != nil {
				t.Error(err)
			}
			if err := db.Ping(); err != nil {
				t.Errorf("the caller's database after Up: %v", err)
			}
		})
	}
	all.Wait()
	if err := migrations.Check(t.Context(), open(t, url)); err != nil {
		t.Error(err)
	}
}

func TestCheckSaysWhatToDo(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Open(t))
	s, err := migrations.CurrentStatus(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, change, want string }{
		{"same", ``, ``},
		{"behind", `UPDATE schema_migrations SET version = version - 1`,
			fmt.Sprintf("at version %d, behind the program's version %d: run 'flaggery-admin migrate up'", s.Program-1, s.Program)},
		{"ahead", `UPDATE schema_migrations SET version = version + 2`,
			fmt.Sprintf("at version %d, ahead of the program's version %d: run a newer program", s.Program+1, s.Program)},
		{"dirty", `UPDATE schema_migrations SET version = version - 1, dirty = true`,
			fmt.Sprintf("failed halfway, at version %d (the program's is %d)", s.Program, s.Program)},
		{"empty", `DELETE FROM schema_migrations`, "at version 0, behind"},
		{"missing", `DROP TABLE schema_migrations`, "at version 0, behind"},
	} {
		if _, err := db.Exec(test.change); err != nil {
			t.Fatal(err)
		}
		err := migrations.Check(t.Context(), db)
		if test.want == "" && err == nil {
			continue
		}
		if err == nil || test.want == "" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.name, err, test.want)
		}
	}
}

func TestUpRefusesASchemaThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Open(t))
	for _, test := range []struct{ change, want string }{
		{`UPDATE schema_migrations SET dirty = true`, "failed halfway, at version"},
		{`UPDATE schema_migrations SET dirty = false, version = version + 1`, "ahead of the program's version"},
	} {
		if _, err := db.Exec(test.change); err != nil {
			t.Fatal(err)
		}
		if err := migrations.Up(t.Context(), db); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.change, err, test.want)
		}
	}
}

func TestUpEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := migrations.Up(ctx, open(t, pgtest.Empty(t))); err == nil {
		t.Error("Up with a cancelled context gave no error")
	}
}

// A session that only reads can hold tables for any time. A migration then fails
// before other sessions queue behind it, changes nothing, and can be run again.
func TestUpGivesWayToReaders(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Open(t))
	s, err := migrations.CurrentStatus(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrations.Down(t.Context(), db, int(s.Program)-6); err != nil { // the seventh alters feature
		t.Fatal(err)
	}
	reader, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback() }()
	tables := strings.Join(list(t, db, `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`), ", ")
	if _, err := reader.Exec(`LOCK TABLE ` + tables + ` IN ACCESS SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	before, err := migrations.CurrentStatus(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), db); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("error %v", err)
	}
	if s, err := migrations.CurrentStatus(t.Context(), db); err != nil || s != before || s.Dirty {
		t.Errorf("status %+v, %v; before %+v", s, err, before)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), db); err != nil {
		t.Error(err)
	}
}

// Without its scope a token must not be able to write more.
func TestDownDisarmsScopedTokens(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Open(t))
	s, err := migrations.CurrentStatus(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO token (name, role, prefix, hash, created_at, scope) VALUES
		('scoped', 'editor', '', sha256('scoped'), now(), '{a*}'), ('not', 'editor', '', sha256('not'), now(), '{}')`); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Down(t.Context(), db, int(s.Program)-12); err != nil { // the thirteenth adds scopes
		t.Fatal(err)
	}
	if got := list(t, db, `SELECT name || ' ' || role FROM token ORDER BY id`); !slices.Equal(got, []string{"scoped viewer", "not editor"}) {
		t.Error(got)
	}
}

// The schema explains itself in psql.
func TestEveryTableHasAComment(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Open(t))
	got := list(t, db, `
		SELECT relname FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
		  AND relname <> 'schema_migrations' -- not ours
		  AND obj_description(oid, 'pg_class') IS NULL`)
	if len(got) > 0 {
		t.Errorf("tables without a comment: %v", got)
	}
}

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// objects lists the objects of a schema, except the table of versions.
func objects(t *testing.T, db *sql.DB) []string {
	t.Helper()
	return list(t, db, `
		SELECT format('%s %s %s', d.classid::regclass, i.type, i.identity)
		FROM (
			SELECT 'pg_class'::regclass AS classid, oid FROM pg_class WHERE relnamespace = 'public'::regnamespace
			UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = 'public'::regnamespace
			UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace
			UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE connamespace = 'public'::regnamespace
			UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE NOT tgisinternal
			UNION ALL SELECT 'pg_extension'::regclass, oid FROM pg_extension
			UNION ALL SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger
			UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspname !~ '^pg_'
		) d, pg_identify_object(d.classid, d.oid, 0) i
		WHERE i.identity !~ 'schema_migrations'
		ORDER BY 1`)
}

func list(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
