package postgres

import (
	"context"
	"database/sql/driver"
	"iter"
	"strconv"
	"strings"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
)

// Feature reads one feature with its variants and rollout, or fails with
// feature_not_found.
func (tx *Tx) Feature(ctx context.Context, name string) (*model.Feature, error) {
	var feature *model.Feature
	err := tx.scanJSON(ctx, "read a feature", selectWholeFeatures+` WHERE f.name = $1`, []any{name}, func(object []byte) (err error) {
		feature, err = readFeature(object)
		return err
	})
	if err == nil && feature == nil {
		err = model.Errorf(model.FeatureNotFound, "there is no feature %q", name)
	}
	return feature, err
}

// FeaturesNamed reads those features that exist, in name order.
func (tx *Tx) FeaturesNamed(ctx context.Context, names []string) iter.Seq2[*model.Feature, error] {
	return fetchJSON(ctx, tx.querier, "read features", asJSON(selectWholeFeatures+` WHERE f.name = ANY($1) ORDER BY f.name`),
		[]any{pq.StringArray(names)}, readFeature)
}

// Features reads at most limit features after a name in name order, either the archived
// ones or the others.
func (tx *Tx) Features(ctx context.Context, archived bool, after string, limit int) iter.Seq2[*model.Feature, error] {
	return fetchJSON(ctx, tx.querier, "list features", asJSON(selectWholeFeatures+` WHERE f.archived = $1 AND f.name > $2 ORDER BY f.name LIMIT $3`),
		[]any{archived, after, limit}, readFeature)
}

// FeatureNames reads at most limit names with a part after a name, of either the archived
// features or the others.
func (tx *Tx) FeatureNames(ctx context.Context, archived bool, part, after string, limit int) (names []string, err error) {
	err = tx.selectAll(ctx, "list the names of features", &names,
		`SELECT name FROM feature WHERE archived = $1 AND strpos(lower(name), lower($2)) > 0 AND name > $3 ORDER BY name LIMIT $4`,
		archived, part, after, limit)
	return names, err
}

// FeaturesOf reads the features that an owner manages, or all for "", in name order,
// without the buckets of rollouts.
func (tx *Tx) FeaturesOf(ctx context.Context, owner string) iter.Seq2[*model.Feature, error] {
	return fetchJSON(ctx, tx.querier, "read the features of an owner",
		asJSON(selectWithVariants+selectUnassignedFeatures+`) f WHERE $1 IN ('', f.owner) ORDER BY f.name`), []any{owner}, readFeature)
}

const (
	// selectWholeFeatures is selectOwnedFeatures with variants.
	selectWholeFeatures = selectWithVariants + selectOwnedFeatures + `) f`

	selectWithVariants = `
		SELECT f.*, (SELECT json_agg(v ORDER BY v.name) FROM (` + selectVariants + `) v WHERE v.feature = f.name) AS variants
		FROM (`
)

func readFeature(object []byte) (*model.Feature, error) {
	var p parts
	if err := p.addFeature(object); err != nil {
		return nil, err
	}
	return &p.configuration.Features[0], nil
}

