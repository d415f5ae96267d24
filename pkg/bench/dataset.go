package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"time"

	"github.com/flaggery/flaggery/migrations"
	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/writer"
)

// dataset describes the content of a database.
type dataset struct {
	subjects int
	features int
	buckets  int // 0 for the usual number
}

func (d dataset) String() string {
	return fmt.Sprintf("%s subjects, %d features, %d buckets", count(d.subjects), d.features, d.bucketCount())
}

// database is the name of the database with d.
func (d dataset) database() string {
	return fmt.Sprintf("bench_%d_%d_%d", d.subjects, d.features, d.bucketCount())
}

func (d dataset) bucketCount() int { return cmp.Or(d.buckets, buckets) }

// The ids of subjects are of one length, so that a request for one of them can
// be made from a request for another.
const (
	idPrefix = "subject-"
	idDigits = 8
)

func subjectID(i int) string { return fmt.Sprintf("%s%0*d", idPrefix, idDigits, i) }

// putDigits writes what subjectID has behind the prefix.
func putDigits(into []byte, i int) {
	for at := len(into) - 1; at >= 0; at-- {
		into[at] = byte('0' + i%10)
		i /= 10
	}
}

const (
	buckets = 100
	// friends is a group with overrides, of one subject in a thousand.
	friends = "friends"
	// guests is a group with an override and without members: measurements of
	// changes add and remove subjects.
	guests = "guests"
)

// featureName is of the usual length: with its variant it takes about 32 bytes
// of an answer, so that 20 features make the 650 bytes of the first goal.
func featureName(i int) string { return fmt.Sprintf("checkout-step-%03d", i) }

const (
	control   = "control"
	treatment = "treatment"
	special   = "specials"
)

// migrate gives a database the program's schema.
func migrate(ctx context.Context, dbURL string) error {
	db, err := sql.Open("postgres", dbURL)
	if err != nil {
		return err
	}
	defer db.Close()
	return migrations.Up(ctx, db)
}

// fill gives an empty database the schema and the data.
func (d dataset) fill(ctx context.Context, dbURL string) error {
	if err := migrate(ctx, dbURL); err != nil {
		return err
	}
	db, err := sql.Open("postgres", dbURL)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := d.configure(ctx, dbURL); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	if err := d.addSubjects(ctx, db); err != nil {
		return fmt.Errorf("add subjects: %w", err)
	}
	// So that autovacuum of these rows does not disturb the measurements.
	_, err = db.ExecContext(ctx, `VACUUM ANALYZE subject`)
	return err
}

// configure makes the small part of the data: every feature has a default, two
// of three have a rollout, the first one is under test, and two are overridden
// for a group.
func (d dataset) configure(ctx context.Context, dbURL string) error {
	unsafe, err := url.Parse(dbURL)
	if err != nil {
		return err
	}
	query := unsafe.Query()
	query.Set("synchronous_commit", "off") // thousands of small writes, repeated if lost
	unsafe.RawQuery = query.Encode()
	w, err := writer.Open(ctx, unsafe.String(), writer.Options{})
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.IncreaseBuckets(ctx, d.bucketCount()); err != nil {
		return err
	}
	defaultVariant := control
	for i := range d.features {
		create := api.CreateFeature{Name: featureName(i), DefaultVariant: &defaultVariant}
		for _, variant := range []string{control, treatment, special} {
			create.Variants = append(create.Variants, api.NewVariant{Name: variant})
		}
		if i%3 != 0 {
			create.Rollout = &api.CreateRollout{Variant: treatment, Proportion: float64(1+i%9) / 10}
		}
		if _, err := w.AddFeature(ctx, create); err != nil {
			return err
		}
	}
	now := time.Now()
	if _, err := w.AddABTest(ctx, api.CreateABTest{Name: "test", Start: now, End: now.Add(24 * time.Hour), Groups: []api.CreateTestGroup{
		{Name: "one", Variants: map[string]string{featureName(0): control}},
		{Name: "two", Variants: map[string]string{featureName(0): treatment}},
	}}); err != nil {
		return err
	}
	for _, group := range []string{friends, guests} {
		if _, err := w.AddGroup(ctx, api.CreateGroup{Name: group}); err != nil {
			return err
		}
		for _, feature := range []string{featureName(1), featureName(2)} {
			if _, err := w.AddGroupOverride(ctx, group, feature, special); err != nil {
				return err
			}
		}
	}
	return nil
}

// addSubjects fills the tables directly, because even a fast import of ten million
// takes long. Ids ascend, which is how an index grows fastest.
func (d dataset) addSubjects(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // without effect after the commit
	var label int64
	if err := tx.QueryRowContext(ctx, `SELECT nextval('change_label')`).Scan(&label); err != nil {
		return err
	}
	for _, statement := range []struct {
		text      string
		arguments []any
	}{
		// The rows are correct by construction, so no bucket needs a lookup.
		{`SET LOCAL session_replication_role = replica`, nil},
		{`INSERT INTO subject (id, weight, bucket_id, born, label)
		  SELECT $1 || lpad(i::text, $2, '0'), 1 + (i / $3) % 10, 1 + i % $3, $4, $4
		  FROM generate_series(0, $5 - 1) i`, []any{idPrefix, idDigits, d.bucketCount(), label, d.subjects}},
		{`UPDATE bucket b SET weight = s.weight, subjects = s.subjects
		  FROM (SELECT bucket_id, sum(weight) AS weight, count(*) AS subjects FROM subject GROUP BY bucket_id) s
		  WHERE b.id = s.bucket_id`, nil},
		{`INSERT INTO member (group_id, subject_id, since)
		  SELECT g.id, $1 || lpad(i::text, $2, '0'), $5
		  FROM subject_group g, generate_series(0, $3 - 1, 1000) i WHERE g.name = $4`,
			[]any{idPrefix, idDigits, d.subjects, friends, label}},
		{`UPDATE subject_group g SET members = (SELECT count(*) FROM member m WHERE m.group_id = g.id)`, nil},
		{`WITH next AS (UPDATE state SET revision = revision + 1 RETURNING revision)
		  INSERT INTO change (revision, label, config, at) SELECT revision, $1, true, now() FROM next`, []any{label}},
		{`INSERT INTO revision (revision, at, label, buckets) SELECT revision, now(), $1, $2 FROM state`, []any{label, d.bucketCount()}},
	} {
		if _, err := tx.ExecContext(ctx, statement.text, statement.arguments...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
