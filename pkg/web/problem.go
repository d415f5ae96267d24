package web

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
)

// statusOf is the only mapping from codes of the contract to statuses.
var statusOf = map[model.Code]int{
	model.Unauthenticated: http.StatusUnauthorized,
	model.Forbidden:       http.StatusForbidden,

	model.SubjectNotFound:  http.StatusNotFound,
	model.FeatureNotFound:  http.StatusNotFound,
	model.VariantNotFound:  http.StatusNotFound,
	model.RolloutNotFound:  http.StatusNotFound,
	model.ABTestNotFound:   http.StatusNotFound,
	model.GroupNotFound:    http.StatusNotFound,
	model.OverrideNotFound: http.StatusNotFound,
	model.MemberNotFound:   http.StatusNotFound,
	model.TokenNotFound:    http.StatusNotFound,
	model.RevisionNotFound: http.StatusNotFound,

	model.SubjectExists:      http.StatusConflict,
	model.FeatureExists:      http.StatusConflict,
	model.VariantExists:      http.StatusConflict,
	model.RolloutExists:      http.StatusConflict,
	model.ABTestExists:       http.StatusConflict,
	model.GroupExists:        http.StatusConflict,
	model.NoBuckets:          http.StatusConflict,
	model.FeatureHasVariants: http.StatusConflict,
	model.VariantInUse:       http.StatusConflict,
	model.ABTestOverlap:      http.StatusConflict,
	model.ABTestLive:         http.StatusConflict,
	model.FeatureArchived:    http.StatusConflict,
	model.ManagedElsewhere:   http.StatusConflict,
	model.EdgesTooOld:        http.StatusConflict,
	model.NotRevertible:      http.StatusConflict,
	model.HistoryUnavailable: http.StatusUnprocessableEntity,

	model.NotFound:             http.StatusNotFound,
	model.MethodNotAllowed:     http.StatusMethodNotAllowed,
	model.UnsupportedMediaType: http.StatusUnsupportedMediaType,

	model.PreconditionFailed: http.StatusPreconditionFailed,
	model.BodyTooLarge:       http.StatusRequestEntityTooLarge,
	model.ValidationFailed:   http.StatusUnprocessableEntity,
	model.ReadOnly:           http.StatusLocked,
	model.RateLimited:        http.StatusTooManyRequests,
	model.NotReady:           http.StatusServiceUnavailable,
}

// problem is the answer to a failed request, in huma's form.
type problem struct{ api.Problem }

// GetStatus implements [huma.StatusError].
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements [huma.ContentTypeFilter].
func (p *problem) ContentType(string) string { return api.MediaProblem }

// GetHeaders implements [huma.HeadersError]: the headers of the status.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set(echo.HeaderWWWAuthenticate, "Bearer")
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set(echo.HeaderRetryAfter, "1")
	}
	return h
}

func newProblem(status int, code model.Code, detail string, fields []model.FieldError) *problem {
	title := http.StatusText(status)
	if detail == "" {
		detail = strings.ToLower(title)
	}
	return &problem{api.Problem{Type: "about:blank", Title: title, Status: status, Code: code, Detail: detail, Errors: fields}}
}

// problemOf translates any error. Unexpected errors are logged with their cause and
// shown without it; their answer names no revision.
func (s *Server) problemOf(ctx context.Context, err error) *problem {
	p := s.translate(ctx, err)
	if w, ok := ctx.Value(responseKey{}).(http.ResponseWriter); ok && p.Status >= http.StatusInternalServerError {
		w.Header().Del(api.HeaderRevision)
	}
	return p
}

func (s *Server) translate(ctx context.Context, err error) *problem {
	var (
		written  *problem
		ofModel  *model.Error
		ofEcho   *echo.HTTPError
		network  net.Error
		tooLarge *http.MaxBytesError
	)
	switch {
	case errors.As(err, &written):
		return written
	case errors.As(err, &ofModel):
		status, known := statusOf[ofModel.Code]
		if !known {
			break
		}
		p := newProblem(status, ofModel.Code, ofModel.Detail, ofModel.Fields)
		p.Extension = ofModel.Extension
		return p
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, model.BodyTooLarge, "the request body is too large", nil)
	case errors.As(err, &ofEcho) && ofEcho.Code < http.StatusInternalServerError:
		return newProblem(ofEcho.Code, codesOfEcho[ofEcho.Code], detailsOfEcho[ofEcho.Code], nil)
	case ctx.Err() != nil:
		s.log.DebugContext(ctx, "the client closed its connection", "request_id", RequestID(ctx), "error", err)
		// Only a client that has half-closed its connection reads this. It must not
		// count as a failure of the service.
		return newProblem(http.StatusRequestTimeout, "", "the client gave the request up", nil)
	case errors.As(err, &network):
		s.log.ErrorContext(ctx, "the database does not answer", "request_id", RequestID(ctx), "error", err)
		return newProblem(http.StatusServiceUnavailable, model.NotReady, "the database does not answer", nil)
	}
	s.log.ErrorContext(ctx, "internal error", "request_id", RequestID(ctx), "error", err)
	return newProblem(http.StatusInternalServerError, "", "internal error, logged with request id "+RequestID(ctx), nil)
}

