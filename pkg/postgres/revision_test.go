package postgres

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

func codeOf(err error) string { return string(model.CodeOf(err)) }

// count is the number that a query returns.
func count(t *testing.T, db *database, query string) (n int) {
	t.Helper()
	if err := db.pool.GetContext(t.Context(), &n, query); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPrune(t *testing.T) {
	t.Parallel()
	start := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	var now time.Time
	db := openWith(t, Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	for i := range 6 { // an hour apart; a subject is added and deleted
		now = start.Add(time.Duration(i) * time.Hour)
		kind := OfSubjects
		err := db.Write(ctx, func(tx *Tx) error {
			if i == 0 {
				kind = OfConfiguration
				if err := tx.InsertBuckets(ctx, 1, 1); err != nil {
					return err
				}
			} else if i%2 == 1 {
				if _, err := tx.InsertSubject(ctx, "s", 1); err != nil {
					return err
				}
			} else {
				s, err := tx.Subject(ctx, "s")
				if err != nil {
					return err
				}
				if err := tx.DeleteSubject(ctx, s); err != nil {
					return err
				}
			}
			return tx.Record(ctx, kind, []AuditRow{{Actor: "a", Action: "b", Resource: fmt.Sprint(i)}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		olderThan  time.Duration
		oldest     int
		tombstones int
	}{
		{10 * time.Hour, 1, 2},
		{3 * time.Hour, 3, 2}, // changes of exactly this age stay
		{150 * time.Minute, 4, 1},
		{-time.Hour, 6, 0}, // the last one always stays
	} {
		if err := db.Prune(ctx, c.olderThan); err != nil {
			t.Fatal(err)
		}
		oldest, tombstones := count(t, db, `SELECT min(revision) FROM change`), count(t, db, `SELECT count(*) FROM tombstone`)
		if oldest != c.oldest || tombstones != c.tombstones {
			t.Errorf("older than %s pruned: revision %d is the oldest and %d tombstones are left, want %d and %d",
				c.olderThan, oldest, tombstones, c.oldest, c.tombstones)
		}
	}
	if n := count(t, db, `SELECT count(*) FROM audit`); n != 6 {
		t.Errorf("%d audit rows are left", n)
	}
}

// Edges are notified at the commit of a write, and at no other time.
func TestRecordNotifies(t *testing.T) {
	t.Parallel()
	db := open(t)
	ctx := t.Context()
	notifications := make(chan bool, 10)
	go db.feed.Listen(ctx, func(announced bool) { notifications <- announced })
	if <-notifications {
		t.Error("notified before anything was written")
	}
	record := func(fail error) error {
		return db.Write(ctx, func(tx *Tx) error {
			if err := tx.Record(ctx, OfConfiguration, []AuditRow{{Actor: "a", Action: "b", Resource: "c", After: `{"a":1}`}}); err != nil {
				return err
			}
			return fail
		})
	}
	if err := record(fmt.Errorf("no")); err == nil {
		t.Error("the write went through")
	}
	if err := record(nil); err != nil {
		t.Fatal(err)
	}
	if !<-notifications {
		t.Error("not notified")
	}
	var rows []AuditEntry
	err := db.Read(ctx, func(tx *Tx) (err error) {
		rows, err = tx.AuditOf(ctx, 1)
		return err
	})
	want := AuditRow{Actor: "a", Action: "b", Resource: "c", After: `{"a":1}`}
	if err != nil || len(rows) != 1 || rows[0].AuditRow != want || rows[0].Revision != 1 {
		t.Errorf("audit %+v, error %v", rows, err)
	}
}

func TestEdgeRole(t *testing.T) {
	t.Parallel()
	db := open(t)
	ctx := t.Context()
	role := pgtest.NewRole(t, db.url)
	for range 2 { // the second time brings the existing role up to date
		if err := db.CreateRole(ctx, EdgeRights, role.Name, role.Password); err != nil {
			t.Fatal(err)
		}
	}
	may := func(table, privilege string) (allowed bool) {
		t.Helper()
		if err := db.pool.GetContext(ctx, &allowed, `SELECT has_table_privilege($1, $2, $3)`, role.Name, table, privilege); err != nil {
			t.Fatal(err)
		}
		return allowed
	}
	var tables []string
	err := db.pool.SelectContext(ctx, &tables, `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		secret := table == "token" || table == "audit" || table == "abtest_baseline" || table == "edge_seen" ||
			table == "revision" || table == "version" || table == "past_subject" || table == "past_member"
		if may(table, "SELECT") == secret {
			t.Errorf("may it read %s: %t", table, !secret)
		}
		if may(table, "INSERT, UPDATE, DELETE, TRUNCATE") {
			t.Errorf("it may write %s", table)
		}
	}
}

// What others write during a dry run makes it begin again, also if PostgreSQL finds it
// by a key.
func TestDryRunBeginsAgain(t *testing.T) {
	t.Parallel()
	db := open(t)
	change(t, db, true, `INSERT INTO bucket (id) VALUES (1)`,
		`INSERT INTO subject (id, weight, bucket_id, born, label) VALUES ('s', 1, 1, $label, $label)`,
		`INSERT INTO feature (name, revision) VALUES ('f', 1)`, `INSERT INTO variant (feature, name) VALUES ('f', 'A')`,
		`INSERT INTO subject_group (name, revision) VALUES ('g', 1)`)
	exec := func(statement string) func(*Tx) error {
		return func(tx *Tx) error { return tx.exec(t.Context(), "try", statement) }
	}
	const join = `INSERT INTO member (group_id, subject_id) SELECT id, 's' FROM subject_group`
	for _, c := range []struct {
		theirs string
		ours   func(*Tx) error
	}{
		{join, exec(join)}, // a key that is taken
		{`INSERT INTO feature (name, revision) VALUES ('new', 1)`, func(tx *Tx) error {
			return tx.InsertFeatures(t.Context(), []*model.Feature{{Name: "new", Tags: []string{}}})
		}},
		{`INSERT INTO subject_group (name, revision) VALUES ('new', 1)`, func(tx *Tx) error {
			return tx.InsertGroup(t.Context(), &Group{Group: model.Group{Name: "new"}})
		}},
		{`INSERT INTO subject (id, weight, bucket_id, born, label) VALUES ('new', 1, 1, $label, $label)`, func(tx *Tx) error {
			_, err := tx.InsertSubject(t.Context(), "new", 1)
			return err
		}},
		{`DELETE FROM variant`, exec(`INSERT INTO override (group_id, feature, variant) SELECT id, 'f', 'A' FROM subject_group`)}, // a reference that is gone
	} {
		tries, discard := 0, errors.New("nothing to keep")
		err := db.DryRun(t.Context(), func(tx *Tx) error {
			if tries++; tries > 1 {
				return discard
			}
			change(t, db, true, c.theirs)
			return c.ours(tx)
		})
		if tries != 2 || !errors.Is(err, discard) {
			t.Errorf("beside %s: %d tries, %v", c.theirs, tries, err)
		}
	}
	tries := 0
	err := db.DryRun(t.Context(), func(tx *Tx) error {
		tries++
		return tx.InsertGroup(t.Context(), &Group{Group: model.Group{Name: "new"}})
	})
	if tries != 2 || model.CodeOf(err) != model.GroupExists {
		t.Errorf("a group that there was before: %d tries, %v", tries, err)
	}
}
