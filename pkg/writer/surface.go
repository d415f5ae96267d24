package writer

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// AuditFilter narrows what Audit lists. The zero value takes everything.
type AuditFilter struct {
	Actor    string
	Resource string
	Since    time.Time
}

// WaitForEdges waits until every connected edge serves the revision, or the time
// is up.
func (w *Writer) WaitForEdges(ctx context.Context, revision int64, atMost time.Duration) (api.Propagation, error) {
	return api.Propagation{}, errors.ErrUnsupported
}

// ExportSubjects emits every subject in id order, all of one revision, which
// begin hears before.
func (w *Writer) ExportSubjects(ctx context.Context, begin func(revision int64) error, emit func(api.ImportLine) error) error {
	return errors.ErrUnsupported
}

// Prune forgets change rows and tombstones older than given.
func (w *Writer) Prune(ctx context.Context, olderThan time.Duration) error {
	return errors.ErrUnsupported
}

// IncreaseBuckets …
func (w *Writer) IncreaseBuckets(ctx context.Context, amount int, opts ...Option) (Result[api.BucketIDs], error) {
	return Result[api.BucketIDs]{}, errors.ErrUnsupported
}

// AddSubject …
func (w *Writer) AddSubject(ctx context.Context, create api.CreateSubject, opts ...Option) (Result[api.Subject], error) {
	return Result[api.Subject]{}, errors.ErrUnsupported
}

// SetSubjectWeight …
func (w *Writer) SetSubjectWeight(ctx context.Context, id string, weight int64, opts ...Option) (Result[api.Subject], error) {
	return Result[api.Subject]{}, errors.ErrUnsupported
}

// DeleteSubject …
func (w *Writer) DeleteSubject(ctx context.Context, id string, opts ...Option) (Result[api.Subject], error) {
	return Result[api.Subject]{}, errors.ErrUnsupported
}

// ImportSubjects …
func (w *Writer) ImportSubjects(ctx context.Context, lines iter.Seq2[api.ImportLine, error], opts ...Option) (Result[api.Imported], error) {
	return Result[api.Imported]{}, errors.ErrUnsupported
}

// AddFeature …
func (w *Writer) AddFeature(ctx context.Context, create api.CreateFeature, opts ...Option) (Result[api.Feature], error) {
	return Result[api.Feature]{}, errors.ErrUnsupported
}

// PatchFeature …
func (w *Writer) PatchFeature(ctx context.Context, name string, patch api.PatchFeature, opts ...Option) (Result[api.Feature], error) {
	return Result[api.Feature]{}, errors.ErrUnsupported
}

// DeleteFeature …
func (w *Writer) DeleteFeature(ctx context.Context, name string, opts ...Option) (Result[api.Feature], error) {
	return Result[api.Feature]{}, errors.ErrUnsupported
}

// AddVariant …
func (w *Writer) AddVariant(ctx context.Context, feature string, create api.CreateVariant, opts ...Option) (Result[api.Variant], error) {
	return Result[api.Variant]{}, errors.ErrUnsupported
}

// AddDisablingVariant …
func (w *Writer) AddDisablingVariant(ctx context.Context, feature string, create api.CreateDisablingVariant, opts ...Option) (Result[api.Variant], error) {
	return Result[api.Variant]{}, errors.ErrUnsupported
}

// PatchVariant …
func (w *Writer) PatchVariant(ctx context.Context, feature, variant string, patch api.PatchVariant, opts ...Option) (Result[api.Variant], error) {
	return Result[api.Variant]{}, errors.ErrUnsupported
}

// DeleteVariant …
func (w *Writer) DeleteVariant(ctx context.Context, feature, variant string, opts ...Option) (Result[api.Variant], error) {
	return Result[api.Variant]{}, errors.ErrUnsupported
}

// SetDefaultVariant …
func (w *Writer) SetDefaultVariant(ctx context.Context, feature, variant string, opts ...Option) (Result[api.VariantReference], error) {
	return Result[api.VariantReference]{}, errors.ErrUnsupported
}

// DeleteDefaultVariant …
func (w *Writer) DeleteDefaultVariant(ctx context.Context, feature string, opts ...Option) (Result[api.VariantReference], error) {
	return Result[api.VariantReference]{}, errors.ErrUnsupported
}

// AddRollout …
func (w *Writer) AddRollout(ctx context.Context, feature, variant string, opts ...Option) (Result[api.Rollout], error) {
	return Result[api.Rollout]{}, errors.ErrUnsupported
}

// PatchRollout …
func (w *Writer) PatchRollout(ctx context.Context, feature string, patch api.PatchRollout, opts ...Option) (Result[api.Rollout], error) {
	return Result[api.Rollout]{}, errors.ErrUnsupported
}

// SetRolloutProportion …
func (w *Writer) SetRolloutProportion(ctx context.Context, feature string, proportion float64, opts ...Option) (Result[api.Rollout], error) {
	return Result[api.Rollout]{}, errors.ErrUnsupported
}

// DeleteRollout …
func (w *Writer) DeleteRollout(ctx context.Context, feature string, opts ...Option) (Result[api.Rollout], error) {
	return Result[api.Rollout]{}, errors.ErrUnsupported
}