// codesOfEcho are the codes of the router's errors.
var codesOfEcho = map[int]model.Code{
	http.StatusNotFound:         model.NotFound,
	http.StatusMethodNotAllowed: model.MethodNotAllowed,
}

// detailsOfEcho are the details of the router's errors, if not the status's name.
var detailsOfEcho = map[int]string{http.StatusNotFound: "there is no such route: see /docs for the API"}

// WriteProblem answers a request with an error, outside of a handler.
func (s *Server) WriteProblem(hc huma.Context, err error) { s.answerProblem(err, humaecho.Unwrap(hc)) }

// answerProblem is also echo's error handler.
func (s *Server) answerProblem(err error, c echo.Context) {
	p := s.problemOf(c.Request().Context(), err)
	header := c.Response().Header()
	for name, values := range p.GetHeaders() {
		if name == echo.HeaderRetryAfter {
			header.Del(name) // set by the body that was rejected
		}
		for _, value := range values {
			header.Add(name, value) // Add, as there may be another WWW-Authenticate
		}
	}
	body, err := json.Marshal(p)
	if err == nil {
		err = c.Blob(p.Status, api.MediaProblem, append(body, '\n'))
	}
	if err != nil {
		s.log.DebugContext(c.Request().Context(), "problem not delivered", "error", err)
	}
}

// huma keeps these in package variables. They are set once, to values without
// state, so all servers of a process can share them.
func init() {
	huma.NewError = humaProblem
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
	validation.MsgExpectedRequiredProperty = isRequired + "%s"
	for message, words := range map[*string]string{
		&validation.MsgUnexpectedProperty:       "is not known here",
		&validation.MsgExpectedBoolean:          "must be true or false",
		&validation.MsgExpectedNumber:           "must be a number",
		&validation.MsgExpectedInteger:          "must be a whole number",
		&validation.MsgExpectedString:           "must be a string",
		&validation.MsgExpectedArray:            "must be an array",
		&validation.MsgExpectedObject:           "must be an object",
		&validation.MsgExpectedOneOf:            "must be one of %s",
		&validation.MsgExpectedMinimumNumber:    "must be at least %.0f", // all limits are whole numbers
		&validation.MsgExpectedMaximumNumber:    "must be at most %.0f",
		&validation.MsgExpectedMinLength:        "must have a length of at least %d",
		&validation.MsgExpectedMaxLength:        "must have a length of at most %d",
		&validation.MsgExpectedMinItems:         "must have at least %d items",
		&validation.MsgExpectedMaxItems:         "must have at most %d items",
		&validation.MsgExpectedRFC3339DateTime:  "must be a time such as 2027-03-01T08:00:00Z",
		&validation.MsgExpectedArrayItemsUnique: "must not have an item twice",
	} {
		*message = words
	}
}

// unfit are the messages about bodies that are JSON but no valid request.
var unfit = []string{model.ErrJSONTrailing.Error(), model.ErrJSONNumber.Error(), model.ErrJSONDepth.Error()}

// isRequired begins the message of a missing property; its name follows.
const isRequired = "is required: "

// humaProblem makes a problem from huma's own errors about a request.
func humaProblem(status int, detail string, errs ...error) huma.StatusError {
	switch status {
	case http.StatusInternalServerError: // the body could not be read; handlers return problems
		if refused := (*model.Error)(nil); errors.As(errors.Join(errs...), &refused) {
			return newProblem(statusOf[refused.Code], refused.Code, refused.Detail, nil)
		}
		return newProblem(http.StatusBadRequest, model.ValidationFailed, "the request body ended early", nil)
	case http.StatusRequestEntityTooLarge:
		_, limit, _ := strings.Cut(detail, "limit=")
		return newProblem(status, model.BodyTooLarge, "the request body must have at most "+limit, nil)
	}
	fields := make([]model.FieldError, 0, len(errs))
	for _, err := range errs {
		field := fieldError(err)
		switch {
		case slices.Contains(unfit, field.Message):
			status = http.StatusUnprocessableEntity // it parses, but violates the contract
		case status == http.StatusBadRequest && field.Location == "body": // and there is a body
			detail = "the request body is not valid JSON"
		}
		fields = append(fields, field)
	}
	if status == http.StatusUnprocessableEntity {
		detail = "the request is not valid"
	}
	return newProblem(status, model.ValidationFailed, detail, fields)
}

// fieldError translates an error of huma to the contract: its location is that of
// the field, even if the field is missing.
func fieldError(err error) model.FieldError {
	var detail *huma.ErrorDetail
	if !errors.As(err, &detail) {
		return model.FieldError{Location: "body", Message: err.Error()}
	}
	if name, missing := strings.CutPrefix(detail.Message, isRequired); missing {
		return model.FieldError{Location: detail.Location + "." + name, Message: "is required"}
	}
	return model.FieldError{Location: detail.Location, Message: detail.Message}
}
