package writer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/flaggery/flaggery/pkg/model"
)

// Forgotten is the result of forgetting a subject.
type Forgotten struct {
	Pseudonym   string `json:"pseudonym"`
	Deleted     bool   `json:"deleted"`      // false if it was deleted before
	HistoryRows int64  `json:"history_rows"` // that name the pseudonym now
	AuditRows   int64  `json:"audit_rows"`   // that name the pseudonym now
}

// Forget deletes a subject and replaces its id in history and in the audit by a random
// pseudonym, which cannot be traced back to the id. It also forgets a subject that was
// deleted before. Other writes wait while it searches the audit.
//
// Comments are free text and stay. The tombstone stays until changes are pruned, as it
// lets edges delete the subject.
//
// The writer's role has to own the schema. Fails with subject_not_found if there are no
// records of the subject.
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

// idInObject returns both forms of an id in audit rows: as note writes it, and as earlier
// versions wrote it, with <, > and & escaped.
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
