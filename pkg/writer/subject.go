package writer

import (
	"context"
	"iter"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddSubject registers a subject in the lightest bucket. Its weight is 1 if none
// is given. Fails with no_buckets or subject_exists.
func (w *Writer) AddSubject(ctx context.Context, create api.CreateSubject, opts ...Option) (Result[api.Subject], error) {
	weight := int64(1)
	if create.Weight != nil {
		weight = *create.Weight
	}
	var f model.Faults
	f.Check("body.id", model.CheckSubjectID(create.ID))
	if create.ID == "." || create.ID == ".." {
		f.Addf("body.id", "must not be %q: clients take it for a step in a path, so the subject would have no address", create.ID)
	}
	f.Check("body.weight", model.CheckWeight(weight))
	if err := f.Err(); err != nil {
		return Result[api.Subject]{}, err
	}
	return write(ctx, w, subjects, opts, func(c *change) (api.Subject, error) {
		if err := c.match(absent); err != nil {
			return api.Subject{}, err
		}
		return c.addSubject(ctx, create.ID, weight)
	})
}

func (c *change) addSubject(ctx context.Context, id string, weight int64) (api.Subject, error) {
	bucket, err := c.tx.InsertSubject(ctx, id, weight)
	if err != nil {
		return api.Subject{}, err
	}
	c.changesClass(id, nil, &model.Class{Bucket: bucket}, weight)
	after := api.Subject{ID: id, Weight: weight, BucketID: bucket, Groups: []string{}}
	return after, c.note(created, subjectResource.of(id), nil, after)
}

// SetSubjectWeight changes what a subject stands for. The subject stays in its
// bucket. Fails with subject_not_found.
func (w *Writer) SetSubjectWeight(ctx context.Context, id string, weight int64, opts ...Option) (Result[api.Subject], error) {
	var f model.Faults
	f.Check("path.id", model.CheckSubjectID(id))
	f.Check("body.weight", model.CheckWeight(weight))
	if err := f.Err(); err != nil {
		return Result[api.Subject]{}, err
	}
	return write(ctx, w, subjects, opts, func(c *change) (api.Subject, error) {
		s, err := c.matchSubject(ctx, id)
		if err != nil {
			return api.Subject{}, err
		}
		return c.setWeight(ctx, s, weight)
	})
}

func (c *change) setWeight(ctx context.Context, s *postgres.Subject, weight int64) (api.Subject, error) {
	before := subjectForm(s)
	if s.Weight == weight {
		return before, nil
	}
	if err := c.tx.UpdateSubjectWeight(ctx, s, weight); err != nil {
		return api.Subject{}, err
	}
	class := s.Class()
	c.changesClass(s.ID, &class, &class, weight)
	s.Weight = weight
	after := subjectForm(s)
	return after, c.note(updated, subjectResource.of(s.ID), before, after)
}

// DeleteSubject removes a subject, from its groups too. Fails with
// subject_not_found.
func (w *Writer) DeleteSubject(ctx context.Context, id string, opts ...Option) (Result[api.Subject], error) {
	if err := checkPath("id", model.CheckSubjectID(id)); err != nil {
		return Result[api.Subject]{}, err
	}
	return write(ctx, w, subjects, opts, func(c *change) (api.Subject, error) {
		s, err := c.matchSubject(ctx, id)
		if err != nil {
			return api.Subject{}, err
		}
		return c.deleteSubject(ctx, s)
	})
}

func (c *change) deleteSubject(ctx context.Context, s *postgres.Subject) (api.Subject, error) {
	if err := c.tx.DeleteSubject(ctx, s); err != nil {
		return api.Subject{}, err
	}
	class := s.Class()
	c.changesClass(s.ID, &class, nil, s.Weight)
	before := subjectForm(s)
	return before, c.note(deleted, subjectResource.of(s.ID), before, nil)
}

// matchSubject loads the subject that a write is about, and matches its version.
func (c *change) matchSubject(ctx context.Context, id string) (*postgres.Subject, error) {
	s, err := c.tx.Subject(ctx, id)
	if err != nil {
		return nil, err
	}
	return s, c.match(s.Version)
}

// Subject reads one subject. Fails with subject_not_found.
func (w *Writer) Subject(ctx context.Context, id string) (Result[api.Subject], error) {
	if err := checkPath("id", model.CheckSubjectID(id)); err != nil {
		return Result[api.Subject]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (api.Subject, int64, error) {
		s, err := tx.Subject(ctx, id)
		if err != nil {
			return api.Subject{}, 0, err
		}
		return subjectForm(s), s.Version, nil
	})
}

// Subjects lists the subjects whose ids begin with a prefix, in bytewise order
// of their ids.
func (w *Writer) Subjects(ctx context.Context, prefix string, page Page) (Result[api.Page[api.Subject]], error) {
	if prefix != "" {
		var f model.Faults
		f.Check("query.prefix", model.CheckSubjectID(prefix))
		if err := f.Err(); err != nil {
			return Result[api.Page[api.Subject]]{}, err
		}
	}
	return list(ctx, w, page, func(s *postgres.Subject) string { return s.ID },
		func(tx *postgres.Tx, limit int) iter.Seq2[*postgres.Subject, error] {
			return tx.Subjects(ctx, prefix, page.After, limit)
		}, each(subjectForm))
}

func subjectForm(s *postgres.Subject) api.Subject {
	groups := s.Groups
	if groups == nil {
		groups = []string{}
	}
	return api.Subject{ID: s.ID, Weight: s.Weight, BucketID: s.BucketID, Groups: groups}
}
