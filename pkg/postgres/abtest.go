package postgres

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/model"
)

// ABTest reads one test, or fails with abtest_not_found.
func (tx *Tx) ABTest(ctx context.Context, name string) (*model.ABTest, error) {
	tests, err := tx.tests(ctx, "read a test", `WHERE t.name = $1 ORDER BY g.position`, name)
	if err != nil {
		return nil, err
	}
	if len(tests) == 0 {
		return nil, model.Errorf(model.ABTestNotFound, "there is no test %q", name)
	}
	return &tests[0], nil
}

// ABTestFilter selects the tests that ABTests reads. A zero field selects all.
type ABTestFilter struct {
	State       model.TestState // at the transaction's time
	Feature     string          // a feature that the test names, or named before it was deleted
	From, Until time.Time       // the test's period overlaps that from From until before Until
	After       string          // only tests with a name after this one
}

// ABTests reads at most limit tests in name order.
func (tx *Tx) ABTests(ctx context.Context, f ABTestFilter, limit int) iter.Seq2[*model.ABTest, error] {
	in := map[model.TestState]string{
		"":              `true`,
		model.Scheduled: `$3::timestamptz < starts`,
		model.Live:      `starts <= $3::timestamptz AND $3::timestamptz < ends`,
		model.Ended:     `starts <= $3::timestamptz AND ends <= $3::timestamptz`,
	}[f.State]
	return fetchJSON(ctx, tx.querier, "list tests", `
		SELECT (SELECT json_agg(g ORDER BY g.position) FROM (`+selectDesignedTests+` WHERE t.name = listed.name) g)
		FROM (
			SELECT name FROM abtest t WHERE name > $1 AND $3::timestamptz IS NOT NULL AND `+in+`
			  AND ($4 = '' OR EXISTS (SELECT FROM abtest_variant v WHERE v.abtest = t.name AND v.feature = $4)
			               OR EXISTS (SELECT FROM abtest_group g WHERE g.abtest = t.name AND g.record ? $4))
			  AND ($5::timestamptz IS NULL OR ends > $5)
			  AND ($6::timestamptz IS NULL OR starts < $6)
			ORDER BY name LIMIT $2
		) listed`, []any{f.After, limit, tx.Now, f.Feature, orNoTime(f.From), orNoTime(f.Until)}, readTest)
}

// readTest reads the rows of one test.
func readTest(array []byte) (*model.ABTest, error) {
	var rows []json.RawMessage
	if err := json.Unmarshal(array, &rows); err != nil {
		return nil, err
	}
	var p parts
	for _, row := range rows {
		if err := p.addTest(row); err != nil {
			return nil, err
		}
	}
	return &p.configuration.Tests[0], nil
}

// AllABTests reads all tests in name order.
func (tx *Tx) AllABTests(ctx context.Context) ([]model.ABTest, error) {
	return tx.tests(ctx, "list all tests", `ORDER BY t.name, g.position`)
}

// ABTestsOf reads the tests that an owner manages, or all for "", in name order.
func (tx *Tx) ABTestsOf(ctx context.Context, owner string) ([]model.ABTest, error) {
	return tx.tests(ctx, "read the tests of an owner", `WHERE $1 IN ('', t.owner) ORDER BY t.name, g.position`, owner)
}

func (tx *Tx) tests(ctx context.Context, what, which string, args ...any) ([]model.ABTest, error) {
	var p parts
	err := tx.scanJSON(ctx, what, selectDesignedTests+` `+which, args, p.addTest)
	return p.configuration.Tests, err
}

