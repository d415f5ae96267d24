package postgres

import (
	"context"
	"iter"

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

// selectWholeFeatures is selectOwnedFeatures with variants.
const selectWholeFeatures = `
	SELECT f.*, (SELECT json_agg(v ORDER BY v.name) FROM (` + selectVariants + `) v WHERE v.feature = f.name) AS variants
	FROM (` + selectOwnedFeatures + `) f`

func readFeature(object []byte) (*model.Feature, error) {
	var p parts
	if err := p.addFeature(object); err != nil {
		return nil, err
	}
	return &p.configuration.Features[0], nil
}

// InsertFeature stores a feature without variants, or fails with feature_exists.
func (tx *Tx) InsertFeature(ctx context.Context, f *model.Feature) error {
	err := tx.exec(ctx, "insert a feature", `
		INSERT INTO feature (name, description, tags, contact, expires, permanent, owner, off, archived, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		f.Name, f.Description, pq.StringArray(f.Tags), f.Contact, orNull(f.Expires), f.Permanent, f.Owner, f.Off, f.Archived, f.Revision)
	if pq.As(err, pqerror.UniqueViolation) != nil {
		return model.Errorf(model.FeatureExists, "there is a feature %q already", f.Name)
	}
	return err
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
	text, _ := bucketIDs(buckets).Value() // never fails
	a.names = append(a.names, name)
	a.buckets = append(a.buckets, text.(string))
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
