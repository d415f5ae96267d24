package flaggery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/transfer"
)

// Items per page: as many as the contract allows if they are small.
const (
	smallItems = 1000
	largeItems = 100
)

// IncreaseBuckets adds buckets. Rollouts and tests take their shares of them at once.
func (a *Admin) IncreaseBuckets(ctx context.Context, amount int, opts ...WriteOption) (Result[api.BucketIDs], error) {
	return write[api.BucketIDs](ctx, &a.client, http.MethodPost, at("buckets"), api.CreateBuckets{Amount: amount}, opts)
}

// Buckets yields all buckets by id.
func (a *Admin) Buckets(ctx context.Context) iter.Seq2[api.Bucket, error] {
	return list[api.Bucket](ctx, &a.client, at("buckets"), nil, smallItems)
}

// BucketColumns reads all buckets at once, in id order.
func (a *Admin) BucketColumns(ctx context.Context) (Result[api.BucketColumns], error) {
	return read[api.BucketColumns](ctx, &a.client, at("buckets"), url.Values{"view": {"columns"}})
}

// AddSubject creates a subject in the lightest bucket. Its weight is 1 if none is
// given. Fails with no_buckets or subject_exists.
func (a *Admin) AddSubject(ctx context.Context, create api.CreateSubject, opts ...WriteOption) (Result[api.Subject], error) {
	return write[api.Subject](ctx, &a.client, http.MethodPost, at("subjects"), create, opts)
}

// SetSubjectWeight sets the weight of a subject. The subject stays in its bucket.
// Fails with subject_not_found.
func (a *Admin) SetSubjectWeight(ctx context.Context, id string, weight int64, opts ...WriteOption) (Result[api.Subject], error) {
	return write[api.Subject](ctx, &a.client, http.MethodPut, at("subjects", id), api.SetWeight{Weight: weight}, opts)
}

// DeleteSubject removes a subject, from its groups too. Fails with
// subject_not_found.
func (a *Admin) DeleteSubject(ctx context.Context, id string, opts ...WriteOption) (Receipt, error) {
	return remove(ctx, &a.client, at("subjects", id), opts)
}

// DeleteSubjects removes up to 10,000 subjects, from their groups too, in one revision.
// Ids that no subject has are passed over.
func (a *Admin) DeleteSubjects(ctx context.Context, ids []string, opts ...WriteOption) (Result[api.DeletedSubjects], error) {
	return write[api.DeletedSubjects](ctx, &a.client, http.MethodPost, at("subjects", "delete"), api.SubjectIDs{IDs: ids}, opts)
}

// Subject reads one subject. Fails with subject_not_found.
func (a *Admin) Subject(ctx context.Context, id string) (Result[api.Subject], error) {
	return read[api.Subject](ctx, &a.client, at("subjects", id), nil)
}

// Subjects yields the subjects whose ids begin with prefix, in bytewise order of
// their ids.
func (a *Admin) Subjects(ctx context.Context, prefix string) iter.Seq2[api.Subject, error] {
	return a.FindSubjects(ctx, api.SubjectQuery{Prefix: prefix})
}

// FindSubjects yields the subjects that q selects, in its order. It yields all of them:
// to get only the heaviest, leave the loop.
func (a *Admin) FindSubjects(ctx context.Context, q api.SubjectQuery) iter.Seq2[api.Subject, error] {
	query := url.Values{}
	if q.Prefix != "" {
		query.Set("prefix", q.Prefix)
	}
	if q.Bucket != 0 {
		query.Set("bucket", strconv.Itoa(int(q.Bucket)))
	}
	if q.Sort != "" {
		query.Set("sort", q.Sort)
	}
	return list[api.Subject](ctx, &a.client, at("subjects"), query, smallItems)
}

// SubjectVariants reads the flags of a subject from the admin: variant by feature.
// Applications should query an [Edge]. Fails with subject_not_found.
func (a *Admin) SubjectVariants(ctx context.Context, id string) (Result[map[string]string], error) {
	flags, err := read[api.Flags](ctx, &a.client, at("subject", "flags"), url.Values{"subject_id": {id}})
	return Result[map[string]string]{flags.Receipt, flags.Value.Flags}, err
}

