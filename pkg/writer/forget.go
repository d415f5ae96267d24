package writer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/flaggery/flaggery/pkg/model"
)

// Forgotten says what forgetting a subject changed.
type Forgotten struct {
	Pseudonym   string `json:"pseudonym"`
	Deleted     bool   `json:"deleted"`      // false if it was deleted before
	HistoryRows int64  `json:"history_rows"` // that name the pseudonym now
	AuditRows   int64  `json:"audit_rows"`   // that name the pseudonym now
}

// Forget deletes a subject and replaces its id by a random pseudonym wherever it was
// recorded: in history and in the audit. Nothing leads from one to the other. A subject
// that was deleted before is forgotten there alike. It holds other writes up while it
// searches the audit.
//
// Comments are free text and stay. The tombstone stays until changes are pruned, as
// edges learn from it that the subject is gone.
//
// The writer's role has to own the schema. Fails with subject_not_found if nothing was
// recorded of the subject.
func (w *Writer) Forget(ctx context.Context, id string, opts ...Option) (Result[Forgotten], error) {
	if err := checkPath("id", model.CheckSubjectID(id)); err != nil {
		return Result[Forgotten]{}, err
	}
	return write(ctx, w, subjects, opts, func(c *change) (Forgotten, error) {
		if err := c.match(unversioned); err != nil {
			return Forgotten{}, err
		}
		return c.forget(ctx, id)
	})
}

func (c *change) forget(ctx context.Context, id string) (f Forgotten, err error) {
	f.Pseudonym = "forgotten-" + strings.ToLower(rand.Text())
	s, err := c.tx.Subject(ctx, id)
	switch {
	case err == nil:
		class := s.Class()
		c.changesClass(id, &class, nil, s.Weight)
		f.Deleted, err = true, c.tx.DeleteSubject(ctx, s)
	case model.CodeOf(err) == model.SubjectNotFound:
		err = nil
	}
	if err != nil {
		return f, err
	}
	forms, err := idInObject(id)
	if err != nil {
		return f, err
	}
	newForms, err := idInObject(f.Pseudonym)
	if err != nil {
		return f, err
	}
	if f.AuditRows, err = c.tx.ForgetInAudit(ctx, url.PathEscape(id), f.Pseudonym, forms, newForms[0]); err != nil {
		return f, err
	}
	if f.HistoryRows, err = c.tx.ForgetPast(ctx, id, f.Pseudonym); err != nil {
		return f, err
	}
	if f.AuditRows+f.HistoryRows == 0 {
		return f, model.Errorf(model.SubjectNotFound, "nothing is recorded of a subject %q", id)
	}
	return f, c.note(forgotten, subjectResource.of(f.Pseudonym), nil, f)
}

// idInObject is an id as note writes it in the form of a subject, and as it wrote it
// before payloads were kept byte for byte: with <, > and & escaped.
func idInObject(id string) (forms [2]string, err error) {
	subject := struct {
		ID string `json:"id"`
	}{id}
	for i, encode := range []func(any) ([]byte, error){model.EncodeJSON, json.Marshal} {
		text, err := encode(subject)
		if err != nil {
			return forms, err
		}
		forms[i] = strings.Trim(string(text), "{}")
	}
	return forms, nil
}
