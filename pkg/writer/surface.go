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

// ImportSubjects …
func (w *Writer) ImportSubjects(ctx context.Context, lines iter.Seq2[api.ImportLine, error], opts ...Option) (Result[api.Imported], error) {
	return Result[api.Imported]{}, errors.ErrUnsupported
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
