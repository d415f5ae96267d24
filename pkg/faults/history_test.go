package faults

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// watched is the prefix of the subjects whose answers are checked.
const watched = "w-"

// recordHistory makes a database record, in each transaction that commits a change,
// everything that flags depend on at that revision. It is pure SQL and shares no
// code with the programs, so it is an independent reference. The trigger runs at
// commit, when the transaction holds the state row and all of its work is done.
func recordHistory(t testing.TB, db *sql.DB) {
	t.Helper()
	mustExec(t, db, `
		CREATE TABLE faults_history (revision bigint PRIMARY KEY, state json NOT NULL);
		CREATE FUNCTION faults_record() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO faults_history SELECT NEW.revision, json_build_object(
				'features', (SELECT json_object_agg(f.name, json_build_object(
					'default', f.default_variant, 'variant', r.variant, 'proportion', r.proportion, 'buckets', r.buckets))
					FROM feature f LEFT JOIN rollout r ON r.feature = f.name),
				'tests', (SELECT json_agg(json_build_object('start', t.starts, 'end', t.ends, 'buckets', g.buckets,
					'variants', (SELECT json_object_agg(v.feature, v.variant) FROM abtest_variant v
						WHERE v.abtest = g.abtest AND v.abtest_group = g.name)))
					FROM abtest t JOIN abtest_group g ON g.abtest = t.name),
				'groups', (SELECT json_object_agg(g.name, json_build_object('priority', g.priority,
					'overrides', (SELECT json_object_agg(o.feature, o.variant) FROM override o WHERE o.group_id = g.id)))
					FROM subject_group g),
				'subjects', (SELECT json_object_agg(s.id, json_build_object('bucket', s.bucket_id,
					'groups', (SELECT json_agg(g.name) FROM member m JOIN subject_group g ON g.id = m.group_id
						WHERE m.subject_id = s.id)))
					FROM subject s WHERE s.id LIKE '`+watched+`%'));
			RETURN NULL;
		END $$;
		CREATE CONSTRAINT TRIGGER faults_record AFTER INSERT ON change DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION faults_record()`)
}

// state is the database at one revision.
type state struct {
	Features map[string]struct {
		Default    *string
		Variant    *string // of the rollout, nil for none
		Proportion float64
		Buckets    []int
	}
	Tests []struct { // one entry a test group
		Start, End time.Time
		Buckets    []int
		Variants   map[string]string
	}
	Groups map[string]struct {
		Priority  int
		Overrides map[string]string
	}
	Subjects map[string]struct {
		Bucket int
		Groups []string
	}
}

// unknown is the answer to an id that no subject has.
const unknown = "unknown"

// resolve is the resolution as docs/concepts.md describes it, step by step; later
// steps win. The answer is canonical text: "feature=variant …".
func (s *state) resolve(subject string, at time.Time) string {
	who, ok := s.Subjects[subject]
	if !ok {
		return unknown
	}
	flags := map[string]string{}
	for name, f := range s.Features {
		if f.Default != nil {
			flags[name] = *f.Default
		}
		if f.Variant != nil && slices.Contains(f.Buckets, who.Bucket) {
			flags[name] = *f.Variant
		}
	}
	for _, t := range s.Tests {
		if !at.Before(t.Start) && at.Before(t.End) && slices.Contains(t.Buckets, who.Bucket) {
			for feature, variant := range t.Variants {
				flags[feature] = variant
			}
		}
	}
	// The weakest group first, so that the strongest writes last.
	slices.SortFunc(who.Groups, func(a, b string) int {
		if p, q := s.Groups[a].Priority, s.Groups[b].Priority; p != q {
			return p - q
		}
		return strings.Compare(b, a)
	})
	for _, group := range who.Groups {
		for feature, variant := range s.Groups[group].Overrides {
			flags[feature] = variant
		}
	}
	return canonical(flags)
}

// canonical is a set of flags as text: equal flags give equal text.
func canonical(flags map[string]string) string {
	lines := make([]string, 0, len(flags))
	for feature, variant := range flags {
		lines = append(lines, feature+"="+variant)
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// readHistory yields each revision's state in order, and fails the test if a number
// is missing.
func readHistory(t testing.TB, db *sql.DB, each func(revision int64, s *state)) {
	t.Helper()
	rows, err := db.Query(`SELECT revision, state FROM faults_history ORDER BY revision`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	last := int64(0)
	for rows.Next() {
		var (
			revision int64
			text     []byte
			s        state
		)
		if err := rows.Scan(&revision, &text); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(fmt.Errorf("history of revision %d: %w", revision, err))
		}
		if revision != last+1 && last != 0 {
			t.Errorf("revisions %d to %d are missing", last+1, revision-1)
		}
		last = revision
		each(revision, &s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
