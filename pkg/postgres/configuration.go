package postgres

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/model"
)

// LoadConfiguration reads everything that resolution depends on but the
// subjects, in the orders that model.Configuration promises. Five statements,
// however large the configuration is: an edge runs them after each change of it.
func LoadConfiguration(ctx context.Context, tx *Tx) (*model.Configuration, error) {
	c := &model.Configuration{}
	for _, part := range []struct {
		name      string
		statement string
		scan      func(c *model.Configuration, rows *sql.Rows) error
	}{
		{"buckets", selectBuckets, scanBuckets},
		{"features", selectFeatures + ` ORDER BY f.name`, scanFeature},
		{"variants", selectVariants + ` ORDER BY feature, name`, scanVariant},
		{"tests", selectTests + ` ORDER BY t.name, g.position`, scanTest},
		{"groups", selectGroups + ` ORDER BY g.name`, scanGroup},
	} {
		if err := scanAll(ctx, tx, part.statement, func(rows *sql.Rows) error { return part.scan(c, rows) }); err != nil {
			return nil, fmt.Errorf("read %s: %w", part.name, err)
		}
	}
	return c, nil
}

const (
	// Ids are gapless, so the largest one is the count.
	selectBuckets = `SELECT coalesce(max(id), 0) FROM bucket`

	selectFeatures = `
		SELECT f.name, f.description, f.tags, coalesce(f.default_variant, ''), f.revision,
		       r.variant, r.proportion, r.salt, r.buckets
		FROM feature f LEFT JOIN rollout r ON r.feature = f.name`

	selectVariants = `SELECT feature, name, payload FROM variant`

	selectTests = `
		SELECT t.name, t.starts, t.ends, t.salt, t.revision, g.name, g.proportion, g.buckets,
		       (SELECT json_object_agg(v.feature, v.variant) FROM abtest_variant v
		        WHERE v.abtest = g.abtest AND v.abtest_group = g.name)
		FROM abtest t JOIN abtest_group g ON g.abtest = t.name`

	selectGroups = `
		SELECT g.id, g.name, g.priority, g.revision,
		       (SELECT json_object_agg(o.feature, o.variant) FROM override o WHERE o.group_id = g.id)
		FROM subject_group g`
)

func scanBuckets(c *model.Configuration, rows *sql.Rows) error { return rows.Scan(&c.Buckets) }

func scanFeature(c *model.Configuration, rows *sql.Rows) error {
	var (
		f          model.Feature
		variant    sql.NullString // NULL, and all after it, where the feature has no rollout
		proportion sql.NullFloat64
		salt       []byte
		buckets    bucketIDs
	)
	err := rows.Scan(&f.Name, &f.Description, pq.Array(&f.Tags), &f.Default, &f.Revision,
		&variant, &proportion, &salt, &buckets)
	if err != nil {
		return err
	}
	if variant.Valid {
		f.Rollout = &model.Rollout{Variant: variant.String, Proportion: proportion.Float64, Buckets: buckets}
		copy(f.Rollout.Salt[:], salt)
	}
	c.Features = append(c.Features, f)
	return nil
}

func scanVariant(c *model.Configuration, rows *sql.Rows) error {
	var (
		feature string
		v       model.Variant
	)
	if err := rows.Scan(&feature, &v.Name, (*[]byte)(&v.Payload)); err != nil {
		return err
	}
	i, ok := slices.BinarySearchFunc(c.Features, feature, func(f model.Feature, name string) int {
		return cmp.Compare(f.Name, name)
	})
	if !ok {
		return fmt.Errorf("variant %q belongs to feature %q, which does not exist", v.Name, feature)
	}
	c.Features[i].Variants = append(c.Features[i].Variants, v)
	return nil
}

func scanTest(c *model.Configuration, rows *sql.Rows) error {
	var (
		t       model.ABTest
		g       model.TestGroup
		salt    []byte
		buckets bucketIDs
	)
	err := rows.Scan(&t.Name, &t.Start, &t.End, &salt, &t.Revision,
		&g.Name, &g.Proportion, &buckets, (*variants)(&g.Variants))
	if err != nil {
		return err
	}
	g.Buckets = buckets
	if n := len(c.Tests); n == 0 || c.Tests[n-1].Name != t.Name {
		t.Start, t.End = t.Start.UTC(), t.End.UTC()
		copy(t.Salt[:], salt)
		c.Tests = append(c.Tests, t)
	}
	last := &c.Tests[len(c.Tests)-1]
	last.Groups = append(last.Groups, g)
	return nil
}

func scanGroup(c *model.Configuration, rows *sql.Rows) error {
	var g model.Group
	if err := rows.Scan(&g.ID, &g.Name, &g.Priority, &g.Revision, (*variants)(&g.Overrides)); err != nil {
		return err
	}
	c.Groups = append(c.Groups, g)
	return nil
}

// scanAll runs a statement and hands each row to one.
func scanAll(ctx context.Context, tx *Tx, statement string, one func(rows *sql.Rows) error, args ...any) error {
	rows, err := tx.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := one(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// variants scans a JSON object of variants by feature; NULL is none.
type variants map[string]string

func (v *variants) Scan(value any) error {
	*v = variants{}
	switch value := value.(type) {
	case nil:
		return nil
	case []byte:
		return json.Unmarshal(value, v)
	default:
		return fmt.Errorf("cannot scan %T as variants by feature", value)
	}
}

// bucketIDs is an integer[]. Assignments hold up to model.MaxBuckets ids and are
// reread at each change of the configuration, so they are parsed in one pass.
type bucketIDs []model.BucketID

func (ids *bucketIDs) Scan(value any) error {
	return scanInts(ids, value)
}

// Value makes bucketIDs an argument of a statement.
func (ids bucketIDs) Value() (driver.Value, error) {
	text := make([]byte, 0, 2+len(ids)*5)
	text = append(text, '{')
	for i, id := range ids {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(id), 10)
	}
	return string(append(text, '}')), nil
}

// groupIDs is an integer[] that is scanned into again and again.
type groupIDs []model.GroupID

func (ids *groupIDs) Scan(value any) error { return scanInts(ids, value) }

// scanInts scans an integer[] that holds no negative number; NULL is none.
func scanInts[S ~[]E, E ~int32](ints *S, value any) (err error) {
	*ints = (*ints)[:0]
	if value == nil {
		return nil
	}
	text, ok := value.([]byte)
	if !ok {
		return fmt.Errorf("cannot scan %T as an array of integers", value)
	}
	*ints, err = appendInts(slices.Grow(*ints, 1+bytes.Count(text, []byte{','})), text)
	return err
}

// appendInts appends the numbers of a text like {1,2,3}.
func appendInts[S ~[]E, E ~int32](to S, text []byte) (S, error) {
	n, digits := E(0), 0
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9':
			n = n*10 + E(c-'0')
			digits++
		case c == ',' || c == '}' && digits > 0:
			to = append(to, n)
			n, digits = 0, 0
		case c != '{' && c != '}':
			return to, fmt.Errorf("cannot scan %q as an array of integers", text)
		}
	}
	return to, nil
}
