package writer

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/postgres"
)

// AuditFilter selects the entries that Audit lists. The zero value selects all.
type AuditFilter struct {
	Actor    string
	Resource string    // a path as in the contract, "features/foobar": this resource and those below it
	Since    time.Time // included
	Until    time.Time // excluded
	Request  string    // the id of an HTTP request
	// WithoutTokens leaves out changes of tokens.
	WithoutTokens bool
}

// stored returns the filter for the database: in UTC, as PostgreSQL rejects offsets of 16
// hours or more.
func (f AuditFilter) stored() (postgres.AuditFilter, error) {
	var faults model.Faults
	checkYear(&faults, "query.since", f.Since)
	checkYear(&faults, "query.until", f.Until)
	stored := postgres.AuditFilter{
		Actor: clean(f.Actor), Resource: clean(f.Resource), Since: f.Since.UTC(), Until: f.Until.UTC(), Request: clean(f.Request),
	}
	if f.WithoutTokens {
		stored.Except = tokensPath
	}
	return stored, faults.Err()
}

// checkYear rejects a time whose year in UTC has no form in RFC 3339.
func checkYear(faults *model.Faults, location string, at time.Time) {
	if year := at.UTC().Year(); year < 1 || year > 9999 {
		faults.Addf(location, "must be between the years 1 and 9999 in UTC")
	}
}

// Audit lists who changed what, newest first.
func (w *Writer) Audit(ctx context.Context, filter AuditFilter, page Page) (Result[api.Page[api.AuditEntry]], error) {
	f, err := filter.stored()
	if err != nil {
		return Result[api.Page[api.AuditEntry]]{}, err
	}
	if page.After != "" {
		n, err := fmt.Sscanf(page.After, "%d-%d", &f.Before.Revision, &f.Before.Position)
		if n != 2 || err != nil || page.After != placeOf(f.Before) || f.Before.Revision < 1 || f.Before.Position > math.MaxInt32 {
			return Result[api.Page[api.AuditEntry]]{}, model.Faults{{
				Location: "query.after", Message: "must be the 'next' of the page before",
			}}.Err()
		}
	}
	return list(ctx, w, page, func(e postgres.AuditEntry) string { return placeOf(e.Place()) },
		func(tx *postgres.Tx, limit int) iter.Seq2[postgres.AuditEntry, error] { return tx.Audit(ctx, f, limit) },
		each(auditForm))
}

// ExportAudit yields all entries that the filter selects, newest first. They are of one
// revision, with which begin is called before the first entry, unless it is nil. An error
// comes last. Memory does not grow with the length of the audit.
func (w *Writer) ExportAudit(ctx context.Context, filter AuditFilter, begin func(revision int64)) iter.Seq2[api.AuditEntry, error] {
	f, err := filter.stored()
	if err != nil { // before begin, after which an answer cannot change its status
		return func(yield func(api.AuditEntry, error) bool) { yield(api.AuditEntry{}, err) }
	}
	return export(ctx, w, begin, func(tx *postgres.Tx, yield func(api.AuditEntry) bool) error {
		for e, err := range tx.Audit(ctx, f, 0) {
			if err != nil || !yield(auditForm(e)) {
				return err
			}
		}
		return nil
	})
}

// News are the changes after a revision.
type News struct {
	Since, Revision int64        // Changes are those of all revisions after Since, up to Revision
	Changes         []api.Change // in their order
}

// News reads the changes after a revision; if there are many, only about the last limit.
// It reads from the beginning if the revision is not of this history, for example after a
// backup was restored, or if a subject was forgotten since, as earlier changes no longer
// have its id.
func (w *Writer) News(ctx context.Context, after int64, limit int) (News, error) {
	var news News
	err := w.db.Read(ctx, func(tx *postgres.Tx) error {
		if after > tx.Revision {
			after = 0
		}
		entries, err := tx.AuditAfter(ctx, after, limit)
		if after > 0 && slices.ContainsFunc(entries, func(e postgres.AuditEntry) bool { return e.Action == forgotten }) {
			after = 0
			entries, err = tx.AuditAfter(ctx, after, limit)
		}
		news = News{Since: after, Revision: tx.Revision}
		if len(entries) == limit { // of the oldest revision, some may be missing
			news.Since = entries[limit-1].Revision
		}
		for _, e := range slices.Backward(entries) {
			if e.Revision > news.Since {
				news.Changes = append(news.Changes, api.Change{Revision: e.Revision, At: e.At.UTC(), Actor: e.Actor, Action: e.Action, Resource: e.Resource})
			}
		}
		return err
	})
	return news, err
}

// OfToken reports whether a change is of a token. Not everybody may see it.
func OfToken(c api.Change) bool { return strings.HasPrefix(c.Resource, tokensPath+"/") }

func auditForm(e postgres.AuditEntry) api.AuditEntry {
	return api.AuditEntry{
		Revision: e.Revision, At: e.At.UTC(), Actor: e.Actor, Action: e.Action, Resource: e.Resource,
		Before: rawJSON(e.Before), After: rawJSON(e.After), Comment: e.Comment, RequestID: e.RequestID, TokenID: e.Token,
	}
}

// placeOf is the value of Page.After in a list of the audit.
func placeOf(p postgres.AuditPlace) string { return fmt.Sprintf("%d-%d", p.Revision, p.Position) }

func rawJSON(text string) any {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}