// InsertABTest stores a test with its design, its groups and their variants, and the
// sums of the buckets 1 … n as the baseline.
func (tx *Tx) InsertABTest(ctx context.Context, t *model.ABTest, buckets []model.Bucket) error {
	var (
		a                       Assignments
		proportions             []float64
		groups, features, gives []string // of one variant each
	)
	for _, g := range t.Groups {
		a.Add(g.Name, g.Buckets)
		proportions = append(proportions, g.Proportion)
		for feature, variant := range g.Variants {
			groups, features, gives = append(groups, g.Name), append(features, feature), append(gives, variant)
		}
	}
	weights, subjects := make(pq.Int64Array, len(buckets)), make(pq.Int64Array, len(buckets))
	for i, b := range buckets {
		weights[i], subjects[i] = b.Weight, b.Subjects
	}
	err := tx.exec(ctx, "insert a test", `
		WITH t AS (
			INSERT INTO abtest (name, starts, ends, salt, revision, design, aside, description, owner) VALUES ($1, $2, $3, $4, $5, $6, $7, $10, $11)
		)
		INSERT INTO abtest_baseline (abtest, revision, weights, subjects) VALUES ($1, $5, $8, $9)`,
		t.Name, t.Start, t.End, t.Salt[:], t.Revision, t.Design.Number, bucketIDs(t.Design.Aside), weights, subjects, t.Description, t.Owner)
	if err != nil {
		return err
	}
	return tx.exec(ctx, "insert the groups of a test", `
		WITH g AS (
			INSERT INTO abtest_group (abtest, position, name, proportion, buckets, chance)
			SELECT $1, position - 1, name, proportion, buckets::integer[], chance
			FROM unnest($2::text[], $3::float8[], $4::text[], $8::float8[]) WITH ORDINALITY AS g (name, proportion, buckets, chance, position)
		)
		INSERT INTO abtest_variant (abtest, abtest_group, feature, variant)
		SELECT $1, test_group, feature, variant
		FROM unnest($5::text[], $6::text[], $7::text[]) AS v (test_group, feature, variant)`,
		t.Name, pq.StringArray(a.names), pq.Float64Array(proportions), pq.StringArray(a.buckets),
		pq.StringArray(groups), pq.StringArray(features), pq.StringArray(gives), pq.Float64Array(t.Design.Chance))
}

// UpdateABTestBuckets stores the assignments of a test, by test group.
func (tx *Tx) UpdateABTestBuckets(ctx context.Context, name string, a Assignments) error {
	return tx.exec(ctx, "update the buckets of a test", `
		WITH t AS (UPDATE abtest SET revision = $4 WHERE name = $1)
		UPDATE abtest_group g SET buckets = now.buckets::integer[]
		FROM unnest($2::text[], $3::text[]) AS now (name, buckets)
		WHERE g.abtest = $1 AND g.name = now.name`,
		name, pq.StringArray(a.names), pq.StringArray(a.buckets), tx.Revision)
}

// UpdateABTest stores the period, the description and the owner of a test.
func (tx *Tx) UpdateABTest(ctx context.Context, t *model.ABTest) error {
	return tx.exec(ctx, "update a test", `UPDATE abtest SET starts = $2, ends = $3, description = $4, owner = $5, revision = $6 WHERE name = $1`,
		t.Name, t.Start, t.End, t.Description, t.Owner, t.Revision)
}

// RecordFeature moves a test's references to a feature to its record, so that the
// feature's variants can be deleted.
func (tx *Tx) RecordFeature(ctx context.Context, test, feature string) error {
	return tx.exec(ctx, "record the feature of a test", `
		WITH t AS (UPDATE abtest SET revision = $3 WHERE name = $1),
		v AS (DELETE FROM abtest_variant WHERE abtest = $1 AND feature = $2::text RETURNING abtest_group, variant)
		UPDATE abtest_group g SET record = g.record || jsonb_build_object($2::text, v.variant)
		FROM v WHERE g.abtest = $1 AND g.name = v.abtest_group`, test, feature, tx.Revision)
}

// RestoreFeature restores a test's references to a feature from its record. The feature
// must exist again.
func (tx *Tx) RestoreFeature(ctx context.Context, test, feature string) error {
	return tx.exec(ctx, "restore the feature of a test", `
		WITH t AS (UPDATE abtest SET revision = $3 WHERE name = $1),
		v AS (
			INSERT INTO abtest_variant (abtest, abtest_group, feature, variant)
			SELECT abtest, name, $2::text, record ->> $2::text FROM abtest_group WHERE abtest = $1
		)
		UPDATE abtest_group SET record = record - $2::text WHERE abtest = $1`, test, feature, tx.Revision)
}

// DeleteABTest removes a test with its groups.
func (tx *Tx) DeleteABTest(ctx context.Context, name string) error {
	return tx.exec(ctx, "delete a test", `DELETE FROM abtest WHERE name = $1`, name)
}
