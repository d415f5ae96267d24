package postgres

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jmoiron/sqlx"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
)

// database is a test's own database, as the writer and as an edge see it.
type database struct {
	*DB
	feed *Feed
	url  string
}

func open(t testing.TB) *database {
	t.Helper()
	return openWith(t, Options{})
}

func openWith(t testing.TB, o Options) *database {
	t.Helper()
	url := pgtest.Open(t)
	db, err := Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &database{db, newFeed(t, url), url}
}

func newFeed(t testing.TB, url string) *Feed {
	t.Helper()
	return newFeedWith(t, url, FeedOptions{Name: "test", Version: "v1.2.0"})
}

func newFeedWith(t testing.TB, url string, o FeedOptions) *Feed {
	t.Helper()
	feed, err := NewFeed(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = feed.Close() })
	return feed
}

// change makes one revision with statements. $label in them stands for its label.
func change(t testing.TB, db *database, config bool, statements ...string) {
	t.Helper()
	err := db.Write(t.Context(), func(tx *Tx) error {
		var label int64
		if err := tx.get(t.Context(), "draw a label", &label, `SELECT nextval('change_label')`); err != nil {
			return err
		}
		for _, s := range statements {
			if err := tx.exec(t.Context(), s, strings.ReplaceAll(s, "$label", fmt.Sprint(label))); err != nil {
				return err
			}
		}
		return tx.exec(t.Context(), "insert the change", `INSERT INTO change (revision, label, config, at) VALUES ($1, $2, $3, $4)`,
			tx.Revision, label, config, tx.Now)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// read is an update with its subjects as text, "a 1 [2 3]", after "new" or "gone".
type read struct {
	model.Update
	subjects []string
}

// update reads an update in both ways, whose results must be equal.
func update(t testing.TB, db *database, since model.Position) read {
	t.Helper()
	r, again := readBy(t, db.feed.Update, since), readBy(t, db.feed.stream, since)
	first, second := r.Update, again.Update
	first.Now, first.Received, first.Subjects = second.Now, second.Received, nil
	second.Subjects = nil
	if diff := cmp.Diff(first, second) + cmp.Diff(r.subjects, again.subjects); diff != "" {
		t.Fatalf("an update differs in a transaction (-without +within):\n%s", diff)
	}
	return r
}

func readBy(t testing.TB, by func(context.Context, model.Position, func(*model.Update) error) error, since model.Position) read {
	t.Helper()
	var r read
	err := by(t.Context(), since, func(u *model.Update) error {
		r.Update = *u
		if u.Subjects == nil {
			return nil
		}
		for s, err := range u.Subjects {
			if err != nil {
				return err
			}
			text := fmt.Sprintf("%s %d %v", s.ID, s.Bucket, s.Groups)
			if s.New {
				text = "new " + text
			}
			if s.Gone {
				text = "gone " + string(s.ID)
			}
			r.subjects = append(r.subjects, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r read) expect(t *testing.T, revision int64, full, config bool, subjects ...string) model.Position {
	t.Helper()
	slices.Sort(r.subjects)
	slices.Sort(subjects)
	if r.Revision != revision || r.Full != full || (r.Configuration != nil) != config || !slices.Equal(r.subjects, subjects) {
		t.Fatalf("got revision %d, full %v, configuration %v, subjects %q; want %d, %v, %v, %q",
			r.Revision, r.Full, r.Configuration != nil, r.subjects, revision, full, config, subjects)
	}
	return r.Position
}

func insertSubject(id string) string {
	return `INSERT INTO subject (id, weight, bucket_id, born, label) VALUES ('` + id + `', 1, 1, $label, $label)`
}

func deleteSubject(id string) string {
	return `WITH gone AS (DELETE FROM subject WHERE id = '` + id + `' RETURNING id, born)
		INSERT INTO tombstone (subject_id, born, label) SELECT id, born, $label FROM gone`
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	db := open(t)
	at := update(t, db, model.Position{}).expect(t, 0, true, true)
	update(t, db, at).expect(t, 0, false, false)

	change(t, db, true, `INSERT INTO bucket (id, subjects) VALUES (1, 3)`, insertSubject("a"), insertSubject("b"), insertSubject("q''é\\ u"))
	at = update(t, db, at).expect(t, 1, false, true, "new a 1 []", "new b 1 []", "new q'é\\ u 1 []")

	change(t, db, true, `INSERT INTO subject_group (name, revision) VALUES ('g1', 2), ('g2', 2)`)
	change(t, db, false, `INSERT INTO member (subject_id, group_id, since) VALUES ('b', 2, 0), ('b', 1, 0)`, `UPDATE subject SET label = $label WHERE id = 'b'`)
	change(t, db, false, deleteSubject("a"))
	last := update(t, db, at).expect(t, 4, false, true, "gone a", "b 1 [1 2]")

	// The reader never sees a subject that was created and deleted in between. One that
	// it knew and that was created again is deleted first.
	change(t, db, false, insertSubject("x"))
	change(t, db, false, deleteSubject("x"), deleteSubject("b"))
	change(t, db, false, insertSubject("b"), `UPDATE bucket SET subjects = 2`)
	r := update(t, db, last)
	if !slices.Equal(r.subjects, []string{"gone b", "new b 1 []"}) {
		t.Fatalf("a subject made again is read as %q", r.subjects)
	}
	here := r.expect(t, 7, false, false, "gone b", "new b 1 []")
	whole := update(t, db, model.Position{})
	whole.expect(t, 7, true, true, "b 1 []", "q'é\\ u 1 []")
	if whole.Count != 2 || whole.Position != here || here.At.IsZero() {
		t.Errorf("everything counts %d at %v, changes lead to %v", whole.Count, whole.Position, here)
	}
	if d := whole.Now.Sub(here.At); d < 0 || d > time.Minute {
		t.Errorf("the update was read %v after the change", d)
	}
}

// moving is a database that another writer changes behind each statement.
type moving struct {
	runner
	move func()
}

func (m moving) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	defer m.move()
	return m.runner.QueryContext(ctx, text, args...) //nolint:sqlclosecheck // the reader closes it
}

func (m moving) QueryRowxContext(ctx context.Context, text string, args ...any) *sqlx.Row {
	defer m.move()
	return m.runner.QueryRowxContext(ctx, text, args...)
}

// A small update takes several statements, but never mixes two states.
func TestSmallUpdateOfAMovingDatabase(t *testing.T) {
	t.Parallel()
	db := open(t)
	change(t, db, true, `INSERT INTO bucket (id, subjects) VALUES (1, 1)`, insertSubject("a"))
	for _, config := range []bool{false, true} {
		at := update(t, db, model.Position{}).Position
		write := func() { change(t, db, false, `UPDATE subject SET label = $label WHERE id = 'a'`) }
		if config {
			write = func() {
				change(t, db, true)
				if _, err := db.SQL().Exec(`UPDATE change SET label = NULL WHERE config`); err != nil { // it changed no subject
					t.Error(err)
				}
			}
		}
		write()
		for name, row := range map[string]struct {
			move func()
			read bool
		}{"still": {func() {}, true}, "moving": {write, false}} {
			u, err := db.feed.readSmall(t.Context(), querier{on: moving{db.feed.pool, row.move}}, at)
			if err != nil || (u != nil) != row.read {
				t.Errorf("configuration %v, %s: %v, %v", config, name, u, err)
			}
		}
	}
}

// Tokens change with each sign-in. Edges that require no token then read nothing, the
// others only tokens. Edges of earlier releases rely on config.
func TestUpdateOfTokens(t *testing.T) {
	t.Parallel()
	db := open(t)
	ctx := t.Context()
	authenticating := newFeedWith(t, db.url, FeedOptions{Name: "test", Tokens: true})
	var u *model.Update
	all := func(full *model.Update) error {
		u = full
		for range full.Subjects {
			t.Error("a subject")
		}
		return nil
	}
	record := func(kind Kind, token byte) {
		err := db.Write(ctx, func(tx *Tx) error {
			if err := tx.InsertToken(ctx, &auth.Token{Name: "app", Role: auth.ClientRole}, auth.TokenHash{token}); err != nil {
				return err
			}
			return tx.Record(ctx, kind, []AuditRow{{}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := authenticating.Update(ctx, model.Position{}, all); err != nil || u.Tokens == nil || len(u.Tokens) != 0 {
		t.Fatalf("of no tokens %v are read, %v", u.Tokens, err)
	}
	since := u.Position
	for i, row := range []struct {
		kind          Kind
		configuration bool // whether it is read
	}{
		{OfTokens, false},
		{OfTokens, false},
		{OfConfiguration, true},
		{OfTokens, true}, // the configuration changed since
	} {
		revision := i + 1
		record(row.kind, byte(revision))
		for _, feed := range []*Feed{db.feed, authenticating} {
			statements, want, tokens := 0, 1, 0
			if row.configuration || feed.tokens {
				want++
			}
			if feed.tokens {
				tokens = revision
			}
			u, err := feed.readSmall(ctx, querier{on: moving{feed.pool, func() { statements++ }}}, since)
			if err != nil || u.Revision != int64(revision) || (u.Configuration != nil) != row.configuration || len(u.Tokens) != tokens || statements != want {
				t.Errorf("revision %d: %d statements, %+v, %v", revision, statements, u, err)
			}
			var streamed *model.Update
			err = feed.stream(ctx, since, func(u *model.Update) error { streamed = u; return nil })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(u.Configuration, streamed.Configuration) + cmp.Diff(u.Tokens, streamed.Tokens); diff != "" {
				t.Errorf("revision %d differs in a transaction (-without +within):\n%s", revision, diff)
			}
		}
	}
	if n := count(t, db, `SELECT count(*) FROM change WHERE config`); n != 4 {
		t.Errorf("edges of earlier releases see %d changes", n)
	}
}

func TestUpdateOfEverythingWithGroups(t *testing.T) {
	t.Parallel()
	db := open(t)
	change(t, db, true, `INSERT INTO bucket (id, subjects) VALUES (1, 2)`, insertSubject("a"), insertSubject("b"),
		`INSERT INTO subject_group (name, revision) SELECT 'g' || i, 2 FROM generate_series(1, 12) i`,
		`INSERT INTO member (subject_id, group_id, since) VALUES ('b', 12, 0), ('b', 1, 0)`)
	update(t, db, model.Position{}).expect(t, 1, true, true, "a 1 []", "b 1 [1 12]")
	// Only a load may wait long for its rows: if the database stops answering right after
	// it, the edge must notice soon.
	if timeout := time.Duration(db.feed.dialer.readTimeout.Load()); timeout != answerTimeout {
		t.Errorf("after a load an answer may take %v", timeout)
	}
}

// TestUpdateOfMany reads an import, which is not in memory at once.
func TestUpdateOfMany(t *testing.T) {
	t.Parallel()
	db := open(t)
	change(t, db, true, `INSERT INTO bucket (id, subjects) VALUES (1, 1)`, insertSubject("1"),
		`INSERT INTO subject_group (name, revision) VALUES ('g1', 1), ('g2', 1)`)
	since := update(t, db, model.Position{}).Position
	change(t, db, false,
		fmt.Sprintf(`INSERT INTO subject (id, weight, bucket_id, born, label) SELECT i, 1, 1, $label, $label FROM generate_series(2, %d) i`, few+1),
		`UPDATE subject SET label = $label WHERE id = '1'`,
		`INSERT INTO member (subject_id, group_id, since) VALUES ('1', 2, 0), ('7', 2, 0), ('7', 1, 0)`)
	r := update(t, db, since)
	if len(r.subjects) != few+1 {
		t.Fatalf("%d subjects changed, want %d", len(r.subjects), few+1)
	}
	for _, want := range []string{"1 1 [2]", "new 7 1 [1 2]", "new 8 1 []"} {
		if !slices.Contains(r.subjects, want) {
			t.Errorf("no %q among what changed", want)
		}
	}
}

// Statistics from before an import show few subjects and memberships. Joining so many row
// by row would take minutes.
func TestUpdateOfManyAfterFew(t *testing.T) {
	const many = 40_000
	db := open(t)
	change(t, db, true, `INSERT INTO bucket (id) VALUES (1)`, `INSERT INTO subject_group (name, revision) VALUES ('g', 1)`,
		`INSERT INTO subject (id, weight, bucket_id, born, label) SELECT 'old-' || i, 1, 1, $label, $label FROM generate_series(1, 1000) i`,
		`INSERT INTO member (subject_id, group_id, since) SELECT 'old-' || i, id, 0 FROM subject_group, generate_series(1, 3) i`)
	before := update(t, db, model.Position{}).Position
	if _, err := db.SQL().Exec(`ANALYZE`); err != nil {
		t.Fatal(err)
	}
	change(t, db, false, fmt.Sprintf(`INSERT INTO subject (id, weight, bucket_id, born, label) SELECT 's-' || i, 1, 1, $label, $label FROM generate_series(1, %d) i`, many),
		fmt.Sprintf(`INSERT INTO member (subject_id, group_id, since) SELECT 's-' || i, id, 0 FROM subject_group, generate_series(1, %d) i`, many))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, since := range map[string]model.Position{"changed": before, "all": {}} {
		members := 0
		err := db.feed.Update(ctx, since, func(u *model.Update) error {
			for s, err := range u.Subjects {
				if err != nil {
					return err
				}
				members += len(s.Groups)
			}
			return nil
		})
		if err != nil || members != many && name == "changed" || members != many+3 && name == "all" {
			t.Errorf("%s: %d memberships, %v", name, members, err)
		}
	}
}

func TestUpdateReloads(t *testing.T) {
	t.Parallel()
	db := open(t)
	change(t, db, true, `INSERT INTO bucket (id) VALUES (1)`)
	for range 3 {
		change(t, db, false)
	}
	at := update(t, db, model.Position{}).Position
	for name, since := range map[string]model.Position{
		"another epoch":               {Epoch: "2e1b4c2e-0000-4000-8000-000000000000", Revision: at.Revision, At: at.At},
		"a revision that is to come":  {Epoch: at.Epoch, Revision: at.Revision + 1, At: at.At},
		"a history that was lost":     {Epoch: at.Epoch, Revision: at.Revision, At: at.At.Add(-time.Second)},
		"a history that was lost too": {Epoch: at.Epoch, Revision: at.Revision - 1, At: at.At},
	} {
		if r := update(t, db, since); !r.Full || r.Revision != at.Revision {
			t.Errorf("%s: full %v, revision %d", name, r.Full, r.Revision)
		}
	}
	if _, err := db.SQL().Exec(`DELETE FROM change WHERE revision = 2`); err != nil {
		t.Fatal(err)
	}
	if r := update(t, db, model.Position{Epoch: at.Epoch, Revision: 1}); !r.Full {
		t.Error("a change is missing, and the update is not a full one")
	}
	if r := update(t, db, model.Position{Epoch: at.Epoch, Revision: 2, At: at.At}); r.Full {
		t.Error("the change of the reader's own revision was pruned, and the update is a full one")
	}
}

func TestUpdateStopsAtTheReadersError(t *testing.T) {
	t.Parallel()
	db := open(t)
	change(t, db, true, `INSERT INTO bucket (id, subjects) VALUES (1, 2)`, insertSubject("a"), insertSubject("b"))
	refused := errors.New("refused")
	for _, since := range []model.Position{{}, {Epoch: update(t, db, model.Position{}).Epoch}} {
		n := 0
		err := db.feed.Update(t.Context(), since, func(u *model.Update) error {
			for range u.Subjects {
				n++
				break
			}
			return refused
		})
		if !errors.Is(err, refused) || n != 1 {
			t.Errorf("%v after %d subjects", err, n)
		}
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	db := open(t)
	elsewhere, err := Open(t.Context(), db.url+"&timezone=Asia/Kolkata", Options{}) // operators may set it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = elsewhere.Close() })
	change(t, db, true,
		`INSERT INTO bucket (id) SELECT generate_series(1, 12)`,
		`INSERT INTO feature (name, description, tags, revision) VALUES ('zeta', 'last', '{x,y}', 1), ('Alpha', '', '{}', 1)`,
		`INSERT INTO variant (feature, name, payload) VALUES ('zeta', 'b', NULL), ('zeta', '__DISABLE__', NULL), ('zeta', 'a', '{"n": 1.50}'), ('Alpha', 'on', '"x"')`,
		`UPDATE feature SET default_variant = '__DISABLE__' WHERE name = 'zeta'`,
		`INSERT INTO rollout (feature, variant, proportion, salt, buckets) VALUES ('zeta', 'a', 0.25, decode(repeat('01', 16), 'hex'), '{2,10,12}')`,
		`INSERT INTO abtest (name, starts, ends, salt, revision) VALUES ('t', '2027-01-01 12:00+02', '9999-12-31T23:59:59.999999Z', decode(repeat('02', 16), 'hex'), 5)`,
		`INSERT INTO abtest_group (abtest, position, name, proportion, buckets) VALUES ('t', 1, 'a', 0.5, '{1,2}'), ('t', 0, 'z', 0.5, '{}')`,
		`INSERT INTO abtest_variant (abtest, abtest_group, feature, variant) VALUES ('t', 'a', 'zeta', 'a'), ('t', 'z', 'zeta', 'b'), ('t', 'z', 'Alpha', 'on')`,
		`INSERT INTO subject_group (name, priority, revision) VALUES ('vip', -3, 7), ('empty', 0, 8)`,
		`INSERT INTO override (group_id, feature, variant) VALUES (1, 'zeta', 'b')`,
	)
	var c *model.Configuration
	err = elsewhere.Read(t.Context(), func(tx *Tx) (err error) {
		c, err = tx.Configuration(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &model.Configuration{
		Buckets: 12,
		Features: []model.Feature{
			{Name: "Alpha", Variants: []model.Variant{{Name: "on", Payload: json.RawMessage(`"x"`)}}, Revision: 1},
			{
				Name: "zeta", Description: "last", Tags: []string{"x", "y"}, Default: "__DISABLE__", Revision: 1,
				Variants: []model.Variant{{Name: "__DISABLE__"}, {Name: "a", Payload: json.RawMessage(`{"n": 1.50}`)}, {Name: "b"}},
				Rollout:  &model.Rollout{Variant: "a", Proportion: 0.25, Salt: model.Salt(bytes.Repeat([]byte{1}, 16)), Buckets: []model.BucketID{2, 10, 12}},
			},
		},
		Tests: []model.ABTest{{
			Name: "t", Salt: model.Salt(bytes.Repeat([]byte{2}, 16)), Revision: 5,
			Start: time.Date(2027, 1, 1, 10, 0, 0, 0, time.UTC), End: time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
			Groups: []model.TestGroup{
				{Name: "z", Proportion: 0.5, Variants: map[string]string{"Alpha": "on", "zeta": "b"}},
				{Name: "a", Proportion: 0.5, Variants: map[string]string{"zeta": "a"}, Buckets: []model.BucketID{1, 2}},
			},
		}},
		Groups: []model.Group{
			{ID: 2, Name: "empty", Revision: 8},
			{ID: 1, Name: "vip", Priority: -3, Overrides: map[string]string{"zeta": "b"}, Revision: 7},
		},
	}
	if diff := cmp.Diff(want, c, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if zone := c.Tests[0].Start.Location(); zone != time.UTC {
		t.Errorf("the test starts in the zone %s", zone)
	}
}

// The configuration of some features is the whole one without the others.
func TestConfigurationOf(t *testing.T) {
	t.Parallel()
	db := open(t)
	change(t, db, true,
		`INSERT INTO bucket (id) SELECT generate_series(1, 9)`,
		`INSERT INTO feature (name, revision) SELECT unnest('{a,b,c,d}'::text[]), 1`,
		`INSERT INTO variant (feature, name, payload) SELECT f.name, v, '{"n": 1.50}' FROM feature f CROSS JOIN unnest('{A,B}'::text[]) v`,
		`UPDATE feature SET default_variant = 'A', off = name = 'd'`,
		`INSERT INTO rollout (feature, variant, proportion, salt, buckets)
			SELECT name, 'B', 0.25, decode(repeat('01', 16), 'hex'), '{2,9}' FROM feature WHERE name <> 'c'`,
		`INSERT INTO abtest (name, starts, ends, salt, revision)
			SELECT unnest('{ab,c}'::text[]), '2027-01-01', '2028-01-01', decode(repeat('02', 16), 'hex'), 5`,
		`INSERT INTO abtest_group (abtest, position, name, proportion, buckets)
			SELECT t.name, i, 'g' || i, 0.5, '{1,2}' FROM abtest t CROSS JOIN generate_series(0, 1) i`,
		`INSERT INTO abtest_variant (abtest, abtest_group, feature, variant) SELECT abtest, name, unnest(string_to_array(abtest, NULL)), 'A' FROM abtest_group`,
		`INSERT INTO subject_group (name, priority, revision) VALUES ('bc', 1, 7), ('b', 2, 7), ('none', 0, 8)`,
		`INSERT INTO override (group_id, feature, variant) SELECT id, unnest(string_to_array(name, NULL)), 'B' FROM subject_group WHERE name <> 'none'`,
	)
	ctx := t.Context()
	for _, features := range [][]string{{"a"}, {"b"}, {"c"}, {"d"}, {"c", "b"}, {"a", "b", "c", "d"}, {"unknown", "a"}, {}} {
		err := db.Read(ctx, func(tx *Tx) error {
			all, err := tx.Configuration(ctx)
			if err != nil {
				return err
			}
			other := func(feature, _ string) bool { return !slices.Contains(features, feature) }
			want := &model.Configuration{Buckets: all.Buckets}
			for _, f := range all.Features {
				if !other(f.Name, "") {
					want.Features = append(want.Features, f)
				}
			}
			for _, test := range all.Tests {
				for _, g := range test.Groups {
					maps.DeleteFunc(g.Variants, other)
				}
				if len(test.Features()) > 0 {
					want.Tests = append(want.Tests, test)
				}
			}
			for _, g := range all.Groups {
				if maps.DeleteFunc(g.Overrides, other); len(g.Overrides) > 0 {
					want.Groups = append(want.Groups, g)
				}
			}
			for _, revision := range []int64{7, 5, 1, 0} { // at which it is known
				c, err := tx.Configuration(ctx)
				if err != nil {
					return err
				}
				c.Features = slices.DeleteFunc(c.Features, func(f model.Feature) bool { return f.Revision > revision })
				c.Tests = slices.DeleteFunc(c.Tests, func(t model.ABTest) bool { return t.Revision > revision })
				c.Groups = slices.DeleteFunc(c.Groups, func(g model.Group) bool { return g.Revision > revision })
				kept, err := json.Marshal(c)
				if err != nil {
					return err
				}
				got, err := tx.ConfigurationOf(ctx, features, KnownConfiguration{tx.Epoch, revision, c})
				if err != nil {
					return err
				}
				for i, f := range want.Features {
					if f.Revision > revision { // read, and so without payloads; what is known at 0 comes last
						want.Features[i].Variants = slices.Clone(f.Variants)
						for j := range f.Variants {
							want.Features[i].Variants[j].Payload = nil
						}
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("of %q, by way of %d (-want +got):\n%s", features, revision, diff)
				}
				if after, err := json.Marshal(c); err != nil || string(after) != string(kept) {
					t.Errorf("what was known has changed, from %s to %s, %v", kept, after, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestIntegerArrays(t *testing.T) {
	for text, want := range map[string]string{"{}": "[]", "{7}": "[7]", "{1,20,300}": "[1 20 300]", "{-1}": "error", "{NULL}": "error", "1,x": "error"} {
		var ids bucketIDs
		got := "error"
		if err := ids.Scan([]byte(text)); err == nil {
			got = fmt.Sprint(ids)
			if back, _ := ids.Value(); back != text {
				t.Errorf("%s comes back as %v", text, back)
			}
		}
		if got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

// BenchmarkLoad reads a million subjects, as a full load and as one import, without
// applying them.
func BenchmarkLoad(b *testing.B) {
	db := open(b)
	const n = 1_000_000
	before := update(b, db, model.Position{}).Position
	change(b, db, true, `INSERT INTO bucket (id) SELECT generate_series(1, 1000)`,
		fmt.Sprintf(`INSERT INTO subject (id, weight, bucket_id, born, label) SELECT 'subject-' || i, 1, 1 + i %% 1000, $label, $label FROM generate_series(1, %d) i`, n))
	if _, err := db.SQL().Exec(`ANALYZE`); err != nil {
		b.Fatal(err)
	}
	for name, since := range map[string]model.Position{"all": {}, "changed": before} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rows := 0
				err := db.feed.Update(b.Context(), since, func(u *model.Update) error {
					for _, err := range u.Subjects {
						if err != nil {
							return err
						}
						rows++
					}
					return nil
				})
				if err != nil || rows != n {
					b.Fatal(rows, err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkUpdate measures the cost of a change for one edge, and for 50 that query at
// once: by single statements, as Update does, and by the same statements in a transaction.
func BenchmarkUpdate(b *testing.B) {
	db := open(b)
	change(b, db, true, `INSERT INTO bucket (id) SELECT generate_series(1, 100)`,
		`INSERT INTO feature (name, revision) SELECT 'feature-' || i, 1 FROM generate_series(1, 20) i`,
		`INSERT INTO variant (feature, name) SELECT f.name, v FROM feature f, unnest('{on,off}'::text[]) v`,
		`INSERT INTO subject (id, weight, bucket_id, born, label) SELECT 'subject-' || i, 1, 1 + i % 100, $label, $label FROM generate_series(1, 10000) i`)
	if _, err := db.SQL().Exec(`ANALYZE`); err != nil {
		b.Fatal(err)
	}
	feeds := make([]*Feed, 50)
	for i := range feeds {
		feeds[i] = newFeed(b, db.url)
		feeds[i].listening.Store(true) // otherwise each also reports
	}
	for _, what := range []string{"nothing", "subject", "configuration"} {
		before := update(b, db, model.Position{}).Position
		switch what {
		case "subject":
			change(b, db, false, `UPDATE subject SET label = $label WHERE id = 'subject-7'`)
		case "configuration":
			change(b, db, true, `UPDATE feature SET description = 'd' WHERE name = 'feature-7'`)
		}
		for _, n := range []int{1, len(feeds)} {
			for way, read := range map[string]func(*Feed, context.Context, model.Position, func(*model.Update) error) error{
				"alone": (*Feed).Update, "transaction": inTransaction,
			} {
				b.Run(fmt.Sprintf("%s/%d/%s", what, n, way), func(b *testing.B) {
					all := func() {
						var reading sync.WaitGroup
						for _, feed := range feeds[:n] {
							reading.Go(func() {
								if err := read(feed, b.Context(), before, func(*model.Update) error { return nil }); err != nil {
									b.Error(err)
								}
							})
						}
						reading.Wait()
					}
					all() // connects
					all() // prepares
					for b.Loop() {
						all()
					}
				})
			}
		}
	}
}

func inTransaction(f *Feed, ctx context.Context, since model.Position, apply func(*model.Update) error) error { //nolint:revive // a method expression has the feed first
	return transact(ctx, f.pool, readOnly, func(q querier) error {
		u, err := f.readSmall(ctx, querier{q.on, &f.statements}, since)
		if err != nil {
			return err
		}
		return apply(u)
	})
}