// InsertFeatures stores features, whose tags are not nil, with their variants, defaults and
// rollouts, or fails with feature_exists.
func (tx *Tx) InsertFeatures(ctx context.Context, features []*model.Feature) error {
	var (
		names, descriptions, tags, contacts, expires, owners, defaults pq.StringArray
		permanent, off, archived                                       pq.BoolArray
		ofVariants, variants, payloads                                 pq.StringArray
		ofRollouts, served, buckets                                    pq.StringArray
		proportions                                                    pq.Float64Array
		salts                                                          pq.ByteaArray
	)
	for _, f := range features {
		names, descriptions, tags = append(names, f.Name), append(descriptions, f.Description), append(tags, literal(pq.StringArray(f.Tags)))
		contacts, expires, owners = append(contacts, f.Contact), append(expires, f.Expires), append(owners, f.Owner)
		permanent, off, archived, defaults = append(permanent, f.Permanent), append(off, f.Off), append(archived, f.Archived), append(defaults, f.Default)
		for _, v := range f.Variants {
			ofVariants, variants, payloads = append(ofVariants, f.Name), append(variants, v.Name), append(payloads, string(v.Payload))
		}
		if r := f.Rollout; r != nil {
			ofRollouts, served, buckets = append(ofRollouts, f.Name), append(served, r.Variant), append(buckets, literal(bucketIDs(r.Buckets)))
			proportions, salts = append(proportions, r.Proportion), append(salts, r.Salt[:])
		}
	}
	// In one statement, as a feature and its default refer to each other.
	err := tx.exec(ctx, "insert features", `
		WITH f AS (
			INSERT INTO feature (name, description, tags, contact, expires, permanent, owner, default_variant, off, archived, revision)
			SELECT name, description, tags::text[], contact, nullif(expires, '')::date, permanent, owner, nullif(default_variant, ''), off, archived, $1
			FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::text[], $9::text[], $10::boolean[], $11::boolean[])
				AS f (name, description, tags, contact, expires, permanent, owner, default_variant, off, archived)
		), v AS (
			INSERT INTO variant (feature, name, payload)
			SELECT feature, name, nullif(payload, '')::json FROM unnest($12::text[], $13::text[], $14::text[]) AS v (feature, name, payload)
		)
		INSERT INTO rollout (feature, variant, proportion, salt, buckets)
		SELECT feature, variant, proportion, salt, buckets::integer[]
		FROM unnest($15::text[], $16::text[], $17::double precision[], $18::bytea[], $19::text[]) AS r (feature, variant, proportion, salt, buckets)`,
		tx.Revision, names, descriptions, tags, contacts, expires, permanent, owners, defaults, off, archived,
		ofVariants, variants, payloads, ofRollouts, served, proportions, salts, buckets)
	if pq.As(err, pqerror.UniqueViolation) != nil {
		for i, name := range names {
			names[i] = strconv.Quote(name)
		}
		return taken(err, model.FeatureExists, "there is a feature %s already", strings.Join(names, " or "))
	}
	return err
}

// literal is an array as text. The array must not be nil.
func literal(array driver.Valuer) string {
	text, _ := array.Value() // never fails
	return text.(string)
}

// UpdateFeature stores the fields of a feature itself: all but its variants and rollout.
func (tx *Tx) UpdateFeature(ctx context.Context, f *model.Feature) error {
	return tx.exec(ctx, "update a feature",
		`UPDATE feature SET description = $2, tags = $3, contact = $4, expires = $5, permanent = $6, owner = $7, default_variant = $8, off = $9, archived = $10, revision = $11 WHERE name = $1`,
		f.Name, f.Description, pq.StringArray(f.Tags), f.Contact, orNull(f.Expires), f.Permanent, f.Owner, orNull(f.Default), f.Off, f.Archived, f.Revision)
}

// DeleteFeature removes a feature that has no variants.
func (tx *Tx) DeleteFeature(ctx context.Context, name string) error {
	return tx.exec(ctx, "delete a feature", `DELETE FROM feature WHERE name = $1`, name)
}

// changePart runs a statement on a part of a feature, as a change of the feature. In
// the statement $1 is the feature and $2 its new revision; args follow.
func (tx *Tx) changePart(ctx context.Context, what, feature, text string, args ...any) error {
	const revise = `WITH revised AS (UPDATE feature SET revision = $2 WHERE name = $1) `
	return tx.exec(ctx, what, revise+text, append([]any{feature, tx.Revision}, args...)...)
}

// InsertVariants stores variants.
func (tx *Tx) InsertVariants(ctx context.Context, feature string, variants []model.Variant) error {
	names, payloads := make(pq.StringArray, len(variants)), make(pq.StringArray, len(variants))
	for i, v := range variants {
		names[i], payloads[i] = v.Name, string(v.Payload)
	}
	return tx.changePart(ctx, "insert variants", feature, `
		INSERT INTO variant (feature, name, payload)
		SELECT $1, name, nullif(payload, '')::json FROM unnest($3::text[], $4::text[]) AS v (name, payload)`, names, payloads)
}

