package writer

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AddSubject adds a subject to the lightest bucket. The default weight is 1. Fails with
// no_buckets or subject_exists.
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

// SetSubjectWeight changes the weight of a subject. The subject stays in its bucket.
// Fails with subject_not_found.
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

// DeleteSubject removes a subject and its memberships. Fails with subject_not_found.
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

// Subjects lists subjects in bytewise order of their ids, or the heaviest first.
func (w *Writer) Subjects(ctx context.Context, q api.SubjectQuery, page Page) (Result[api.Page[api.Subject]], error) {
	var f model.Faults
	if q.Prefix != "" {
		f.Check("query.prefix", model.CheckSubjectID(q.Prefix))
	}
	if q.Bucket < 0 || q.Bucket > model.MaxBuckets {
		f.Addf("query.bucket", "must be between 1 and %d, is %d", model.MaxBuckets, q.Bucket)
	}
	after := postgres.First
	switch q.Sort {
	case "":
	case api.HeaviestFirst:
		if page.After != "" {
			var err error
			after, err = parseSubjectPlace(page.After)
			f.Check("query.after", err)
			page.After = after.ID
		}
	default:
		f.Addf("query.sort", "must be %q, is %q", api.HeaviestFirst, q.Sort)
	}
	if err := f.Err(); err != nil {
		return Result[api.Page[api.Subject]]{}, err
	}
	filter := postgres.SubjectFilter{Prefix: q.Prefix, Bucket: q.Bucket}
	key, items := func(s *postgres.Subject) string { return s.ID }, func(tx *postgres.Tx, limit int) iter.Seq2[*postgres.Subject, error] {
		return tx.Subjects(ctx, filter, page.After, limit)
	}
	if q.Sort == api.HeaviestFirst {
		key, items = subjectPlaceOf, func(tx *postgres.Tx, limit int) iter.Seq2[*postgres.Subject, error] {
			return tx.HeaviestSubjects(ctx, filter, after, limit)
		}
	}
	return list(ctx, w, page, key, items, each(subjectForm))
}

// subjectPlaceOf is the value of Page.After in the order of weights.
func subjectPlaceOf(s *postgres.Subject) string { return fmt.Sprintf("%d-%s", s.Weight, s.ID) }

func parseSubjectPlace(after string) (p postgres.SubjectPlace, err error) {
	weight, id, _ := strings.Cut(after, "-")
	p.ID = id
	p.Weight, err = strconv.ParseInt(weight, 10, 64)
	if err != nil || model.CheckWeight(p.Weight) != nil || model.CheckSubjectID(id) != nil {
		err = fmt.Errorf("must be the 'next' of the page before, is %q", after)
	}
	return p, err
}

func subjectForm(s *postgres.Subject) api.Subject {
	groups := s.Groups
	if groups == nil {
		groups = []string{}
	}
	return api.Subject{ID: s.ID, Weight: s.Weight, BucketID: s.BucketID, Groups: groups}
}
