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

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

// Configuration reads everything that resolution depends on except subjects, in the
// orders that model.Configuration documents.
func (tx *Tx) Configuration(ctx context.Context) (*model.Configuration, error) {
	p, err := readParts(ctx, tx.querier, "read the configuration", selectConfiguration)
	if err != nil {
		return nil, err
	}
	return &p.configuration, nil
}

// readConfiguration adds the configuration and the tokens to an update, if they changed,
// and returns the state that it saw.
func (f *Feed) readConfiguration(ctx context.Context, q querier, c *changes, u *model.Update) (state, error) {
	var what, text string
	switch {
	case c.config && f.tokens:
		what, text = "read the configuration with tokens", selectConfigurationWithTokens
	case c.config:
		what, text = "read the configuration", selectConfiguration
	case c.tokens && f.tokens:
		what, text = "read tokens", selectTokens
	default:
		return c.state, nil
	}
	p, err := readParts(ctx, q, what, text)
	if f.tokens && pq.As(err, pqerror.InsufficientPrivilege) != nil {
		err = fmt.Errorf("the database role may not read tokens, which FLAGGERY_EDGE_AUTH=token requires: run 'flaggery-admin migrate up --create-edge-role' for it: %w", err)
	}
	if err != nil {
		return state{}, err
	}
	if c.config {
		u.Configuration = &p.configuration
	}
	if f.tokens {
		u.Tokens = append([]auth.Credential{}, p.tokens...) // never nil, which would mean that they were not read
	}
	return p.state, nil
}

// parts collects the rows of a statement with rows of several kinds.
type parts struct {
	state         state
	names         struct{ Features, Tests, Groups []string } // of all that there is, if only a part was read
	configuration model.Configuration
	tokens        []auth.Credential
	subjects      []model.SubjectUpdate
}

