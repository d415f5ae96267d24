package admin

import (
	"context"
	"net/url"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/writer"
)

// SubjectPath names a subject in a path.
type SubjectPath struct {
	ID string `path:"id" doc:"Id of the subject, percent-encoded" example:"42"`
}

type addSubjectInput struct {
	Writing
	Body api.CreateSubject
}

func (a *service) addSubject(ctx context.Context, in *addSubjectInput, o ...writer.Option) (writer.Result[api.Subject], error) {
	return a.writer.AddSubject(ctx, in.Body, o...)
}

func subjectAt(_ *addSubjectInput, s api.Subject) string {
	return "/v1/subjects/" + url.PathEscape(s.ID)
}

type listSubjectsInput struct {
	Listing
	Prefix string         `query:"prefix" doc:"Only subjects whose id begins with this text"`
	Bucket model.BucketID `query:"bucket" minimum:"1" maximum:"100000" doc:"Only subjects in this bucket"`
	Sort   string         `query:"sort" enum:"-weight" doc:"-weight: the heaviest first, equal ones by id. By id if left out. All pages must have the same order"`
}

func (a *service) listSubjects(ctx context.Context, in *listSubjectsInput) (writer.Result[api.Page[api.Subject]], error) {
	return a.writer.Subjects(ctx, api.SubjectQuery{Prefix: in.Prefix, Bucket: in.Bucket, Sort: in.Sort}, in.page())
}

func (a *service) getSubject(ctx context.Context, in *SubjectPath) (writer.Result[api.Subject], error) {
	return a.writer.Subject(ctx, in.ID)
}

type setWeightInput struct {
	SubjectPath
	Changing
	Body api.SetWeight
}

func (a *service) setWeight(ctx context.Context, in *setWeightInput, o ...writer.Option) (writer.Result[api.Subject], error) {
	return a.writer.SetSubjectWeight(ctx, in.ID, in.Body.Weight, o...)
}

type deleteSubjectInput struct {
	SubjectPath
	Changing
}

func (a *service) deleteSubject(ctx context.Context, in *deleteSubjectInput, o ...writer.Option) (writer.Result[api.Subject], error) {
	return a.writer.DeleteSubject(ctx, in.ID, o...)
}

type deleteSubjectsInput struct {
	Writing
	Body api.SubjectIDs
}

func (a *service) deleteSubjects(ctx context.Context, in *deleteSubjectsInput, o ...writer.Option) (writer.Result[api.DeletedSubjects], error) {
	return a.writer.DeleteSubjects(ctx, in.Body.IDs, o...)
}

type getFlagsInput struct {
	SubjectID string `query:"subject_id" required:"true" doc:"Id of the subject" example:"42"`
}

func (a *service) getFlags(ctx context.Context, in *getFlagsInput) (writer.Result[api.Flags], error) {
	var faults model.Faults
	faults.Check("query.subject_id", model.CheckSubjectID(in.SubjectID)) // the writer names only parameters in paths
	if err := faults.Err(); err != nil {
		return writer.Result[api.Flags]{}, err
	}
	r, err := a.writer.SubjectVariants(ctx, in.SubjectID)
	return writer.Result[api.Flags]{Value: api.Flags{Flags: r.Value}, Revision: r.Revision}, err
}

type explainInput struct {
	SubjectPath
	At time.Time `query:"at" doc:"The moment to explain; now if left out. Past moments use the configuration of that time, future ones the current one"`
}

func (a *service) explain(ctx context.Context, in *explainInput) (writer.Result[api.Explanation], error) {
	return a.writer.Explain(ctx, in.ID, in.At)
}
