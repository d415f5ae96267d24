package postgres

import (
	"strings"
	"testing"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// The schema itself rejects what the code rejects, so that no other program can store
// invalid data.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	db := open(t)
	ctx := t.Context()
	salt := `'\x000102030405060708090a0b0c0d0e0f'`
	for _, statement := range []string{
		`INSERT INTO bucket (id) SELECT generate_series(1, 3)`,
		`INSERT INTO subject VALUES ('s', 1, 1, 1, 1)`,
		`INSERT INTO feature (name, revision) VALUES ('f', 1)`,
		`INSERT INTO variant VALUES ('f', 'A', NULL)`,
		`INSERT INTO rollout VALUES ('f', 'A', 0, ` + salt + `, '{1,3}')`,
		`INSERT INTO abtest VALUES ('t', '2027-01-01', '2027-01-02', ` + salt + `, 1)`,
		`INSERT INTO abtest_group VALUES ('t', 0, 'a', 0.5, '{1}')`,
		`INSERT INTO abtest_variant VALUES ('t', 'a', 'f', 'A')`,
		`INSERT INTO subject_group (name, revision) VALUES ('g', 1)`,
		`INSERT INTO member VALUES (1, 's', 1)`,
		`INSERT INTO override VALUES (1, 'f', 'A')`,
		`INSERT INTO audit (revision, at, actor, action, resource) VALUES (1, now(), 'a', 'create', 'features/f')`,
	} {
		if _, err := db.pool.ExecContext(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	for statement, want := range map[string]pqerror.Code{
		`INSERT INTO state (single) VALUES (true)`:                                                            pqerror.UniqueViolation,
		`INSERT INTO state (single) VALUES (false)`:                                                           pqerror.CheckViolation,
		`UPDATE state SET revision = -1`:                                                                      pqerror.CheckViolation,
		`INSERT INTO change VALUES (9, NULL, false, now())`:                                                   pqerror.CheckViolation,
		`INSERT INTO bucket (id) VALUES (0)`:                                                                  pqerror.CheckViolation,
		`UPDATE bucket SET weight = -1 WHERE id = 1`:                                                          pqerror.CheckViolation,
		`UPDATE bucket SET subjects = -1 WHERE id = 1`:                                                        pqerror.CheckViolation,
		`DELETE FROM bucket WHERE id = 3`:                                                                     pqerror.ForeignKeyViolation,
		`UPDATE bucket SET id = 9 WHERE id = 3`:                                                               pqerror.ForeignKeyViolation,
		`TRUNCATE bucket CASCADE`:                                                                             pqerror.ForeignKeyViolation,
		`UPDATE subject SET bucket_id = 2`:                                                                    pqerror.CheckViolation,
		`INSERT INTO subject VALUES ('x', 1, 0, 1, 1)`:                                                        pqerror.CheckViolation,
		`INSERT INTO subject VALUES ('', 1, 1, 1, 1)`:                                                         pqerror.CheckViolation,
		`INSERT INTO subject VALUES (repeat('x', 257), 1, 1, 1, 1)`:                                           pqerror.CheckViolation,
		`INSERT INTO subject VALUES ('x', -1, 1, 1, 1)`:                                                       pqerror.CheckViolation,
		`INSERT INTO subject VALUES ('x', 9007199254740992, 1, 1, 1)`:                                         pqerror.CheckViolation,
		`INSERT INTO subject VALUES ('x', 1, 4, 1, 1)`:                                                        pqerror.ForeignKeyViolation,
		`INSERT INTO subject VALUES ('s', 1, 1, 1, 1)`:                                                        pqerror.UniqueViolation,
		`INSERT INTO feature (name, revision) VALUES ('a b', 1)`:                                              pqerror.CheckViolation,
		`INSERT INTO feature (name, revision) VALUES ('__DISABLE__', 1)`:                                      pqerror.CheckViolation,
		`INSERT INTO feature (name, revision) VALUES (repeat('x', 129), 1)`:                                   pqerror.CheckViolation,
		`INSERT INTO feature (name, revision) VALUES ('f', 1)`:                                                pqerror.UniqueViolation,
		`UPDATE feature SET default_variant = 'B'`:                                                            pqerror.ForeignKeyViolation,
		`DELETE FROM feature`:                                                                                 pqerror.ForeignKeyViolation,
		`INSERT INTO variant VALUES ('f', '-', NULL)`:                                                         pqerror.CheckViolation,
		`INSERT INTO variant VALUES ('x', 'A', NULL)`:                                                         pqerror.ForeignKeyViolation,
		`INSERT INTO variant VALUES ('f', 'B', '{')`:                                                          pqerror.InvalidTextRepresentation,
		`INSERT INTO variant VALUES ('f', 'B', to_json(repeat('x', 65536)))`:                                  pqerror.CheckViolation,
		`DELETE FROM variant`:                                                                                 pqerror.ForeignKeyViolation,
		`UPDATE rollout SET variant = 'B'`:                                                                    pqerror.ForeignKeyViolation,
		`UPDATE rollout SET proportion = 1.1`:                                                                 pqerror.CheckViolation,
		`UPDATE rollout SET proportion = 'NaN'`:                                                               pqerror.CheckViolation,
		`UPDATE rollout SET salt = '\x00'`:                                                                    pqerror.CheckViolation,
		`UPDATE rollout SET buckets = '{4}'`:                                                                  pqerror.CheckViolation,
		`UPDATE rollout SET buckets = '{0}'`:                                                                  pqerror.CheckViolation,
		`UPDATE rollout SET buckets = '{2,1}'`:                                                                pqerror.CheckViolation,
		`UPDATE rollout SET buckets = '{1,1}'`:                                                                pqerror.CheckViolation,
		`UPDATE rollout SET buckets = '{NULL}'`:                                                               pqerror.CheckViolation,
		`UPDATE abtest SET ends = starts - interval '1 s'`:                                                    pqerror.CheckViolation,
		`INSERT INTO abtest_group VALUES ('t', 1, 'a', 0.5, '{}')`:                                            pqerror.UniqueViolation,
		`INSERT INTO abtest_group VALUES ('t', 0, 'b', 0.5, '{}')`:                                            pqerror.UniqueViolation,
		`INSERT INTO abtest_group VALUES ('t', 1, 'b', -0.5, '{}')`:                                           pqerror.CheckViolation,
		`INSERT INTO abtest_group VALUES ('t', 1, 'b', 0.5, '{4}')`:                                           pqerror.CheckViolation,
		`UPDATE abtest_group SET record = '[]'`:                                                               pqerror.CheckViolation,
		`INSERT INTO abtest_variant VALUES ('t', 'b', 'f', 'A')`:                                              pqerror.ForeignKeyViolation,
		`UPDATE abtest_variant SET variant = 'B'`:                                                             pqerror.ForeignKeyViolation,
		`INSERT INTO subject_group (name, revision) VALUES ('g', 1)`:                                          pqerror.UniqueViolation,
		`UPDATE subject_group SET members = -1`:                                                               pqerror.CheckViolation,
		`INSERT INTO member VALUES (1, 's', 1)`:                                                               pqerror.UniqueViolation,
		`INSERT INTO member VALUES (2, 's', 1)`:                                                               pqerror.ForeignKeyViolation,
		`INSERT INTO member VALUES (1, 'x', 1)`:                                                               pqerror.ForeignKeyViolation,
		`UPDATE override SET variant = 'B'`:                                                                   pqerror.ForeignKeyViolation,
		`UPDATE audit SET actor = 'b'`:                                                                        pqerror.InsufficientPrivilege,
		`DELETE FROM audit`:                                                                                   pqerror.InsufficientPrivilege,
		`TRUNCATE audit`:                                                                                      pqerror.InsufficientPrivilege,
		`INSERT INTO token (name, role, prefix, hash, created_at) VALUES ('', 'root', '', sha256(''), now())`: pqerror.CheckViolation,
		`INSERT INTO token (name, role, prefix, hash, created_at) VALUES ('', 'admin', '', '\x00', now())`:    pqerror.CheckViolation,
	} {
		_, err := db.pool.ExecContext(ctx, statement)
		if pq.As(err, want) == nil {
			t.Errorf("%s: %v, want %s", statement, err, want)
		}
	}
}

// A unique constraint that is violated in a race still results in the code of the
// contract.
func TestTranslate(t *testing.T) {
	t.Parallel()
	db := open(t)
	ctx := t.Context()
	for _, statement := range []string{
		`INSERT INTO bucket (id) VALUES (1)`,
		`INSERT INTO subject VALUES ('s', 1, 1, 1, 1)`,
		`INSERT INTO feature (name, revision) VALUES ('f', 1)`,
		`INSERT INTO variant VALUES ('f', 'A', NULL)`,
		`INSERT INTO rollout VALUES ('f', 'A', 0, '\x000102030405060708090a0b0c0d0e0f', '{}')`,
		`INSERT INTO abtest VALUES ('t', '2027-01-01', '2027-01-02', '\x000102030405060708090a0b0c0d0e0f', 1)`,
		`INSERT INTO subject_group (name, revision) VALUES ('g', 1)`,
	} {
		if _, err := db.pool.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
		table := strings.Fields(statement)[2]
		if table == "bucket" {
			continue
		}
		err := db.Write(ctx, func(tx *Tx) error {
			return tx.exec(ctx, "insert it twice", statement)
		})
		want := map[string]string{"subject_group": "group_exists"}[table]
		if want == "" {
			want = table + "_exists"
		}
		if code := codeOf(err); code != want {
			t.Errorf("%s twice: %v, code %q, want %q", table, err, code, want)
		}
	}
	err := db.Write(ctx, func(tx *Tx) error {
		return tx.exec(ctx, "read a column", `SELECT missing FROM state`)
	})
	if err == nil || !strings.Contains(err.Error(), "migrate up") || !strings.Contains(err.Error(), ": read a column: ") {
		t.Errorf("a column that does not exist: %v", err)
	}
}

// The schema's functions never use a session's temporary table in place of a table of the
// schema with the same name, whatever rights the role has.
func TestFunctionsKnowTheirTables(t *testing.T) {
	t.Parallel()
	db := open(t)
	ctx := t.Context()
	var without []string
	err := db.pool.SelectContext(ctx, &without, `
		SELECT proname FROM pg_proc
		WHERE pronamespace = current_schema()::regnamespace AND NOT coalesce('search_path=' || current_schema() || ', pg_temp' = ANY(proconfig), false)`)
	if err != nil || len(without) > 0 {
		t.Errorf("functions that look for tables on the caller's search_path: %q, %v", without, err)
	}
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `CREATE TEMP TABLE bucket (id integer); INSERT INTO bucket VALUES (99)`); err != nil {
		t.Fatal(err)
	}
	_, err = conn.ExecContext(ctx, `INSERT INTO subject VALUES ('s', 1, 99, 1, 1)`)
	if pq.As(err, pqerror.ForeignKeyViolation) == nil {
		t.Errorf("a subject in a bucket that only a temporary table has: %v", err)
	}
}