// readParts runs a statement whose rows are the name of a part and a JSON object. After
// each change hundreds of edges run one at once, and the cost is mainly in round trips:
// with JSON, one statement can return rows with different columns.
func readParts(ctx context.Context, q querier, what, text string, args ...any) (*parts, error) {
	p := &parts{}
	add := map[string]func(object []byte) error{
		"state":   p.addState,
		"names":   func(object []byte) error { return json.Unmarshal(object, &p.names) },
		"feature": p.addFeature,
		"variant": p.addVariant,
		"test":    p.addTest,
		"group":   p.addGroup,
		"token":   p.addCredential,
		"subject": p.addSubject,
	}
	var part string
	var object sql.RawBytes
	err := q.scan(ctx, what, text, args, func() error {
		if err := add[part](object); err != nil {
			return fmt.Errorf("%s: a %s: %w", what, part, err)
		}
		return nil
	}, &part, &object)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Tokens are only for edges that authenticate their callers.
const (
	selectConfiguration           = `SELECT part, row FROM (` + statePart + configurationParts + inOrder
	selectConfigurationWithTokens = `SELECT part, row FROM (` + statePart + configurationParts + tokenParts + inOrder
	selectTokens                  = `SELECT part, row FROM (` + statePart + tokenParts + inOrder

	inOrder = `) AS parts ORDER BY place, a, b, n`

	statePart = `
		SELECT 1 AS place, 'state' AS part, '' COLLATE "C" AS a, '' COLLATE "C" AS b, 0 AS n, to_json(s) AS row FROM (` + selectState + `) s`
	configurationParts = `
		UNION ALL SELECT 2, 'feature', f.name, '', 0, to_json(f) FROM (` + selectFeatures + `) f
		UNION ALL SELECT 3, 'variant', v.feature, v.name, 0, to_json(v) FROM (` + selectVariants + `) v
		UNION ALL SELECT 4, 'test', t.test, '', t.position, to_json(t) FROM (` + selectTests + `) t
		UNION ALL SELECT 5, 'group', g.name, '', 0, to_json(g) FROM (` + selectGroups + `) g`
	tokenParts = `
		UNION ALL SELECT 6, 'token', t.hash, '', 0, to_json(t) FROM (` + selectCredentials + `) t`

	// The ids of buckets have no gaps, so the largest one is the count.
	selectState = `SELECT epoch, revision, (SELECT coalesce(max(id), 0) FROM bucket) AS buckets FROM state`

	selectFeatures = `SELECT ` + featureColumns + assignedColumn + featureTables
	// Edges do not read whose a feature is and how long it is to stay.
	selectOwnedFeatures = `SELECT ` + featureColumns + assignedColumn + ownedColumns + featureTables
	// Of 10,000 rollouts the buckets are most of what there is to read.
	selectUnassignedFeatures = `SELECT ` + featureColumns + ownedColumns + featureTables

	featureColumns = `
		f.name, f.description, f.tags, f.default_variant AS default, f.off, f.archived, f.revision,
		       r.variant, r.proportion, encode(r.salt, 'hex') AS salt`
	assignedColumn = `, r.buckets::text AS buckets`
	ownedColumns   = `, f.contact, f.expires, f.permanent, f.owner`
	featureTables  = ` FROM feature f LEFT JOIN rollout r ON r.feature = f.name`

	// A payload is text in the JSON, so that it stays byte for byte as it was sent.
	selectVariants = `SELECT feature, name, payload::text FROM variant`

	selectTests = `SELECT ` + testColumns + testTables
	// Edges do not read the design of a test, its description, its owner and its record.
	selectDesignedTests = `SELECT ` + testColumns + `, t.description, t.owner, t.design, t.aside::text AS aside, g.chance, g.record` + testTables

	testColumns = `
		t.name AS test, to_char(t.starts` + asUTC + ` AS starts, to_char(t.ends` + asUTC + ` AS ends, encode(t.salt, 'hex') AS salt, t.revision,
		       g.position, g.name, g.proportion, g.buckets::text AS buckets,
		       (SELECT json_object_agg(v.feature, v.variant) FROM abtest_variant v
		        WHERE v.abtest = g.abtest AND v.abtest_group = g.name) AS variants`
	testTables = ` FROM abtest t JOIN abtest_group g ON g.abtest = t.name`

	selectGroups      = `SELECT ` + groupColumns + groupTables
	selectOwnedGroups = `SELECT ` + groupColumns + `, g.owner` + groupTables

	groupColumns = `
		g.id, g.name, g.priority, g.revision, g.members,
		       (SELECT json_object_agg(o.feature, o.variant) FROM override o WHERE o.group_id = g.id) AS overrides`
	groupTables = ` FROM subject_group g`

	selectCredentials = `SELECT encode(hash, 'hex') AS hash, role, to_char(expires_at` + asUTC + ` AS expires FROM token`

	// asUTC ends a to_char. In the time zone of the session, a time could be in the year
	// 10000, which has no form in JSON.
	asUTC = ` AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
)

func (p *parts) addState(object []byte) error {
	var row struct {
		state
		Buckets int
	}
	err := json.Unmarshal(object, &row)
	p.state, p.configuration.Buckets = row.state, row.Buckets
	return err
}

func (p *parts) addSubject(object []byte) error {
	var row struct {
		ID        string
		Bucket    model.BucketID
		New, Gone bool
		Groups    []model.GroupID
	}
	err := json.Unmarshal(object, &row)
	p.subjects = append(p.subjects, model.SubjectUpdate{ID: []byte(row.ID), Bucket: row.Bucket, New: row.New, Gone: row.Gone, Groups: row.Groups})
	return err
}

func (p *parts) addFeature(object []byte) error {
	var row struct {
		Name        string
		Description string
		Tags        []string
		Default     string
		Off         bool
		Archived    bool
		Revision    int64
		Contact     string // zero if it was not read, like the next three
		Expires     string
		Permanent   bool
		Owner       string
		Variant     string // "" if the feature has no rollout; then the next three are empty too
		Proportion  float64
		Salt        salt
		Buckets     bucketIDs
		Variants    []variantRow // nil if they are separate rows
	}
	if err := json.Unmarshal(object, &row); err != nil {
		return err
	}
	f := model.Feature{
		Name: row.Name, Description: row.Description, Tags: row.Tags, Default: row.Default,
		Off: row.Off, Archived: row.Archived, Revision: row.Revision, Contact: row.Contact, Expires: row.Expires, Permanent: row.Permanent,
		Owner: row.Owner,
	}
	if row.Variant != "" {
		f.Rollout = &model.Rollout{Variant: row.Variant, Proportion: row.Proportion, Salt: model.Salt(row.Salt), Buckets: row.Buckets}
	}
	for _, v := range row.Variants {
		f.Variants = append(f.Variants, v.variant())
	}
	p.configuration.Features = append(p.configuration.Features, f)
	return nil
}

type variantRow struct{ Feature, Name, Payload string }

func (r *variantRow) variant() model.Variant {
	v := model.Variant{Name: r.Name}
	if r.Payload != "" {
		v.Payload = json.RawMessage(r.Payload)
	}
	return v
}

func (p *parts) addVariant(object []byte) error {
	var row variantRow
	if err := json.Unmarshal(object, &row); err != nil {
		return err
	}
	i, ok := slices.BinarySearchFunc(p.configuration.Features, row.Feature, func(f model.Feature, name string) int {
		return cmp.Compare(f.Name, name)
	})
	if !ok {
		return fmt.Errorf("variant %q belongs to feature %q, which does not exist", row.Name, row.Feature)
	}
	p.configuration.Features[i].Variants = append(p.configuration.Features[i].Variants, row.variant())
	return nil
}

func (p *parts) addTest(object []byte) error {
	var row struct {
		Test         string
		Starts, Ends time.Time
		Salt         salt
		Revision     int64
		Name         string
		Proportion   float64
		Buckets      bucketIDs
		Variants     map[string]string
		Description  string // zero if it was not read, like all fields after it
		Owner        string
		Design       int
		Aside        bucketIDs
		Chance       *float64
		Record       map[string]string
	}
	if err := json.Unmarshal(object, &row); err != nil {
		return err
	}
	if n := len(p.configuration.Tests); n == 0 || p.configuration.Tests[n-1].Name != row.Test {
		p.configuration.Tests = append(p.configuration.Tests, model.ABTest{
			Name: row.Test, Start: row.Starts.UTC(), End: row.Ends.UTC(), Salt: model.Salt(row.Salt), Revision: row.Revision,
			Description: row.Description, Owner: row.Owner,
		})
		if row.Design > 0 {
			p.configuration.Tests[n].Design = &model.Design{Number: row.Design, Aside: row.Aside}
		}
	}
	last := &p.configuration.Tests[len(p.configuration.Tests)-1]
	if row.Chance != nil {
		last.Design.Chance = append(last.Design.Chance, *row.Chance)
	}
	last.Groups = append(last.Groups, model.TestGroup{Name: row.Name, Proportion: row.Proportion, Variants: row.Variants, Buckets: row.Buckets, Record: row.Record})
	return nil
}

func (p *parts) addGroup(object []byte) error {
	g, err := readGroup(object)
	p.configuration.Groups = append(p.configuration.Groups, g.Group)
	return err
}

func readGroup(object []byte) (*Group, error) {
	var g Group
	err := json.Unmarshal(object, &g)
	if g.Overrides == nil {
		g.Overrides = map[string]string{}
	}
	return &g, err
}

func (p *parts) addCredential(object []byte) error {
	var row struct {
		Hash    string
		Role    auth.Role
		Expires *time.Time
	}
	if err := json.Unmarshal(object, &row); err != nil {
		return err
	}
	t := auth.Credential{Role: row.Role, Expires: row.Expires}
	_, err := hex.Decode(t.Hash[:], []byte(row.Hash))
	p.tokens = append(p.tokens, t)
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

// bucketIDs is an integer[]. Assignments have up to model.MaxBuckets ids and are read
// again after each change of the configuration, so they are parsed in one pass.
type bucketIDs []model.BucketID

func (ids *bucketIDs) Scan(value any) error {
	return scanInts(ids, value)
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (ids *bucketIDs) UnmarshalText(text []byte) error { return scanInts(ids, text) }

// Value makes bucketIDs an argument of a statement.
func (ids bucketIDs) Value() (driver.Value, error) { return textOf(ids), nil }

// groupIDs is an integer[].
type groupIDs []model.GroupID

func (ids *groupIDs) Scan(value any) error { return scanInts(ids, value) }

// Value makes groupIDs an argument of a statement.
func (ids groupIDs) Value() (driver.Value, error) { return textOf(ids), nil }

// textOf is the text of an integer[], like {1,2,3}.
func textOf[S ~[]E, E ~int32](ints S) string {
	text := make([]byte, 0, 2+len(ints)*5)
	text = append(text, '{')
	for i, n := range ints {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(n), 10)
	}
	return string(append(text, '}'))
}

// scanInts scans an integer[] without negative numbers; NULL scans as nil.
func scanInts[S ~[]E, E ~int32](ints *S, value any) (err error) {
	*ints = nil
	if value == nil {
		return nil
	}
	text, ok := value.([]byte)
	if !ok {
		return fmt.Errorf("cannot scan %T as an array of integers", value)
	}
	*ints, err = appendInts(make(S, 0, 1+bytes.Count(text, []byte{','})), text)
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
