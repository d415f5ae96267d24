package writer

import (
	"context"
	"fmt"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/evaluation"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// SubjectVariants reads which variant of each feature a subject gets now.
// Features that resolve to nothing are left out. Fails with subject_not_found.
func (w *Writer) SubjectVariants(ctx context.Context, id string) (Result[map[string]string], error) {
	if err := checkPath("id", model.CheckSubjectID(id)); err != nil {
		return Result[map[string]string]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (map[string]string, int64, error) {
		s, err := tx.Subject(ctx, id)
		if err != nil {
			return nil, 0, err
		}
		resolver, err := w.resolver(ctx, tx)
		if err != nil {
			return nil, 0, err
		}
		return resolver.Flags(s.Class(), tx.Now), 0, nil
	})
}

// Explain explains which variants a subject gets at a moment: now if it is the zero time,
// in the past, or in the future if nothing changes until then. Fails with
// subject_not_found or history_unavailable.
func (w *Writer) Explain(ctx context.Context, id string, at time.Time) (Result[api.Explanation], error) {
	if err := checkPath("id", model.CheckSubjectID(id)); err != nil {
		return Result[api.Explanation]{}, err
	}
	var faults model.Faults
	checkYear(&faults, "query.at", at)
	if err := faults.Err(); err != nil {
		return Result[api.Explanation]{}, err
	}
	return read(ctx, w, func(tx *postgres.Tx) (e api.Explanation, _ int64, err error) {
		e = api.Explanation{Revision: tx.Revision, At: at.UTC(), Features: map[string]api.ExplainedDecision{}}
		if at.IsZero() {
			e.At = tx.Now
		}
		held, err := momentOf(ctx, tx, e.At)
		if err != nil {
			return e, 0, err
		}
		s, resolver, err := w.heldAt(ctx, tx, id, held)
		if err != nil {
			return e, 0, err
		}
		e.Configuration = api.ConfigurationMoment(held)
		form := subjectForm(s)
		e.Subject = api.ExplainedSubject{ID: form.ID, BucketID: form.BucketID, Groups: form.Groups}
		if held.Revision == tx.Revision {
			e.Subject.Weight = &form.Weight
		}
		for _, x := range resolver.Explain(s.Class(), e.At) {
			e.Features[x.Feature] = decisionForm(x)
		}
		return e, 0, nil
	})
}

// momentOf reads the revision that is valid at a time, which may be in the future.
func momentOf(ctx context.Context, tx *postgres.Tx, at time.Time) (postgres.Moment, error) {
	if at.Before(tx.Now) {
		return tx.MomentOf(ctx, at)
	}
	return tx.LastMoment(ctx)
}

// heldAt reads a subject and the resolver of the configuration at a revision.
func (w *Writer) heldAt(ctx context.Context, tx *postgres.Tx, id string, m postgres.Moment) (s *postgres.Subject, r *evaluation.Resolver, err error) {
	if m.Revision == tx.Revision {
		if s, err = tx.Subject(ctx, id); err == nil {
			r, err = w.resolver(ctx, tx)
		}
		return s, r, err
	}
	if s, err = tx.SubjectAt(ctx, id, m); err != nil {
		return nil, nil, err
	}
	last, err := w.lastResolved(tx.Epoch, tx.Revision)
	if err != nil {
		return nil, nil, err
	}
	configuration, err := tx.ConfigurationAt(ctx, m.Revision, last.KnownConfiguration)
	if err != nil {
		return nil, nil, err
	}
	r, err = last.compile(configuration)
	return s, r, err
}

// resolved is a configuration that was compiled.
type resolved struct {
	postgres.KnownConfiguration
	*evaluation.Resolver
}

var nothingResolved = &resolved{postgres.KnownConfiguration{Configuration: &model.Configuration{}}, &evaluation.Resolver{}}

// resolver compiles the configuration once for each revision, as programs may query many
// subjects in a row. Of a later revision it reads only what changed.
func (w *Writer) resolver(ctx context.Context, tx *postgres.Tx) (*evaluation.Resolver, error) {
	last, err := w.lastResolved(tx.Epoch, tx.Revision)
	if err != nil {
		return nil, err
	}
	if last.Epoch == tx.Epoch && last.Revision == tx.Revision {
		return last.Resolver, nil
	}
	configuration, err := tx.ConfigurationAt(ctx, tx.Revision, last.KnownConfiguration)
	if err != nil {
		return nil, err
	}
	resolver, err := last.compile(configuration)
	if err != nil {
		return nil, err
	}
	w.last.Store(&resolved{postgres.KnownConfiguration{Epoch: tx.Epoch, Revision: tx.Revision, Configuration: configuration}, resolver})
	return resolver, nil
}

// Warm reads and compiles the configuration, so that the first explanation after a start
// takes no longer than later ones.
func (w *Writer) Warm(ctx context.Context) error {
	_, err := read(ctx, w, func(tx *postgres.Tx) (*evaluation.Resolver, int64, error) {
		r, err := w.resolver(ctx, tx)
		return r, 0, err
	})
	return err
}

// lastResolved is the configuration that was compiled last, or errOvertaken if that was
// after a revision.
func (w *Writer) lastResolved(epoch string, revision int64) (*resolved, error) {
	last := w.last.Load()
	switch {
	case last == nil || last.Epoch != epoch:
		return nothingResolved, nil
	case last.Revision > revision:
		return nil, errOvertaken
	default:
		return last, nil
	}
}

func (r *resolved) compile(c *model.Configuration) (*evaluation.Resolver, error) {
	resolver, err := evaluation.Recompile(r.Resolver, r.Configuration, c)
	if err != nil {
		return nil, fmt.Errorf("compile the configuration: %w", err)
	}
	return resolver, nil
}

func compile(c *model.Configuration) (*evaluation.Resolver, error) { return nothingResolved.compile(c) }

func decisionForm(x evaluation.Explanation) api.ExplainedDecision {
	d := api.ExplainedDecision{Steps: make([]api.ExplainedStep, len(x.Steps))}
	if x.Variant != "" {
		reason := string(x.Reason)
		d.Variant, d.Reason = &x.Variant, &reason
	}
	for i, s := range x.Steps {
		d.Steps[i] = api.ExplainedStep{
			Step: string(s.Step), Variant: s.Variant, Test: s.Test, TestGroup: s.TestGroup, Group: s.Group,
			Applies: s.Applies, Detail: s.Detail,
		}
	}
	return d
}
