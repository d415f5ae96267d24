package writer

import (
	"context"
	"net/url"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddSubject registers a subject in the lightest bucket. Its weight is 1 where
// none is given. Fails with no_buckets or subject_exists.
func (w *Writer) AddSubject(ctx context.Context, create api.CreateSubject, opts ...Option) (Result[api.Subject], error) {
	weight := int64(1)
	if create.Weight != nil {
		weight = *create.Weight
	}
	var f model.Faults
	f.Check("body.id", model.CheckSubjectID(create.ID))
	f.Check("body.weight", model.CheckWeight(weight))
	if err := f.Err(); err != nil {
		return Result[api.Subject]{}, err
	}
	return write(ctx, w, subjects, opts, func(c *change) (s api.Subject, err error) {
		if err := c.match(0); err != nil {
			return s, err
		}
		bucket, err := c.InsertSubject(ctx, create.ID, weight)
		if err != nil {
			return s, err
		}
		c.version = c.Label
		c.touch(nil, &model.Class{Bucket: bucket}, weight)
		s = api.Subject{ID: create.ID, Weight: weight, BucketID: bucket, Groups: []string{}}
		return s, c.note(created, subjectPath(s.ID), nil, s)
	})
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
	return w.changeSubject(ctx, id, opts, func(c *change, s *postgres.Subject) error {
		if s.Weight == weight {
			return nil
		}
		before := subjectForm(s)
		if err := c.UpdateSubjectWeight(ctx, s, weight); err != nil {
			return err
		}
		class := s.Class()
		c.touch(&class, &class, weight)
		s.Weight = weight
		return c.note(updated, subjectPath(id), before, subjectForm(s))
	})
}

// DeleteSubject removes a subject, from its groups too. Fails with
// subject_not_found.
func (w *Writer) DeleteSubject(ctx context.Context, id string, opts ...Option) (Result[api.Subject], error) {
	if err := checkPath("id", model.CheckSubjectID(id)); err != nil {
		return Result[api.Subject]{}, err
	}
	return w.changeSubject(ctx, id, opts, func(c *change, s *postgres.Subject) error {
		if err := c.DeleteSubject(ctx, s); err != nil {
			return err
		}
		class := s.Class()
		c.touch(&class, nil, s.Weight)
		return c.note(deleted, subjectPath(id), subjectForm(s), nil)
	})
}

// changeSubject is write for what concerns one subject.
func (w *Writer) changeSubject(ctx context.Context, id string, opts []Option, body func(c *change, s *postgres.Subject) error) (Result[api.Subject], error) {
	return write(ctx, w, subjects, opts, func(c *change) (api.Subject, error) {
		s, err := c.Subject(ctx, id)
		if err != nil {
			return api.Subject{}, err
		}
		if err := c.match(s.Version); err != nil {
			return api.Subject{}, err
		}
		if err := body(c, s); err != nil {
			return api.Subject{}, err
		}
		if len(c.audit) > 0 {
			c.version = c.Label
		}
		return subjectForm(s), nil
	})
}

// touch notes for a dry run whose class the change moves.
func (c *change) touch(before, after *model.Class, weight int64) {
	c.touched = append(c.touched, touched{before, after, 1, weight})
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
	return list(ctx, w, page, func(s api.Subject) string { return s.ID },
		func(tx *postgres.Tx, limit int) ([]*postgres.Subject, error) {
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

func subjectPath(id string) string { return "subjects/" + url.PathEscape(id) }
