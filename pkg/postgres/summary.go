package postgres

import (
	"context"
	"time"

	"github.com/flaggery/flaggery/pkg/model"
)

// FeatureFilter selects the features that ListedFeatures reads, and their order. A zero
// field selects all.
type FeatureFilter struct {
	Archived bool // either the archived features or the others
	Query    string
	Tag      string
	State    model.FeatureState
	Stage    model.FeatureStage
	ByChange bool         // last changed first, else by name
	After    FeaturePlace // only features after this one in the list
}

// FeaturePlace is the place of a feature in a list. Revision matters only in a list by
// change.
type FeaturePlace struct {
	Revision int64
	Name     string
}

// ListedFeature is a feature in a list, with its last change.
type ListedFeature struct {
	FeaturePlace
	State     model.FeatureState
	Stage     model.FeatureStage
	SettledOn *time.Time `db:"settled_on"` // nil if the stage is another one
	Contact   string
	Expires   string // "" for none
	Permanent bool
	Owner     string // "" for none
	At        time.Time
	Actor     string
}

// ListedFeatures reads at most limit features.
func (tx *Tx) ListedFeatures(ctx context.Context, f FeatureFilter, limit int) (features []ListedFeature, err error) {
	after, order := `name > $6`, `f.name`
	if f.ByChange {
		after, order = `($7::bigint = 0 OR revision < $7 OR revision = $7 AND name > $6)`, `f.revision DESC, f.name`
	}
	err = tx.selectAll(ctx, "list features", &features, `
		SELECT f.name, f.revision, f.state, f.stage, f.contact, coalesce(f.expires::text, '') AS expires, f.permanent, f.owner,
		       CASE WHEN f.stage = 'settled' THEN greatest(d.at, (SELECT max(t.ends)`+testsOfFeature+`)) END AS settled_on,
		       coalesce(a.at, 'epoch') AS at, coalesce(a.actor, '') AS actor
		FROM (
			SELECT name, revision, state, stage, contact, expires, permanent, owner, decided FROM (
				SELECT f.*, `+stageOfFeature+` AS stage FROM (
					SELECT f.*, `+stateOfFeature+` AS state, `+commonVariant+` AS common
					FROM feature f LEFT JOIN rollout r ON r.feature = f.name WHERE f.archived = $2
				) f
			) f
			WHERE ($3 = '' OR strpos(lower(name), lower($3)) > 0 OR strpos(lower(description), lower($3)) > 0
			       OR EXISTS (SELECT FROM unnest(tags) AS tag WHERE strpos(lower(tag), lower($3)) > 0))
			  AND ($4 = '' OR $4 = ANY(tags))
			  AND ($5 = '' OR state = $5)
			  AND ($9 = '' OR stage = $9)
			  AND `+after+` AND $7::bigint IS NOT NULL
			ORDER BY `+order+` LIMIT $8
		) f LEFT JOIN audit a ON a.revision = f.revision AND a.position = 0
		    LEFT JOIN audit d ON d.revision = f.decided AND d.position = 0
		ORDER BY `+order,
		tx.Now, f.Archived, f.Query, f.Tag, string(f.State), f.After.Name, f.After.Revision, limit,
		string(f.Stage), tx.Now.Format(time.DateOnly), tx.Now.Add(-model.SettledAfter))
	return features, err
}

// stateOfFeature is the [model.FeatureState] of a feature f with the rollout r at the
// moment $1.
const stateOfFeature = `
	CASE WHEN f.archived THEN 'archived'
	     WHEN f.off THEN 'off'
	     WHEN EXISTS (SELECT` + testsOfFeature + ` AND t.starts <= $1::timestamptz AND t.ends > $1::timestamptz) THEN 'testing'
	     WHEN r.proportion = 1 THEN 'everyone'
	     WHEN r.proportion > 0 THEN 'rolling'
	     ELSE 'default'
	END`

// commonVariant is the variant that the default and the rollout r of a feature f give to
// everybody together, if there is one.
const commonVariant = `
	CASE WHEN r.proportion = 1 THEN r.variant
	     WHEN r.proportion > 0 AND r.variant <> f.default_variant THEN NULL
	     ELSE f.default_variant
	END`

// stageOfFeature is the [model.FeatureStage] of a feature f with its state and its common
// variant, on the date $10. $11 is [model.SettledAfter] ago.
const stageOfFeature = `
	CASE WHEN f.archived THEN 'archived'
	     WHEN f.expires <= $10::date AND NOT f.permanent THEN 'expired'
	     WHEN f.state IN ('off', 'testing') THEN f.state
	     WHEN NOT f.permanent
	          AND f.decided <= (SELECT revision FROM audit WHERE at <= $11 ORDER BY at DESC, revision DESC LIMIT 1)
	          AND f.common IS NOT NULL AND f.common = ALL (SELECT variant FROM override o WHERE o.feature = f.name)
	          AND NOT EXISTS (SELECT` + testsOfFeature + ` AND t.ends > $11) THEN 'settled'
	     WHEN f.state = 'default' AND f.decided = f.created AND NOT EXISTS (SELECT` + testsOfFeature + ` AND t.starts <= $1) THEN 'new'
	     ELSE 'rolling'
	END`

const testsOfFeature = ` FROM abtest_variant v JOIN abtest t ON t.name = v.abtest WHERE v.feature = f.name`
