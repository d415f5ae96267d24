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

// SubjectVariants says which variant of each feature a subject gets now.
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

// Explain says why a subject gets what it gets, or would get at another moment
// of the same configuration; the zero time is now. Fails with subject_not_found.
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
		s, err := tx.Subject(ctx, id)
		if err != nil {
			return e, 0, err
		}
		resolver, err := w.resolver(ctx, tx)
		if err != nil {
			return e, 0, err
		}
		e = api.Explanation{Subject: subjectForm(s), Revision: tx.Revision, At: at.UTC(), Features: map[string]api.ExplainedDecision{}}
		if at.IsZero() {
			e.At = tx.Now
		}
		for _, x := range resolver.Explain(s.Class(), e.At) {
			e.Features[x.Feature] = decisionForm(x)
		}
		return e, 0, nil
	})
}

// resolved is a configuration that was compiled at one revision.
type resolved struct {
	epoch    string
	revision int64
	*evaluation.Resolver
}

// resolver compiles the configuration, once a revision: programs that ask for
// many subjects in a row need not pay for each.
func (w *Writer) resolver(ctx context.Context, tx *postgres.Tx) (*evaluation.Resolver, error) {
	if r := w.last.Load(); r != nil && r.epoch == tx.Epoch && r.revision == tx.Revision {
		return r.Resolver, nil
	}
	configuration, err := tx.Configuration(ctx)
	if err != nil {
		return nil, err
	}
	resolver, err := evaluation.Compile(configuration)
	if err != nil {
		return nil, fmt.Errorf("compile the configuration: %w", err)
	}
	w.last.Store(&resolved{tx.Epoch, tx.Revision, resolver})
	return resolver, nil
}

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
