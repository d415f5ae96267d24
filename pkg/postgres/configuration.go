package postgres

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// LoadConfiguration reads everything that resolution depends on but the
// subjects, in the orders that model.Configuration promises.
func LoadConfiguration(ctx context.Context, tx *Tx) (*model.Configuration, error) {
	c, _, err := loadConfiguration(ctx, tx, selectConfiguration)
	return c, err
}

// loadConfiguration also tells the state of the database that the statement read.
func loadConfiguration(ctx context.Context, on queryer, statement string) (*model.Configuration, state, error) {
	c, read := &model.Configuration{}, state{}
	parts := map[string]func(text []byte) error{
		"state": func(text []byte) error {
			row := struct {
				state
				Buckets int
			}{}
			err := json.Unmarshal(text, &row)
			c.Buckets, read = row.Buckets, row.state
			return err
		},
		"feature": func(text []byte) error { return addFeature(c, text) },
		"variant": func(text []byte) error { return addVariant(c, text) },
		"test":    func(text []byte) error { return addTest(c, text) },
		"group":   func(text []byte) error { return addGroup(c, text) },
		"token":   func(text []byte) error { return addCredential(c, text) },
	}
	err := scanAll(ctx, on, statement, func(rows *sql.Rows) error {
		var part string
		var text sql.RawBytes
		if err := rows.Scan(&part, &text); err != nil {
			return err
		}
		if err := parts[part](text); err != nil {
			return fmt.Errorf("read a %s: %w", part, err)
		}
		return nil
	})
	if err != nil {
		return nil, read, fmt.Errorf("read the configuration: %w", err)
	}
	return c, read, nil
}

// state is where in which history a statement read.
type state struct {
	Epoch    string
	Revision int64
}