// Explain says why a subject gets its flags at a moment; the zero time is now. Past
// moments use the configuration of that time, future ones the current one. Fails with
// subject_not_found or history_unavailable.
func (a *Admin) Explain(ctx context.Context, id string, moment time.Time) (Result[api.Explanation], error) {
	return read[api.Explanation](ctx, &a.client, at("subjects", id, "explain"), momentQuery(moment))
}

// momentQuery asks for a moment. The zero time is now.
func momentQuery(moment time.Time) url.Values {
	query := url.Values{}
	if !moment.IsZero() {
		query.Set("at", moment.Format(time.RFC3339Nano))
	}
	return query
}

// ImportSubjects creates new subjects and updates known ones: it sets their weights and
// adds them to the groups that their lines name. With [ReplaceGroups] they leave all
// other groups, and with [DeleteAbsent] subjects without a line are deleted. It stores
// all lines or none, and is safe to repeat. If lines yields an error, nothing is stored
// and the error is returned. Fails with no_buckets, group_not_found, or
// validation_failed with the first 100 invalid lines, if there is no line, or if lines
// are slower than 64 KiB in 4 seconds.
func (a *Admin) ImportSubjects(ctx context.Context, lines iter.Seq2[api.ImportLine, error], opts ...WriteOption) (Result[api.Imported], error) {
	in, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := transfer.Write(out, lines)
		out.CloseWithError(err) // io.EOF if err is nil
		ended <- err
	}()
	result, err := a.ImportSubjectsFrom(ctx, in, api.MediaNDJSON, opts...)
	in.Close() // an answer may come before the last line is read
	if fault := <-ended; fault != nil && !errors.Is(fault, io.ErrClosedPipe) {
		return Result[api.Imported]{}, fault
	}
	return result, err
}

// ImportSubjectsFrom is ImportSubjects of a file, whose media type is
// [api.MediaNDJSON] or [api.MediaCSV].
func (a *Admin) ImportSubjectsFrom(ctx context.Context, r io.Reader, mediaType string, opts ...WriteOption) (result Result[api.Imported], err error) {
	q := newWrite(http.MethodPost, at("import", "subjects"), opts)
	q.header.Set("Content-Type", mediaType)
	response, err := a.open(ctx, q, r)
	if err != nil {
		return result, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return result, unread(q, err)
	}
	return decodeWrite[api.Imported](answer{response.StatusCode, response.Header, body})
}

// ExportSubjects yields every subject in id order, all of one revision. Leaving
// the loop ends the export.
func (a *Admin) ExportSubjects(ctx context.Context) iter.Seq2[api.ImportLine, error] {
	return func(yield func(api.ImportLine, error) bool) {
		export, _, err := a.export(ctx)
		if err != nil {
			yield(api.ImportLine{}, err)
			return
		}
		defer export.Close()
		for line, err := range transfer.ReadExport(export) {
			if err != nil {
				err = fmt.Errorf("export subjects: %w", err)
			}
			if !yield(line, err) {
				return
			}
		}
	}
}

// ExportSubjectsTo writes every subject to w as NDJSON, which an import accepts, and
// returns their revision. If it fails, w has an incomplete export.
func (a *Admin) ExportSubjectsTo(ctx context.Context, w io.Writer) (revision int64, err error) {
	export, revision, err := a.export(ctx)
	if err != nil {
		return 0, err
	}
	defer export.Close()
	if _, err := io.Copy(w, export); err != nil {
		return 0, fmt.Errorf("export subjects: %w", err)
	}
	return revision, nil
}

func (a *Admin) export(ctx context.Context) (io.ReadCloser, int64, error) {
	response, err := a.open(ctx, request{method: http.MethodGet, path: at("export", "subjects")}, nil)
	if err != nil {
		return nil, 0, err
	}
	revision, _ := strconv.ParseInt(response.Header.Get(api.HeaderRevision), 10, 64)
	return response.Body, revision, nil
}