// AddABTest …
func (w *Writer) AddABTest(ctx context.Context, create api.CreateABTest, opts ...Option) (Result[api.ABTest], error) {
	return Result[api.ABTest]{}, errors.ErrUnsupported
}

// StopABTest …
func (w *Writer) StopABTest(ctx context.Context, name string, opts ...Option) (Result[api.ABTest], error) {
	return Result[api.ABTest]{}, errors.ErrUnsupported
}

// DeleteABTest …
func (w *Writer) DeleteABTest(ctx context.Context, name string, opts ...Option) (Result[api.ABTest], error) {
	return Result[api.ABTest]{}, errors.ErrUnsupported
}

// AddGroup …
func (w *Writer) AddGroup(ctx context.Context, create api.CreateGroup, opts ...Option) (Result[api.Group], error) {
	return Result[api.Group]{}, errors.ErrUnsupported
}

// PatchGroup …
func (w *Writer) PatchGroup(ctx context.Context, name string, patch api.PatchGroup, opts ...Option) (Result[api.Group], error) {
	return Result[api.Group]{}, errors.ErrUnsupported
}

// DeleteGroup …
func (w *Writer) DeleteGroup(ctx context.Context, name string, opts ...Option) (Result[api.Group], error) {
	return Result[api.Group]{}, errors.ErrUnsupported
}

// AddSubjectToGroup …
func (w *Writer) AddSubjectToGroup(ctx context.Context, group, id string, opts ...Option) (Result[api.Subject], error) {
	return Result[api.Subject]{}, errors.ErrUnsupported
}

// RemoveSubjectFromGroup …
func (w *Writer) RemoveSubjectFromGroup(ctx context.Context, group, id string, opts ...Option) (Result[api.Subject], error) {
	return Result[api.Subject]{}, errors.ErrUnsupported
}

// AddGroupOverride …
func (w *Writer) AddGroupOverride(ctx context.Context, group, feature, variant string, opts ...Option) (Result[api.VariantReference], error) {
	return Result[api.VariantReference]{}, errors.ErrUnsupported
}

// DeleteGroupOverride …
func (w *Writer) DeleteGroupOverride(ctx context.Context, group, feature string, opts ...Option) (Result[api.VariantReference], error) {
	return Result[api.VariantReference]{}, errors.ErrUnsupported
}

// Buckets …
func (w *Writer) Buckets(ctx context.Context, page Page) (Result[api.Page[api.Bucket]], error) {
	return Result[api.Page[api.Bucket]]{}, errors.ErrUnsupported
}

// Subjects …
func (w *Writer) Subjects(ctx context.Context, prefix string, page Page) (Result[api.Page[api.Subject]], error) {
	return Result[api.Page[api.Subject]]{}, errors.ErrUnsupported
}

// Features …
func (w *Writer) Features(ctx context.Context, page Page) (Result[api.Page[api.Feature]], error) {
	return Result[api.Page[api.Feature]]{}, errors.ErrUnsupported
}

// ABTests …
func (w *Writer) ABTests(ctx context.Context, state model.TestState, page Page) (Result[api.Page[api.ABTest]], error) {
	return Result[api.Page[api.ABTest]]{}, errors.ErrUnsupported
}

// Groups …
func (w *Writer) Groups(ctx context.Context, page Page) (Result[api.Page[api.Group]], error) {
	return Result[api.Page[api.Group]]{}, errors.ErrUnsupported
}

// Members …
func (w *Writer) Members(ctx context.Context, group string, page Page) (Result[api.Page[string]], error) {
	return Result[api.Page[string]]{}, errors.ErrUnsupported
}

// Audit …
func (w *Writer) Audit(ctx context.Context, filter AuditFilter, page Page) (Result[api.Page[api.AuditEntry]], error) {
	return Result[api.Page[api.AuditEntry]]{}, errors.ErrUnsupported
}

// Subject …
func (w *Writer) Subject(ctx context.Context, id string) (Result[api.Subject], error) {
	return Result[api.Subject]{}, errors.ErrUnsupported
}

// Feature …
func (w *Writer) Feature(ctx context.Context, name string) (Result[api.Feature], error) {
	return Result[api.Feature]{}, errors.ErrUnsupported
}

// Rollout …
func (w *Writer) Rollout(ctx context.Context, feature string) (Result[api.Rollout], error) {
	return Result[api.Rollout]{}, errors.ErrUnsupported
}

// ABTest …
func (w *Writer) ABTest(ctx context.Context, name string) (Result[api.ABTest], error) {
	return Result[api.ABTest]{}, errors.ErrUnsupported
}

// Group …
func (w *Writer) Group(ctx context.Context, name string) (Result[api.Group], error) {
	return Result[api.Group]{}, errors.ErrUnsupported
}

// SubjectVariants …
func (w *Writer) SubjectVariants(ctx context.Context, id string) (Result[map[string]string], error) {
	return Result[map[string]string]{}, errors.ErrUnsupported
}

// Explain …
func (w *Writer) Explain(ctx context.Context, id string, at time.Time) (Result[api.Explanation], error) {
	return Result[api.Explanation]{}, errors.ErrUnsupported
}

// Edges …
func (w *Writer) Edges(ctx context.Context) (Result[[]api.Edge], error) {
	return Result[[]api.Edge]{}, errors.ErrUnsupported
}