// The configuration is one statement, whose rows are JSON objects: an edge asks it
// after each change, and so do hundreds of them at once, to whom round trips are
// what costs. Tokens are in it for those edges alone that ask who calls.
const (
	selectConfiguration           = `SELECT part, row FROM (` + configurationParts + `) AS parts ORDER BY place, a, b, n`
	selectConfigurationWithTokens = `SELECT part, row FROM (` + configurationParts + `
		UNION ALL SELECT 6, 'token', t.hash, '', 0, to_json(t) FROM (` + selectCredentials + `) t
		) AS parts ORDER BY place, a, b, n`

	configurationParts = `
		SELECT 1 AS place, 'state' AS part, '' COLLATE "C" AS a, '' COLLATE "C" AS b, 0 AS n, to_json(s) AS row FROM (` + selectState + `) s
		UNION ALL SELECT 2, 'feature', f.name, '', 0, to_json(f) FROM (` + selectFeatures + `) f
		UNION ALL SELECT 3, 'variant', v.feature, v.name, 0, to_json(v) FROM (` + selectVariants + `) v
		UNION ALL SELECT 4, 'test', t.test, '', t.position, to_json(t) FROM (` + selectTests + `) t
		UNION ALL SELECT 5, 'group', g.name, '', 0, to_json(g) FROM (` + selectGroups + `) g`

	// Ids of buckets are gapless, so the largest one is the count.
	selectState = `SELECT epoch, revision, (SELECT coalesce(max(id), 0) FROM bucket) AS buckets FROM state`

	selectFeatures = `
		SELECT f.name, f.description, f.tags, f.default_variant AS default, f.revision,
		       r.variant, r.proportion, encode(r.salt, 'hex') AS salt, r.buckets::text AS buckets
		FROM feature f LEFT JOIN rollout r ON r.feature = f.name`

	// A payload is text in JSON, so that it stays as it was sent, whatever it holds.
	selectVariants = `SELECT feature, name, payload::text FROM variant`

	selectTests = `
		SELECT t.name AS test, to_char(t.starts` + asUTC + ` AS starts, to_char(t.ends` + asUTC + ` AS ends, encode(t.salt, 'hex') AS salt, t.revision,
		       g.position, g.name, g.proportion, g.buckets::text AS buckets,
		       (SELECT json_object_agg(v.feature, v.variant) FROM abtest_variant v
		        WHERE v.abtest = g.abtest AND v.abtest_group = g.name) AS variants
		FROM abtest t JOIN abtest_group g ON g.abtest = t.name`

	selectGroups = `
		SELECT g.id, g.name, g.priority, g.revision, g.members,
		       (SELECT json_object_agg(o.feature, o.variant) FROM override o WHERE o.group_id = g.id) AS overrides
		FROM subject_group g`

	selectCredentials = `SELECT encode(hash, 'hex') AS hash, role, to_char(expires_at` + asUTC + ` AS expires FROM token`

	// asUTC ends a to_char. In the time zone of a session the last year could be one more,
	// which has five digits and is no time in JSON.
	asUTC = ` AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
)

// scanJSON runs a statement and hands each row to one, as a JSON object.
func scanJSON(ctx context.Context, on queryer, statement string, one func(text []byte) error, args ...any) error {
	return scanAll(ctx, on, `SELECT to_json(r) FROM (`+statement+`) r`, func(rows *sql.Rows) error {
		var text sql.RawBytes
		if err := rows.Scan(&text); err != nil {
			return err
		}
		return one(text)
	}, args...)
}

func addFeature(c *model.Configuration, text []byte) error {
	var row struct {
		Name        string
		Description string
		Tags        []string
		Default     string
		Revision    int64
		Variant     string // "", and nothing after it, where the feature has no rollout
		Proportion  float64
		Salt        salt
		Buckets     bucketIDs
	}
	if err := json.Unmarshal(text, &row); err != nil {
		return err
	}
	f := model.Feature{Name: row.Name, Description: row.Description, Tags: row.Tags, Default: row.Default, Revision: row.Revision}
	if row.Variant != "" {
		f.Rollout = &model.Rollout{Variant: row.Variant, Proportion: row.Proportion, Salt: model.Salt(row.Salt), Buckets: row.Buckets}
	}
	c.Features = append(c.Features, f)
	return nil
}

func addVariant(c *model.Configuration, text []byte) error {
	var row struct{ Feature, Name, Payload string }
	if err := json.Unmarshal(text, &row); err != nil {
		return err
	}
	v := model.Variant{Name: row.Name}
	if row.Payload != "" {
		v.Payload = json.RawMessage(row.Payload)
	}
	i, ok := slices.BinarySearchFunc(c.Features, row.Feature, func(f model.Feature, name string) int {
		return cmp.Compare(f.Name, name)
	})
	if !ok {
		return fmt.Errorf("variant %q belongs to feature %q, which does not exist", row.Name, row.Feature)
	}
	c.Features[i].Variants = append(c.Features[i].Variants, v)
	return nil
}

func addTest(c *model.Configuration, text []byte) error {
	var row struct {
		Test         string
		Starts, Ends time.Time
		Salt         salt
		Revision     int64
		Name         string
		Proportion   float64
		Buckets      bucketIDs
		Variants     map[string]string
	}
	row.Variants = map[string]string{}
	if err := json.Unmarshal(text, &row); err != nil {
		return err
	}
	if n := len(c.Tests); n == 0 || c.Tests[n-1].Name != row.Test {
		c.Tests = append(c.Tests, model.ABTest{
			Name: row.Test, Start: row.Starts.UTC(), End: row.Ends.UTC(), Salt: model.Salt(row.Salt), Revision: row.Revision,
		})
	}
	last := &c.Tests[len(c.Tests)-1]
	last.Groups = append(last.Groups, model.TestGroup{Name: row.Name, Proportion: row.Proportion, Variants: row.Variants, Buckets: row.Buckets})
	return nil
}

func addGroup(c *model.Configuration, text []byte) error {
	g, err := readGroup(text)
	c.Groups = append(c.Groups, g.Group)
	return err
}

func readGroup(text []byte) (g Group, err error) {
	err = json.Unmarshal(text, &g)
	if g.Overrides == nil {
		g.Overrides = map[string]string{}
	}
	return g, err
}

func addCredential(c *model.Configuration, text []byte) error {
	var row struct {
		Hash    string
		Role    auth.Role
		Expires *time.Time
	}
	if err := json.Unmarshal(text, &row); err != nil {
		return err
	}
	t := auth.Credential{Role: row.Role, Expires: row.Expires}
	_, err := hex.Decode(t.Hash[:], []byte(row.Hash))
	c.Tokens = append(c.Tokens, t)
	return err
}

// salt is read from hexadecimal digits.
type salt model.Salt

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *salt) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(s)) {
		return fmt.Errorf("a salt has %d digits", len(text))
	}
	_, err := hex.Decode(s[:], text)
	return err
}

// queryer is a transaction, or a pool where every statement is by itself.
type queryer interface {
	QueryContext(ctx context.Context, statement string, args ...any) (*sql.Rows, error)
}

// scanAll runs a statement and hands each row to one.
func scanAll(ctx context.Context, on queryer, statement string, one func(rows *sql.Rows) error, args ...any) error {
	rows, err := on.QueryContext(ctx, statement, args...)
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

// bucketIDs is an integer[]. Assignments hold up to model.MaxBuckets ids and are
// reread at each change of the configuration, so they are parsed in one pass.
type bucketIDs []model.BucketID

func (ids *bucketIDs) Scan(value any) error {
	return scanInts(ids, value)
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (ids *bucketIDs) UnmarshalText(text []byte) error { return scanInts(ids, text) }

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
