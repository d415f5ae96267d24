package writer

import (
	"context"
	"maps"
	"slices"

	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// prune archives and deletes what the owner manages and the document lacks.
func (a *application) prune(ctx context.Context) error {
	if !a.how.Prune {
		return nil
	}
	for _, d := range slices.Backward(a.dropped) {
		if err := a.pruneOne(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (a *application) pruneOne(ctx context.Context, d droppedObject) error {
	name := d.resource.names[0]
	switch {
	case d.prune == "":
		return nil
	case d.resource.kind == testResource:
		_, err := a.deleteTest(ctx, a.tests[name])
		return err
	case d.resource.kind == groupResource:
		_, err := a.deleteGroup(ctx, d.group)
		return err
	default:
		f, err := a.feature(ctx, name)
		if err == nil {
			err = a.setArchived(ctx, f, true)
		}
		return err
	}
}

// feature is one that the document may not refer to.
func (a *application) feature(ctx context.Context, name string) (f *model.Feature, err error) {
	if a.features[name] == nil {
		a.features[name], err = a.tx.Feature(ctx, name)
	}
	return a.features[name], err
}

// droppedObject is an object that the owner of the document manages and the document
// lacks.
type droppedObject struct {
	resource resource
	prune    string          // archived or deleted: what pruning does with it; "" if it stays
	group    *postgres.Group // nil if it is none
}

// findDropped lists the features, then the groups, then the tests.
func (a *application) findDropped(ctx context.Context) (dropped []droppedObject, err error) {
	if a.doc.Owner == "" {
		return nil, nil
	}
	managed, err := a.tx.ManagedBy(ctx, a.doc.Owner)
	if err != nil {
		return nil, err
	}
	for _, name := range managed.Features {
		if a.doc.Features[name] == nil {
			dropped = append(dropped, droppedObject{resource: featureResource.of(name), prune: archived})
		}
	}
	for _, name := range managed.Groups {
		if a.doc.Groups[name] == nil {
			g, err := a.tx.Group(ctx, name)
			if err != nil {
				return nil, err
			}
			held, err := archivedAmong(ctx, a.tx, slices.Collect(maps.Keys(g.Overrides)))
			if err != nil {
				return nil, err
			}
			d := droppedObject{resource: groupResource.of(name), group: g}
			if len(held) == 0 { // see deleteGroup
				d.prune = deleted
			}
			dropped = append(dropped, d)
		}
	}
	for _, name := range managed.ABTests {
		if a.doc.ABTests[name] == nil {
			d := droppedObject{resource: testResource.of(name)}
			if a.tests[name].State(a.tx.Now) == model.Ended {
				d.prune = deleted
			}
			dropped = append(dropped, d)
		}
	}
	return dropped, nil
}
