package admin

import (
	"context"
	"net/url"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/writer"
)

// SubjectPath is a subject in a path.
type SubjectPath struct {
	ID string `path:"id" doc:"Percent-encoded" example:"42"`
}

type addSubject struct {
	Writing
	Body api.CreateSubject
}

func (a *service) addSubject(ctx context.Context, in *addSubject, o ...writer.Option) (writer.Result[api.Subject], error) {
	return a.writer.AddSubject(ctx, in.Body, o...)
}

func subjectAt(_ *addSubject, s api.Subject) string { return "/v1/subjects/" + url.PathEscape(s.ID) }

type listSubjects struct {
	Listing
	Prefix string `query:"prefix" doc:"Only ids that begin so"`
}

func (a *service) listSubjects(ctx context.Context, in *listSubjects) (writer.Result[api.Page[api.Subject]], error) {
	return a.writer.Subjects(ctx, in.Prefix, in.page())
}

func (a *service) getSubject(ctx context.Context, in *SubjectPath) (writer.Result[api.Subject], error) {
	return a.writer.Subject(ctx, in.ID)
}

type setWeight struct {
	SubjectPath
	Changing
	Body api.SetWeight
}

func (a *service) setWeight(ctx context.Context, in *setWeight, o ...writer.Option) (writer.Result[api.Subject], error) {
	return a.writer.SetSubjectWeight(ctx, in.ID, in.Body.Weight, o...)
}

type deleteSubject struct {
	SubjectPath
	Changing
}

func (a *service) deleteSubject(ctx context.Context, in *deleteSubject, o ...writer.Option) (writer.Result[api.Subject], error) {
	return a.writer.DeleteSubject(ctx, in.ID, o...)
}

type getFlags struct {
	SubjectID string `query:"subject_id" required:"true" example:"42"`
}

func (a *service) getFlags(ctx context.Context, in *getFlags) (writer.Result[api.Flags], error) {
	var faults model.Faults
	faults.Check("query.subject_id", model.CheckSubjectID(in.SubjectID)) // the writer knows ids in paths only
	if err := faults.Err(); err != nil {
		return writer.Result[api.Flags]{}, err
	}
	r, err := a.writer.SubjectVariants(ctx, in.SubjectID)
	return writer.Result[api.Flags]{Value: api.Flags{Flags: r.Value}, Revision: r.Revision}, err
}

type explain struct {
	SubjectPath
	At time.Time `query:"at" doc:"The moment to explain, with the configuration as it is; now when left out"`
}

func (a *service) explain(ctx context.Context, in *explain) (writer.Result[api.Explanation], error) {
	return a.writer.Explain(ctx, in.ID, in.At)
}
