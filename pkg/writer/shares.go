package writer

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// Shares counts the subjects that each step of a feature decides for at a moment: now if
// it is the zero time, or in the future if nothing changes until then. For a moment in
// the past it counts today's subjects by the configuration of that moment. Fails with
// feature_not_found or history_unavailable.
func (w *Writer) Shares(ctx context.Context, feature string, at time.Time) (Result[api.Shares], error) {
	var f model.Faults
	f.Check("path.feature", model.CheckName(feature))
	checkYear(&f, "query.at", at)
	if err := f.Err(); err != nil {
		return Result[api.Shares]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (shares api.Shares, _ int64, err error) {
		at := at.UTC()
		if at.IsZero() {
			at = tx.Now
		}
		held, err := momentOf(ctx, tx, at)
		if err != nil {
			return shares, 0, err
		}
		buckets, err := tx.Buckets(ctx)
		if err != nil {
			return shares, 0, err
		}
		s, err := w.survey(ctx, tx, buckets, held.Revision, feature)
		if err != nil {
			return shares, 0, err
		}
		shares.Revision, shares.Steps = held.Revision, []api.StepShare{}
		shares.TotalWeight, shares.TotalSubjects = s.total()
		for _, d := range s.decided(feature, at) {
			shares.Steps = append(shares.Steps, api.StepShare{
				Step: stepOf(d.Decision), Variant: orNil(d.Variant), TestGroup: orNil(d.TestGroup), Group: orNil(d.Group),
				Weight: d.weight, Subjects: d.subjects,
			})
		}
		return shares, 0, nil
	})
}

// Overlap counts the subjects that get each pair of variants of two features now. Fails
// with feature_not_found.
func (w *Writer) Overlap(ctx context.Context, features []string) (Result[api.Overlap], error) {
	var f model.Faults
	if len(features) != 2 || features[0] == features[1] {
		f.Addf("query.features", "must be two different features, are %q", features)
	}
	for _, name := range features {
		f.Check("query.features", model.CheckName(name))
	}
	if err := f.Err(); err != nil {
		return Result[api.Overlap]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (overlap api.Overlap, _ int64, err error) {
		buckets, err := tx.Buckets(ctx)
		if err != nil {
			return overlap, 0, err
		}
		s, err := w.survey(ctx, tx, buckets, tx.Revision, features...)
		if err != nil {
			return overlap, 0, err
		}
		cells := map[[2]string]api.OverlapCell{}
		s.eachOf(features, func(c postgres.ClassCount) {
			var variants [2]string
			for i, name := range features {
				d, _ := s.DecideFeature(name, c.Class, tx.Now)
				variants[i] = d.Variant
			}
			cell := cells[variants]
			cell.Weight, cell.Subjects = cell.Weight+c.Weight, cell.Subjects+c.Subjects
			cells[variants] = cell
		})
		overlap.TotalWeight, _ = s.total()
		overlap.Cells = []api.OverlapCell{}
		for _, variants := range slices.SortedFunc(maps.Keys(cells), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
			cell := cells[variants]
			cell.A, cell.B = orNil(variants[0]), orNil(variants[1])
			overlap.Cells = append(overlap.Cells, cell)
		}
		return overlap, 0, nil
	})
}

// FeatureSubjects lists, by id, the subjects that get a variant of a feature now. Fails
// with feature_not_found or variant_not_found.
func (w *Writer) FeatureSubjects(ctx context.Context, feature, variant string, page Page) (Result[api.Page[api.FeatureSubject]], error) {
	var f model.Faults
	f.Check("path.feature", model.CheckName(feature))
	f.Check("query.variant", model.CheckVariantReference(variant))
	if err := f.Err(); err != nil {
		return Result[api.Page[api.FeatureSubject]]{}, err
	}
	return list(ctx, w, page, func(s api.FeatureSubject) string { return s.ID },
		func(tx *postgres.Tx, limit int) iter.Seq2[api.FeatureSubject, error] {
			return sequence(func(yield func(api.FeatureSubject, error) bool) error {
				return w.eachFeatureSubject(ctx, tx, feature, variant, page.After, limit, yield)
			})
		}, each(func(s api.FeatureSubject) api.FeatureSubject { return s }))
}