// UpdateVariant stores a variant's payload.
func (tx *Tx) UpdateVariant(ctx context.Context, feature string, v model.Variant) error {
	return tx.changePart(ctx, "update a variant", feature, `UPDATE variant SET payload = $4 WHERE feature = $1 AND name = $3`,
		v.Name, orNull(string(v.Payload)))
}

// DeleteVariant removes a variant that nothing refers to.
func (tx *Tx) DeleteVariant(ctx context.Context, feature, name string) error {
	return tx.changePart(ctx, "delete a variant", feature, `DELETE FROM variant WHERE feature = $1 AND name = $3`, name)
}

// VariantUse is one reference to a variant.
type VariantUse struct {
	Variant   string
	Test      string `db:"abtest"` // with TestGroup; "" if it is not the reference of a test
	TestGroup string `db:"abtest_group"`
	Group     string `db:"overriding"` // "" if it is not the override of a group
}

// VariantUses finds the tests and the groups that refer to variants of a feature.
func (tx *Tx) VariantUses(ctx context.Context, feature string) ([]VariantUse, error) {
	var uses []VariantUse
	err := tx.selectAll(ctx, "find the uses of variants", &uses, `
		SELECT variant, abtest, abtest_group, '' AS overriding FROM abtest_variant WHERE feature = $1
		UNION ALL
		SELECT o.variant, '', '', g.name FROM override o JOIN subject_group g ON g.id = o.group_id WHERE o.feature = $1
		ORDER BY 2, 3, 4`, feature)
	return uses, err
}

// InsertRollout stores the rollout of a feature.
func (tx *Tx) InsertRollout(ctx context.Context, feature string, r *model.Rollout) error {
	return tx.changePart(ctx, "insert a rollout", feature,
		`INSERT INTO rollout (feature, variant, proportion, salt, buckets) VALUES ($1, $3, $4, $5, $6)`,
		r.Variant, r.Proportion, r.Salt[:], bucketIDs(r.Buckets))
}

// UpdateRollout stores the variant, the proportion and the assignment of a feature's
// rollout. The salt stays.
func (tx *Tx) UpdateRollout(ctx context.Context, feature string, r *model.Rollout) error {
	return tx.changePart(ctx, "update a rollout", feature,
		`UPDATE rollout SET variant = $3, proportion = $4, buckets = $5 WHERE feature = $1`,
		r.Variant, r.Proportion, bucketIDs(r.Buckets))
}

// DeleteRollout removes the rollout of a feature.
func (tx *Tx) DeleteRollout(ctx context.Context, feature string) error {
	return tx.changePart(ctx, "delete a rollout", feature, `DELETE FROM rollout WHERE feature = $1`)
}

// Assignments are buckets by the name of the feature or test group that they are
// assigned to.
type Assignments struct {
	names   []string
	buckets []string
}

// Add adds the buckets of one rollout or of one test group.
func (a *Assignments) Add(name string, buckets []model.BucketID) {
	a.names = append(a.names, name)
	a.buckets = append(a.buckets, literal(bucketIDs(buckets)))
}

// UpdateRolloutBuckets stores the assignments of rollouts, by feature. It counts as a
// change of the features.
func (tx *Tx) UpdateRolloutBuckets(ctx context.Context, a Assignments) error {
	if len(a.names) == 0 {
		return nil
	}
	return tx.exec(ctx, "update the buckets of rollouts", `
		WITH now AS (SELECT feature, buckets FROM unnest($1::text[], $2::text[]) AS one (feature, buckets)),
		f AS (UPDATE feature SET revision = $3 FROM now WHERE feature.name = now.feature)
		UPDATE rollout r SET buckets = now.buckets::integer[] FROM now WHERE r.feature = now.feature`,
		pq.StringArray(a.names), pq.StringArray(a.buckets), tx.Revision)
}
