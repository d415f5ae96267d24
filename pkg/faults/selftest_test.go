package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// The checker itself is checked: it accepts correct answers, and finds each kind of
// wrong answer of an edge.
func TestCheckerFindsLies(t *testing.T) {
	t.Parallel()
	db := connect(t, pgtest.Open(t))
	recordHistory(t, db)
	who := steady + "1"
	for _, statement := range []string{
		`INSERT INTO bucket (id) VALUES (1), (2);
		 INSERT INTO subject VALUES ('` + who + `', 1, 1, 1, 1);
		 INSERT INTO feature (name, revision) VALUES ('` + growing + `', 1), ('f', 1);
		 INSERT INTO variant VALUES ('` + growing + `', 'A'), ('f', 'X'), ('f', 'Y');
		 INSERT INTO rollout VALUES ('` + growing + `', 'A', 0.5, '0123456789abcdef', '{1}')`,
		`UPDATE feature SET default_variant = 'X' WHERE name = 'f'`,
		`INSERT INTO subject_group (name, priority, revision) VALUES ('low', 0, 3), ('a', 1, 3), ('b', 1, 3);
		 INSERT INTO override SELECT id, 'f', CASE name WHEN 'a' THEN 'Y' ELSE 'X' END FROM subject_group;
		 INSERT INTO member SELECT id, '` + who + `', 0 FROM subject_group`,
		`DELETE FROM rollout`,
	} {
		mustExec(t, db, `BEGIN; `+statement+`; UPDATE state SET revision = revision + 1;
			INSERT INTO change SELECT revision, revision, true, now() FROM state; COMMIT`)
	}
	truth := map[int64]string{1: growing + "=A", 2: "f=X " + growing + "=A", 3: "f=Y " + growing + "=A", 4: "f=Y"}
	const edge = "edge"
	now := moment{time.Now(), time.Now()}
	for _, c := range []struct {
		name, want string // want is part of the complaint; empty for none
		answers    func(c *checker)
	}{
		{"truth", "", func(c *checker) {
			for revision := int64(1); revision <= 3; revision++ {
				c.note(edge, c.floor(edge), revision, map[string]string{who: truth[revision], "w-nobody": unknown}, now)
			}
		}},
		{"older flags under a newer revision", "the history says", func(c *checker) {
			c.note(edge, 0, 2, map[string]string{who: truth[1]}, now)
		}},
		{"a subject that there is not", "the history says", func(c *checker) {
			c.note(edge, 0, 1, map[string]string{"w-nobody": truth[1]}, now)
		}},
		{"a batch of two revisions", "the history says", func(c *checker) {
			c.note(edge, 0, 3, map[string]string{who: truth[2], "w-nobody": unknown}, now)
		}},
		{"back in time", "went back", func(c *checker) {
			c.note(edge, 0, 3, map[string]string{who: truth[3]}, now)
			c.note(edge, c.floor(edge), 2, map[string]string{who: truth[2]}, now)
		}},
		{"a revision that never was", "never committed", func(c *checker) {
			c.note(edge, 0, 9, map[string]string{who: truth[3]}, now)
		}},
		{"nothing asked", "no answer", func(*checker) {}},
		{"thrown out of a growing rollout", "out of a rollout that grows", func(c *checker) {
			c.note(edge, 0, 3, map[string]string{who: truth[3]}, now)
			c.note(edge, 0, 4, map[string]string{who: truth[4]}, now)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			check := newChecker()
			c.answers(check)
			_, faults := check.verify(t, db)
			// That revision 4 removes the rollout is in the history of all of them.
			text := strings.ReplaceAll(strings.Join(faults, "\n"), "revision 4 took bucket 1 out of a rollout that grows", "")
			if (c.want == "") != (strings.TrimSpace(text) == "") || !strings.Contains(text, c.want) {
				t.Errorf("the checker says %q, want %q", text, c.want)
			}
			if len(faults) == 0 {
				t.Error("the shrunk rollout itself was not found")
			}
		})
	}
}

// A relay that drops notifications passes everything else on.
func TestRelayDropsNotifications(t *testing.T) {
	t.Parallel()
	url := pgtest.Open(t)
	r := pgtest.NewRelay(t, url)
	db := connect(t, r.URL())
	db.SetMaxOpenConns(1)
	mustExec(t, db, `LISTEN channel`)
	r.Mute.Store(true)
	mustExec(t, db, `NOTIFY channel`)
	var one int
	if err := db.QueryRow(`SELECT 1`).Scan(&one); err != nil || one != 1 {
		t.Fatal(one, err)
	}
	if r.Muted.Load() != 1 || r.Requests.Load() == 0 {
		t.Errorf("%d notifications dropped, %d requests seen", r.Muted.Load(), r.Requests.Load())
	}
}