// eachFeatureSubject searches only the buckets and the groups with subjects that get the
// variant, which may be few of many.
func (w *Writer) eachFeatureSubject(ctx context.Context, tx *postgres.Tx, feature, variant, after string, limit int, yield func(api.FeatureSubject, error) bool) error {
	all, err := tx.Buckets(ctx)
	if err != nil {
		return err
	}
	s, err := w.survey(ctx, tx, all, tx.Revision, feature)
	if err != nil {
		return err
	}
	if _, found := s.Payload(feature, variant); !found {
		return model.Errorf(model.VariantNotFound, "feature %q has no variant %q", feature, variant)
	}
	buckets, groups := map[model.BucketID]bool{}, map[string]bool{}
	s.eachOf([]string{feature}, func(c postgres.ClassCount) {
		switch d, _ := s.DecideFeature(feature, c.Class, tx.Now); {
		case d.Variant != variant:
		case d.Reason == evaluation.Override:
			groups[d.Group] = true
		default:
			buckets[c.Bucket] = true
		}
	})
	overriding := slices.DeleteFunc(slices.Clone(s.config.Groups), func(g model.Group) bool { return !groups[g.Name] })
	for {
		found, err := tx.SubjectsIn(ctx, slices.Sorted(maps.Keys(buckets)), idsOf(overriding), after, limit)
		if err != nil {
			return err
		}
		for _, subject := range found {
			after = subject.ID
			d, _ := s.DecideFeature(feature, subject.Class(), tx.Now)
			if d.Variant == variant && !yield(api.FeatureSubject{ID: subject.ID, Weight: subject.Weight, Step: stepOf(d)}, nil) {
				return nil
			}
		}
		if len(found) < limit {
			return nil
		}
	}
}

// survey has the data to count which subjects get which variants of some features.
type survey struct {
	*evaluation.Resolver
	config *model.Configuration
	counted
}

// survey reads the data for today's subjects and the configuration of a revision. Fails
// with feature_not_found.
func (w *Writer) survey(ctx context.Context, tx *postgres.Tx, buckets []model.Bucket, revision int64, features ...string) (s survey, err error) {
	last := nothingResolved
	if revision == tx.Revision {
		if last, err = w.lastResolved(tx.Epoch, tx.Revision); err == nil {
			s.config, err = tx.ConfigurationOf(ctx, features, last.KnownConfiguration)
		}
	} else {
		s.config, err = tx.ConfigurationOfAt(ctx, features, revision)
	}
	if err != nil {
		return s, err
	}
	if s.Resolver, err = last.compile(s.config); err != nil {
		return s, err
	}
	for _, name := range features {
		if !slices.Contains(s.Features(), name) {
			return s, model.Errorf(model.FeatureNotFound, "there is no feature %q at revision %d", name, revision)
		}
	}
	s.counted, err = w.counts.of(ctx, tx, idsOf(s.config.Groups), false)
	s.buckets = buckets
	return s, err
}

// eachOf yields the subjects by class, of the groups that override one of the features:
// other groups change nothing about what subjects get.
func (s *survey) eachOf(features []string, yield func(postgres.ClassCount)) {
	var overriding []model.GroupID
	for _, g := range s.config.Groups {
		if slices.ContainsFunc(features, func(name string) bool { return g.Overrides[name] != "" }) {
			overriding = append(overriding, g.ID)
		}
	}
	s.each(overriding, yield)
}

// decided is a step of a feature with the subjects that it decides for.
type decided struct {
	evaluation.Decision
	weight, subjects int64
}

// decided counts for each step of a feature, in the order of the resolution.
func (s *survey) decided(feature string, at time.Time) []decided {
	decisions, decides := s.Steps(feature, at)
	steps := make([]decided, len(decisions))
	for i, d := range decisions {
		steps[i].Decision = d
	}
	s.eachOf([]string{feature}, func(c postgres.ClassCount) {
		step := &steps[decides(c.Class)]
		step.weight, step.subjects = step.weight+c.Weight, step.subjects+c.Subjects
	})
	return steps
}

// nothing is the step of subjects that no other step decides for.
const nothing = "nothing"

func stepOf(d evaluation.Decision) string { return cmp.Or(string(d.Reason), nothing) }

func orNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// orNone is the inverse of orNil.
func orNone(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
