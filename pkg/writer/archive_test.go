package writer

import (
	"slices"
	"testing"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// A restored feature is served to the same subjects as before, and buckets that were
// added meanwhile have joined its rollout.
func TestRestoreKeepsTheRollout(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	w.seed()
	must[api.Rollout](t)(w.AddRollout(ctx, "foobar", "A"))
	before := must[api.Rollout](t)(w.SetRolloutProportion(ctx, "foobar", 0.5)).Value
	must[api.Feature](t)(w.ArchiveFeature(ctx, "foobar"))
	again := must[api.Feature](t)(w.ArchiveFeature(ctx, "foobar"))
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, len(before.Buckets)))
	restored := must[api.Feature](t)(w.RestoreFeature(ctx, "foobar"))
	if restored.Revision != again.Revision+2 {
		t.Errorf("archived twice at revision %d, restored at %d: the second archiving made a revision", again.Revision, restored.Revision)
	}
	after := restored.Value.Rollout.Buckets
	for _, b := range before.Buckets {
		if !slices.Contains(after, b) {
			t.Errorf("bucket %d is not in the restored rollout %v", b, after)
		}
	}
	if len(after) <= len(before.Buckets) {
		t.Errorf("no added bucket joined the rollout: %v before, %v after", before.Buckets, after)
	}
}

// An archived feature that is empty can be deleted, and comes back as it was.
func TestDeleteArchived(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "f"}))
	must[api.Feature](t)(w.PatchFeature(ctx, "f", api.PatchFeature{Off: ptr(true)}))
	must[api.Feature](t)(w.ArchiveFeature(ctx, "f"))
	_, err := w.AddVariant(ctx, "f", api.CreateVariant{Name: "A"})
	wantError(t, err, model.FeatureArchived, "restore")
	deleted := must[api.Feature](t)(w.DeleteFeature(ctx, "f"))
	must[api.Reverted](t)(w.Revert(ctx, deleted.Revision))
	if f := must[api.Feature](t)(w.Feature(ctx, "f")).Value; !f.Off || !f.Archived {
		t.Errorf("came back as %+v", f)
	}
}
